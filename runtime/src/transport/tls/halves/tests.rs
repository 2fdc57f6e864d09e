mod begun;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::Shutdown;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

type Client = TlsStream<TcpStream>;

/// A connection whose handshake is done: the server's halves and the client.
async fn connection(version: &'static SupportedProtocolVersion) -> (ReadHalf, WriteHalf, Client) {
    connection_over(version, None).await
}

/// The same, where the operating system holds less of what is sent than is encrypted at once.
async fn narrow_connection() -> (ReadHalf, WriteHalf, Client) {
    connection_over(&TLS13, Some(8 << 10)).await
}

async fn connection_over(
    version: &'static SupportedProtocolVersion,
    buffer: Option<u32>,
) -> (ReadHalf, WriteHalf, Client) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let [listening, connecting] = [(); 2].map(|()| TcpSocket::new_v4().unwrap());
    if let Some(buffer) = buffer {
        // What is accepted has it from the listener.
        listening.set_send_buffer_size(buffer).unwrap();
        connecting.set_recv_buffer_size(buffer).unwrap();
    }
    listening.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = listening.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = async {
        let tcp = connecting.connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(client))
            .connect(name, tcp)
            .await
            .unwrap()
    };
    let accept = async {
        let (tcp, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(server))
            .accept(tcp)
            .await
            .unwrap()
    };
    let (client, server) = tokio::join!(connect, accept);
    let (tcp, tls) = server.into_inner();
    let (read, write) = split(tcp, tls);
    (read, write, client)
}

/// A queue as an outbox keeps it.
#[derive(Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    begun: bool,
    /// What was reported as written.
    reported: Vec<u8>,
}

impl Queue {
    /// Writes until nothing is left or nothing is taken; whether nothing is left.
    fn write(&mut self, wire: &WriteHalf) -> io::Result<bool> {
        while !self.frames.is_empty() {
            let slices: Vec<_> = self
                .frames
                .iter()
                .take(64)
                .map(|frame| IoSlice::new(frame))
                .collect();
            let mut written = match wire.try_write(&slices) {
                Ok(0) => panic!("nothing was written"),
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            while written > 0 {
                let first = self.frames.front_mut().unwrap();
                let of_first = written.min(first.len());
                written -= of_first;
                self.reported.extend(first.drain(..of_first));
                self.begun = !first.is_empty();
                if first.is_empty() {
                    self.frames.pop_front();
                }
            }
        }
        Ok(true)
    }

    async fn write_all(&mut self, wire: &WriteHalf) {
        while !self.write(wire).unwrap() {
            poll_fn(|cx| wire.tcp().poll_write_ready(cx)).await.unwrap();
        }
    }
}

/// Numbers that look random and are always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    let soon = tokio::time::timeout(Duration::from_secs(20), future).await;
    soon.expect("it takes too long")
}

