//! As many rooms as a socket asks for, each with that socket in it. What is said goes to one room after the other.

use tulpar::prelude::*;

#[derive(Default)]
struct Rooms {
    names: Vec<String>,
    said: usize,
}

#[tulpar::namespace(path = "/rooms")]
impl Namespace for Rooms {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if let Some(count) = message
            .as_text()
            .and_then(|text| text.strip_prefix("join "))
        {
            self.names = (0..count.parse()?)
                .map(|room: u32| room.to_string())
                .collect();
            for name in &self.names {
                ws.subscribe(name)?;
            }
            return ws.send("joined");
        }
        let room = self
            .said
            .checked_rem(self.names.len())
            .and_then(|index| self.names.get(index));
        self.said += 1;
        rooms::to(
            room.ok_or(Error::msg("nobody has asked for rooms"))?,
            message,
        )?;
        Ok(())
    }
}
