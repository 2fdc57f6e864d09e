//! `/echo` and `/room` as the bench plugins have them, but compiled into the host: what they cost more as plugins is
//! what the sandbox costs. It prints the address it serves on, as `tulpar serve` does, and serves until it is
//! killed.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tulpar_runtime::app::threads;
use tulpar_runtime::config::Config;
use tulpar_runtime::hub::{self, Audience, Frame, Socket};
use tulpar_runtime::ids::NodeId;
use tulpar_runtime::namespace::{Namespace, NativeHandler};
use tulpar_runtime::net::router::Router;
use tulpar_runtime::net::{self, Server};
use tulpar_runtime::plugin::Event;
use tulpar_runtime::quota::Account;

/// Sends each message back.
struct Echo;

impl NativeHandler for Echo {
    fn handle(&self, _: &hub::Namespace, socket: &Arc<Socket>, event: Event<'_>) {
        if let Event::Message(message) = event {
            let _ = socket.send(Frame::message(message));
        }
    }
}

/// Sends each message to everybody, the sender included.
struct Room;

impl NativeHandler for Room {
    fn handle(&self, sockets: &hub::Namespace, socket: &Arc<Socket>, event: Event<'_>) {
        let room = Audience::Room {
            name: "room",
            except: None,
        };
        match event {
            Event::Open => _ = sockets.join(socket, "room"),
            Event::Message(message) => _ = sockets.deliver(room, &Frame::message(message)),
            Event::Drained | Event::Close(_) | Event::CloseLate(_) => {}
        }
    }
}

fn main() -> anyhow::Result<()> {
    let config = Config::load(None, std::env::vars())?;
    threads()?.block_on(async {
        let mut router = Router::default();
        let handlers: [(&str, Box<dyn NativeHandler>); 2] =
            [("/echo", Box::new(Echo)), ("/room", Box::new(Room))];
        for (path, handler) in handlers {
            let sockets =
                hub::Namespace::new(None, path.into(), &config.limits, Account::unbounded());
            let settings = Arc::new(config.terms(None, "native"));
            let namespace = Namespace::native(sockets, handler, settings);
            router.mount(namespace, Vec::new(), None);
        }
        let server = Arc::new(Server::new(NodeId::random()?, &config, router));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("listening on http://{}", listener.local_addr()?);
        let (busy, _idle) = tokio::sync::mpsc::channel(1);
        net::accept(server, listener.into(), busy, std::future::pending()).await;
        Ok(())
    })
}
