//! A namespace that is driven by bytes: each message is a program, a sequence of calls of the host with their arguments.
//! The fuzz target `boundary` makes up the programs; `tests/fuzz/README.md` says how they are written.
//!
//! It is written against the contract itself, and any bytes are a program, so that nothing between keeps a call from
//! being made. A program ends with an error that tells which calls ended how, see [`Tally`].

#![allow(unsafe_code, reason = "the bindings, and handles that are made up")]
#![cfg(target_family = "wasm")]

use std::cell::{Cell, RefCell};

use tulpar_test_guests::program::{Program, Tally};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::io::poll::Pollable;
use wasip2::random::{insecure, random};

wit_bindgen::generate!({ world: "namespace", path: "../../wit", generate_all });

use crate::tulpar::plugin::{http, log, rooms, sockets, ulak};
use crate::wasi::config::store as config;
use crate::wasi::keyvalue::{atomics, batch, store};
use exports::tulpar::plugin::namespace_handler::{CloseEvent, Descriptor, Guest, Message, Socket};

/// Calls in one program, repetitions included.
const MAX_CALLS: usize = 4000;
/// Things kept of one kind. There are limits below and above it.
const MAX_KEPT: usize = 300;

thread_local! {
    static DRIVEN: RefCell<Driven> = RefCell::default();
    /// The first promise that was found broken.
    static BROKEN: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// What the host has promised. A guest that traps would tell nobody why.
fn promise(holds: bool, what: &'static str) {
    if !holds {
        BROKEN.set(BROKEN.get().or(Some(what)));
    }
}

/// What is kept from one program to the next, for as long as the instance lives.
#[derive(Default)]
struct Driven {
    sockets: Vec<Socket>,
    buckets: Vec<store::Bucket>,
    timers: Vec<Pollable>,
    hoard: Vec<Vec<u8>>,
    ids: Vec<String>,
    cursor: Option<u64>,
    /// The program for the next on-close.
    parting: Vec<u8>,
}

impl Guest for Driven {
    fn describe() -> Descriptor {
        Descriptor {
            path: "/driven".to_owned(),
            name: "Driven".to_owned(),
            middlewares: Vec::new(),
            protocols: Vec::new(),
        }
    }

    fn on_open(_socket: &Socket) -> Result<(), String> {
        Ok(())
    }

    fn on_message(socket: &Socket, message: Message) -> Result<(), String> {
        let program = match message {
            Message::Text(text) => text.into_bytes(),
            Message::Binary(bytes) => bytes,
        };
        run(socket, &program)
    }

    fn on_close(socket: &Socket, _event: CloseEvent) -> Result<(), String> {
        let program = DRIVEN.with_borrow_mut(|driven| std::mem::take(&mut driven.parting));
        run(socket, &program)
    }
}

fn run(socket: &Socket, program: &[u8]) -> Result<(), String> {
    let mut tally = Tally::default();
    DRIVEN.with_borrow_mut(|driven| {
        let mut program = Program::new(program);
        let mut calls = 0;
        while calls < MAX_CALLS && !program.is_over() {
            let times = match program.peek() {
                b'*' => {
                    program.byte();
                    program.count()
                }
                _ => 1,
            };
            // The same call with the same arguments as often.
            let begin = program.clone();
            for _ in 0..times.clamp(1, MAX_CALLS - calls) {
                program = begin.clone();
                let call = program.byte();
                let ended = driven.call(call, socket, &mut program);
                tally.note(call, ended);
                calls += 1;
            }
        }
    });
    match BROKEN.take() {
        Some(what) => Err(format!("broken: {what}")),
        None if tally.is_empty() => Ok(()),
        None => Err(tally.to_string()),
    }
}

impl Driven {
    /// Makes one call, and says in a number how it ended.
    fn call(&mut self, call: u8, socket: &Socket, program: &mut Program<'_>) -> u8 {
        match call {
            b'a'..=b'z' => self.own(call, socket, program),
            b'A'..=b'Z' => self.others(call, program),
            _ => self.odd(call, program),
        }
    }

    /// The socket that the program names: the one whose event it is, or one that is kept.
    fn pick<'a>(&'a self, socket: &'a Socket, program: &mut Program<'_>) -> &'a Socket {
        let named = program.byte();
        match self.sockets.len() {
            kept if kept > 0 && named != b'.' => &self.sockets[usize::from(named) % kept],
            _ => socket,
        }
    }

    /// Sockets, rooms and the log.
    fn own(&mut self, call: u8, socket: &Socket, program: &mut Program<'_>) -> u8 {
        match call {
            b's' => sent(self.pick(socket, program).send(&message(program))),
            b'p' => sent(self.pick(socket, program).ping(&program.bytes())),
            b'j' => {
                let (socket, room) = (self.pick(socket, program), self.text(program));
                let joined = socket.subscribe(&room);
                let is_in = socket.is_subscribed(&room) && socket.rooms().contains(&room);
                promise(joined.is_err() || is_in, "who has joined is in the room");
                sent(joined)
            }
            b'l' => {
                let (socket, room) = (self.pick(socket, program), self.text(program));
                socket.unsubscribe(&room);
                promise(
                    !socket.is_subscribed(&room),
                    "who has left is not in the room",
                );
                0
            }
            b'u' => {
                let (socket, room) = (self.pick(socket, program), self.text(program));
                sent(socket.publish(&room, &message(program)))
            }
            b'c' => {
                let socket = self.pick(socket, program);
                socket.close(program.code(), &self.text(program));
                0
            }
            b't' => {
                self.pick(socket, program).terminate();
                0
            }
            b'w' => {
                let (socket, values) = (self.pick(socket, program), self.text(program));
                let set = socket.set_values(&values);
                let are_set = set.is_err() || socket.values() == Some(values);
                promise(are_set, "values that are set are there");
                sent(set)
            }
            b'v' => self.pick(socket, program).values().is_some().into(),
            b'r' => some(self.pick(socket, program).rooms().len()),
            b'm' => {
                let socket = self.pick(socket, program);
                socket.is_subscribed(&self.text(program)).into()
            }
            b'b' => (self.pick(socket, program).buffered_amount() > 0).into(),
            b'i' => {
                let id = self.pick(socket, program).id();
                self.ids.push(id);
                self.ids.truncate(MAX_KEPT);
                0
            }
            b'y' => some(self.pick(socket, program).remote_address().len()),
            b'g' => match sockets::get(&self.text(program)) {
                Some(found) if self.sockets.len() < MAX_KEPT => {
                    self.sockets.push(found);
                    2
                }
                Some(_) => 1,
                None => 0,
            },
            b'd' => drop_one(&mut self.sockets, program),
            b'k' => {
                self.ids = sockets::ids();
                some(self.ids.len())
            }
            b'q' => some(sockets::count() as usize),
            b'n' => some(rooms::names().len()),
            b'o' => {
                self.ids = rooms::members(&self.text(program));
                some(self.ids.len())
            }
            b'x' => some(rooms::count(&self.text(program)) as usize),
            b'e' => {
                let room = self.text(program);
                sent(rooms::to(&room, &message(program)))
            }
            b'h' => sent(rooms::broadcast(&message(program))),
            _ => {
                let level = [
                    log::Level::Trace,
                    log::Level::Debug,
                    log::Level::Info,
                    log::Level::Warn,
                    log::Level::Error,
                ];
                log::log(level[program.count() % level.len()], &self.text(program));
                0
            }
        }
    }

    /// The broker, the store and the configuration.
    fn others(&mut self, call: u8, program: &mut Program<'_>) -> u8 {
        match call {
            b'B' => told(ulak::broadcast(&self.text(program), &message(program))),
            b'R' => {
                let (namespace, room) = (self.text(program), self.text(program));
                told(ulak::to(&namespace, &room, &message(program)))
            }
            b'S' => {
                let (namespace, id) = (self.text(program), self.text(program));
                told(ulak::to_socket(&namespace, &id, &message(program)))
            }
            b'M' => {
                let (namespace, rooms) = (self.text(program), self.texts(program));
                in_bulk(ulak::to_many(&namespace, &rooms, &message(program)))
            }
            b'A' => in_bulk(ulak::broadcast_all(&message(program))),
            b'U' => {
                let operations: Vec<_> = (0..program.count())
                    .map(|_| ulak::Operation {
                        namespace: self.text(program),
                        target: match program.byte() % 3 {
                            0 => ulak::Target::Broadcast,
                            1 => ulak::Target::Room(self.text(program)),
                            _ => ulak::Target::Socket(self.text(program)),
                        },
                        message: message(program),
                    })
                    .collect();
                in_bulk(ulak::bulk_send(&operations))
            }
            b'N' => some(ulak::namespaces().len()),
            b'H' => ulak::has_namespace(&self.text(program)).into(),
            b'C' => told(ulak::socket_count(&self.text(program))),
            b'F' => match config::get(&self.text(program)) {
                Ok(value) => value.is_some().into(),
                Err(_) => 2,
            },
            b'E' => config::get_all().map_or(9, |all| some(all.len())),
            b'O' => match store::open(&self.text(program)) {
                Ok(bucket) if self.buckets.len() < MAX_KEPT => {
                    self.buckets.push(bucket);
                    0
                }
                opened => kept(opened.map(drop)),
            },
            b'D' => drop_one(&mut self.buckets, program),
            _ => self.in_bucket(call, program),
        }
    }

    /// One bucket of the store.
    fn in_bucket(&mut self, call: u8, program: &mut Program<'_>) -> u8 {
        if self.buckets.is_empty() {
            return 99;
        }
        let bucket = &self.buckets[usize::from(program.byte()) % self.buckets.len()];
        match call {
            b'G' => match bucket.get(&self.text(program)) {
                Ok(value) => 10 + u8::from(value.is_some()),
                Err(error) => kept::<()>(Err(error)),
            },
            b'P' => {
                let (key, value) = (self.text(program), program.bytes());
                let set = bucket.set(&key, &value);
                let is_set =
                    set.is_err() || matches!(bucket.get(&key), Ok(Some(it)) if it == value);
                promise(is_set, "what is kept is there");
                kept(set)
            }
            b'X' => {
                let key = self.text(program);
                let deleted = bucket.delete(&key);
                let is_gone = deleted.is_err() || matches!(bucket.exists(&key), Ok(false));
                promise(is_gone, "what is deleted is gone");
                kept(deleted)
            }
            b'Q' => kept(bucket.exists(&self.text(program))),
            b'L' => {
                let cursor = match program.byte() {
                    b'0' => None,
                    b'+' => self.cursor,
                    _ => Some(program.number()),
                };
                match bucket.list_keys(cursor) {
                    Ok(page) => {
                        self.cursor = page.cursor;
                        10 + u8::from(page.cursor.is_some())
                    }
                    Err(error) => kept::<()>(Err(error)),
                }
            }
            b'I' => kept(atomics::increment(
                bucket,
                &self.text(program),
                program.number(),
            )),
            b'K' => kept(batch::get_many(bucket, &self.texts(program))),
            b'W' => {
                let pairs: Vec<_> = (0..program.count())
                    .map(|_| (self.text(program), program.bytes()))
                    .collect();
                kept(batch::set_many(bucket, &pairs))
            }
            _ => kept(batch::delete_many(bucket, &self.texts(program))),
        }
    }

    /// WASI, memory, handles that are made up, and ends that nobody wants.
    fn odd(&mut self, call: u8, program: &mut Program<'_>) -> u8 {
        match call {
            b'0' => (monotonic_clock::now() > 0).into(),
            b'1' => (wall_clock::now().seconds > 0).into(),
            b'2' => some(random::get_random_bytes(program.size()).len()),
            b'3' => some(insecure::get_insecure_random_bytes(program.size()).len()),
            b'4' => {
                let timer = monotonic_clock::subscribe_duration(program.number());
                if self.timers.len() < MAX_KEPT {
                    self.timers.push(timer);
                }
                0
            }
            b'5' => self.timers.iter().filter(|timer| timer.ready()).count() as u8,
            b'6' => drop_one(&mut self.timers, program),
            // A wait that is over soon: the deadline has tests of its own.
            b'7' => {
                monotonic_clock::subscribe_duration(100_000).block();
                0
            }
            b'8' => {
                print!("{}", self.text(program));
                0
            }
            b'9' => {
                eprintln!("{}", self.text(program));
                0
            }
            b'[' => {
                let size = program.size() as usize;
                self.hoard.push(vec![1; size]);
                0
            }
            b']' => drop_one(&mut self.hoard, program),
            b'&' => {
                self.parting = program.rest().to_vec();
                0
            }
            b'(' => made_up(program),
            b'!' => core::arch::wasm32::unreachable(),
            b'@' => std::process::exit(program.count() as i32),
            _ => 0,
        }
    }

    fn text(&self, program: &mut Program<'_>) -> String {
        String::from_utf8_lossy(&program.text(&self.ids)).into_owned()
    }

    fn texts(&self, program: &mut Program<'_>) -> Vec<String> {
        (0..program.count()).map(|_| self.text(program)).collect()
    }
}

