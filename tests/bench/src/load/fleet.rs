//! The connections of a load, and the loop that reads and writes them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::net::sockopt::set_socket_linger;

use super::Tally;
use crate::handshake;
use crate::message::{Frame, frame};

/// The longest that a turn waits, so that the clock is looked at.
const PATIENCE: Duration = Duration::from_millis(50);
/// The same while bytes wait for a server that does not take them.
const IMPATIENCE: Duration = Duration::from_millis(1);

/// What is sent, and what is made of what comes.
pub trait Traffic {
    /// The load begins.
    fn start(&mut self, fleet: &mut Fleet) -> Result<()>;
    /// A message has come to a client.
    fn message(&mut self, client: usize, payload: &[u8], now: Instant) -> Result<()>;
    /// What a read of a client has brought was handed over. What it sends now is appended.
    fn answer(&mut self, client: usize, now: Instant, out: &mut Vec<u8>);
    /// Every client that had something to read has read once.
    fn turned(&mut self, fleet: &mut Fleet) -> Result<()>;
    /// How long until there is something to send although nothing has come.
    fn due(&self) -> Option<Duration>;
    /// Nothing new is sent from now on.
    fn stop(&mut self);
    /// Messages that are still to come.
    fn in_flight(&self) -> u64;
    /// What was counted.
    fn tally(&mut self) -> &mut Tally;
}

/// Open connections.
pub struct Fleet {
    epoll: OwnedFd,
    clients: Vec<Client>,
    /// Clients whose socket did not take all that they had to send.
    blocked: Vec<usize>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    /// The beginning of a frame whose rest has not come.
    partial: Vec<u8>,
    /// What the socket has not taken yet.
    unsent: Vec<u8>,
}

impl Fleet {
    /// No connections yet.
    pub fn new() -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            clients: Vec::new(),
            blocked: Vec::new(),
            events: Vec::with_capacity(1024),
            buffer: vec![0; 256 * 1024],
            out: Vec::new(),
        })
    }

    /// Opens connections, one after the other, with the addresses and the paths in turn. Each says what is to be said first, and has all
    /// answers before the next one is opened.
    pub fn open(
        &mut self,
        addresses: &[SocketAddr],
        paths: &[String],
        count: usize,
        first: &[String],
    ) -> Result<()> {
        let places = addresses.iter().cycle().zip(paths.iter().cycle());
        for (address, path) in places.take(count) {
            let id = self.clients.len();
            let opened = || -> Result<_> {
                let (mut stream, partial) = handshake::open(*address, path)?;
                for first in first {
                    handshake::ask(&mut stream, first)?;
                }
                Ok((stream, partial))
            };
            let (stream, partial) =
                opened().with_context(|| format!("connection {} of {count}", id + 1))?;
            stream.set_nonblocking(true)?;
            // With nothing to linger for, no port is kept from the next load.
            set_socket_linger(&stream, Some(Duration::ZERO))?;
            epoll::add(
                &self.epoll,
                &stream,
                epoll::EventData::new_u64(id as u64),
                epoll::EventFlags::IN,
            )?;
            self.clients.push(Client {
                stream,
                partial,
                unsent: Vec::new(),
            });
        }
        Ok(())
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Sends bytes on a connection.
    pub fn send(&mut self, client: usize, bytes: &[u8]) -> Result<()> {
        let Client { stream, unsent, .. } = &mut self.clients[client];
        if !unsent.is_empty() {
            unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let written = write(stream, bytes)?;
        if written < bytes.len() {
            unsent.extend_from_slice(&bytes[written..]);
            self.blocked.push(client);
        }
        Ok(())
    }

    /// Waits for something to read, reads it, and lets the traffic answer.
    pub fn turn(&mut self, traffic: &mut impl Traffic) -> Result<()> {
        let patience = if self.blocked.is_empty() {
            PATIENCE
        } else {
            IMPATIENCE
        };
        let mut patience = timespec(patience);
        if let Some(due) = traffic.due() {
            // Unlike epoll, poll waits to the nanosecond.
            let due = timespec(due.min(PATIENCE));
            let mut ready = [PollFd::new(&self.epoll, PollFlags::IN)];
            match poll(&mut ready, Some(&due)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => patience = Timespec::default(),
                Err(error) => return Err(error).context("cannot wait for the time"),
            }
        }
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the connections"),
        }
        for event in &events {
            self.read(event.data.u64() as usize, traffic)?;
        }
        self.events = events;
        self.flush()?;
        traffic.turned(self)
    }

    fn read(&mut self, id: usize, traffic: &mut impl Traffic) -> Result<()> {
        let client = &mut self.clients[id];
        let kept = client.partial.len();
        self.buffer[..kept].copy_from_slice(&client.partial);
        client.partial.clear();
        let end = match client.stream.read(&mut self.buffer[kept..]) {
            Ok(0) => bail!("the server ended connection {id}"),
            Ok(length) => kept + length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => kept,
            Err(error) => return Err(error).with_context(|| format!("connection {id} failed")),
        };
        let now = Instant::now();
        let mut at = 0;
        while let Some(Frame {
            message,
            start,
            end: length,
        }) = frame(&self.buffer[at..end], false)?
        {
            if message {
                traffic
                    .message(id, &self.buffer[at + start..at + length], now)
                    .with_context(|| format!("on connection {id}"))?;
            }
            at += length;
        }
        client.partial.extend_from_slice(&self.buffer[at..end]);
        let mut out = std::mem::take(&mut self.out);
        traffic.answer(id, now, &mut out);
        if !out.is_empty() {
            self.send(id, &out)?;
            out.clear();
        }
        self.out = out;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        for client in std::mem::take(&mut self.blocked) {
            let unsent = std::mem::take(&mut self.clients[client].unsent);
            self.send(client, &unsent)?;
        }
        Ok(())
    }
}

/// Less than a second.
fn timespec(patience: Duration) -> Timespec {
    Timespec {
        tv_sec: 0,
        tv_nsec: patience.subsec_nanos().into(),
    }
}

fn write(mut stream: &TcpStream, bytes: &[u8]) -> Result<usize> {
    match stream.write(bytes) {
        Ok(written) => Ok(written),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error).context("cannot write to the server"),
    }
}
