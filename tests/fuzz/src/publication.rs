//! What one node sends to another: the head of a message, and messages in pieces.

use bytes::Bytes;
use tulpar_runtime::backplane::pieces::{Added, Pieces};
use tulpar_runtime::backplane::publication::Publication;
use tulpar_runtime::nats::{name, token};

use crate::{Seen, Target};

pub(crate) const TARGET: Target = Target {
    name: "publication",
    run: publication,
    words: &[
        "\x01\x01\0\0\0\x07\0\0\0\0\0\0\0\x01\0\0\0\x01",
        "\x01\x02\0\0\0\x07\0\0\0\0\0\0\0\x02\0\0\0\x02",
        "\x01\x02\0\0\0\x07\0\0\0\0\0\0\0\x02\0\x01\0\x02",
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        "\0\x26",
        "\0\x2a",
        "%2A",
        "%2a",
        "*",
        ">",
        "a.b",
    ],
};

/// The longest message, in bytes.
const MOST: usize = 64;

/// Takes the bytes for messages one after the other, each behind its length in two bytes, and each for a name.
pub fn publication(bytes: &[u8]) -> Seen {
    let mut pieces = Pieces::default();
    let mut seen = Seen::new();
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (message, behind) = behind.split_at(length);
        rest = behind;
        names(message);
        let Some(publication) = Publication::decode(&Bytes::copy_from_slice(message)) else {
            seen.push(0);
            continue;
        };
        assert_eq!(
            publication.encode(),
            message,
            "it is not written as it was read"
        );
        assert!(publication.part < publication.parts);
        let parts = publication.parts;
        let body = publication.body.len();
        match pieces.add(publication, MOST) {
            Added::Whole(whole) => {
                assert!(whole.len() <= MOST, "{} bytes", whole.len());
                assert!(whole.len() >= body, "a piece is missing");
                seen.push(1 + u64::from(parts.min(9)));
            }
            Added::Waits => seen.push(11),
            Added::Lost => seen.push(12),
        }
    }
    seen
}

/// A name becomes a part of a subject and that the name again, and a part of a subject is of one name.
fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let part = token(text);
    assert!(!part.contains(['.', '*', '>', ' ']), "{part:?}");
    assert_eq!(name(&part).as_deref(), Some(text));
    if let Some(named) = name(text) {
        assert_eq!(token(&named), text);
    }
}
