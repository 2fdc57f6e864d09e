//! The header of the PROXY protocol, with which a proxy says whose connection it passes on (versions 1 and 2, sections
//! 2.1 and 2.2 of its specification).
//!
//! Only the address is of interest: ports, and what else version 2 can carry, are left aside.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest header of version 1, in bytes: what its section says is enough for every one.
const LONGEST_1: usize = 107;
/// The longest header of version 2 that is read, in bytes: what every network carries in one piece.
const LONGEST_2: usize = 536;
/// How a header of version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The connection ended or broke before.
    #[error("the PROXY header did not arrive: {0}")]
    Broken(#[from] io::Error),
    /// It is none, or not a valid one.
    #[error("there is no valid PROXY header: {0}")]
    Malformed(&'static str),
    /// It is longer than one may be.
    #[error("the PROXY header is longer than {0} bytes")]
    TooLong(usize),
}

use HeaderError::{Malformed, TooLong};

/// Reads the header, and nothing behind it. Returns the client's address; none when the proxy speaks for itself, or
/// does not say.
///
/// Not cancel-safe. Public for the fuzz targets alone.
///
/// # Errors
/// There is no header, or none that can be.
pub async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<IpAddr>, HeaderError> {
    // No header is shorter.
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        read_version_2(stream).await
    } else if start.starts_with(b"PROXY ") {
        read_version_1(start, stream).await
    } else {
        Err(Malformed("it begins with something else"))
    }
}

