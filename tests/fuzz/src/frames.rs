//! What a peer gets: whether it is WebSocket frames as a server may send them.

use tulpar_runtime::hub::is_sendable;

/// Reads the frames that were written to a peer, and panics at the first that no server may send. Returns how many there
/// were. The last may be cut off: the connection has ended there. Messages may be compressed where that was agreed on.
pub fn check(mut bytes: &[u8], max_message: usize, compression: bool) -> usize {
    let mut count = 0;
    let mut closed = false;
    while let Some((first, payload, rest)) = next(bytes) {
        assert!(!closed, "a frame behind the close frame");
        let opcode = first & 0x0f;
        let compressed = compression && opcode < 8 && first & 0x40 != 0;
        // Everything is sent whole, and there are no other extensions.
        let flags = if compressed { 0xc0 } else { 0x80 };
        assert_eq!(first & 0xf0, flags, "{first:#x}");
        match opcode {
            1 | 2 if compressed => (),
            1 => assert!(
                std::str::from_utf8(payload).is_ok(),
                "a text of {payload:?}"
            ),
            2 => (),
            8 => closed = true,
            9 | 10 => (),
            other => panic!("opcode {other}"),
        }
        if opcode >= 8 {
            assert!(payload.len() <= 125, "a control frame of {}", payload.len());
        } else {
            assert!(payload.len() <= max_message, "{}", payload.len());
        }
        if closed && !payload.is_empty() {
            let (code, reason) = payload.split_at(2);
            assert!(
                is_sendable(u16::from_be_bytes([code[0], code[1]])),
                "{code:?}"
            );
            assert!(std::str::from_utf8(reason).is_ok(), "{reason:?}");
        }
        count += 1;
        bytes = rest;
    }
    count
}

/// The first byte of a frame, its payload and what follows; none when it is not all there.
fn next(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    assert_eq!(length & 0x80, 0, "a server masks nothing");
    let (length, rest) = match length {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let length = u64::from(u16::from_be_bytes(*length));
            assert!(length > 125, "{length} has a shorter form");
            (length, rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            let length = u64::from_be_bytes(*length);
            assert!(length > 0xffff, "{length} has a shorter form");
            (length, rest)
        }
        length => (length.into(), rest),
    };
    let length = usize::try_from(length).ok()?;
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((first, payload, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_up_to_one_that_is_cut_off() {
        assert_eq!(check(b"", 10, true), 0);
        assert_eq!(check(b"\x81\x02hi\x89\0\x88\x02\x03\xe8", 10, false), 3);
        assert_eq!(check(b"\x81\x02hi\x81\x02h", 10, false), 1);
        assert_eq!(check(b"\xc1\x01\x00\x81\x02hi", 10, true), 2);
    }

    #[test]
    fn what_no_server_may_send_is_found() {
        let wrong: [&[u8]; 8] = [
            b"\x81\x82hihi\0\0",
            b"\x01\0",
            b"\xc1\0",
            b"\x81\x01\xff",
            b"\x83\0",
            b"\x88\x02\x03\xed",
            b"\x88\0\x81\0",
            b"\x82\x7e\0\x01a",
        ];
        for bytes in wrong {
            let checked = std::panic::catch_unwind(|| check(bytes, 10, false));
            assert!(checked.is_err(), "{bytes:?}");
        }
        assert!(std::panic::catch_unwind(|| check(b"\x82\x03abc", 2, false)).is_err());
    }
}
