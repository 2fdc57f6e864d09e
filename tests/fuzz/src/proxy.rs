//! The header of the PROXY protocol, with which a connection from a proxy begins.

use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tulpar_runtime::transport::{HeaderError, read_header};

use crate::{Seen, Target, kind};

pub(crate) const TARGET: Target = Target {
    name: "proxy",
    run: proxy,
    words: &[
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 65535\r\n",
        "PROXY TCP6 2001:db8::7 ::1 80 443\r\n",
        "PROXY TCP6 ::ffff:192.0.2.7 ::1 80 443\r\n",
        "PROXY UNKNOWN ",
        "PROXY ",
        "TCP4 ",
        "192.0.2.7 ",
        "01 ",
        "+1 ",
        "\r\n",
        "\n",
        "\r\n\r\n\0\r\nQUIT\n",
        "\x21\x11\0\x0c",
        "\x21\x21\0\x24",
        "\x20\0\0\0",
        "\x21\x31",
        "\x02\x1c",
        "\0\0\0\0\0\0\0\0\0\0\0\0",
    ],
};

/// The longest header that is read, in bytes.
const LONGEST: usize = 536;
/// How a header of version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

type Outcome = Result<Option<IpAddr>, HeaderError>;

/// Reads the bytes as what a proxy sends first.
pub fn proxy(bytes: &[u8]) -> Seen {
    let (outcome, taken) = read(bytes);
    assert!(taken <= LONGEST, "{taken} bytes were read");
    let header = match &outcome {
        Ok(address) => {
            let header = &bytes[..taken];
            assert_eq!(taken, length(header), "what is behind a header was read");
            if let Some(address) = address {
                assert!(stands_in(header, *address), "{address} stands nowhere");
            }
            header
        }
        Err(error) => return vec![kind(&error.to_string()), taken as u64],
    };
    // What is behind it does not count, and without its end it is none.
    let mut longer = header.to_vec();
    longer.extend(b"GET / HTTP/1.1\r\n");
    let again = read(&longer);
    assert_eq!(
        (again.0.ok(), again.1),
        (outcome.as_ref().ok().copied(), taken)
    );
    for end in 0..header.len() {
        let cut = read(&header[..end]).0;
        assert!(
            matches!(cut, Err(HeaderError::Broken(_))),
            "cut at {end}: {cut:?}"
        );
    }
    let family = match outcome {
        Ok(Some(IpAddr::V4(_))) => 4,
        Ok(Some(IpAddr::V6(_))) => 6,
        _ => 0,
    };
    vec![header.starts_with(SIGNATURE).into(), family]
}

/// What is made of the bytes, and how many of them are read.
fn read(bytes: &[u8]) -> (Outcome, usize) {
    let mut left = bytes;
    let polled = {
        let reading = pin!(read_header(&mut left));
        reading.poll(&mut Context::from_waker(Waker::noop()))
    };
    let Poll::Ready(outcome) = polled else {
        panic!("it waits for what is there");
    };
    (outcome, bytes.len() - left.len())
}

/// How long a header says that it is.
fn length(header: &[u8]) -> usize {
    match header.strip_prefix(SIGNATURE) {
        Some(rest) => 16 + usize::from(u16::from_be_bytes([rest[2], rest[3]])),
        None => {
            1 + header
                .iter()
                .position(|byte| *byte == b'\n')
                .expect("a line")
        }
    }
}

/// Whether an address is the first that a header names.
fn stands_in(header: &[u8], address: IpAddr) -> bool {
    let canonical = |named: IpAddr| named.to_canonical() == address;
    match header.strip_prefix(SIGNATURE) {
        Some(rest) => match rest[1] {
            0x11 => canonical(IpAddr::from(
                <[u8; 4]>::try_from(&rest[4..8]).expect("four"),
            )),
            _ => canonical(IpAddr::from(
                <[u8; 16]>::try_from(&rest[4..20]).expect("sixteen"),
            )),
        },
        None => {
            let line = std::str::from_utf8(header).expect("text");
            line.split(' ')
                .nth(2)
                .and_then(|it| it.parse().ok())
                .is_some_and(canonical)
        }
    }
}
