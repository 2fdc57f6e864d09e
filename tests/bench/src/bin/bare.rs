//! The bare loops as a server: prints where it listens, and serves until it is killed.

use std::net::TcpListener;

use anyhow::Result;
use rustix::net::listen;

fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // The standard library's backlog is 128, and the generator opens connections faster.
    listen(&listener, 4096)?;
    println!("listening on http://{}", listener.local_addr()?);
    tulpar_bench::bare::serve(listener)
}
