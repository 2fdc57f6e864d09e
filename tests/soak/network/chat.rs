//! The healthy: rooms whose members chat, and notice whatever is lost, repeated or out of order.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tulpar_tests::{json, within};

use crate::way::{Talker, Way};

const ROOMS: usize = 20;
const MEMBERS: usize = 10;
/// How long what is said is, in bytes, filled up with dots: long enough to be compressed.
const LENGTH: usize = 300;
/// How long a member rests between two messages.
const REST: Duration = Duration::from_millis(250);

/// What came of it.
#[derive(Default)]
pub struct Chatted {
    answered: u64,
    heard: u64,
    slowest: Duration,
}

impl fmt::Display for Chatted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} messages answered, {} heard from others, none lost, the slowest answer after {:.0?}",
            self.answered, self.heard, self.slowest
        )
    }
}

/// All rooms.
pub struct Chat {
    stop: Rc<Cell<bool>>,
    members: JoinSet<Chatted>,
}

impl Chat {
    /// Fills the rooms, and has everybody chat.
    pub async fn begin(way: &Way) -> Self {
        let stop = Rc::new(Cell::new(false));
        let mut members = JoinSet::new();
        for room in 0..ROOMS {
            // Nobody says anything before all are there.
            let mut clients = Vec::new();
            for number in 0..MEMBERS {
                let mut client = way.talker(number).await;
                let join = json!({ "do": "subscribe", "room": format!("room {room}") });
                client.ask(join).await;
                clients.push(client);
            }
            for (number, client) in clients.into_iter().enumerate() {
                let member = Member {
                    client,
                    room: format!("room {room}"),
                    number,
                    heard: HashMap::new(),
                    gone: 0,
                    chatted: Chatted::default(),
                };
                members.spawn_local(member.chat(stop.clone()));
            }
        }
        Self { stop, members }
    }

    /// Has everybody say that they go, and waits until they have heard that of all others.
    pub async fn end(mut self) -> Chatted {
        self.stop.set(true);
        let mut all = Chatted::default();
        while let Some(chatted) = self.members.join_next().await {
            let chatted = chatted.expect("a member has lost nothing");
            all.answered += chatted.answered;
            all.heard += chatted.heard;
            all.slowest = all.slowest.max(chatted.slowest);
        }
        all
    }
}

struct Member {
    client: Talker,
    room: String,
    number: usize,
    /// How many messages of each other member have come.
    heard: HashMap<String, u64>,
    /// How many of them have said that they go.
    gone: usize,
    chatted: Chatted,
}

impl Member {
    async fn chat(mut self, stop: Rc<Cell<bool>>) -> Chatted {
        // Not all at once.
        tokio::time::sleep(REST * u32::try_from(self.number).unwrap_or(0) / MEMBERS as u32).await;
        let mut said = 0;
        loop {
            let goes = stop.get();
            let text = if goes {
                "gone".to_owned()
            } else {
                said.to_string()
            };
            self.say(&format!("{} {text:.>LENGTH$}", self.number)).await;
            said += 1;
            if goes {
                break;
            }
            self.listen(REST).await;
        }
        let (room, number) = (self.room.clone(), self.number);
        let what = format!("the others of {room} to go, who is {number}");
        within(&what, async {
            while self.gone < MEMBERS - 1 {
                let text = self.client.recv_text().await;
                self.hear(&text);
            }
        })
        .await;
        self.chatted
    }

    /// Tells the others, and waits for the answer.
    async fn say(&mut self, text: &str) {
        let begun = Instant::now();
        let publish = json!({ "do": "publish", "room": self.room, "message": text });
        self.client.send(publish.to_string()).await;
        loop {
            let text = self.client.recv_text().await;
            if text.starts_with('{') {
                // To so many it was sent.
                assert_eq!(text, format!(r#"{{"answer":{}}}"#, MEMBERS - 1));
                break;
            }
            self.hear(&text);
        }
        self.chatted.answered += 1;
        self.chatted.slowest = self.chatted.slowest.max(begun.elapsed());
    }

    /// Listens to others for so long.
    async fn listen(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while let Ok(text) = tokio::time::timeout_at(end, self.client.recv_text()).await {
            self.hear(&text);
        }
    }

    fn hear(&mut self, text: &str) {
        let (who, said) = text.split_once(' ').expect("somebody says something");
        assert_ne!(
            who,
            self.number.to_string(),
            "an echo of what was published"
        );
        let heard = self.heard.entry(who.to_owned()).or_default();
        self.chatted.heard += 1;
        match said.trim_start_matches('.') {
            "gone" => self.gone += 1,
            number => {
                let (room, me) = (&self.room, self.number);
                assert_eq!(number, heard.to_string(), "{who} in {room}, told by {me}");
                *heard += 1;
            }
        }
    }
}
