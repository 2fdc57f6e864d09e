//! The messages of the load, and their frames. A message is a number and a filler, so that each can be told from every
//! other and a changed byte is seen.

use anyhow::{Result, bail, ensure};

/// The bytes of a message that are its number. No message is shorter.
pub const NUMBER: usize = 8;
/// How many numbers there are.
pub const NUMBERS: u64 = 1 << (NUMBER * BITS);

/// A number is written in printable characters of six bits each: text for every server, and quick to write and read.
const BITS: usize = 6;
const FIRST: u8 = b'0';

/// A client must mask what it sends. The key is not random, as nobody between has to be kept from guessing it.
const KEY: [u8; 4] = [0x5a, 0x3c, 0x99, 0xe1];

const FIN_TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const MASKED: u8 = 0x80;

/// Writes messages of one size as a client's frames, and knows them again.
pub struct Messages {
    /// A frame, masked, whose number is still to be put in.
    frame: Vec<u8>,
    /// Where in the frame the payload begins.
    payload_at: usize,
    filler: Vec<u8>,
}

impl Messages {
    /// Messages of `size` bytes.
    ///
    /// # Errors
    /// The number does not fit into that size.
    pub fn new(size: usize) -> Result<Self> {
        ensure!(size >= NUMBER, "a message has at least {NUMBER} bytes");
        let filler: Vec<u8> = (b'a'..=b'z').cycle().take(size - NUMBER).collect();
        let mut frame = Vec::new();
        head(size, MASKED, &mut frame);
        frame.extend_from_slice(&KEY);
        let payload_at = frame.len();
        frame.extend_from_slice(&[0; NUMBER]);
        frame.extend_from_slice(&filler);
        mask(&mut frame[payload_at..], KEY);
        Ok(Self {
            frame,
            payload_at,
            filler,
        })
    }

    /// Appends the frame of the message with this number.
    pub fn write(&self, number: u64, out: &mut Vec<u8>) {
        let at = out.len() + self.payload_at;
        out.extend_from_slice(&self.frame);
        for (index, byte) in out[at..at + NUMBER].iter_mut().enumerate() {
            *byte = (FIRST + (number >> (index * BITS)) as u8 % (1 << BITS)) ^ KEY[index % 4];
        }
    }

    /// The number of a message that has come.
    ///
    /// # Errors
    /// It is none of these messages.
    pub fn read(&self, payload: &[u8]) -> Result<u64> {
        ensure!(
            payload.len() == NUMBER + self.filler.len(),
            "a message of {} bytes came instead of {}",
            payload.len(),
            NUMBER + self.filler.len()
        );
        let (number, filler) = payload.split_at(NUMBER);
        ensure!(filler == self.filler, "a message came back changed");
        let digits = number.iter().rev();
        Ok(digits.fold(0, |number, byte| {
            (number << BITS) | u64::from(byte.wrapping_sub(FIRST))
        }))
    }
}

/// The frame that a client sends for a text message.
#[must_use]
pub fn client_frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    head(text.len(), MASKED, &mut frame);
    frame.extend_from_slice(&KEY);
    let payload_at = frame.len();
    frame.extend_from_slice(text.as_bytes());
    mask(&mut frame[payload_at..], KEY);
    frame
}

/// Appends the frame that a server sends for a text message.
pub fn server_frame(payload: &[u8], out: &mut Vec<u8>) {
    head(payload.len(), 0, out);
    out.extend_from_slice(payload);
}

fn head(size: usize, masked: u8, out: &mut Vec<u8>) {
    out.push(FIN_TEXT);
    match size {
        0..=125 => out.push(masked | size as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
}

/// Takes the masking off, or puts it on.
pub fn mask(payload: &mut [u8], key: [u8; 4]) {
    for (index, byte) in payload.iter_mut().enumerate() {
        *byte ^= key[index % 4];
    }
}

/// The first frame in `bytes`, when all of it has come.
///
/// # Errors
/// It is neither a whole text message nor a ping, or it is masked although it must not be or the other way round.
pub fn frame(bytes: &[u8], masked: bool) -> Result<Option<Frame>> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let (length_bytes, length) = match second & !MASKED {
        126 => match rest.first_chunk() {
            Some(length) => (2, u16::from_be_bytes(*length).into()),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (8, u64::from_be_bytes(*length) as usize),
            None => return Ok(None),
        },
        length => (0, length.into()),
    };
    let key_bytes = if masked { KEY.len() } else { 0 };
    let start = 2 + length_bytes + key_bytes;
    let Some(end) = start.checked_add(length).filter(|end| *end <= bytes.len()) else {
        return Ok(None);
    };
    ensure!(
        (second & MASKED != 0) == masked,
        "a frame that is masked the wrong way"
    );
    let message = match *first {
        FIN_TEXT => true,
        PING => false,
        CLOSE => {
            let code = bytes[start..end]
                .first_chunk()
                .map_or(1005, |code| u16::from_be_bytes(*code));
            let reason = String::from_utf8_lossy(bytes[start..end].get(2..).unwrap_or_default());
            bail!("the server closed the connection: {code} {reason}")
        }
        other => bail!("a frame that begins with {other:#04x} instead of a whole text message"),
    };
    Ok(Some(Frame {
        message,
        start,
        end,
    }))
}

/// Where in the bytes a frame's payload is; the next frame begins at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// A message. Otherwise a ping, which is left alone: no measurement lasts until an answer is missed.
    pub message: bool,
    /// Where the payload begins. The four bytes before it are the key when the frame is masked.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_its_number() {
        for size in [NUMBER, 64, 125, 126, 1024, 70_000] {
            let messages = Messages::new(size).unwrap();
            for number in [0, 1, 63, 64, 0x1234_5678_9abc, NUMBERS - 1] {
                let mut bytes = Vec::new();
                messages.write(number, &mut bytes);
                let Frame { start, end, .. } = frame(&bytes, true).unwrap().unwrap();
                assert_eq!(end, bytes.len());
                let key = *bytes[..start].last_chunk().unwrap();
                mask(&mut bytes[start..], key);
                assert_eq!(messages.read(&bytes[start..]).unwrap(), number);

                let mut answer = Vec::new();
                server_frame(&bytes[start..], &mut answer);
                let Frame { start, end, .. } = frame(&answer, false).unwrap().unwrap();
                assert_eq!(messages.read(&answer[start..end]).unwrap(), number);
                assert_eq!(frame(&answer[..end - 1], false).unwrap(), None);
            }
        }
    }

    #[test]
    fn what_is_not_the_message_is_seen() {
        let messages = Messages::new(64).unwrap();
        let mut bytes = Vec::new();
        messages.write(7, &mut bytes);
        assert!(frame(&bytes, false).is_err(), "masked");
        assert!(frame(&[0x82, 0], false).is_err(), "binary");
        assert!(frame(&[0x01, 0], false).is_err(), "a fragment");
        let closed = frame(&[CLOSE, 2, 0x03, 0xe9], false).unwrap_err();
        assert!(closed.to_string().contains("1001"), "{closed}");
        assert!(messages.read(b"short").is_err());
        assert!(messages.read(&[b'0'; 64]).is_err(), "another filler");
    }
}
