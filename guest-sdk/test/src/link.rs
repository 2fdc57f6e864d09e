//! A client's end of a connection.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message as Frame, WebSocket};

use crate::Message;

/// What ended a connection without a closing handshake (RFC 6455, section 7.1.5).
const BROKEN_OFF: u16 = 1006;
/// A close frame said no code (the same).
const NO_CODE: u16 = 1005;

/// A client's end of a connection.
pub(crate) struct Link {
    /// None once it has ended.
    socket: Option<WebSocket<Counted>>,
    received: VecDeque<Message>,
    /// How the server has closed it.
    closed: Option<(u16, String)>,
    /// Whether the client has closed it before.
    closing: bool,
    /// Whether what comes is left unread.
    pub(crate) is_deaf: bool,
}

impl Link {
    /// The client's end of a stream that has been upgraded; `received` is what was read behind the response.
    pub(crate) fn new(stream: UnixStream, received: Vec<u8>) -> Self {
        let any = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        let stream = Counted { stream, moved: 0 };
        let socket = WebSocket::from_partially_read(stream, received, Role::Client, Some(any));
        Self {
            socket: Some(socket),
            received: VecDeque::new(),
            closed: None,
            closing: false,
            is_deaf: false,
        }
    }

    /// Reads what has come, answers pings and close frames, and writes what could not be written before. Returns whether
    /// any bytes went either way.
    pub(crate) fn pump(&mut self) -> bool {
        let Some(socket) = &mut self.socket else {
            return false;
        };
        let before = socket.get_ref().moved;
        let ended = loop {
            if self.is_deaf {
                break end(socket.flush());
            }
            match socket.read() {
                Ok(Frame::Text(text)) => self.received.push_back(text.as_str().into()),
                Ok(Frame::Binary(bytes)) => self.received.push_back(Message::Binary(bytes.into())),
                Ok(Frame::Close(frame)) if !self.closing => {
                    let said = frame.map(|it| (it.code.into(), it.reason.as_str().to_owned()));
                    self.closed = Some(said.unwrap_or((NO_CODE, String::new())));
                }
                Ok(_) => {}
                Err(error) => break end(Err(error)) || end(socket.flush()),
            }
        };
        let moved = socket.get_ref().moved != before;
        if ended {
            self.socket = None;
            if !self.closing && self.closed.is_none() {
                self.closed = Some((BROKEN_OFF, String::new()));
            }
        }
        moved || ended
    }

    /// Sends a message. Returns whether the connection is still open.
    pub(crate) fn send(&mut self, message: Message) -> bool {
        let frame = match message {
            Message::Text(text) => Frame::text(text),
            Message::Binary(bytes) => Frame::binary(bytes),
        };
        let socket = self.socket.as_mut().filter(|socket| socket.can_write());
        // What is not written at once is when the server has read.
        socket.is_some_and(|socket| !end(socket.send(frame)))
    }

    /// Begins the closing handshake; no code: an empty close frame.
    pub(crate) fn close(&mut self, code: Option<u16>, reason: &str) {
        if let Some(socket) = &mut self.socket
            && self.closed.is_none()
        {
            self.closing = true;
            let frame = code.map(|code| CloseFrame {
                code: CloseCode::from(code),
                reason: reason.to_owned().into(),
            });
            let _ = socket.close(frame);
            let _ = socket.flush();
        }
    }

    /// Ends the connection without a word.
    pub(crate) fn break_off(&mut self) {
        self.closing = true;
        self.socket = None;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.socket.is_some() && self.closed.is_none() && !self.closing
    }

    pub(crate) fn closed(&self) -> Option<(u16, String)> {
        self.closed.clone()
    }

    pub(crate) fn received(&mut self) -> &mut VecDeque<Message> {
        &mut self.received
    }
}

/// Whether that was the end of the connection.
fn end(outcome: tungstenite::Result<()>) -> bool {
    match outcome {
        Ok(()) => false,
        Err(tungstenite::Error::Io(error)) => error.kind() != io::ErrorKind::WouldBlock,
        Err(_) => true,
    }
}

/// A stream that counts what goes over it.
struct Counted {
    stream: UnixStream,
    moved: u64,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(into)?;
        self.moved += read as u64;
        Ok(read)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes)?;
        self.moved += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
