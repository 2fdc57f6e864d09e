//! What of a queue has begun and has to end, where the operating system does not take all that is encrypted.

use super::*;
use crate::config::SlowConsumer;
use crate::hub::{Frame, Outbox};
use crate::message::Message;

#[tokio::test]
async fn what_is_dropped_as_not_begun_was_not_sent() {
    let (_read, write, mut client) = connection(&TLS13).await;
    let mut queue = Queue::default();
    let mut sent = Vec::new();
    // Until the peer takes nothing more.
    loop {
        let frame = pattern(1000);
        sent.extend_from_slice(&frame);
        queue.frames.push_back(frame);
        if !queue.write(&write).unwrap() {
            break;
        }
    }
    assert!(queue.begun, "a frame that was encrypted has begun");
    for _ in 0..10 {
        queue.frames.push_back(vec![255; 1000]);
        assert!(!queue.write(&write).unwrap());
    }
    queue.frames.truncate(1);
    queue.frames.push_back(b"the end".to_vec());
    sent.extend_from_slice(b"the end");
    let reading = tokio::spawn(async move {
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        got
    });
    soon(queue.write_all(&write)).await;
    drop(write);
    assert!(soon(reading).await.unwrap() == sent);
}

#[tokio::test]
async fn a_frame_of_which_a_byte_was_sent_has_begun_wherever_what_is_encrypted_ends() {
    let around = |len: usize| len - 2..=len + 2;
    // As many of these as fit into what is encrypted at once end a byte before it does.
    let alike = [1285, 13_107, 21_845, 65_535].into_iter().flat_map(around);
    let cases = alike.map(|len| (len, len));
    // And so do these, with some of 1,000 bytes behind them.
    let firsts = [535, 64_535, 65_535].into_iter().flat_map(around);
    for (first, len) in cases.chain(firsts.map(|first| (first, 1000))) {
        let (_read, write, mut client) = narrow_connection().await;
        let mut queue = Queue::default();
        let mut got = Vec::new();
        for round in 0..3 {
            // More than is encrypted at once and the operating system holds.
            let frames = (0..=(160 << 10) / len).map(|_| vec![round; len]);
            queue.frames.push_back(vec![round; first]);
            queue.frames.extend(frames);
            // The peer takes what is encrypted, so that more is, of which something is left again.
            let before = queue.reported.len();
            let encrypted = before + usize::from(round > 0);
            let mut taken = vec![0; encrypted - got.len()];
            let reading = client.read_exact(&mut taken);
            let writing = async {
                while !queue.write(&write).unwrap() && queue.reported.len() == before {
                    let writable = poll_fn(|cx| write.tcp().poll_write_ready(cx));
                    writable.await.unwrap();
                }
            };
            let (read, ()) = soon(async { tokio::join!(reading, writing) }).await;
            got.extend_from_slice(&taken[..read.unwrap()]);
            assert!(!queue.frames.is_empty());
            queue.frames.truncate(usize::from(queue.begun));
        }
        queue.frames.push_back(b"the end".to_vec());
        let reading = tokio::spawn(async move {
            client.read_to_end(&mut got).await.unwrap();
            got
        });
        soon(queue.write_all(&write)).await;
        drop(write);
        let got = soon(reading).await.unwrap();
        assert!(got == queue.reported, "{first} and {len}");
    }
}

#[tokio::test]
async fn r7_a_slow_peer_gets_whole_frames_and_then_the_close_frame() {
    let (_read, write, mut client) = narrow_connection().await;
    let write = Arc::new(write);
    let message = Frame::message(Message::Binary(&[7; 1281]));
    let capacity = 100 * message.wire_len();
    let outbox = Outbox::new(capacity, SlowConsumer::Close, Arc::default(), write.clone());
    for _ in 0..100 {
        assert!(outbox.send(message.clone()).is_ok());
    }
    outbox.flush();
    while outbox.send(message.clone()).is_ok() {}
    let writing = async {
        while outbox.buffered() > 0 {
            poll_fn(|cx| write.tcp().poll_write_ready(cx))
                .await
                .unwrap();
            outbox.flush();
        }
        outbox.abort();
        drop(write);
    };
    let mut got = Vec::new();
    let (read, ()) = soon(async { tokio::join!(client.read_to_end(&mut got), writing) }).await;
    read.unwrap();
    let close = Frame::close(Some(1008), "Slow consumer");
    let messages = got.strip_suffix(close.as_bytes());
    let messages = messages.expect("the close frame comes last");
    assert!(messages.len() >= message.wire_len());
    for frame in messages.chunks(message.wire_len()) {
        assert!(frame == message.as_bytes());
    }
}
