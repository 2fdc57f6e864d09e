//! The healthy neighbour under load: connections that send at a steady pace, whatever the server does.
//!
//! The load is open: each message is due at a time that was fixed before, and its latency is counted from then. So a
//! server that stalls for a second is charged with all the messages of that second, and not with the one that waited.
//! One thread does all of it with `ppoll`, whose timeout is exact to the microsecond, and takes a hundredth of a core.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tulpar_tests::{Opcode, PATIENCE, Raw, frame};

use crate::figures::Figures;

const CONNECTIONS: usize = 16;

/// One message every so often, from one connection after the other: each sends 50 a second.
const PACE: Duration = Duration::from_micros(1_250);

/// Each connection's messages come back to it, but for every so manieth, which goes to the room.
const ROOM_EVERY: u64 = 20;

/// The length that messages are filled up to.
const LENGTH: usize = 64;

/// What is measured apart.
#[derive(Clone, Copy, Debug)]
pub enum Phase {
    /// Until the connections are warm; not reported.
    WarmUp,
    /// Alone, before the attack.
    Before,
    /// During the attack.
    Under,
    /// Alone, after it.
    After,
}

const PHASES: usize = 4;

/// What came of the neighbour.
#[derive(Default, Debug)]
pub struct Measured {
    phases: [Figures; PHASES],
    /// Messages that came after one that was sent later, or came twice.
    pub reordered: u64,
    /// The first message that nobody of the neighbour's had sent.
    pub stranger: Option<String>,
    /// How the first of its connections that ended did so.
    pub ended: Option<String>,
}

impl Measured {
    /// The figures of a phase.
    pub fn phase(&self, phase: Phase) -> &Figures {
        &self.phases[phase as usize]
    }
}

/// The neighbour's load, on a thread of its own.
pub struct Neighbour {
    /// The ids of its sockets.
    pub ids: Vec<String>,
    phase: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Measured>,
}

impl Neighbour {
    /// Connects and begins to send.
    pub fn begin(address: SocketAddr, path: &str) -> Self {
        let mut connections: Vec<_> = std::iter::repeat_with(|| Connection::open(address, path))
            .take(CONNECTIONS)
            .collect();
        let ids = connections.iter_mut().map(Connection::ask_id).collect();
        let phase = Arc::new(AtomicUsize::new(Phase::WarmUp as usize));
        let stop = Arc::new(AtomicBool::new(false));
        let load = Load {
            connections,
            phase: Arc::clone(&phase),
            stop: Arc::clone(&stop),
            starts: Vec::new(),
            measured: Measured::default(),
        };
        Self {
            ids,
            phase,
            stop,
            thread: thread::spawn(|| load.run()),
        }
    }

    /// What is due from now on belongs to this phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as usize, Ordering::Relaxed);
    }

    /// Stops sending, waits for what is still under way, and gives what was measured.
    pub fn finish(self) -> Measured {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load does not panic")
    }
}

struct Load {
    connections: Vec<Connection>,
    phase: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    /// The first message of each phase, in order.
    starts: Vec<(u64, usize)>,
    measured: Measured,
}

impl Load {
    fn run(mut self) -> Measured {
        prefer_this_thread();
        let begun = Instant::now();
        let mut next = 0;
        let mut stopped = None;
        loop {
            if stopped.is_none() {
                while due(begun, next) <= Instant::now() {
                    self.send(next);
                    next += 1;
                }
                if self.stop.load(Ordering::Relaxed) {
                    stopped = Some(Instant::now());
                }
            }
            let wait = match stopped {
                None => due(begun, next).saturating_duration_since(Instant::now()),
                Some(at) if at.elapsed() > PATIENCE || self.is_complete() => break,
                Some(_) => Duration::from_millis(20),
            };
            self.receive(begun, wait);
        }
        self.measured
    }

    fn send(&mut self, number: u64) {
        let phase = self.phase.load(Ordering::Relaxed);
        if self.starts.last().is_none_or(|(_, last)| *last != phase) {
            self.starts.push((number, phase));
        }
        let figures = &mut self.measured.phases[phase];
        figures.sent += 1;
        figures.expected += if is_for_room(number) {
            CONNECTIONS as u64
        } else {
            1
        };
        let kind = if is_for_room(number) { 'r' } else { 'e' };
        let text = format!("{kind}{number} ");
        let text = format!("{text:.<LENGTH$}");
        let connection = &mut self.connections[sender(number)];
        connection.write(&frame(Opcode::Text, text.as_bytes()).bytes());
        self.note_end(sender(number));
    }

