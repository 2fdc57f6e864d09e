//! As many rooms as sockets ask for, each with all of them in it. What is said goes to one room after the other.

use std::collections::VecDeque;

use tulpar::cluster::Count;
use tulpar::prelude::*;

#[derive(Default)]
struct Rooms {
    names: Vec<String>,
    said: usize,
    /// Rooms that nobody was in before, the oldest first, and how many there were.
    fresh: VecDeque<String>,
    turned: u64,
}

#[tulpar::namespace(path = "/rooms")]
impl Namespace for Rooms {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if let Some((command, rest)) = message.as_text().and_then(|text| text.split_once(' ')) {
            return self.obey(ws, command, rest);
        }
        let count = self.names.len().max(1);
        let room = self.names.get(self.said % count);
        self.said += 1;
        rooms::to(room.ok_or(Error::msg("nobody has joined a room"))?, message)?;
        Ok(())
    }
}

impl Rooms {
    /// Each command is answered with one message.
    fn obey(&mut self, ws: &Socket<()>, command: &str, rest: &str) -> Result<()> {
        match (command, rest.split_once(' ')) {
            ("join", Some((from, to))) => self.join(ws, from.parse()?, to.parse()?),
            ("turn", Some((fresh, kept))) => self.turn(ws, fresh.parse()?, kept.parse()?),
            ("count", None) => {
                let Count { count, nodes, .. } = cluster::room_count(rest);
                ws.send(format!("{count} on {nodes}"))
            }
            _ => Err(Error::msg("an unknown command")),
        }
    }

    /// Joins the rooms of these numbers.
    fn join(&mut self, ws: &Socket<()>, from: usize, to: usize) -> Result<()> {
        self.names
            .extend((self.names.len()..to).map(|room| room.to_string()));
        for room in self.names.get(from..to).unwrap_or_default() {
            ws.subscribe(room)?;
        }
        ws.send("joined")
    }

    /// Joins so many rooms that nobody was in before, and leaves the oldest of these but for so many.
    fn turn(&mut self, ws: &Socket<()>, fresh: usize, kept: usize) -> Result<()> {
        for _ in 0..fresh {
            let room = format!("fresh-{}", self.turned);
            ws.subscribe(&room)?;
            self.fresh.push_back(room);
            self.turned += 1;
        }
        let leave = self.fresh.len().saturating_sub(kept);
        for room in self.fresh.drain(..leave) {
            ws.unsubscribe(&room);
        }
        ws.send("turned")
    }
}
