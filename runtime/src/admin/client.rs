//! The side of those who ask.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{Order, PluginInfo};

/// The longest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// Asks the server that listens on a socket.
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No server is there.
    #[error(
        "no server listens on {socket}: {error}; is it running, and is this its folder? `--admin` names another socket"
    )]
    NoServer {
        /// The socket.
        socket: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// It does not do it.
    #[error("{0}")]
    Refused(String),
    /// It does not speak as it should.
    #[error("the server's answer cannot be used: {0}")]
    Answer(String),
}

impl Client {
    /// Asks by this socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// The server's plugins.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn plugins(&self) -> Result<Vec<PluginInfo>, AskError> {
        let answer = self.ask(Method::GET, Vec::new()).await?;
        serde_json::from_slice(&answer).map_err(|error| AskError::Answer(error.to_string()))
    }

    /// Has the server do something, and waits until it has.
    ///
    /// # Errors
    /// It does not, or there is no answer.
    pub async fn order(&self, order: &Order) -> Result<(), AskError> {
        let order = serde_json::to_vec(order);
        let order = order.map_err(|error| AskError::Answer(error.to_string()))?;
        self.ask(Method::POST, order).await.map(drop)
    }

    async fn ask(&self, method: Method, body: Vec<u8>) -> Result<Bytes, AskError> {
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|error| AskError::NoServer {
            socket: self.socket.clone(),
            error,
        })?;
        let unusable = |error: &dyn std::fmt::Display| AskError::Answer(error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unusable(&error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri("/api/plugins")
            .header(HOST, "tulpar")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::<Bytes>::from(body))
            .map_err(|error| unusable(&error))?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| unusable(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        let body = body.map_err(|error| unusable(&error))?.to_bytes();
        if status == StatusCode::OK {
            return Ok(body);
        }
        let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let why = said.as_ref().and_then(|said| said["error"].as_str());
        Err(match why {
            Some(why) => AskError::Refused(why.to_owned()),
            None => unusable(&status),
        })
    }
}