    /// Waits for something to arrive or the time to be up, and takes what has.
    fn receive(&mut self, begun: Instant, wait: Duration) {
        let mut polled: Vec<_> = self
            .connections
            .iter()
            .filter(|connection| connection.ended.is_none())
            .map(|connection| PollFd::new(&connection.stream, PollFlags::IN))
            .collect();
        let timeout = Timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: wait.subsec_nanos().into(),
        };
        // When a signal interrupts it, the next round comes all the sooner.
        if poll(&mut polled, Some(&timeout)).is_ok_and(|ready| ready > 0) {
            for receiver in 0..self.connections.len() {
                while let Some(text) = self.connections[receiver].next_text() {
                    self.arrived(begun, receiver, &text);
                }
                self.note_end(receiver);
            }
        }
    }

    fn arrived(&mut self, begun: Instant, receiver: usize, text: &str) {
        let number = text
            .strip_prefix(['e', 'r'])
            .and_then(|rest| rest.trim_end_matches('.').trim_end().parse::<u64>().ok());
        let Some(number) = number.filter(|_| text.len() == LENGTH) else {
            self.measured
                .stranger
                .get_or_insert_with(|| text.chars().take(100).collect());
            return;
        };
        let latest = &mut self.connections[receiver].latest[sender(number)];
        if latest.is_some_and(|latest| number <= latest) {
            self.measured.reordered += 1;
            return;
        }
        *latest = Some(number);
        let started = self.starts.iter().rev();
        let phase = started.clone().find(|(first, _)| *first <= number);
        if let Some((_, phase)) = phase {
            let latency = due(begun, number).elapsed();
            self.measured.phases[*phase].arrived(latency);
        }
    }

    fn note_end(&mut self, connection: usize) {
        if let Some(how) = &self.connections[connection].ended {
            self.measured.ended.get_or_insert_with(|| how.clone());
        }
    }

    fn is_complete(&self) -> bool {
        self.measured.phases.iter().all(|phase| phase.lost() == 0)
    }
}

fn due(begun: Instant, number: u64) -> Instant {
    begun + PACE * u32::try_from(number).expect("nobody waits for days")
}

fn sender(number: u64) -> usize {
    (number % CONNECTIONS as u64) as usize
}

fn is_for_room(number: u64) -> bool {
    (number / CONNECTIONS as u64) % ROOM_EVERY == ROOM_EVERY - 1
}

/// The load stands for clients on other machines, whose processors an attack on this one does not take. Where it may, it
/// goes before other threads: in real time, for which `chrt` has to be there, or else by a better `nice`. Without that right
/// it is measured worse.
fn prefer_this_thread() {
    let this = rustix::thread::gettid();
    let first = Command::new("chrt")
        .args(["--rr", "--pid", "1", &this.as_raw_nonzero().to_string()])
        .stderr(Stdio::null())
        .status();
    if !first.is_ok_and(|status| status.success()) {
        let _ = rustix::process::setpriority_process(Some(this), -10);
    }
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    /// The number of the last message from each connection.
    latest: [Option<u64>; CONNECTIONS],
    ended: Option<String>,
}

impl Connection {
    fn open(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        let mut connection = Self {
            stream,
            read: Vec::new(),
            latest: [None; CONNECTIONS],
            ended: None,
        };
        connection.write(&Raw::upgrade_request(path));
        let head = loop {
            let end = connection
                .read
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                break connection.read.drain(..end + 4).collect::<Vec<_>>();
            }
            connection.fill();
            assert!(connection.ended.is_none(), "{:?}", connection.ended);
        };
        let head = String::from_utf8_lossy(&head);
        assert!(head.starts_with("HTTP/1.1 101"), "the neighbour got {head}");
        connection
    }

    fn ask_id(&mut self) -> String {
        self.write(&frame(Opcode::Text, b"id").bytes());
        let id = loop {
            if let Some(id) = self.frame() {
                break id;
            }
            self.fill();
            assert!(self.ended.is_none(), "{:?}", self.ended);
        };
        self.stream
            .set_nonblocking(true)
            .expect("a socket can be made so");
        id
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.ended.is_some() {
            return;
        }
        // So little is sent that the kernel takes it, unless the server has read nothing for minutes.
        if let Err(error) = self.stream.write_all(bytes) {
            self.ended = Some(format!("a message could not be sent: {error}"));
        }
    }

    fn next_text(&mut self) -> Option<String> {
        if let Some(text) = self.frame() {
            return Some(text);
        }
        while self.ended.is_none() && self.fill() {
            if let Some(text) = self.frame() {
                return Some(text);
            }
        }
        None
    }

    /// Reads some bytes; false when there are none at the moment.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = Some("the connection ended".to_owned()),
            Ok(read) => self.read.extend(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => self.ended = Some(format!("the connection broke: {error}")),
        }
        true
    }

    /// The next text that has been read whole. A close frame ends the connection; pings are not answered, for within the
    /// time of a row there is none.
    fn frame(&mut self) -> Option<String> {
        loop {
            let (first, second) = (*self.read.first()?, *self.read.get(1)?);
            let (start, length) = match second {
                126 => {
                    let length = self.read.get(2..4)?;
                    (4, usize::from(u16::from_be_bytes([length[0], length[1]])))
                }
                127 => {
                    self.ended = Some("a frame over 64 KiB came".to_owned());
                    return None;
                }
                length => (2, usize::from(length)),
            };
            let payload = self.read.get(start..start + length)?.to_vec();
            self.read.drain(..start + length);
            match first & 0x0f {
                opcode if opcode == Opcode::Close as u8 => {
                    let code = payload
                        .get(..2)
                        .map(|code| u16::from_be_bytes([code[0], code[1]]));
                    self.ended = Some(format!("the server closed it with {code:?}"));
                    return None;
                }
                opcode if opcode == Opcode::Text as u8 || opcode == Opcode::Binary as u8 => {
                    return Some(String::from_utf8_lossy(&payload).into_owned());
                }
                _ => (),
            }
        }
    }
}
