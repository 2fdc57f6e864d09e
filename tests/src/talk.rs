//! Numbers that one socket publishes to a room again and again, and what others hear of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::client::{Client, Message, connect, json};
use crate::cluster::Cluster;
use crate::{eventually, within};

/// Of the first of two nodes one socket talks and one hears, and of the second one hears: in the room `red`.
pub async fn talk(cluster: &Cluster) -> (Talker, Hearer, Hearer) {
    let mut members = cluster.members("/commander", "red").await;
    let mut near = connect(cluster[0].url("/commander")).await;
    let told = json!({ "do": "subscribe", "room": "red" });
    assert_eq!(near.ask(told).await, "done");
    let (near, far) = (Hearer::start(near), Hearer::start(members.remove(1)));
    let talker = Talker::start(members.remove(0), "red");
    far.hears(10).await;
    (talker, near, far)
}

/// Somebody who publishes the numbers from 0 on to a room.
pub struct Talker {
    stop: Arc<AtomicBool>,
    said: Arc<AtomicU64>,
    task: JoinHandle<Client>,
}

impl Talker {
    /// Has this socket of a commander's publish to that room, some hundred times a second.
    pub fn start(mut client: Client, room: &'static str) -> Self {
        let (stop, said) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, counted) = (stop.clone(), said.clone());
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let number = counted.load(Ordering::Relaxed);
                let told = json!({ "do": "publish", "room": room, "message": number.to_string() });
                let answer = client.ask(told).await;
                assert!(answer.is_u64(), "number {number}: {answer}");
                counted.store(number + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            client
        });
        Self { stop, said, task }
    }

    /// How many numbers have been published, each of which was answered.
    pub fn said(&self) -> u64 {
        self.said.load(Ordering::Relaxed)
    }

    /// Waits until so many more have been.
    pub async fn goes_on(&self, more: u64) {
        let goal = self.said() + more;
        eventually("the talker to go on", async || {
            (self.said() >= goal).then_some(())
        })
        .await;
    }

    /// Has it stop; how many numbers have been published, and the socket.
    pub async fn stop(self) -> (u64, Client) {
        self.stop.store(true, Ordering::Relaxed);
        let client = within("the talker to stop", self.task).await;
        let said = self.said.load(Ordering::Relaxed);
        (said, client.expect("it was served all the time"))
    }
}

/// A member of a room that notes which numbers it hears, and fails the test when their order is another one than that in
/// which they were said, or one comes twice.
pub struct Hearer {
    heard: Arc<Mutex<Vec<u64>>>,
    ended: Arc<Mutex<Option<String>>>,
}

impl Hearer {
    /// Has this socket note what it hears.
    pub fn start(mut client: Client) -> Self {
        let heard = Arc::<Mutex<Vec<u64>>>::default();
        let ended = Arc::<Mutex<Option<String>>>::default();
        let (noted, why) = (heard.clone(), ended.clone());
        tokio::spawn(async move {
            let end = note(&mut client, &noted).await;
            *why.lock().expect("nobody panics with it") = Some(end);
        });
        Self { heard, ended }
    }

    /// What has been heard so far.
    pub fn heard(&self) -> Vec<u64> {
        let ended = self.ended.lock().expect("nobody panics with it").clone();
        assert_eq!(ended, None, "nothing is heard any more");
        self.heard.lock().expect("nobody panics with it").clone()
    }

    /// Waits until this number or a later one is heard.
    pub async fn hears(&self, number: u64) {
        eventually(
            &format!("{number} or a later one to be heard"),
            async || {
                self.heard()
                    .last()
                    .filter(|last| **last >= number)
                    .map(drop)
            },
        )
        .await;
    }

    /// Waits until something is heard that was not said yet.
    pub async fn hears_again(&self, talker: &Talker) {
        self.hears(talker.said()).await;
    }
}

/// Notes numbers until something else comes, also after a long silence. Returns what that is.
async fn note(client: &mut Client, noted: &Mutex<Vec<u64>>) -> String {
    loop {
        let number = match client.recv_or_end_some_time().await {
            Some(Message::Text(text)) => match text.parse::<u64>() {
                Ok(number) => number,
                Err(_) => return format!("{text} is no number"),
            },
            other => return format!("{other:?} came"),
        };
        let mut noted = noted.lock().expect("nobody panics with it");
        if let Some(last) = noted.last().filter(|last| **last >= number) {
            return format!("{number} came after {last}");
        }
        noted.push(number);
    }
}
