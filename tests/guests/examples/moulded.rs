//! A namespace written against the contract itself, with the descriptor that a test writes into its file.
//! It echoes; `values:TEXT` sets the socket's values to any text at all and answers how that went.

#![allow(unsafe_code, reason = "the bindings that wit-bindgen makes")]
#![cfg(target_family = "wasm")]

use tulpar_test_guests::mould;

wit_bindgen::generate!({ world: "namespace", path: "../../wit", generate_all });

use exports::tulpar::plugin::namespace_handler::{CloseEvent, Descriptor, Guest, Message, Socket};

static BLOB: [u8; mould::LENGTH] = mould::blank();

struct Moulded;

impl Guest for Moulded {
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

    fn on_open(_socket: &Socket) -> Result<(), String> {
        Ok(())
    }

    fn on_message(socket: &Socket, message: Message) -> Result<(), String> {
        let reply = match &message {
            Message::Text(text) => match text.split_once(':') {
                Some(("values", json)) => Message::Text(format!("{:?}", socket.set_values(json))),
                Some(("read", _)) => Message::Text(socket.values().unwrap_or("none".to_owned())),
                _ => message,
            },
            Message::Binary(_) => message,
        };
        socket.send(&reply).map_err(|error| format!("{error:?}"))
    }

    fn on_close(_socket: &Socket, _event: CloseEvent) -> Result<(), String> {
        Ok(())
    }
}

export!(Moulded);
