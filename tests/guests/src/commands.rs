//! What a namespace does when a message tells it to: each function of the SDK, and each way to go wrong.

use std::cell::RefCell;
use std::hint::{black_box, spin_loop};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};
use tulpar::prelude::*;

use crate::reach::{self, Call};

/// What a command that has nothing to tell answers.
const DONE: &str = "done";

/// A socket whose values are any JSON.
pub type Peer = Socket<Value>;

thread_local! {
    /// Handles that are held until they are let go.
    static HELD: RefCell<Vec<Peer>> = const { RefCell::new(Vec::new()) };
}

/// One command, or several to be obeyed in one call.
#[derive(Deserialize)]
#[serde(untagged)]
enum Request {
    One(Command),
    Many(Vec<Command>),
}

#[derive(Deserialize)]
struct Command {
    /// The id of the socket that it is about, when that is another one.
    on: Option<String>,
    /// The room that gets the answer instead of the sender.
    tell: Option<String>,
    #[serde(flatten)]
    what: What,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum What {
    Nothing,
    Id,
    RemoteAddress,
    Data,
    SetData {
        value: Value,
    },
    Send {
        message: Payload,
    },
    Ping {
        payload: Payload,
    },
    BufferedAmount,
    Subscribe {
        room: String,
    },
    Unsubscribe {
        room: String,
    },
    IsSubscribed {
        room: String,
    },
    Rooms,
    Publish {
        room: String,
        message: Payload,
    },
    Close {
        code: u16,
        reason: String,
    },
    Terminate,
    /// Whether there is a socket of that id.
    Find {
        id: String,
    },
    Ids,
    Sockets,
    Names,
    Members {
        room: String,
    },
    Count {
        room: String,
    },
    To {
        room: String,
        message: Payload,
    },
    Broadcast {
        message: Payload,
    },
    /// Sends numbered texts to the socket, to a room or to everybody until one is refused.
    Number {
        from: u32,
        to: u32,
        room: Option<String>,
    },
    /// Sends the message again and again until one is refused; how many were accepted, and the refusal.
    Flood {
        message: Payload,
        at_most: u32,
    },
    /// How many calls this instance has seen.
    Seen,
    /// Takes handles of one socket until there are so many, or no more are given; how many are held then.
    Hold {
        id: String,
        up_to: usize,
    },
    LetGo,
    Log {
        level: String,
        text: String,
    },
    Print {
        text: String,
    },
    Fail {
        text: String,
    },
    Panic {
        text: String,
    },
    Loop,
    /// Allocates until there is no more.
    Bomb,
    Recurse,
    /// Computes for so long.
    Busy {
        ms: u64,
    },
    /// Grows the memory to so many bytes in all; whether that was allowed.
    GrowTo {
        bytes: usize,
    },
    Clock,
    Random,
    Environment,
    /// The errors of reading a file, writing one and listing a folder.
    Reach,
    /// Calls the host.
    Call {
        call: Call,
    },
}

/// A message as a command writes it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Payload {
    Text(String),
    Bytes(Vec<u8>),
    TextOf { text_of: usize },
    BytesOf { bytes_of: usize },
}

impl Payload {
    fn message(&self) -> Message {
        match self {
            Self::Text(text) => Message::Text(text.clone()),
            Self::Bytes(bytes) => Message::Binary(bytes.clone()),
            Self::TextOf { text_of } => Message::Text("x".repeat(*text_of)),
            Self::BytesOf { bytes_of } => Message::Binary(vec![7; *bytes_of]),
        }
    }
}

/// The state of an instance: how many calls it has seen.
#[derive(Default)]
pub struct Commanded {
    seen: u64,
}

impl Commanded {
    /// Obeys the commands under `open` in the socket's values, and tells the room `observers` of it.
    ///
    /// # Errors
    /// When a command wants it.
    pub fn on_open(&mut self, ws: &Peer) -> Result<()> {
        self.seen += 1;
        let answers = self.obey_script(ws, "open")?;
        tell_observers("open", ws, json!({ "answers": answers }))
    }

    /// Obeys the commands in the message and answers them; what is no command comes back as it is.
    ///
    /// # Errors
    /// When a command wants it.
    pub fn on_message(&mut self, ws: &Peer, message: Message) -> Result<()> {
        self.seen += 1;
        let Some(text) = message
            .as_text()
            .filter(|text| text.starts_with(['{', '[']))
        else {
            return ws.send(message);
        };
        match serde_json::from_str(text)? {
            Request::One(command) => {
                let value = self.obey(ws, &command)?;
                answer(ws, command.tell.as_deref(), value)
            }
            Request::Many(commands) => {
                let mut values = Vec::new();
                for command in &commands {
                    values.push(self.obey(ws, command)?);
                }
                answer(ws, None, values.into())
            }
        }
    }

