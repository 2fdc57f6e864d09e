//! Connections that are only there. What comes to them waits until they are gone.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_linger;

use crate::handshake;

/// Connections that are open for as long as this is there.
#[derive(Debug, Default)]
pub struct Held(Vec<TcpStream>);

impl Held {
    /// Opens one more. It says what is to be said, and has each answer before it says the next.
    ///
    /// # Errors
    /// It cannot be opened, or something is not answered.
    pub fn open(&mut self, address: SocketAddr, path: &str, said: &[String]) -> Result<()> {
        let number = self.0.len() + 1;
        let opened = || -> Result<_> {
            let (mut stream, _) = handshake::open(address, path)?;
            for text in said {
                handshake::ask(&mut stream, text)?;
            }
            Ok(stream)
        };
        let stream = opened().with_context(|| format!("connection {number}"))?;
        set_socket_linger(&stream, Some(Duration::ZERO))?;
        self.0.push(stream);
        Ok(())
    }
}