/// The line that begins with `start`.
async fn read_version_1(
    start: [u8; SIGNATURE.len()],
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<IpAddr>, HeaderError> {
    let mut line = [0; LONGEST_1];
    line[..start.len()].copy_from_slice(&start);
    let mut len = start.len();
    // One by one: what is behind it is somebody else's.
    while !line[..len].ends_with(b"\n") {
        let Some(next) = line.get_mut(len..=len) else {
            return Err(TooLong(LONGEST_1));
        };
        stream.read_exact(next).await?;
        len += 1;
    }
    let Some(line) = line[..len].strip_suffix(b"\r\n") else {
        return Err(Malformed("its line does not end in CR LF"));
    };
    let line = std::str::from_utf8(line).map_err(|_| Malformed("it is no text"))?;
    parse_version_1(line)
}

fn parse_version_1(line: &str) -> Result<Option<IpAddr>, HeaderError> {
    let fields: Vec<_> = line.split(' ').collect();
    let [_, family, addresses @ ..] = fields.as_slice() else {
        return Err(Malformed("it names no protocol"));
    };
    // What is behind it is to be left aside.
    if *family == "UNKNOWN" {
        return Ok(None);
    }
    let [source, destination, ports @ ..] = addresses else {
        return Err(Malformed("it lacks an address"));
    };
    let is_port = |port: &&str| {
        let number = port.parse::<u16>();
        // No sign and no zeros before it.
        number.is_ok_and(|number| number.to_string() == **port)
    };
    if ports.len() != 2 || !ports.iter().all(is_port) {
        return Err(Malformed("its ports are not two ports"));
    }
    fn of_both<A: std::str::FromStr + Into<IpAddr>>(source: &str, other: &str) -> Option<IpAddr> {
        other.parse::<A>().ok()?;
        Some(source.parse::<A>().ok()?.into().to_canonical())
    }
    let address = match *family {
        "TCP4" => of_both::<Ipv4Addr>(source, destination),
        "TCP6" => of_both::<Ipv6Addr>(source, destination),
        _ => return Err(Malformed("its protocol is neither TCP4 nor TCP6")),
    };
    address
        .map(Some)
        .ok_or(Malformed("its addresses are none of its protocol"))
}

/// What is behind the signature.
async fn read_version_2(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<IpAddr>, HeaderError> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [command, family, len @ ..] = head;
    let len = usize::from(u16::from_be_bytes(len));
    let mut rest = [0; LONGEST_2 - SIGNATURE.len() - 4];
    let rest = rest.get_mut(..len).ok_or(TooLong(LONGEST_2))?;
    stream.read_exact(rest).await?;
    let is_from_proxy = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed("its version or its command is none")),
    };
    let too_short = Malformed("it is too short for its addresses");
    // An address is followed by the other one, and by two ports.
    let address: Option<IpAddr> = match family {
        _ if is_from_proxy => None,
        0x00 => None,
        0x11 => {
            let all = rest.first_chunk::<12>().ok_or(too_short)?;
            all.first_chunk::<4>().map(|source| (*source).into())
        }
        0x21 => {
            let all = rest.first_chunk::<36>().ok_or(too_short)?;
            all.first_chunk::<16>().map(|source| (*source).into())
        }
        // Of a Unix socket, which has a path.
        0x31 if rest.len() < 216 => return Err(too_short),
        0x31 => None,
        _ => return Err(Malformed("its protocol is none that streams")),
    };
    Ok(address.map(|address| address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of these bytes, and how many of them are left.
    async fn read(bytes: &[u8]) -> (Result<Option<IpAddr>, String>, usize) {
        let mut left = bytes;
        let header = read_header(&mut left).await;
        (header.map_err(|error| error.to_string()), left.len())
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[tokio::test]
    async fn version_1_names_the_client() {
        let longest = format!(
            "PROXY UNKNOWN {}\r\n",
            "f".repeat(LONGEST_1 - "PROXY UNKNOWN \r\n".len())
        );
        assert_eq!(longest.len(), LONGEST_1);
        for (line, client) in [
            (
                "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n",
                address("203.0.113.7"),
            ),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 0 65535\r\n", address("1.1.1.1")),
            ("PROXY TCP6 2001:db8::7 ::1 1 2\r\n", address("2001:db8::7")),
            (
                "PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n",
                address("203.0.113.7"),
            ),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
            (&longest, None),
        ] {
            let behind = [line.as_bytes(), b"GET /"].concat();
            assert_eq!(read(&behind).await, (Ok(client), 5), "{line}");
            // And nothing less will do.
            for len in 0..line.len() {
                assert!(
                    read(&line.as_bytes()[..len]).await.0.is_err(),
                    "{line} {len}"
                );
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_version_1_is_refused() {
        let too_long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_1));
        for (line, why) in [
            ("GET / HTTP/1.1\r\n\r\n", "something else"),
            ("proxy TCP4 1.1.1.1 1.1.1.1 1 2\r\n", "something else"),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 2\n", "CR LF"),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 2\r\r\n", "ports"),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n", "ports"),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 -1\r\n", "ports"),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 +1\r\n", "ports"),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", "ports"),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", "ports"),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 2 3\r\n", "ports"),
            ("PROXY TCP4  1.1.1.1 1.1.1.1 1 2\r\n", "ports"),
            ("PROXY TCP4 1.1.1.1\r\n", "address"),
            ("PROXY TCP4 1.1.1 1.1.1.1 1 2\r\n", "addresses"),
            ("PROXY TCP4 1.1.1.1 ::1 1 2\r\n", "addresses"),
            ("PROXY TCP6 1.1.1.1 ::1 1 2\r\n", "addresses"),
            ("PROXY TCP4 localhost 1.1.1.1 1 2\r\n", "addresses"),
            ("PROXY UDP4 1.1.1.1 1.1.1.1 1 2\r\n", "neither"),
            ("PROXY TCP4 \u{fffd} 1.1.1.1 1 2\r\n", "addresses"),
            (&too_long, "longer than 107"),
        ] {
            let (refused, _) = read(line.as_bytes()).await;
            assert!(
                refused.as_ref().unwrap_err().contains(why),
                "{line} {refused:?}"
            );
        }
        let (refused, _) = read(b"PROXY TCP4 \xff 1.1.1.1 1 2\r\n").await;
        assert!(refused.unwrap_err().contains("no text"));
    }

    #[tokio::test]
    async fn version_2_names_the_client() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0, 1, 0, 2];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        v6[15] = 7;
        let mut mapped = [0; 36];
        mapped[10..16].copy_from_slice(&[0xff, 0xff, 203, 0, 113, 7]);
        // With something that is not asked for behind the addresses, as much as there may be.
        let longest = [&v4[..], &[0xee; 520 - 12]].concat();
        for (header, client) in [
            (version_2(0x21, 0x11, &v4), address("203.0.113.7")),
            (version_2(0x21, 0x11, &longest), address("203.0.113.7")),
            (version_2(0x21, 0x21, &v6), address("2001:db8::7")),
            (version_2(0x21, 0x21, &mapped), address("203.0.113.7")),
            (version_2(0x21, 0x31, &[b'/'; 216]), None),
            (version_2(0x21, 0x00, &[]), None),
            (version_2(0x21, 0x00, &[1; 20]), None),
            (version_2(0x20, 0x00, &[]), None),
            (version_2(0x20, 0x11, &v4), None),
            (version_2(0x20, 0xff, &[]), None),
        ] {
            let behind = [&header[..], b"GET /"].concat();
            assert_eq!(read(&behind).await, (Ok(client), 5), "{header:x?}");
            for len in 0..header.len() {
                assert!(read(&header[..len]).await.0.is_err(), "{header:x?} {len}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_version_2_is_refused() {
        for (header, why) in [
            (version_2(0x22, 0x11, &[0; 12]), "command"),
            (version_2(0x11, 0x11, &[0; 12]), "version"),
            (version_2(0x21, 0x11, &[0; 11]), "too short"),
            (version_2(0x21, 0x21, &[0; 35]), "too short"),
            (version_2(0x21, 0x31, &[0; 215]), "too short"),
            (version_2(0x21, 0x12, &[0; 12]), "streams"),
            (version_2(0x21, 0x41, &[0; 216]), "streams"),
            (version_2(0x21, 0x11, &[0; 521]), "longer than 536"),
            (version_2(0x20, 0x00, &[0; 521]), "longer than 536"),
        ] {
            let (refused, _) = read(&header).await;
            assert!(
                refused.as_ref().unwrap_err().contains(why),
                "{header:x?} {refused:?}"
            );
        }
    }
}
