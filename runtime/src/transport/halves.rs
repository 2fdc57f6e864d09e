//! The two halves of a connection after its upgrade.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{tcp, unix};

use super::tls;
use crate::hub::Wire;

/// What the peer sends.
pub enum ReadHalf {
    /// By TCP.
    Tcp(tcp::OwnedReadHalf),
    /// By a Unix socket.
    Unix(unix::OwnedReadHalf),
    /// By TLS. Boxed, as those without need not have room for it.
    Tls(Box<tls::ReadHalf>),
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, into),
            Self::Unix(half) => Pin::new(half).poll_read(cx, into),
            Self::Tls(half) => Pin::new(half).poll_read(cx, into),
        }
    }
}

/// Where what is sent to the peer goes. When it is dropped the peer is told that nothing more comes.
pub enum WriteHalf {
    /// To TCP.
    Tcp(tcp::OwnedWriteHalf),
    /// To a Unix socket.
    Unix(unix::OwnedWriteHalf),
    /// To TLS.
    Tls(tls::WriteHalf),
}

impl WriteHalf {
    /// Ready when the operating system takes more, or when the connection is broken. For one task at a time.
    ///
    /// # Errors
    /// The server is stopping.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => half.as_ref().poll_write_ready(cx),
            Self::Unix(half) => half.as_ref().poll_write_ready(cx),
            Self::Tls(half) => half.tcp().poll_write_ready(cx),
        }
    }
}

impl Wire for WriteHalf {
    fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, bytes) {
            (Self::Tcp(half), [one]) => half.try_write(one),
            (Self::Tcp(half), several) => half.try_write_vectored(several),
            (Self::Unix(half), [one]) => half.try_write(one),
            (Self::Unix(half), several) => half.try_write_vectored(several),
            (Self::Tls(half), bytes) => half.try_write(bytes),
        }
    }
}
