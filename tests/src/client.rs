//! A WebSocket client that says what it waited for.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::raw::{Raw, Response, Stream};
use crate::within;

pub use serde_json::{Value, json};
pub use tokio_tungstenite::tungstenite::Message;
pub use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Connects to a WebSocket URL.
pub async fn connect(url: impl AsRef<str>) -> Client {
    Connect::to(url).open().await
}

/// A connection about to be made.
pub struct Connect {
    url: String,
    headers: Vec<(String, String)>,
}

impl Connect {
    /// To this WebSocket URL.
    pub fn to(url: impl AsRef<str>) -> Self {
        Self {
            url: url.as_ref().to_owned(),
            headers: Vec::new(),
        }
    }

    /// With this header, beside those of the same name.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Connects; a refusal fails the test.
    pub async fn open(self) -> Client {
        let url = self.url.clone();
        let opened = self.attempt().await;
        opened.unwrap_or_else(|status| panic!("{url} is refused with {status}"))
    }

    /// Upgrades a connection that there is already; a refusal fails the test.
    pub async fn open_over(self, stream: impl Stream) -> Client {
        let url = self.url.clone();
        let opened = self.try_open_over(stream).await;
        opened.unwrap_or_else(|response| panic!("{url} is refused with {}", response.status))
    }

    /// Connects in vain, and gives the whole response.
    pub async fn refused(self) -> Response {
        let mut request = self.request();
        let path = request
            .uri()
            .path_and_query()
            .expect("the URL has a path")
            .to_string();
        request.headers_mut().remove("host");
        let headers = request.headers().iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.to_str().expect("it is ASCII")))
            .collect();
        let mut raw = Raw::connect(address(&request)).await;
        raw.write(&Raw::request("GET", &path, &headers)).await;
        let response = raw.response().await;
        assert_ne!(response.status, 101, "{} is not refused", self.url);
        response
    }

    /// Connects, or gives the status that is no 101.
    pub async fn attempt(self) -> Result<Client, u16> {
        self.try_open().await.map_err(|response| response.status)
    }

    /// Connects, or gives the response that is no 101, without its body.
    pub async fn try_open(self) -> Result<Client, Response> {
        let stream = within(
            "a TCP connection",
            TcpStream::connect(address(&self.request())),
        )
        .await;
        let stream = stream.expect("the server accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        self.try_open_over(stream).await
    }

    /// The same over a connection that there is already.
    pub async fn try_open_over(self, stream: impl Stream) -> Result<Client, Response> {
        let request = self.request();
        let what = format!("the handshake with {}", self.url);
        let stream: Box<dyn Stream> = Box::new(stream);
        let limits = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        match within(
            &what,
            client_async_with_config(request, stream, Some(limits)),
        )
        .await
        {
            Ok((socket, response)) => Ok(Client {
                socket,
                response: plain(&response),
            }),
            Err(Error::Http(response)) => Err(plain(&response)),
            Err(error) => panic!("{what} failed: {error}"),
        }
    }

    /// Connects; none when nobody listens there, or who does goes before it answers.
    pub async fn if_it_listens(self) -> Option<Client> {
        let request = self.request();
        let stream = TcpStream::connect(address(&request)).await.ok()?;
        let stream: Box<dyn Stream> = Box::new(stream);
        let opened = client_async_with_config(request, stream, None);
        let (socket, response) = within("a handshake or its end", opened).await.ok()?;
        Some(Client {
            socket,
            response: plain(&response),
        })
    }

    fn request(&self) -> Request {
        let mut request = self
            .url
            .as_str()
            .into_client_request()
            .expect("the URL is one");
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name).expect("the name is one of a header");
            let value = HeaderValue::from_str(value).expect("the value is one of a header");
            request.headers_mut().append(name, value);
        }
        request
    }
}

fn address(request: &Request) -> SocketAddr {
    let authority = request
        .uri()
        .authority()
        .expect("the URL has a host and a port");
    authority.as_str().parse().expect("the host is an address")
}

/// An open connection.
pub struct Client {
    socket: WebSocketStream<Box<dyn Stream>>,
    /// The response to the handshake.
    pub response: Response,
}

impl Client {
    /// Sends a text message.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    /// Sends a text message over a connection that may have ended.
    pub async fn try_send(&mut self, text: impl Into<String>) {
        let sent = self.socket.send(Message::text(text.into()));
        drop(within("a message to leave, or the end", sent).await);
    }

