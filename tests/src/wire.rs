//! The way between a node and its broker, which breaks as a test wants: a TCP proxy on a thread of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as Bound};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// How much is read at once.
const PIECE: usize = 16 << 10;

/// How many pieces are under way at most. Whoever sends more is held back.
const UNDER_WAY: usize = 64;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// They pass.
    On,
    /// They stay where they are, and pass later.
    Held,
    /// They are gone.
    Swallowed,
    /// There is no connection for them.
    Cut,
}

/// How it is with the wire.
#[derive(Clone, Copy, Debug)]
struct State {
    flow: Flow,
    delay: Duration,
    bytes_per_second: Option<u32>,
    /// How often all connections were reset.
    resets: usize,
}

type Watch = watch::Receiver<State>;

/// A piece, and when it came.
type Piece = (Instant, Vec<u8>);

/// A proxy to one address. Its connections end when it is dropped.
pub struct Wire {
    address: SocketAddr,
    state: watch::Sender<State>,
    accepted: Arc<AtomicUsize>,
    swallowed: Arc<AtomicUsize>,
}

impl Wire {
    /// One to this address.
    pub fn to(target: SocketAddr) -> Self {
        let listener = Bound::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let blocking = listener.set_nonblocking(true);
        blocking.expect("it can do without blocking");
        let address = listener.local_addr().expect("it is bound");
        let (state, watched) = watch::channel(State {
            flow: Flow::On,
            delay: Duration::ZERO,
            bytes_per_second: None,
            resets: 0,
        });
        let (accepted, swallowed) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (counted, gone) = (accepted.clone(), swallowed.clone());
        // Not on the test's own thread, which may be waiting for a server that is starting.
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a thread can have a runtime");
            runtime.block_on(serve(listener, target, watched, &counted, &gone));
        });
        Self {
            address,
            state,
            accepted,
            swallowed,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL of NATS.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Resets all connections, and every new one.
    pub fn cut(&self) {
        self.set(|state| state.flow = Flow::Cut);
    }

    /// Resets all connections. New ones can be made.
    pub fn reset(&self) {
        self.set(|state| state.resets += 1);
    }

    /// Lets nothing pass, as when the network is interrupted: what is sent waits, and arrives when all is well again.
    pub fn hold(&self) {
        self.set(|state| state.flow = Flow::Held);
    }

    /// Takes everything and lets nothing pass, as when the other side is gone without a word.
    pub fn swallow(&self) {
        self.set(|state| state.flow = Flow::Swallowed);
    }

    /// Everything arrives so much later.
    pub fn delay(&self, delay: Duration) {
        self.set(|state| state.delay = delay);
    }

    /// So many bytes pass in a second, each way.
    pub fn slow(&self, bytes_per_second: u32) {
        self.set(|state| state.bytes_per_second = Some(bytes_per_second));
    }

    /// Lets everything pass at once again. Connections of which something is gone are reset.
    pub fn restore(&self) {
        self.set(|state| {
            state.flow = Flow::On;
            (state.delay, state.bytes_per_second) = (Duration::ZERO, None);
        });
    }

    /// How many connections there have been, those included that were reset at once.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How often it has swallowed something: a piece, an end, or a whole connection.
    pub fn swallowed(&self) -> usize {
        self.swallowed.load(Ordering::Relaxed)
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }
}

/// Accepts until the wire is dropped.
async fn serve(
    listener: Bound,
    target: SocketAddr,
    mut watched: Watch,
    accepted: &AtomicUsize,
    swallowed: &Arc<AtomicUsize>,
) {
    let listener = TcpListener::from_std(listener).expect("it is a listener");
    let connections = watched.clone();
    let over = watched.wait_for(|_| false);
    tokio::pin!(over);
    loop {
        tokio::select! {
            _ = &mut over => return,
            stream = listener.accept() => {
                accepted.fetch_add(1, Ordering::Relaxed);
                if let Ok((near, _)) = stream {
                    tokio::spawn(connect(near, target, connections.clone(), swallowed.clone()));
                }
            }
        }
    }
}

