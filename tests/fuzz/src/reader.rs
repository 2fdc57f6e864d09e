//! What a client sends behind its handshake: frames, put together to messages, however the network cuts them.
//!
//! An input says the bytes. A letter is a frame that a client may send at some time: `t` text, `b` binary and `c` more of
//! either, as capitals when they are unfinished, `p` a ping, `o` a pong, `x` a close frame. The length of its payload and
//! the payload follow. `z` is text and `y` binary that is compressed, the latter many times its payload; `d` is said to
//! be compressed, and its payload is not. `r` with a length is bytes as they are, `|` a place where the network pauses, and
//! any other byte is itself. The first byte says how large messages may be, and whether they may be compressed.
//!
//! The same bytes are read in several ways, and what comes of them has to be the same; without compression, it is also
//! what a reader finds that has them all at once and looks at nothing else ([`model`]).

mod model;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use flate2::{Compress, Compression, FlushCompress};
use tokio::io::{AsyncRead, ReadBuf};
use tulpar_runtime::connection::{Incoming, ProtocolError, Reader};
use tulpar_runtime::deflate::{Inflater, Side};
use tulpar_runtime::message::Message;
use tulpar_runtime::quota::Account;

use self::model::Got;
use crate::mutate::Random;
use crate::{Seen, Target, kind};

pub(crate) const TARGET: Target = Target {
    name: "reader",
    run: reader,
    words: &[
        "t\u{5}hello",
        "T\u{1}a",
        "c\u{1}b",
        "C\0",
        "C\u{2}xy",
        "b\u{3}abc",
        "B\0",
        "t\u{6}\u{20ac}\u{20ac}",
        "T\u{4}\u{1f600}",
        "p\0",
        "p\u{2}hi",
        "o\u{1}?",
        "x\0",
        "x\u{2}\u{f}\u{7f}",
        "r\u{2}\u{7f}\u{7f}",
        "z\u{5}hello",
        "Z\u{5}hello",
        "y\u{5}hello\u{7f}",
        "Y\u{1}a\u{7f}",
        "d\u{1}\0",
        "d\0",
        "|",
        "||",
        "\u{80}",
        "\u{7ff}",
        "\u{ffff}",
        "\u{10ffff}",
        "~",
        "\u{7f}",
    ],
};

/// How large messages may be, by the first byte. When it is a small letter, they may be compressed.
const LIMITS: [usize; 4] = [10, 125, 1000, 16 << 20];
/// How many times its size a message may inflate to, once it is over [`SMALL`].
const RATIO: usize = 100;
/// What a message may inflate to however small it is.
const SMALL: usize = 64 << 10;
/// What a reader may hold beside what has come: a buffer that has been used before, and room for the next read.
const ROOM: usize = 80 << 10;

/// What holds for a client.
#[derive(Clone, Copy)]
struct Terms {
    limit: usize,
    inflates: bool,
}

/// Reads the bytes in several ways.
pub fn reader(bytes: &[u8]) -> Seen {
    let (&first, said) = bytes.split_first().unwrap_or((&b'2', &[]));
    let terms = Terms {
        limit: LIMITS[usize::from(first) % LIMITS.len()],
        inflates: first.is_ascii_lowercase(),
    };
    let (wire, pauses) = encode(said);
    let expected = match terms.inflates {
        true => model::or_cut(read(&wire, &[], 0, terms)),
        false => model::read(&wire, terms.limit),
    };

    let mut random = Random::new(wire.len() as u64);
    let mut at_random = || {
        let mut cuts = vec![0; random.below(20)];
        cuts.fill_with(|| random.below(wire.len() + 1));
        cuts.sort_unstable();
        cuts
    };
    let everywhere = (0..wire.len()).collect();
    let ways = [Vec::new(), pauses, everywhere, at_random(), at_random()];
    for cuts in ways {
        for received in [0, cuts.first().copied().unwrap_or(wire.len())] {
            let got = read(&wire, &cuts, received, terms);
            assert!(
                model::is_same(&got, &expected),
                "{got:?} instead of {expected:?}, cut at {cuts:?}, {received} received"
            );
        }
    }
    expected.iter().enumerate().map(number).collect()
}

/// The bytes that an input says, and where the network pauses.
fn encode(mut said: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut wire, mut pauses) = (Vec::new(), Vec::new());
    let mut compressor = Compress::new(Compression::fast(), false);
    while let Some((&letter, rest)) = said.split_first() {
        said = rest;
        let opcode = match letter.to_ascii_lowercase() {
            b'c' => 0,
            b't' => 1,
            b'b' => 2,
            b'x' => 8,
            b'p' => 9,
            b'o' => 10,
            b'z' | b'd' => 0x41,
            b'y' => 0x42,
            b'r' => {
                wire.extend(payload(&mut said));
                continue;
            }
            b'|' => {
                pauses.push(wire.len());
                continue;
            }
            _ => {
                wire.push(letter);
                continue;
            }
        };
        let fin = if letter.is_ascii_lowercase() { 0x80 } else { 0 };
        let payload = payload(&mut said);
        match letter.to_ascii_lowercase() {
            b'z' => frame(
                &mut wire,
                fin | opcode,
                &compressed(&mut compressor, payload),
            ),
            b'y' => {
                let (&times, rest) = said.split_first().unwrap_or((&0, &[]));
                said = rest;
                let payload = payload.repeat(4 * usize::from(times));
                frame(
                    &mut wire,
                    fin | opcode,
                    &compressed(&mut compressor, &payload),
                );
            }
            _ => frame(&mut wire, fin | opcode, payload),
        }
    }
    (wire, pauses)
}

