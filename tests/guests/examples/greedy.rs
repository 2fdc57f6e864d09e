//! A good namespace, but for an import that no host offers.

#![allow(unsafe_code, reason = "the bindings that wit-bindgen makes")]
#![cfg(target_family = "wasm")]

wit_bindgen::generate!({
    world: "tulpar:test-guests/greedy",
    path: ["../../wit", "wit"],
    generate_all,
});

use crate::tulpar::test_guests::disk;
use exports::tulpar::plugin::namespace_handler::{CloseEvent, Descriptor, Guest, Message, Socket};

struct Greedy;

impl Guest for Greedy {
    fn describe() -> Descriptor {
        Descriptor {
            path: "/greedy".into(),
            name: "Greedy".into(),
            middlewares: Vec::new(),
            protocols: Vec::new(),
        }
    }

    fn on_open(_socket: &Socket) -> Result<(), String> {
        Ok(())
    }

    fn on_message(socket: &Socket, _message: Message) -> Result<(), String> {
        let loot = disk::read("/etc/passwd");
        socket
            .send(&Message::Binary(loot))
            .map_err(|error| format!("{error:?}"))
    }

    fn on_close(_socket: &Socket, _event: CloseEvent) -> Result<(), String> {
        Ok(())
    }
}

export!(Greedy);