    /// Obeys the commands under `drain` in the socket's values, and tells the room `observers` of it.
    ///
    /// # Errors
    /// When a command wants it.
    pub fn on_drain(&mut self, ws: &Peer) -> Result<()> {
        self.seen += 1;
        let buffered = ws.buffered_amount();
        let answers = self.obey_script(ws, "drain")?;
        tell_observers(
            "drain",
            ws,
            json!({ "buffered": buffered, "answers": answers }),
        )
    }

    /// Obeys the commands under `close` in the socket's values, and tells the room `observers` of it.
    ///
    /// # Errors
    /// When a command wants it.
    pub fn on_close(&mut self, ws: &Peer, event: CloseEvent) -> Result<()> {
        self.seen += 1;
        log::info(format!("closed with {}", event.code));
        let answers = self.obey_script(ws, "close")?;
        let mut rooms = ws.rooms();
        rooms.sort();
        let seen = json!({ "code": event.code, "reason": event.reason, "rooms": rooms, "answers": answers });
        tell_observers("close", ws, seen)
    }

    fn obey_script(&mut self, ws: &Peer, name: &str) -> Result<Vec<Value>> {
        let script = ws.data()?.get(name).cloned().unwrap_or(json!([]));
        let script: Vec<Command> = serde_json::from_value(script)?;
        script
            .iter()
            .map(|command| self.obey(ws, command))
            .collect()
    }

    /// The answer to a command. A refusal by the host is an answer too: `{"error": ...}`.
    fn obey(&mut self, ws: &Peer, command: &Command) -> Result<Value> {
        let done = match &command.on {
            None => self.act(ws, &command.what),
            Some(id) => match sockets::get(id) {
                Some(other) => self.act(&other, &command.what),
                None => return Ok(json!({ "error": "unknown" })),
            },
        };
        done.or_else(|error| match error.socket_error() {
            Some(refusal) => Ok(json!({ "error": word(refusal) })),
            None => Err(error),
        })
    }

    fn act(&mut self, ws: &Peer, what: &What) -> Result<Value> {
        Ok(match what {
            What::Nothing => Value::Null,
            What::Id => ws.id().into(),
            What::RemoteAddress => ws.remote_address().into(),
            What::Data => ws.data()?,
            What::SetData { value } => {
                ws.set_data(value)?;
                DONE.into()
            }
            What::Send { message } => {
                ws.send(message.message())?;
                DONE.into()
            }
            What::Ping { payload } => {
                ws.ping(payload.message().as_bytes())?;
                DONE.into()
            }
            What::BufferedAmount => ws.buffered_amount().into(),
            What::Subscribe { room } => {
                ws.subscribe(room)?;
                DONE.into()
            }
            What::Unsubscribe { room } => {
                ws.unsubscribe(room);
                DONE.into()
            }
            What::IsSubscribed { room } => ws.is_subscribed(room).into(),
            What::Rooms => sorted(ws.rooms()),
            What::Publish { room, message } => ws.publish(room, message.message())?.into(),
            What::Close { code, reason } => {
                ws.close(*code, reason);
                DONE.into()
            }
            What::Terminate => {
                ws.terminate();
                DONE.into()
            }
            What::Find { id } => sockets::get::<Value>(id).is_some().into(),
            What::Ids => sorted(sockets::ids()),
            What::Sockets => sockets::count().into(),
            What::Names => sorted(rooms::names()),
            What::Members { room } => sorted(rooms::members(room)),
            What::Count { room } => rooms::count(room).into(),
            What::To { room, message } => rooms::to(room, message.message())?.into(),
            What::Broadcast { message } => rooms::broadcast(message.message())?.into(),
            What::Number { from, to, room } => {
                number(ws, *from..*to, room.as_deref())?;
                DONE.into()
            }
            What::Flood { message, at_most } => flood(ws, &message.message(), *at_most)?,
            What::Seen => self.seen.into(),
            What::Hold { id, up_to } => hold(id, *up_to).into(),
            What::LetGo => {
                HELD.with_borrow_mut(Vec::clear);
                DONE.into()
            }
            What::Log { level, text } => {
                log_line(level, text);
                DONE.into()
            }
            What::Print { text } => {
                println!("{text}");
                eprintln!("{text}");
                DONE.into()
            }
            What::Fail { text } => return Err(Error::msg(text)),
            What::Panic { text } => panic!("{text}"),
            What::Loop => loop {
                spin_loop();
            },
            What::Bomb => bomb(),
            What::Recurse => recurse(0).into(),
            What::Busy { ms } => {
                be_busy(Duration::from_millis(*ms));
                DONE.into()
            }
            What::GrowTo { bytes } => grow_to(*bytes).into(),
            What::Clock => tulpar::timestamp().into(),
            What::Random => random().into(),
            What::Environment => {
                let all: Map<_, _> = std::env::vars()
                    .map(|(key, value)| (key, value.into()))
                    .collect();
                json!([all, std::env::args().collect::<Vec<_>>()])
            }
            What::Reach => files(),
            What::Call { call } => reach::obey(call)?,
        })
    }
}

