//! A namespace that replaces another, written against the contract itself, with the descriptor that a test writes into
//! its file. All sockets are in the room `all`. A message is answered with the generation that the test gave, how many
//! messages this instance has seen, and the text; after `publish` the others in the room get the same. `reload` says
//! what comes of a replacement.

#![allow(unsafe_code, reason = "the bindings that wit-bindgen makes")]
#![cfg(target_family = "wasm")]

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tulpar_test_guests::mould::{self, Reload};

wit_bindgen::generate!({
    world: "tulpar:test-guests/reloaded",
    path: ["../../wit", "wit"],
    generate_all,
});

use crate::tulpar::plugin::types::SocketError;
use crate::tulpar::plugin::{rooms, sockets};
use exports::tulpar::plugin::{namespace_handler, reload_hook};
use namespace_handler::{CloseEvent, Descriptor, Message, Socket};

/// The room that all sockets are in.
const ALL: &str = "all";

static BLOB: [u8; mould::LENGTH] = mould::blank();

/// How many messages this instance has seen.
static SEEN: AtomicU32 = AtomicU32::new(0);

struct Reloaded;

impl namespace_handler::Guest for Reloaded {
    fn describe() -> Descriptor {
        let moulded = mould::read(&BLOB);
        mould::misbehave(&moulded);
        let mould::Descriptor {
            path,
            name,
            middlewares,
            protocols,
            ..
        } = moulded;
        Descriptor {
            path,
            name,
            middlewares,
            protocols,
        }
    }

    fn on_open(socket: &Socket) -> Result<(), String> {
        socket.subscribe(ALL).map_err(refused)
    }

    fn on_message(socket: &Socket, message: Message) -> Result<(), String> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        let answer = said(&json!({
            "generation": mould::read(&BLOB).generation,
            "seen": SEEN.fetch_add(1, Ordering::Relaxed) + 1,
            "text": text,
        }));
        if text == "publish" {
            socket.publish(ALL, &answer).map_err(refused)?;
        }
        socket.send(&answer).map_err(refused)
    }

    fn on_close(_socket: &Socket, _event: CloseEvent) -> Result<(), String> {
        Ok(())
    }
}

impl reload_hook::Guest for Reloaded {
    fn on_reload() -> Result<(), String> {
        let moulded = mould::read(&BLOB);
        match moulded.reload {
            Reload::Ok => {
                let told = json!({ "reloaded": moulded.generation, "sockets": sockets::count() });
                rooms::broadcast(&said(&told)).map_err(refused)?;
                Ok(())
            }
            Reload::Error => Err("told to refuse the replacement".to_owned()),
            Reload::Trap => panic!("told to trap"),
            Reload::Loop => loop {
                spin_loop();
            },
        }
    }
}

fn said(value: &Value) -> Message {
    Message::Text(value.to_string())
}

fn refused(error: SocketError) -> String {
    format!("{error:?}")
}

export!(Reloaded);
