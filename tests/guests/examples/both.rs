//! One component that is a namespace and the middleware that it lists.

#![allow(unsafe_code, reason = "the bindings that wit-bindgen makes")]
#![cfg(target_family = "wasm")]

wit_bindgen::generate!({
    world: "tulpar:test-guests/both",
    path: ["../../wit", "wit"],
    generate_all,
});

use exports::tulpar::plugin::{middleware_handler, namespace_handler};
use middleware_handler::{Context, Verdict};
use namespace_handler::{CloseEvent, Message, Socket};

struct Both;

impl namespace_handler::Guest for Both {
    fn describe() -> namespace_handler::Descriptor {
        namespace_handler::Descriptor {
            path: "/both".into(),
            name: "Both".into(),
            middlewares: vec!["both".into()],
            protocols: Vec::new(),
        }
    }

    fn on_open(_socket: &Socket) -> Result<(), String> {
        Ok(())
    }

    fn on_message(socket: &Socket, message: Message) -> Result<(), String> {
        socket.send(&message).map_err(|error| format!("{error:?}"))
    }

    fn on_close(_socket: &Socket, _event: CloseEvent) -> Result<(), String> {
        Ok(())
    }
}

impl middleware_handler::Guest for Both {
    fn describe() -> middleware_handler::Descriptor {
        middleware_handler::Descriptor {
            name: "both".into(),
        }
    }

    fn handle(context: &Context) -> Result<Verdict, String> {
        context.set_response_header("x-passed", b"both")?;
        Ok(Verdict::Next)
    }
}

export!(Both);
