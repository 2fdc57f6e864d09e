//! Calls one import for ever, or until it is refused for its number of calls: the one that the message `flood NAME` names.
//! `burst NAME` does so for as long as a call may take. The rows `flood NAME` are all served by it; `IMPORTS` is their
//! table.

use tulpar::cluster;
use tulpar::prelude::*;
use tulpar::ulak::Operation;
use tulpar_hostile_guests::{burst, tell};

/// A namespace that is its own, so that what it sends has somewhere to go.
const OWN: &str = "/import-flood";

#[derive(Default)]
struct ImportFlood;

#[tulpar::namespace(path = "/import-flood")]
impl Namespace for ImportFlood {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        let text = message.as_text().unwrap_or_default();
        let Some((how, name)) = text.split_once(' ') else {
            return ws.send(message);
        };
        let Some((_, call)) = IMPORTS.iter().find(|(import, _)| *import == name) else {
            return tell(ws, format!("there is no import {name}"));
        };
        let flood = Flood {
            ws,
            id: ws.id(),
            kilobyte: vec![7; 1000],
        };
        let mut is_refused = false;
        let mut goes_on = |number| {
            is_refused = call(&flood, number).is_err_and(|error| is_over_the_limit(&error));
            !is_refused
        };
        match how {
            "burst" => drop(burst(goes_on)),
            _ => drop((0..).find(|number| !goes_on(*number))),
        }
        let outcome = if is_refused {
            "limit-exceeded"
        } else {
            "not stopped"
        };
        // Who has sent too much has to wait before anything can be told. For a socket that takes nothing any more, there is
        // nobody to tell.
        while tell(ws, outcome).is_err_and(|error| is_over_the_limit(&error)) {}
        Ok(())
    }
}

fn is_over_the_limit(error: &Error) -> bool {
    error.socket_error() == Some(SocketError::LimitExceeded)
        || error
            .ulak_error()
            .is_some_and(|error| error.code == UlakErrorCode::LimitExceeded)
}

/// What the calls are made with.
struct Flood<'a> {
    ws: &'a Socket<()>,
    id: String,
    kilobyte: Vec<u8>,
}

impl Flood<'_> {
    /// Before the first call, as many rooms as there may be, with names as long as they may be.
    fn join_many(&self, number: u64) {
        if number == 0 {
            (0..1000).for_each(|room| drop(self.ws.subscribe(&format!("{room:0>256}"))));
        }
    }
}

