//! What the bytes of a client say, told by RFC 6455, section 5, with all of them there at once.

use std::str;

use tulpar_runtime::connection::ProtocolError;
use tulpar_runtime::hub::is_sendable;

/// What comes of a client's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>, String),
    End,
    Refused(ProtocolError),
    /// The end, within a text that is none already: whoever notices that in time refuses it.
    Cut,
}

impl Got {
    /// Whether nothing can come behind it.
    pub(super) fn is_last(&self) -> bool {
        matches!(
            self,
            Self::Close(..) | Self::End | Self::Refused(_) | Self::Cut
        )
    }
}

/// Whether that is what the model says.
pub(super) fn is_same(got: &[Got], expected: &[Got]) -> bool {
    match (got, expected) {
        ([got @ .., last], [expected @ .., Got::Cut]) => {
            got == expected && matches!(last, Got::End | Got::Refused(ProtocolError::InvalidText))
        }
        _ => got == expected,
    }
}

/// The same for what one reader has found, which has noticed that a text is none, or has not.
pub(super) fn or_cut(mut got: Vec<Got>) -> Vec<Got> {
    let last = got.last_mut();
    if let Some(last @ (Got::End | Got::Refused(ProtocolError::InvalidText))) = last {
        *last = Got::Cut;
    }
    got
}

/// All that comes of these bytes, up to what nothing can follow.
pub(super) fn read(mut bytes: &[u8], limit: usize) -> Vec<Got> {
    let mut all = Vec::new();
    let mut message = None;
    loop {
        let next = next(&mut bytes, &mut message, limit).unwrap_or_else(Got::Refused);
        let is_last = next.is_last();
        all.push(next);
        if is_last {
            return all;
        }
    }
}

/// A message that has begun: whether it is text, and its fragments.
type Message = Option<(bool, Vec<u8>)>;

fn next(bytes: &mut &[u8], message: &mut Message, limit: usize) -> Result<Got, ProtocolError> {
    loop {
        let Some(header) = header(bytes)? else {
            return Ok(Got::End);
        };
        let Header {
            fin,
            opcode,
            len,
            mask,
        } = header;
        let held = match (opcode, &message) {
            (8.., _) => None,
            (0, None) => return Err(ProtocolError::StrayContinuation),
            (0, Some((_, held))) => Some(held.len() as u64),
            (_, Some(_)) => return Err(ProtocolError::NestedMessage),
            (_, None) => Some(0),
        };
        if held.is_some_and(|held| held.saturating_add(len) > limit as u64) {
            return Err(ProtocolError::MessageTooBig);
        }
        let len = usize::try_from(len).expect("it is within the limit");
        let there = len.min(bytes.len());
        let unmasked = bytes[..there].iter().zip(mask.iter().cycle());
        let payload: Vec<u8> = unmasked.map(|(byte, mask)| byte ^ mask).collect();
        *bytes = &bytes[there..];
        let is_whole = there == len;
        if opcode >= 8 {
            return if is_whole {
                control(opcode, payload)
            } else {
                Ok(Got::End)
            };
        }
        let (text, held) = message.get_or_insert((opcode == 1, Vec::new()));
        held.extend(payload);
        if *text && !(fin && is_whole) && !may_be_text(held) {
            return if is_whole {
                Err(ProtocolError::InvalidText)
            } else {
                Ok(Got::Cut)
            };
        }
        if !is_whole {
            return Ok(Got::End);
        }
        if fin && let Some((text, held)) = message.take() {
            return match (text, String::from_utf8(held)) {
                (true, Ok(text)) => Ok(Got::Text(text)),
                (true, Err(_)) => Err(ProtocolError::InvalidText),
                (false, text) => Ok(Got::Binary(
                    text.map_or_else(|error| error.into_bytes(), String::into_bytes),
                )),
            };
        }
    }
}

struct Header {
    fin: bool,
    opcode: u8,
    len: u64,
    mask: [u8; 4],
}

/// The header in front; none when it is not all there.
fn header(bytes: &mut &[u8]) -> Result<Option<Header>, ProtocolError> {
    let &[first, second, ..] = *bytes else {
        return Ok(None);
    };
    let (fin, opcode) = (first >= 0x80, first & 0x0f);
    if first & 0x70 != 0 {
        return Err(ProtocolError::ReservedBits);
    }
    if !matches!(opcode, 0..=2 | 8..=10) {
        return Err(ProtocolError::UnknownOpcode);
    }
    if second < 0x80 {
        return Err(ProtocolError::NotMasked);
    }
    if opcode >= 8 && !fin {
        return Err(ProtocolError::FragmentedControl);
    }
    if opcode >= 8 && second > 0x80 + 125 {
        return Err(ProtocolError::LargeControl);
    }
    let (size, least) = match second {
        0xfe => (2, 126),
        0xff => (8, 0x1_0000),
        _ => (0, 0),
    };
    let Some(digits) = bytes.get(2..2 + size) else {
        return Ok(None);
    };
    let len = match size {
        0 => u64::from(second & 0x7f),
        _ => digits
            .iter()
            .fold(0, |len, digit| len << 8 | u64::from(*digit)),
    };
    if len < least || len > u64::MAX >> 1 {
        return Err(ProtocolError::InvalidLength);
    }
    let Some(mask) = bytes.get(2 + size..6 + size) else {
        return Ok(None);
    };
    let mask = mask.try_into().expect("these are four");
    *bytes = &bytes[6 + size..];
    Ok(Some(Header {
        fin,
        opcode,
        len,
        mask,
    }))
}

fn control(opcode: u8, payload: Vec<u8>) -> Result<Got, ProtocolError> {
    match (opcode, payload.as_slice()) {
        (9, _) => Ok(Got::Ping(payload)),
        (10, _) => Ok(Got::Pong),
        (_, []) => Ok(Got::Close(None, String::new())),
        (_, [_]) => Err(ProtocolError::InvalidClose),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_sendable(code) {
                return Err(ProtocolError::InvalidClose);
            }
            match str::from_utf8(reason) {
                Ok(reason) => Ok(Got::Close(Some(code), reason.to_owned())),
                Err(_) => Err(ProtocolError::InvalidText),
            }
        }
    }
}

/// Whether something could follow with which these bytes are text.
fn may_be_text(bytes: &[u8]) -> bool {
    match str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    }
}
