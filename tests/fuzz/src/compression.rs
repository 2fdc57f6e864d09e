//! What a client offers about compression, and what it says is compressed then.
//!
//! An input is a line, the offers of `Sec-WebSocket-Extensions`, and behind it messages, between which is a line `--`, in
//! fragments, between which is a line `-`.

use tulpar_runtime::config::Compression;
use tulpar_runtime::deflate::{History, Inflater, Side, deflate, negotiate};

use crate::{Seen, Target, kind};

pub(crate) const TARGET: Target = Target {
    name: "compression",
    run: compression,
    words: &[
        "permessage-deflate",
        "; server_no_context_takeover",
        "; client_no_context_takeover",
        "; server_max_window_bits=",
        "; client_max_window_bits",
        "=9",
        "\"12\"",
        ", ",
        "\\\"",
        "\n--\n",
        "\n-\n",
        "\0",
        "\0\0",
        "\x03\0",
        "\x01\0\0",
        "\x05",
        "\x4b\x04\0",
        "hello",
    ],
};

const SETTINGS: Compression = Compression {
    threshold: 0,
    window_bits: 15,
    context_takeover: true,
    ratio: 100,
};
const MAX_MESSAGE: usize = 1 << 20;
/// What a message may inflate to whatever its size.
const SMALL: usize = 64 << 10;

/// Agrees on something with a client that offers what the bytes say, inflates what it sends, and sends it back.
///
/// # Panics
/// It inflates to too much, it takes too much memory, it comes back as something else, or what was agreed on is not what
/// would be agreed on again.
pub fn compression(bytes: &[u8]) -> Seen {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let offer = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let plain = Side {
        window_bits: 15,
        takeover: true,
    };
    let (client, server) = match negotiate([&*offer], &SETTINGS, true) {
        None => (plain, plain),
        Some((agreement, answer)) => {
            assert!((9..=15).contains(&agreement.server.window_bits));
            assert!((8..=15).contains(&agreement.client.window_bits));
            let again = negotiate([&*answer], &SETTINGS, true);
            assert_eq!(again, Some((agreement, answer)), "{offer}");
            (agreement.client, agreement.server)
        }
    };
    let mut seen = vec![
        u64::from(client.window_bits),
        16 + u64::from(server.window_bits),
    ];
    let mut inflater = Inflater::new(client, MAX_MESSAGE, SETTINGS.ratio as usize);
    let mut back = Back {
        server,
        history: History::of_sent(server.window_bits),
        inflater: Inflater::new(server, MAX_MESSAGE, usize::MAX),
    };
    for message in split(lines.next().unwrap_or_default(), b"\n--\n") {
        match inflate(&mut inflater, split(message, b"\n-\n")) {
            Ok(message) => {
                seen.push(32 + u64::from(message.len().max(1).ilog2()));
                seen.push(64 + u64::from(back.send(&message)));
            }
            Err(error) => {
                seen.push(128 + kind(&error));
                break;
            }
        }
    }
    seen
}

fn inflate<'a>(
    inflater: &mut Inflater,
    fragments: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, String> {
    let (mut output, mut deflated) = (Vec::new(), 0);
    for mut fragment in fragments {
        deflated += fragment.len();
        inflater.announce(fragment.len());
        while !fragment.is_empty() {
            let before = output.len();
            let inflated = inflater.inflate(fragment, &mut output);
            assert!(output.capacity() <= MAX_MESSAGE + 1);
            let inflated = inflated.map_err(|error| error.to_string())?;
            assert!(
                inflated > 0 || output.len() > before,
                "it makes no progress"
            );
            fragment = &fragment[inflated..];
        }
    }
    let finished = inflater.finish(&mut output);
    finished.map_err(|error| error.to_string())?;
    let most = (deflated * SETTINGS.ratio as usize).max(SMALL);
    assert!(output.len() <= most.min(MAX_MESSAGE), "{deflated}");
    Ok(output)
}

/// The way back to the client.
struct Back {
    server: Side,
    history: History,
    inflater: Inflater,
}

impl Back {
    /// Returns whether the message was compressed.
    fn send(&mut self, message: &[u8]) -> bool {
        let history = self.server.takeover.then_some(&self.history);
        let compressed = deflate(self.server.window_bits, history, message, <[u8]>::to_vec);
        let Some(compressed) = compressed else {
            return false;
        };
        assert!(compressed.len() < message.len());
        let mut came = Vec::new();
        self.inflater.announce(compressed.len());
        let mut rest = &compressed[..];
        while !rest.is_empty() {
            let inflated = self.inflater.inflate(rest, &mut came);
            rest = &rest[inflated.expect("it is compressed as agreed")..];
        }
        let finished = self.inflater.finish(&mut came);
        finished.expect("it is compressed as agreed");
        assert!(came == message, "another message has come");
        self.history.append(message);
        true
    }
}

/// The parts of some bytes between delimiters.
fn split<'a>(bytes: &'a [u8], delimiter: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let end = bytes
            .windows(delimiter.len())
            .position(|window| window == delimiter);
        rest = end.map(|end| &bytes[end + delimiter.len()..]);
        Some(&bytes[..end.unwrap_or(bytes.len())])
    })
}