/// Uses a handle that may never have been given to it.
fn made_up(program: &mut Program<'_>) -> u8 {
    let handle = program.byte().into();
    // SAFETY: the host has to cope with any number; nothing in here depends on it.
    unsafe {
        match program.byte() % 4 {
            0 => some(Socket::from_handle(handle).id().len()),
            1 => {
                drop(Socket::from_handle(handle));
                0
            }
            2 => kept(store::Bucket::from_handle(handle).exists("a")),
            _ => some(http::Context::from_handle(handle).path().len()),
        }
    }
}

fn message(program: &mut Program<'_>) -> Message {
    match program.byte() {
        b'b' => Message::Binary(program.bytes()),
        _ => Message::Text(String::from_utf8_lossy(&program.bytes()).into_owned()),
    }
}

fn drop_one<T>(kept: &mut Vec<T>, program: &mut Program<'_>) -> u8 {
    let named = usize::from(program.byte());
    if kept.is_empty() {
        return 0;
    }
    drop(kept.swap_remove(named % kept.len()));
    1
}

fn some(count: usize) -> u8 {
    (count > 0).into()
}

fn sent<T>(outcome: Result<T, sockets::SocketError>) -> u8 {
    outcome.map_or_else(|error| 1 + error as u8, |_| 0)
}

