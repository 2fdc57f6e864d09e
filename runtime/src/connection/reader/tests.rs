use flate2::{Compress, Compression, FlushCompress};

use super::*;
use crate::deflate::Side;

/// A frame with this first byte, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let short = u8::try_from(payload.len()).ok().filter(|len| *len < 126);
    let head = match short {
        Some(len) => vec![first, 0x80 | len],
        None => vec![first, 0x80 | 126, len[0], len[1]],
    };
    [&head[..], &[0; 4], payload].concat()
}

fn inflating(wire: &[u8]) -> Reader<&[u8]> {
    let client = Side {
        window_bits: 15,
        takeover: false,
    };
    let inflater = Inflater::new(client, 1 << 20, 1000);
    Reader::new(wire, Vec::new(), 1 << 20, Some(Box::new(inflater)))
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(message.len() + 100);
    let mut compressor = Compress::new(Compression::best(), false);
    let flush = FlushCompress::Sync;
    compressor
        .compress_vec(message, &mut output, flush)
        .unwrap();
    output.truncate(output.len() - 4);
    output
}

#[tokio::test]
async fn v2_frames_that_make_no_message_let_others_run_in_between() {
    const FRAMES: usize = 20 * AT_ONCE as usize;
    let account = Account::unbounded();
    let pongs = frame(0x8a, b"").repeat(FRAMES);
    let fragments = [frame(0x01, b""), frame(0x00, b"").repeat(FRAMES)].concat();
    for (wire, closing) in [(&pongs, false), (&fragments, false), (&fragments, true)] {
        let mut reader = Reader::new(&wire[..], Vec::new(), 100, None);
        if closing {
            reader.leave_messages_aside();
        }
        let mut reading =
            pin!(async { while reader.next(&account).await.unwrap() != Incoming::End {} });
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            reading.as_mut().poll(cx)
        })
        .await;
        assert!(polls >= 20, "{polls}");
    }
}

#[tokio::test]
async fn what_it_takes_to_inflate_a_small_message_counts_for_its_tenant() {
    let account = Account::unbounded();
    let compressed = deflated(&[0; 60_000]);
    let wire = frame(0xc2, &compressed).repeat(100);
    let mut reader = inflating(&wire);
    for _ in 0..100 {
        let incoming = reader.next(&account).await;
        assert!(
            matches!(incoming, Ok(Incoming::Message(message)) if message.payload().len() == 60_000)
        );
    }
    assert!(account.share().used() > 0);
}

#[tokio::test]
async fn who_closes_neither_inflates_nor_keeps_what_still_comes() {
    let account = Account::unbounded();
    let no_deflate = [0xff; 20];
    let wire = [
        frame(0xc1, &no_deflate),
        frame(0x41, &no_deflate),
        frame(0x89, b"in between"),
        frame(0x80, &no_deflate),
        frame(0x82, &[0; 60_000]),
        frame(0x02, &[0; 60_000]),
        frame(0x00, &[0; 60_000]),
        frame(0x88, &[3, 0xe8]),
    ]
    .concat();
    let mut reader = inflating(&wire);
    reader.leave_messages_aside();
    let first = reader.next(&account).await;
    assert_eq!(first, Ok(Incoming::Ping(b"in between")));
    let second = reader.next(&account).await;
    assert_eq!(second, Ok(Incoming::Close(Some(1000), "")));
    assert!(reader.held() <= SMALL, "{}", reader.held());
    // What may not come then may not come now.
    let mut reader = inflating(&[0x80, 0x80, 0, 0, 0, 0]);
    reader.leave_messages_aside();
    let refused = reader.next(&account).await;
    assert_eq!(refused, Err(ProtocolError::StrayContinuation));
}

#[tokio::test]
async fn v2_what_a_half_message_takes_is_counted_and_given_back() {
    let account = Account::unbounded();
    let piece = [0; 60_000];
    let wire = [
        frame(0x02, &piece),
        frame(0x00, &piece).repeat(9),
        frame(0x89, b""),
        frame(0x80, &piece),
        frame(0x82, &piece),
    ]
    .concat();
    let mut reader = Reader::new(&wire[..], Vec::new(), 1 << 20, None);
    assert_eq!(reader.next(&account).await, Ok(Incoming::Ping(b"")));
    let half = account.used(Held::Receiving);
    assert!((400_000..1_400_000).contains(&half), "{half}");
    assert!(matches!(
        reader.next(&account).await,
        Ok(Incoming::Message(_))
    ));
    assert!(account.used(Held::Receiving) >= half.min(11 * 60_000 - SMALL as u64));
    assert!(matches!(
        reader.next(&account).await,
        Ok(Incoming::Message(_))
    ));
    assert_eq!(reader.next(&account).await, Ok(Incoming::End));
    assert_eq!(account.used(Held::Receiving), 0);

    let mut reader = Reader::new(&wire[..], Vec::new(), 1 << 20, None);
    assert!(reader.next(&account).await.is_ok());
    assert!(account.used(Held::Receiving) > 0);
    drop(reader);
    assert_eq!(account.used(Held::Receiving), 0);
}
