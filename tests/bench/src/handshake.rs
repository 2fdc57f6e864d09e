//! The opening handshake, as short as it can be. No figure contains it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::message::{client_frame, frame};

/// The key and its answer from RFC 6455, section 1.3. With one key for all, nobody here has to compute a hash.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const PATIENCE: Duration = Duration::from_secs(10);

/// Opens a WebSocket. Answers the connection, still blocking, and what came behind the handshake.
///
/// # Errors
/// There is no connection, or the answer is not the right one.
pub fn open(address: SocketAddr, path: &str) -> Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )?;
    let (head, rest) = head(&mut stream).with_context(|| format!("no answer to GET {path}"))?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(
        status.starts_with("HTTP/1.1 101"),
        "GET {path} was answered: {status}"
    );
    ensure!(
        head.contains(ACCEPT),
        "GET {path}: Sec-WebSocket-Accept is not {ACCEPT}"
    );
    Ok((stream, rest))
}

/// Sends a text on a connection that [`open`] has opened, and waits for the one message that answers it.
///
/// # Errors
/// Something else comes, or nothing.
pub fn ask(stream: &mut TcpStream, text: &str) -> Result<()> {
    stream.write_all(&client_frame(text))?;
    let mut got = Vec::new();
    let mut buffer = [0; 1024];
    while frame(&got, false)?.is_none() {
        match stream.read(&mut buffer)? {
            0 => bail!("the connection ended before `{text}` was answered"),
            length => got.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(())
}

/// Answers a client's opening handshake. Answers the path that it asked for, and what came behind its request.
///
/// # Errors
/// The request is not one that [`open`] makes.
pub fn accept(stream: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (head, rest) = head(stream)?;
    ensure!(
        head.contains(KEY),
        "a client that is not the load generator"
    );
    let path = head.split(' ').nth(1).context("a request without a path")?;
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    )?;
    Ok((path.to_owned(), rest))
}

fn head(stream: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    let mut got = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => bail!("the connection ended during the handshake"),
            Ok(length) => got.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                bail!("the handshake took longer than {PATIENCE:?}")
            }
            Err(error) => return Err(error).context("the connection failed during the handshake"),
        }
        if let Some(end) = got.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = got.split_off(end + 4);
            return Ok((
                String::from_utf8(got).context("a head that is no text")?,
                rest,
            ));
        }
    }
}
