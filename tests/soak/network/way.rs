//! The way to the server: by TCP alone or encrypted, with messages as they are or compressed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};
use tulpar_tests::{
    Client, Connect, DEFLATE, Deflating, Opcode, PATIENCE, Raw, Trust, Value, connect, json,
};

const PATH: &str = "/commander";

/// How all of them come.
#[derive(Clone)]
pub struct Way {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Whom a client trusts, when connections are encrypted.
    pub trust: Option<Trust>,
    /// Whether every other one offers to compress.
    pub compression: bool,
}

impl Way {
    /// A socket of somebody who talks.
    pub async fn talker(&self, number: usize) -> Talker {
        if self.compression && number % 2 == 1 {
            let deflating = Deflating::over(self.raw().await, PATH, DEFLATE).await;
            return Talker::Deflating(Box::new(deflating));
        }
        let url = format!("ws://{}{PATH}", self.address);
        let client = match &self.trust {
            Some(trust) => {
                let stream = trust.connect(self.address).await;
                Connect::to(url).open_over(stream).await
            }
            None => connect(url).await,
        };
        Talker::Plain(Box::new(client))
    }

    /// A socket by hand.
    pub async fn upgraded(&self) -> Raw {
        let mut raw = self.raw().await;
        raw.upgrade(PATH).await;
        raw
    }

    async fn raw(&self) -> Raw {
        match &self.trust {
            Some(trust) => Raw::encrypted(trust.connect(self.address).await),
            None => Raw::connect(self.address).await,
        }
    }

    /// A connection for a thread that waits.
    pub fn waiting(&self) -> io::Result<Waiting> {
        let tcp = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        Ok(match &self.trust {
            Some(trust) => Waiting::Encrypted(Box::new(trust.waiting(tcp))),
            None => Waiting::Plain(tcp),
        })
    }
}

/// A connection for a thread that waits. It is encrypted when something is first written.
pub enum Waiting {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted.
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Waiting {
    /// From now on its end is a reset.
    pub fn reset(&self) -> io::Result<()> {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Encrypted(stream) => &stream.sock,
        };
        Ok(set_socket_linger(tcp, Some(Duration::ZERO))?)
    }
}

impl Read for Waiting {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(into),
            Self::Encrypted(stream) => stream.read(into),
        }
    }
}

impl Write for Waiting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}

/// A socket of somebody who talks.
pub enum Talker {
    /// In messages as they are.
    Plain(Box<Client>),
    /// In messages that are compressed.
    Deflating(Box<Deflating>),
}

impl Talker {
    /// Sends a text.
    pub async fn send(&mut self, text: String) {
        match self {
            Self::Plain(client) => client.send(text).await,
            Self::Deflating(client) => client.send(Opcode::Text, text.as_bytes()).await,
        }
    }

    /// The next message, which must be a text. Cancel-safe.
    pub async fn recv_text(&mut self) -> String {
        match self {
            Self::Plain(client) => client.recv_text().await,
            Self::Deflating(client) => {
                String::from_utf8(client.recv().await.message).expect("it is a text")
            }
        }
    }

    /// Sends a command and gives its answer, which must be the next message.
    pub async fn ask(&mut self, command: Value) -> Value {
        self.send(command.to_string()).await;
        let answer = self.recv_text().await;
        let answer: Value = serde_json::from_str(&answer).unwrap_or(json!({}));
        answer["answer"].clone()
    }
}