fn answer(ws: &Peer, room: Option<&str>, value: Value) -> Result<()> {
    let answer = Json(json!({ "answer": value }));
    let sent = match room {
        Some(room) => rooms::to(room, answer).map(drop),
        None => ws.send(answer),
    };
    // A command may have closed the socket or filled its queue; the test knows.
    sent.or_else(|error| error.socket_error().map(drop).ok_or(error))
}

fn tell_observers(event: &str, ws: &Peer, mut more: Value) -> Result<()> {
    more["event"] = event.into();
    more["id"] = ws.id().into();
    rooms::to("observers", Json(more))?;
    Ok(())
}

fn number(ws: &Peer, numbers: std::ops::Range<u32>, room: Option<&str>) -> Result<()> {
    for number in numbers {
        let text = number.to_string();
        match room {
            Some(room) => drop(rooms::to(room, text)?),
            None => ws.send(text)?,
        }
    }
    Ok(())
}

fn flood(ws: &Peer, message: &Message, at_most: u32) -> Result<Value> {
    for accepted in 0..at_most {
        if let Err(error) = ws.send(message) {
            let refusal = error.socket_error().map(word).ok_or(error)?;
            return Ok(
                json!({ "accepted": accepted, "error": refusal, "buffered": ws.buffered_amount() }),
            );
        }
    }
    Ok(json!({ "accepted": at_most }))
}

fn hold(id: &str, up_to: usize) -> usize {
    HELD.with_borrow_mut(|held| {
        while held.len() < up_to {
            match sockets::get(id) {
                Some(handle) => held.push(handle),
                None => break,
            }
        }
        held.len()
    })
}

fn log_line(level: &str, text: &str) {
    match level {
        "trace" => log::trace(text),
        "debug" => log::debug(text),
        "info" => log::info(text),
        "warn" => log::warn(text),
        _ => log::error(text),
    }
}

fn bomb() -> Value {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

#[allow(unconditional_recursion, reason = "that is what the command is for")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1) + black_box(frame)[0]
}

fn be_busy(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        spin_loop();
    }
}

#[cfg(target_family = "wasm")]
fn grow_to(bytes: usize) -> bool {
    use std::arch::wasm32::{memory_grow, memory_size};
    const PAGE: usize = 64 * 1024;
    let pages = (bytes / PAGE).saturating_sub(memory_size::<0>());
    memory_grow::<0>(pages) != usize::MAX
}

#[cfg(not(target_family = "wasm"))]
fn grow_to(_bytes: usize) -> bool {
    false
}

/// A number that the host's random source seeds.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

fn files() -> Value {
    let read = std::fs::read("/etc/hostname").map(drop);
    let written = std::fs::write("out.txt", "x");
    let listed = std::fs::read_dir("/").map(drop);
    let outcomes = [("read", read), ("write", written), ("list", listed)];
    let shown = outcomes.into_iter().map(|(name, outcome)| {
        (
            name.to_owned(),
            outcome
                .err()
                .map(|error| format!("{:?}", error.kind()))
                .into(),
        )
    });
    Value::Object(shown.collect())
}

fn sorted(mut names: Vec<String>) -> Value {
    names.sort();
    names.into()
}

fn word(refusal: SocketError) -> &'static str {
    match refusal {
        SocketError::Closed => "closed",
        SocketError::TooLarge => "too-large",
        SocketError::Backpressure => "backpressure",
        SocketError::LimitExceeded => "limit-exceeded",
        SocketError::InvalidArgument => "invalid-argument",
        _ => "a refusal that this guest does not know",
    }
}
