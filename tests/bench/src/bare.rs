//! Two loops without a server around them: what remains when everything but the system calls is left out.
//!
//! On /echo the messages of one read go back in one write. On /room each message is made a frame once, and those bytes
//! are written to every socket of the room, one write each. /room-batched is the same room, but what one read brought
//! goes to each socket in one write, which shows what there is to gain when several messages are in flight.
//! There is no scheduler, no task, no outbox and no limit, and nothing but whole text frames is understood: this is a
//! measure, not something to serve with.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::handshake;
use crate::message::{Frame, frame, mask, server_frame};

const LISTENER: u64 = u64::MAX;

/// Serves a listener until something goes wrong.
///
/// # Errors
/// A client sends what the load generator does not, or reads too slowly.
pub fn serve(listener: TcpListener) -> Result<()> {
    let mut bare = Bare::new(listener)?;
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        epoll::wait(&bare.epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            match event.data.u64() {
                LISTENER => bare.accept()?,
                socket => bare.read(socket as usize)?,
            }
        }
    }
}

struct Bare {
    epoll: OwnedFd,
    listener: TcpListener,
    sockets: Vec<Option<Socket>>,
    /// The sockets of the room.
    room: Vec<usize>,
    buffer: Vec<u8>,
    /// What one read is answered with.
    answer: Vec<u8>,
}

struct Socket {
    stream: TcpStream,
    kind: Kind,
    /// The beginning of a frame whose rest has not come.
    partial: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Echo,
    Room,
    RoomBatched,
}

impl Bare {
    fn new(listener: TcpListener) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            epoll::EventData::new_u64(LISTENER),
            epoll::EventFlags::IN,
        )?;
        Ok(Self {
            epoll,
            listener,
            sockets: Vec::new(),
            room: Vec::new(),
            buffer: vec![0; 256 * 1024],
            answer: Vec::new(),
        })
    }

    fn accept(&mut self) -> Result<()> {
        let (mut stream, _) = self.listener.accept()?;
        let (path, rest) = handshake::accept(&mut stream)?;
        ensure!(
            rest.is_empty(),
            "a client that does not wait for the answer"
        );
        stream.set_nonblocking(true)?;
        let id = self.sockets.len();
        epoll::add(
            &self.epoll,
            &stream,
            epoll::EventData::new_u64(id as u64),
            epoll::EventFlags::IN,
        )?;
        let kind = match path.as_str() {
            "/echo" => Kind::Echo,
            "/room" => Kind::Room,
            "/room-batched" => Kind::RoomBatched,
            other => bail!("a client asks for {other}"),
        };
        if kind != Kind::Echo {
            self.room.push(id);
        }
        self.sockets.push(Some(Socket {
            stream,
            kind,
            partial: Vec::new(),
        }));
        Ok(())
    }

    fn read(&mut self, id: usize) -> Result<()> {
        let Some(socket) = &mut self.sockets[id] else {
            return Ok(());
        };
        let kept = socket.partial.len();
        self.buffer[..kept].copy_from_slice(&socket.partial);
        socket.partial.clear();
        let end = match socket.stream.read(&mut self.buffer[kept..]) {
            Ok(length @ 1..) => kept + length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => kept,
            Ok(0) | Err(_) => {
                self.room.retain(|member| *member != id);
                self.sockets[id] = None;
                return Ok(());
            }
        };
        let kind = socket.kind;
        let mut at = 0;
        while let Some(Frame {
            start, end: length, ..
        }) = frame(&self.buffer[at..end], true)?
        {
            let (head, payload) = self.buffer[at..at + length].split_at_mut(start);
            mask(
                payload,
                *head.last_chunk().context("a frame without a key")?,
            );
            server_frame(payload, &mut self.answer);
            at += length;
            if kind == Kind::Room {
                self.answer_room()?;
            }
        }
        if let Some(socket) = &mut self.sockets[id] {
            socket.partial.extend_from_slice(&self.buffer[at..end]);
            match kind {
                _ if self.answer.is_empty() => {}
                Kind::Echo => {
                    write(&socket.stream, &self.answer)?;
                    self.answer.clear();
                }
                Kind::Room | Kind::RoomBatched => self.answer_room()?,
            }
        }
        Ok(())
    }

    fn answer_room(&mut self) -> Result<()> {
        for socket in self
            .room
            .iter()
            .filter_map(|member| self.sockets[*member].as_ref())
        {
            write(&socket.stream, &self.answer)?;
        }
        self.answer.clear();
        Ok(())
    }
}

/// The load bounds what is in flight, so that it always fits into what the kernel holds for a socket.
fn write(mut stream: &TcpStream, bytes: &[u8]) -> Result<()> {
    match stream.write(bytes) {
        Ok(written) if written == bytes.len() => Ok(()),
        Ok(_) => bail!("a client reads too slowly for a server without an outbox"),
        // It has gone, which its own event will say.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(error).context("cannot write to a socket"),
    }
}
