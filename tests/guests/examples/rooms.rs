//! As many rooms as sockets ask for, each with all of them in it. What is said goes to one room after the other.

use tulpar::prelude::*;

#[derive(Default)]
struct Rooms {
    names: Vec<String>,
    said: usize,
}

#[tulpar::namespace(path = "/rooms")]
impl Namespace for Rooms {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if let Some(range) = message
            .as_text()
            .and_then(|text| text.strip_prefix("join ")?.split_once(' '))
        {
            let (from, to): (usize, usize) = (range.0.parse()?, range.1.parse()?);
            self.names
                .extend((self.names.len()..to).map(|room| room.to_string()));
            for room in self.names.get(from..to).unwrap_or_default() {
                ws.subscribe(room)?;
            }
            return ws.send("joined");
        }
        let count = self.names.len().max(1);
        let room = self.names.get(self.said % count);
        self.said += 1;
        rooms::to(room.ok_or(Error::msg("nobody has joined a room"))?, message)?;
        Ok(())
    }
}
