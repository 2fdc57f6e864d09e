//! A client of NATS by hand: somebody else at the broker of a cluster, who listens or sends what no node would.

use std::net::SocketAddr;

use crate::client::{Value, json};
use crate::nats::Nats;
use crate::raw::Raw;
use crate::within;

/// A connection to a NATS server.
pub struct NatsClient {
    raw: Raw,
    subscribed: usize,
    /// What came while something else was waited for.
    ahead: Vec<Published>,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// To which subject.
    pub subject: String,
    /// The bytes, without headers.
    pub payload: Vec<u8>,
}

impl NatsClient {
    /// One of that server.
    pub async fn of(nats: &Nats) -> Self {
        Self::at(nats.address(), json!({})).await
    }

    /// One of the server at that address, who says this when it connects, such as its password.
    pub async fn at(address: SocketAddr, says: Value) -> Self {
        let mut raw = Raw::connect(address).await;
        let info = within("the broker to say what it is", raw.line()).await;
        let info = info.expect("it says something");
        assert!(info.starts_with(b"INFO "), "{info:?}");
        let mut options = json!({ "verbose": false, "pedantic": false, "headers": true });
        for (key, value) in says.as_object().into_iter().flatten() {
            options[key] = value.clone();
        }
        raw.write(format!("CONNECT {options}\r\n").as_bytes()).await;
        let mut client = Self {
            raw,
            subscribed: 0,
            ahead: Vec::new(),
        };
        client.flush().await;
        client
    }

    /// Subscribes to a subject, which may have wildcards. All that is published from now on arrives.
    pub async fn subscribe(&mut self, subject: &str) {
        self.subscribed += 1;
        let line = format!("SUB {subject} {}\r\n", self.subscribed);
        self.raw.write(line.as_bytes()).await;
        self.flush().await;
    }

    /// Publishes, and waits until the broker has it.
    pub async fn publish(&mut self, subject: &str, payload: &[u8]) {
        let line = format!("PUB {subject} {}\r\n", payload.len());
        let bytes = [line.as_bytes(), payload, b"\r\n"].concat();
        self.raw.write(&bytes).await;
        self.flush().await;
    }

    /// The next that arrives.
    pub async fn next(&mut self) -> Published {
        if !self.ahead.is_empty() {
            return self.ahead.remove(0);
        }
        loop {
            if let Some(published) = self.line().await {
                return published;
            }
        }
    }

    /// What has arrived so far, and what is published to this client before the broker answers.
    pub async fn so_far(&mut self) -> Vec<Published> {
        self.flush().await;
        std::mem::take(&mut self.ahead)
    }

    /// Waits until the broker has taken what was sent, and has sent what there was for this client.
    pub async fn flush(&mut self) {
        self.raw.write(b"PING\r\n").await;
        within("the broker to answer", async {
            loop {
                let line = self.raw.line().await.expect("the connection is open");
                if line == b"PONG\r\n" {
                    return;
                }
                let published = self.understand(&line).await;
                self.ahead.extend(published);
            }
        })
        .await;
    }

    async fn line(&mut self) -> Option<Published> {
        let line = within("a publication", self.raw.line()).await;
        self.understand(&line.expect("the connection is open"))
            .await
    }

    /// What a line of the broker's begins, when it is a publication.
    async fn understand(&mut self, line: &[u8]) -> Option<Published> {
        let line = std::str::from_utf8(line)
            .expect("a line is text")
            .trim_end();
        let words: Vec<_> = line.split(' ').collect();
        let number = |word: &str| word.parse::<usize>().expect("a number");
        let (head, length) = match (words[0], words.last()) {
            ("MSG", Some(length)) => (0, number(length)),
            ("HMSG", Some(length)) => (number(words[words.len() - 2]), number(length)),
            ("PING", _) => {
                self.raw.write(b"PONG\r\n").await;
                return None;
            }
            ("-ERR", _) => panic!("the broker says {line}"),
            _ => return None,
        };
        let bytes = self.raw.take(length + 2).await.expect("it is whole");
        Some(Published {
            subject: words[1].to_owned(),
            payload: bytes[head..length].to_vec(),
        })
    }
}