/// One connection, from the beginning to the end.
async fn connect(
    mut near: TcpStream,
    target: SocketAddr,
    mut watched: Watch,
    swallowed: Arc<AtomicUsize>,
) {
    let resets = watched.borrow().resets;
    let Ok(begun) = watched
        .wait_for(|it| it.flow != Flow::Held)
        .await
        .map(|it| it.flow)
    else {
        return;
    };
    let far = match begun {
        Flow::On => TcpStream::connect(target).await,
        _ => {
            let is_swallowed = begun == Flow::Swallowed;
            swallowed.fetch_add(is_swallowed.into(), Ordering::Relaxed);
            // Nobody is there, and who connects does not hear of it.
            let ended = watched.wait_for(|it| it.flow != Flow::Swallowed).await;
            drop(ended);
            return reset(near);
        }
    };
    let Ok(mut far) = far else {
        return reset(near);
    };
    for stream in [&near, &far] {
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
    }
    let loss = Loss {
        torn: AtomicBool::new(false),
        swallowed,
    };
    let is_broken = |it: &State| {
        it.flow == Flow::Cut
            || it.resets != resets
            || it.flow == Flow::On && loss.torn.load(Ordering::Relaxed)
    };
    let broken = {
        let (from_near, to_near) = near.split();
        let (from_far, to_far) = far.split();
        let (one, other) = (watched.clone(), watched.clone());
        tokio::select! {
            broken = watched.wait_for(is_broken) => broken.is_ok(),
            _ = async { tokio::join!(
                carry(from_near, to_far, one, &loss),
                carry(from_far, to_near, other, &loss),
            ) } => false,
        }
    };
    if broken {
        reset(near);
        reset(far);
    }
}

/// What a connection has lost.
struct Loss {
    /// Whether something is gone.
    torn: AtomicBool,
    /// Where the wire counts it.
    swallowed: Arc<AtomicUsize>,
}

impl Loss {
    fn note(&self) {
        self.torn.store(true, Ordering::Relaxed);
        self.swallowed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Breaks a connection off.
fn reset(stream: TcpStream) {
    let linger = set_socket_linger(&stream, Some(Duration::ZERO));
    linger.expect("the option can be set");
}

/// What goes one way.
async fn carry(from: ReadHalf<'_>, to: WriteHalf<'_>, watched: Watch, loss: &Loss) {
    let (give, take) = channel(UNDER_WAY);
    let reading = read(from, give, watched.clone(), loss);
    let (_, written) = tokio::join!(reading, write(to, take, watched, loss));
    // Who cannot be written to has reset the connection, which the other direction sees as well.
    drop(written);
}

async fn read(mut from: ReadHalf<'_>, give: Sender<Piece>, mut watched: Watch, loss: &Loss) {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        match passing(&mut watched).await {
            Flow::Swallowed => {
                loss.note();
                if read == 0 {
                    // That it has ended is not passed on either.
                    return std::future::pending().await;
                }
            }
            _ if read == 0 => return,
            _ => {
                let piece = (Instant::now(), buffer[..read].to_vec());
                if give.send(piece).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut take: Receiver<Piece>,
    mut watched: Watch,
    loss: &Loss,
) -> io::Result<()> {
    while let Some((came, bytes)) = take.recv().await {
        let delay = watched.borrow().delay;
        sleep_until(came + delay).await;
        if passing(&mut watched).await == Flow::Swallowed {
            loss.note();
            continue;
        }
        let rate = watched.borrow().bytes_per_second;
        let Some(rate) = rate else {
            to.write_all(&bytes).await?;
            continue;
        };
        // A fiftieth of a second's worth at a time.
        for part in bytes.chunks((rate as usize / 50).max(1)) {
            sleep(Duration::from_secs(1) * part.len() as u32 / rate).await;
            to.write_all(part).await?;
        }
    }
    to.shutdown().await
}

/// What becomes of bytes that are here, once they are not held.
async fn passing(watched: &mut Watch) -> Flow {
    let waited = watched.wait_for(|it| it.flow != Flow::Held).await;
    waited.map_or(Flow::Cut, |it| it.flow)
}