#[tokio::test]
async fn it_carries_bytes_both_ways() {
    for version in [&TLS12, &TLS13] {
        let (mut read, write, mut client) = connection(version).await;
        client.write_all(b"to the server").await.unwrap();
        let mut got = [0; 13];
        soon(read.read_exact(&mut got)).await.unwrap();
        assert_eq!(&got, b"to the server");
        let slices = [IoSlice::new(b"to "), IoSlice::new(b"the client")];
        assert_eq!(write.try_write(&slices).unwrap(), 13);
        soon(client.read_exact(&mut got)).await.unwrap();
        assert_eq!(&got, b"to the client");
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_owed_one_byte_until_all_ciphertext_is_written() {
    let (_read, write, mut client) = connection(&TLS13).await;
    let all = pattern(16 << 20);
    let mut reported = 0;
    let error = loop {
        match write.try_write(&[IoSlice::new(&all[reported..])]) {
            Ok(written) => reported += written,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // Nothing more is taken meanwhile.
    for _ in 0..3 {
        let error = write
            .try_write(&[IoSlice::new(&all[reported..])])
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
    // The last byte of what is encrypted: all the peer can read is what was reported, and it.
    let mut got = vec![0; reported];
    let reading = tokio::spawn(async move {
        client.read_exact(&mut got).await.unwrap();
        (client, got)
    });
    let one = [IoSlice::new(&all[reported..=reported])];
    while let Err(error) = write.try_write(&one) {
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        poll_fn(|cx| write.tcp().poll_write_ready(cx))
            .await
            .unwrap();
    }
    let (mut client, got) = soon(reading).await.unwrap();
    assert!(got == all[..reported]);
    assert_eq!(client.read_u8().await.unwrap(), all[reported]);
    // And nothing was sent twice.
    assert_eq!(write.try_write(&[IoSlice::new(b"x")]).unwrap(), 1);
    assert_eq!(client.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn frames_of_all_sizes_arrive_whole_and_in_order_however_the_peer_reads() {
    for seed in 1..=6 {
        let (_read, write, mut client) = connection(&TLS13).await;
        let mut random = Random(seed);
        let frames: Vec<Vec<u8>> = (0..600)
            .map(|number: usize| {
                let len = match random.below(10) {
                    0 => 1 + random.below(200_000),
                    1..4 => 1 + random.below(20_000),
                    _ => 1 + random.below(300),
                };
                let mut frame = pattern(len);
                frame[0] = number as u8;
                frame
            })
            .collect();
        let all = frames.concat();
        let reading = tokio::spawn(async move {
            let mut random = Random(seed + 100);
            let mut got = Vec::new();
            let mut space = vec![0; 100_000];
            loop {
                let most = 1 + random.below(100_000);
                match client.read(&mut space[..most]).await.unwrap() {
                    0 => return got,
                    read => got.extend_from_slice(&space[..read]),
                }
                if random.below(4) == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut queue = Queue::default();
        for frame in frames {
            queue.frames.push_back(frame);
            if random.below(3) == 0 {
                queue.write(&write).unwrap();
            }
        }
        soon(queue.write_all(&write)).await;
        drop(write);
        assert!(soon(reading).await.unwrap() == all, "seed {seed}");
    }
}

#[tokio::test]
async fn any_buffer_is_enough_to_read_into() {
    for most in [1, 7, 4096, 16 << 10, 100_000] {
        let (mut read, _write, mut client) = connection(&TLS13).await;
        let all = pattern(if most < 100 { 60_000 } else { 2_000_000 });
        let sent = all.clone();
        let writing = tokio::spawn(async move {
            let mut random = Random(9);
            let mut sent = &sent[..];
            while !sent.is_empty() {
                let len = (1 + random.below(30_000)).min(sent.len());
                client.write_all(&sent[..len]).await.unwrap();
                sent = &sent[len..];
            }
            client.shutdown().await.unwrap();
            client
        });
        let mut got = Vec::new();
        let mut space = vec![0; most];
        loop {
            match soon(read.read(&mut space)).await.unwrap() {
                0 => break,
                len => got.extend_from_slice(&space[..len]),
            }
        }
        assert!(got == all, "{most}");
        // The end is the end, however often it is asked for.
        assert_eq!(read.read(&mut space).await.unwrap(), 0);
        drop(soon(writing).await.unwrap());
    }
}

#[tokio::test]
async fn it_ends_with_close_notify_and_without() {
    for version in [&TLS12, &TLS13] {
        let (mut read, write, mut client) = connection(version).await;
        assert_eq!(write.try_write(&[IoSlice::new(b"last")]).unwrap(), 4);
        drop(write);
        let mut got = Vec::new();
        // An error when there is none.
        soon(client.read_to_end(&mut got)).await.unwrap();
        assert_eq!(got, b"last");
        // The other direction is still open.
        client.write_all(b"still").await.unwrap();
        let mut got = [0; 5];
        soon(read.read_exact(&mut got)).await.unwrap();
        let (tcp, _) = client.into_inner();
        let tcp = tcp.into_std().unwrap();
        tcp.shutdown(Shutdown::Write).unwrap();
        assert_eq!(soon(read.read(&mut got)).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn keys_may_change_at_any_time() {
    let (mut read, write, mut client) = connection(&TLS13).await;
    for round in 0..20_u8 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_all(&[round; 100]).await.unwrap();
        let mut got = [0; 100];
        soon(read.read_exact(&mut got)).await.unwrap();
        assert_eq!(got, [round; 100]);
        assert_eq!(write.try_write(&[IoSlice::new(&got)]).unwrap(), 100);
        let mut back = [0; 100];
        soon(client.read_exact(&mut back)).await.unwrap();
        assert_eq!(back, got);
    }
}

#[tokio::test]
async fn what_is_no_record_breaks_it_and_the_peer_is_told() {
    for version in [&TLS12, &TLS13] {
        let (mut read, write, mut client) = connection(version).await;
        let tcp = &mut client.get_mut().0;
        tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let error = soon(read.read(&mut [0; 100])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        // Who writes hears of it too.
        let error = write.try_write(&[IoSlice::new(b"x")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let error = soon(client.read(&mut [0; 100])).await.unwrap_err();
        assert!(error.to_string().contains("alert"), "{error}");
    }
}

#[tokio::test]
async fn several_threads_may_write_while_one_reads() {
    const THREADS: usize = 4;
    const FRAMES: usize = 2_000;
    const ALL: usize = THREADS * FRAMES * 100;
    let (mut read, write, client) = connection(&TLS13).await;
    let write = Arc::new(write);
    let (mut from, mut to) = tokio::io::split(client);
    let echoing = tokio::spawn(async move {
        let mut space = vec![0; 65_536];
        let mut echoed = 0;
        while echoed < ALL {
            let len = from.read(&mut space).await.unwrap();
            assert!(len > 0);
            echoed += len;
            to.write_all(&space[..len]).await.unwrap();
        }
        (from, to)
    });
    // One writes at a time, as an outbox sees to it.
    let queue = Arc::new(Mutex::new(Queue::default()));
    let writers = (0..THREADS).map(|number| {
        let (write, queue) = (write.clone(), queue.clone());
        std::thread::spawn(move || {
            for _ in 0..FRAMES {
                let mut queue = queue.lock().unwrap();
                queue.frames.push_back(vec![number as u8; 100]);
                queue.write(&write).unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let reading = tokio::spawn(async move {
        let mut got = vec![0; ALL];
        read.read_exact(&mut got).await.unwrap();
        got
    });
    for writer in writers {
        let joined = tokio::task::spawn_blocking(|| writer.join());
        soon(joined).await.unwrap().unwrap();
    }
    let mut queue = std::mem::take(&mut *queue.lock().unwrap());
    soon(queue.write_all(&write)).await;
    let got = soon(reading).await.unwrap();
    drop(soon(echoing).await.unwrap());
    for frame in got.chunks(100) {
        assert!(frame.iter().all(|byte| *byte == frame[0]));
    }
    for number in 0..THREADS {
        let count = got.iter().filter(|byte| usize::from(**byte) == number);
        assert_eq!(count.count(), FRAMES * 100);
    }
}