type Call = fn(&Flood<'_>, u64) -> Result<()>;

/// Every function of the contract that a namespace can call, and those of WASI that cost the host something.
const IMPORTS: &[(&str, Call)] = &[
    ("socket.id", |flood, _| done(flood.ws.id())),
    ("socket.remote-address", |flood, _| {
        done(flood.ws.remote_address())
    }),
    ("socket.values", |flood, _| flood.ws.data()),
    ("socket.set-values", |flood, _| flood.ws.set_data("x")),
    ("socket.send", |flood, _| flood.ws.send(&flood.kilobyte)),
    ("socket.ping", |flood, _| flood.ws.ping(b"ping")),
    ("socket.buffered-amount", |flood, _| {
        done(flood.ws.buffered_amount())
    }),
    ("socket.subscribe", |flood, number| {
        // Over its number of rooms it is refused for that, and goes on regardless.
        done(flood.ws.subscribe(&number.to_string()))
    }),
    ("socket.unsubscribe", |flood, _| {
        flood.ws.unsubscribe("room");
        Ok(())
    }),
    ("socket.is-subscribed", |flood, _| {
        done(flood.ws.is_subscribed("room"))
    }),
    ("socket.rooms", |flood, number| {
        if number == 0 {
            (0..1000).for_each(|room| drop(flood.ws.subscribe(&format!("{room:0>256}"))));
        }
        done(flood.ws.rooms())
    }),
    ("socket.publish", |flood, _| {
        flood.ws.publish("room", &flood.kilobyte).map(drop)
    }),
    ("socket.close", |flood, _| {
        flood.ws.close(1000, "again");
        Ok(())
    }),
    ("socket.terminate", |flood, _| {
        flood.ws.terminate();
        Ok(())
    }),
    ("sockets.get", |flood, _| {
        done(sockets::get::<()>(&flood.id))
    }),
    ("sockets.ids", |_, _| done(sockets::ids())),
    ("sockets.count", |_, _| done(sockets::count())),
    ("rooms.names", |flood, number| {
        flood.join_many(number);
        done(rooms::names())
    }),
    ("rooms.members", |_, _| done(rooms::members("room"))),
    ("rooms.count", |_, _| done(rooms::count("room"))),
    ("rooms.to", |flood, _| {
        rooms::to("room", &flood.kilobyte).map(drop)
    }),
    ("rooms.broadcast", |flood, _| {
        rooms::broadcast(&flood.kilobyte).map(drop)
    }),
    ("ulak.broadcast", |flood, _| {
        done(ulak::broadcast(OWN, &flood.kilobyte)?)
    }),
    ("ulak.to", |flood, _| {
        done(ulak::to(OWN, "room", &flood.kilobyte)?)
    }),
    ("ulak.to-socket", |flood, _| {
        Ok(ulak::to_socket(OWN, &flood.id, &flood.kilobyte)?)
    }),
    ("ulak.to-many", |flood, _| {
        done(ulak::to_many(OWN, &["room"; 1000], &flood.kilobyte).into_result()?)
    }),
    ("ulak.broadcast-all", |flood, _| {
        done(ulak::broadcast_all(&flood.kilobyte).into_result()?)
    }),
    ("ulak.bulk-send", |flood, _| {
        let one = || Operation::broadcast(OWN, &flood.kilobyte);
        done(ulak::bulk_send(std::iter::repeat_with(one).take(1000)).into_result()?)
    }),
    ("ulak.namespaces", |_, _| done(ulak::namespaces())),
    ("ulak.has-namespace", |_, _| done(ulak::has_namespace(OWN))),
    ("ulak.socket-count", |_, _| done(ulak::socket_count(OWN)?)),
    ("cluster.socket-count", |_, _| done(cluster::socket_count())),
    ("cluster.socket-ids", |_, _| done(cluster::socket_ids())),
    ("cluster.room-names", |flood, number| {
        flood.join_many(number);
        done(cluster::room_names())
    }),
    ("cluster.room-count", |_, _| {
        done(cluster::room_count("room"))
    }),
    ("cluster.room-members", |_, _| {
        done(cluster::room_members("room"))
    }),
    ("log", |_, _| {
        log::info("flood");
        Ok(())
    }),
    ("stdout", |_, _| {
        println!("flood");
        Ok(())
    }),
    ("config.get", |_, _| done(config::get("key")?)),
    ("config.get-all", |_, _| done(config::all()?)),
    ("kv.open", |_, _| done(kv::open("bucket"))),
    ("kv.get", |_, _| done(kv::open("bucket")?.get("key"))),
    ("kv.set", |flood, number| {
        done(kv::open("bucket")?.set(&number.to_string(), &flood.kilobyte))
    }),
    ("kv.increment", |_, _| {
        done(kv::open("bucket")?.increment("counter", 1))
    }),
    ("kv.keys", |_, _| done(kv::open("bucket")?.keys())),
    ("kv.delete", |_, _| done(kv::open("bucket")?.delete("key"))),
    ("kv.set-many", |flood, _| {
        let pairs: Vec<_> = (0..100)
            .map(|key| (key.to_string(), &flood.kilobyte))
            .collect();
        done(kv::open("bucket")?.set_many(&pairs))
    }),
    ("kv.get-many", |_, _| {
        done(kv::open("bucket")?.get_many(&["key"; 1000]))
    }),
    ("fetch", |_, _| {
        done(fetch::get("http://example.com/").is_ok())
    }),
    ("clocks.now", |_, _| done(std::time::Instant::now())),
    ("random.get", |_, _| done(random())),
];

/// What was answered does not matter.
fn done<T>(_answer: T) -> Result<()> {
    Ok(())
}

/// A number from the host's random source, which the standard library asks once for each thread and so is asked itself.
#[cfg(target_family = "wasm")]
fn random() -> usize {
    wasip2::random::random::get_random_bytes(64 << 10).len()
}

#[cfg(not(target_family = "wasm"))]
fn random() -> usize {
    0
}
