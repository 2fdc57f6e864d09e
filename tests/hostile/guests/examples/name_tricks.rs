//! Names what is not its own, in every spelling that it is told, and reports what came of each.

use tulpar::prelude::*;
use tulpar::ulak::{BulkResult, Operation};
use tulpar_hostile_guests::tell;

const LOOT: &str = "a greeting from the wrong tenant";

#[derive(Default)]
struct NameTricks;

#[tulpar::namespace(path = "/name-tricks")]
impl Namespace for NameTricks {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        match message.as_text() {
            Some(text) if text.starts_with('{') => {
                let told: Value = message.json()?;
                let list = |key: &str| -> Vec<String> {
                    let values = told[key].as_array().into_iter().flatten();
                    values
                        .filter_map(|value| value.as_str().map(str::to_owned))
                        .collect()
                };
                let mut report = Report::default();
                report.sockets(&list("ids"));
                report.rooms(ws, &list("rooms"));
                report.namespaces(&list("paths"), &list("rooms"), &list("ids"));
                tell(ws, Value::Array(report.0))
            }
            _ => ws.send(message),
        }
    }
}

/// What was tried and what came of it: how many were addressed, or the name of the refusal.
#[derive(Default)]
struct Report(Vec<Value>);

impl Report {
    fn note(&mut self, what: &str, name: &str, outcome: impl Into<Value>) {
        self.0.push(json!([what, name, outcome.into()]));
    }

    fn addressed(&mut self, what: &str, name: &str, outcome: Result<u32, UlakError>) {
        match outcome {
            Ok(count) => self.note(what, name, count),
            Err(error) => self.note(what, name, error.code.to_string()),
        }
    }

    fn bulk(&mut self, what: &str, name: &str, result: BulkResult) {
        for outcome in result.results {
            self.addressed(what, name, outcome);
        }
    }

    fn sockets(&mut self, ids: &[String]) {
        for id in ids {
            match sockets::get::<()>(id) {
                Some(socket) => {
                    drop(socket.send(LOOT));
                    self.note("sockets.get", id, 1);
                }
                None => self.note("sockets.get", id, "none"),
            }
        }
    }

    fn rooms(&mut self, ws: &Socket<()>, rooms: &[String]) {
        for room in rooms {
            match ws.publish(room, LOOT) {
                Ok(count) => self.note("publish", room, count),
                Err(error) => self.note("publish", room, code(&error)),
            }
            match rooms::to(room, LOOT) {
                Ok(count) => self.note("rooms.to", room, count),
                Err(error) => self.note("rooms.to", room, code(&error)),
            }
            self.note("rooms.members", room, rooms::members(room).len());
        }
    }

    fn namespaces(&mut self, paths: &[String], rooms: &[String], ids: &[String]) {
        for path in paths {
            self.addressed("ulak.broadcast", path, ulak::broadcast(path, LOOT));
            self.addressed("ulak.socket-count", path, ulak::socket_count(path));
            self.note(
                "ulak.has-namespace",
                path,
                u32::from(ulak::has_namespace(path)),
            );
            for room in rooms {
                self.addressed("ulak.to", path, ulak::to(path, room, LOOT));
            }
            self.bulk("ulak.to-many", path, ulak::to_many(path, rooms, LOOT));
            for id in ids {
                let sent = ulak::to_socket(path, id, LOOT);
                self.addressed("ulak.to-socket", path, sent.map(|()| 1));
            }
            let operations = rooms.iter().map(|room| Operation::to(path, room, LOOT));
            let operations = operations.chain([Operation::broadcast(path, LOOT)]);
            self.bulk("ulak.bulk-send", path, ulak::bulk_send(operations));
        }
        // All that it may address; its own sockets are among them.
        for path in ulak::namespaces() {
            self.note("ulak.namespaces", &path, path.as_str());
        }
    }
}

/// The host's refusal by its name.
fn code(error: &Error) -> String {
    let refusal = error.socket_error();
    refusal.map_or_else(|| error.to_string(), |refusal| format!("{refusal:?}"))
}