/// A masked frame whose first byte is this.
fn frame(wire: &mut Vec<u8>, first: u8, payload: &[u8]) {
    let mask = [first, 0x20, payload.len() as u8, 0x5f];
    wire.push(first);
    match payload.len() {
        len @ 0..126 => wire.push(0x80 | len as u8),
        len => {
            wire.push(0x80 | 126);
            wire.extend((len as u16).to_be_bytes());
        }
    }
    wire.extend(mask);
    wire.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
}

/// A message as a client compresses it that refers to the ones before.
fn compressed(compressor: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(message.len() + 100);
    let done = compressor.compress_vec(message, &mut output, FlushCompress::Sync);
    done.expect("anything can be compressed");
    output.truncate(output.len().saturating_sub(4));
    output
}

/// A length and so many bytes, as far as there are some.
fn payload<'a>(said: &mut &'a [u8]) -> &'a [u8] {
    let (&len, rest) = said.split_first().unwrap_or((&0, &[]));
    let (payload, rest) = rest.split_at(rest.len().min(len.into()));
    *said = rest;
    payload
}

/// A stream that gives what lies between two cuts, and pauses at each.
struct Pausing<'a> {
    wire: &'a [u8],
    cuts: &'a [usize],
    at: usize,
}

impl AsyncRead for Pausing<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some((cut, rest)) = self.cuts.split_first()
            && *cut <= self.at
        {
            self.cuts = rest;
            return Poll::Pending;
        }
        let end = self.cuts.first().copied().unwrap_or(self.wire.len());
        let end = end.min(self.at + buffer.remaining());
        buffer.put_slice(&self.wire[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

/// What a reader makes of the bytes that pause at these cuts, when so many have been read before. At each pause it is
/// interrupted, and asked again.
fn read(wire: &[u8], cuts: &[usize], received: usize, terms: Terms) -> Vec<Got> {
    let stream = Pausing {
        wire,
        cuts,
        at: received,
    };
    let client = Side {
        window_bits: 15,
        takeover: true,
    };
    let inflater = Inflater::new(client, terms.limit, RATIO);
    let inflater = terms.inflates.then(|| Box::new(inflater));
    let mut reader = Reader::new(stream, wire[..received].to_vec(), terms.limit, inflater);
    let most = most_held(wire.len(), terms);
    let mut all = Vec::new();
    loop {
        // One that has used nothing yet: nobody counts ticks here, and who is interrupted loses its turn.
        let account = Account::unbounded();
        let polled = {
            let mut cx = Context::from_waker(Waker::noop());
            match pin!(reader.next(&account)).poll(&mut cx) {
                Poll::Ready(incoming) => Some(got(incoming)),
                Poll::Pending => None,
            }
        };
        assert!(reader.held() <= most, "{} bytes", reader.held());
        let Some(got) = polled else { continue };
        let is_last = got.is_last();
        all.push(got);
        if is_last {
            return all;
        }
    }
}

/// What a reader may hold that so many bytes come to.
fn most_held(came: usize, terms: Terms) -> usize {
    let fragments = match terms.inflates {
        true => (RATIO * came).max(SMALL).min(terms.limit) + 1,
        false => terms.limit.min(came),
    };
    // A buffer that grows may double, and so may the fragments.
    ROOM + 2 * came + 2 * fragments
}

fn got(incoming: Result<Incoming<'_>, ProtocolError>) -> Got {
    match incoming {
        Ok(Incoming::Message(Message::Text(text))) => Got::Text(text.to_owned()),
        Ok(Incoming::Message(Message::Binary(bytes))) => Got::Binary(bytes.to_vec()),
        Ok(Incoming::Ping(payload)) => Got::Ping(payload.to_vec()),
        Ok(Incoming::Pong) => Got::Pong,
        Ok(Incoming::Close(code, reason)) => Got::Close(code, reason.to_owned()),
        Ok(Incoming::End) => Got::End,
        Err(error) => Got::Refused(error),
    }
}

/// What came when, roughly.
fn number((place, got): (usize, &Got)) -> u64 {
    let size = |len: usize| u64::from(usize::BITS - len.leading_zeros());
    let what = match got {
        Got::Text(text) => size(text.len()),
        Got::Binary(bytes) => 30 + size(bytes.len()),
        Got::Ping(payload) => 60 + size(payload.len()),
        Got::Pong => 90,
        Got::Close(code, _) => 91 + u64::from(code.is_some()),
        Got::End => 93,
        Got::Cut => 94,
        Got::Refused(error) => 100 + kind(&error.to_string()),
    };
    what + 1000 * place.min(4) as u64
}