fn told<T>(outcome: Result<T, ulak::Error>) -> u8 {
    match outcome {
        Ok(_) => 0,
        Err(error) => {
            is_short(&error);
            1 + error.code as u8
        }
    }
}

/// A path has 256 bytes at most, and what is none is cut. What is said of it is no longer than some lines.
fn is_short(error: &ulak::Error) {
    let namespace = error.namespace.as_ref().map_or(0, String::len);
    promise(namespace <= 256, "an error names no more than a path");
    promise(error.message.len() <= 2000, "an error is some lines");
}

fn in_bulk(result: ulak::BulkResult) -> u8 {
    let errors = result.results.iter().filter_map(|it| it.as_ref().err());
    let failed = errors.inspect(|error| is_short(error)).count();
    let all = (result.succeeded + result.failed) as usize;
    let counted = failed == result.failed as usize && all == result.results.len();
    promise(counted, "the results of a bulk are counted");
    some(failed) + 2 * some(all - failed)
}

fn kept<T>(outcome: Result<T, store::Error>) -> u8 {
    match outcome {
        Ok(_) => 0,
        Err(store::Error::NoSuchStore) => 1,
        Err(store::Error::AccessDenied) => 2,
        Err(store::Error::Other(why)) => {
            promise(why.len() <= 2000, "an error is some lines");
            3 + (why.len() % 16) as u8
        }
    }
}

export!(Driven);