    /// Sends a binary message.
    pub async fn send_bytes(&mut self, bytes: impl Into<Vec<u8>>) {
        self.send_message(Message::binary(bytes.into())).await;
    }

    /// Sends a ping.
    pub async fn send_ping(&mut self, payload: &[u8]) {
        self.send_message(Message::Ping(Bytes::copy_from_slice(payload)))
            .await;
    }

    /// Hands a message over without waiting for the network; [`Client::flush`] sends all of them.
    pub async fn feed(&mut self, text: impl Into<String>) {
        let sent = within(
            "a message to be buffered",
            self.socket.feed(Message::text(text.into())),
        )
        .await;
        sent.expect("the connection is open");
    }

    /// Sends what was fed.
    pub async fn flush(&mut self) {
        within("messages to leave", self.socket.flush())
            .await
            .expect("the connection is open");
    }

    /// The next message, whatever it is; none when the connection has ended, in order or not.
    pub async fn recv_or_end(&mut self) -> Option<Message> {
        within("a message", self.recv_or_end_some_time()).await
    }

    /// The same, however long it takes.
    pub async fn recv_or_end_some_time(&mut self) -> Option<Message> {
        self.socket.next().await?.ok()
    }

    /// The next message, whatever it is; none when the connection has ended in order.
    pub async fn recv(&mut self) -> Option<Message> {
        let received = within("a message", self.socket.next()).await;
        received.map(|message| {
            message.unwrap_or_else(|error| panic!("waited for a message, but {error}"))
        })
    }

    /// The next message, which must be text.
    pub async fn recv_text(&mut self) -> String {
        match self.recv().await {
            Some(Message::Text(text)) => text.as_str().to_owned(),
            other => panic!("waited for a text message, but got {other:?}"),
        }
    }

    /// The next message, which must be a JSON text.
    pub async fn recv_json(&mut self) -> Value {
        let text = self.recv_text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in `{text}`"))
    }

    /// The next message, which must be binary.
    pub async fn recv_bytes(&mut self) -> Vec<u8> {
        match self.recv().await {
            Some(Message::Binary(bytes)) => bytes.to_vec(),
            other => panic!("waited for a binary message, but got {other:?}"),
        }
    }

    /// Sends a command to the commander and gives its answer, which must be the next message.
    pub async fn ask(&mut self, command: Value) -> Value {
        self.send(command.to_string()).await;
        let mut answer = self.recv_json().await;
        match answer.get_mut("answer") {
            Some(value) => value.take(),
            None => panic!("waited for the answer to {command}, but got {answer}"),
        }
    }

    /// Shows that nothing has arrived beside what was received: the answer to a marker is next.
    pub async fn expect_nothing(&mut self) {
        self.ask(json!({ "do": "nothing" })).await;
    }

    /// Sends a close frame.
    pub async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        };
        within("a close frame to leave", self.socket.close(Some(frame)))
            .await
            .expect("the connection is open");
    }

    /// Sends a close frame without a code.
    pub async fn close_without_code(&mut self) {
        within("a close frame to leave", self.socket.close(None))
            .await
            .expect("the connection is open");
    }

    /// The next message, which must be a close frame: its code and reason. The connection has ended then.
    pub async fn expect_close(&mut self) -> (u16, String) {
        let closed = match self.recv().await {
            Some(Message::Close(Some(frame))) => {
                (frame.code.into(), frame.reason.as_str().to_owned())
            }
            other => panic!("waited for a close frame with a code, but got {other:?}"),
        };
        let after = within("the connection to end", self.socket.next()).await;
        assert!(after.is_none(), "after the close frame came {after:?}");
        // As every client does; the server waits for it.
        drop(self.socket.get_mut().shutdown().await);
        closed
    }

    /// Shows that the connection ends without a close frame, and that nothing precedes the end.
    pub async fn expect_drop(&mut self) {
        match within("the connection to drop", self.socket.next()).await {
            Some(Err(_)) | None => (),
            Some(Ok(message)) => panic!("waited for the connection to drop, but got {message:?}"),
        }
    }

    async fn send_message(&mut self, message: Message) {
        within("a message to leave", self.socket.send(message))
            .await
            .expect("the connection is open");
    }
}

fn plain<T>(response: &tokio_tungstenite::tungstenite::http::Response<T>) -> Response {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str().to_owned(), text(value)));
    Response {
        status: response.status().as_u16(),
        headers: headers.collect(),
        body: Vec::new(),
    }
}
