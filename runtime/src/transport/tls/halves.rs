//! The two halves of a connection under TLS, once its handshake is done.
//!
//! What is sent is encrypted and written by whoever sends it, as over plain TCP: no task of its own does it. The
//! session is locked while records are encrypted and written, or decrypted, and never while anybody waits.

use std::io::{self, BufRead, ErrorKind, IoSlice, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::rustls::ServerConnection;

use crate::hub::Wire;

/// How much is asked of the operating system at once: about one record of the largest size, or some hundred small ones.
const READ: usize = 16 << 10;

/// How much is encrypted before the operating system has taken it, in bytes of plaintext. A socket that does not read
/// costs so much beside its outbox.
const ENCRYPTED: usize = 64 << 10;

/// What both halves share.
struct Session(Mutex<State>);

struct State {
    tls: ServerConnection,
    /// Whether the last byte that was encrypted is not yet reported as written, because ciphertext is left.
    withheld: bool,
}

impl Session {
    // Nothing panics while holding the lock; were it poisoned all the same, the session would say that it is broken.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits a connection of which `tls` is the session. What the session has read already is read first.
pub(in crate::transport) fn split(
    stream: TcpStream,
    mut tls: ServerConnection,
) -> (ReadHalf, WriteHalf) {
    // Where what is encrypted ends, we decide: see `try_write`.
    tls.set_buffer_limit(None);
    let session = Arc::new(Session(Mutex::new(State {
        tls,
        withheld: false,
    })));
    let (read, write) = stream.into_split();
    let read = ReadHalf {
        tcp: read,
        session: session.clone(),
        ciphertext: Vec::new(),
        more: true,
    };
    let write = WriteHalf {
        tcp: write,
        session,
    };
    (read, write)
}

/// Reads what the peer sends.
pub struct ReadHalf {
    tcp: OwnedReadHalf,
    session: Arc<Session>,
    /// What was read and not decrypted, because there was no room for it.
    ciphertext: Vec<u8>,
    /// Whether there may be more to be had without the network.
    more: bool,
}

impl ReadHalf {
    /// Decrypts `ciphertext` as far as there is room, behind what has been decrypted before.
    fn decrypt(&mut self, mut ciphertext: &[u8], into: &mut ReadBuf<'_>) -> io::Result<()> {
        let mut state = self.session.lock();
        let tls = &mut state.tls;
        self.more = loop {
            if take(tls, into)? || into.remaining() == 0 {
                break true;
            }
            if ciphertext.is_empty() {
                break false;
            }
            // The session takes only what it has room for; it has some, as all that it has decrypted was taken.
            if tls.read_tls(&mut ciphertext)? == 0 {
                return Err(ErrorKind::InvalidData.into());
            }
            let processed = tls.process_new_packets();
            if tls.wants_write() {
                // An alert. A peer that takes nothing will not hear of it.
                let _ = write_left(tls, self.tcp.as_ref());
            }
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        };
        drop(state);
        self.ciphertext.extend_from_slice(ciphertext);
        Ok(())
    }
}

/// Takes what the session has decrypted, as far as there is room. Returns whether the peer has sent its last.
fn take(tls: &mut ServerConnection, into: &mut ReadBuf<'_>) -> io::Result<bool> {
    let mut reader = tls.reader();
    while into.remaining() > 0 {
        let plaintext = match reader.fill_buf() {
            Ok([]) => return Ok(true),
            Ok(plaintext) => plaintext,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let len = plaintext.len().min(into.remaining());
        into.put_slice(&plaintext[..len]);
        reader.consume(len);
    }
    Ok(false)
}

impl AsyncRead for ReadHalf {
    // Inside of what reads from TCP as well, its space on the stack would be made and checked for each read from there.
    #[inline(never)]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        if this.more {
            let ciphertext = std::mem::take(&mut this.ciphertext);
            this.decrypt(&ciphertext, into)?;
            // When there still is, it is that the peer has ended.
            if into.filled().len() > before || this.more {
                return Poll::Ready(Ok(()));
            }
        }
        let mut space = [MaybeUninit::uninit(); READ];
        loop {
            let mut read = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut read))?;
            // An end without the session's own: WebSocket has one of its own, which tells whether anything is missing.
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.decrypt(read.filled(), into)?;
            if into.filled().len() > before || this.more {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Writes what is sent to the peer. The session and then the connection's sending side end when it is dropped.
pub struct WriteHalf {
    tcp: OwnedWriteHalf,
    session: Arc<Session>,
}

impl WriteHalf {
    /// The connection that is written to.
    pub(in crate::transport) fn tcp(&self) -> &TcpStream {
        self.tcp.as_ref()
    }
}

impl Wire for WriteHalf {
    /// What is encrypted has been taken, but as long as ciphertext is left its last byte is not reported. So whoever
    /// writes knows that something is left and comes again, does not drop the rest of what has begun, and counts
    /// nothing twice.
    ///
    /// For that, two bytes at least of the frame that is encrypted last must be: were it one, which is not reported,
    /// nobody would know that the frame has begun. So frames are encrypted whole, as many as fit, and cut is only one
    /// that does not fit alone.
    fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.session.lock();
        let State { tls, withheld } = &mut *state;
        write_left(tls, self.tcp())?;
        let taken = match bytes {
            [] => 0,
            // Its first byte is encrypted already.
            [first, ..] if *withheld => 1 + tls.writer().write(start(&first[1..]))?,
            [one] => tls.writer().write(start(one))?,
            several => match fitting(several) {
                0 => tls.writer().write(start(&several[0]))?,
                count => tls.writer().write_vectored(&several[..count])?,
            },
        };
        *withheld = match write_left(tls, self.tcp()) {
            Ok(()) => false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) => return Err(error),
        };
        match taken.saturating_sub(usize::from(*withheld)) {
            0 if *withheld => Err(ErrorKind::WouldBlock.into()),
            reported => Ok(reported),
        }
    }
}

/// As much of one slice as is encrypted at once.
fn start(slice: &[u8]) -> &[u8] {
    &slice[..slice.len().min(ENCRYPTED)]
}

/// How many slices, from the first on, are encrypted at once.
fn fitting(slices: &[IoSlice<'_>]) -> usize {
    let mut total = 0;
    let fits = slices.iter().take_while(|slice| {
        total += slice.len();
        total <= ENCRYPTED
    });
    fits.count()
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        let mut state = self.session.lock();
        state.tls.send_close_notify();
        // A peer that takes nothing will see the connection end.
        let _ = write_left(&mut state.tls, self.tcp());
    }
}

/// Writes the ciphertext that is left.
///
/// # Errors
/// [`ErrorKind::WouldBlock`] when some still is; otherwise the connection is broken.
fn write_left(tls: &mut ServerConnection, tcp: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        if tls.write_tls(&mut TryWrite(tcp))? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Writes what the operating system takes at once.
struct TryWrite<'a>(&'a TcpStream);

impl Write for TryWrite<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
