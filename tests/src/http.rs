//! Requests to HTTP controllers, and what comes back: whole, or broken off.

use std::net::SocketAddr;

use crate::raw::{Raw, Response};
use crate::server::Server;
use crate::within;

/// An HTTP/1.1 request about to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunk: Option<usize>,
}

impl Request {
    /// With any method and without a body.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            chunk: None,
        }
    }

    /// A GET.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A POST with a body, whose length is announced.
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::new("POST", path)
        }
    }

    /// With a body, whose length is announced.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With this header, beside those of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The body goes in chunks of that size, and its length is not announced.
    pub fn chunked(mut self, size: usize) -> Self {
        self.chunk = Some(size);
        self
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut headers = self.headers.clone();
        if self.chunk.is_some() {
            headers.push(("Transfer-Encoding".to_owned(), "chunked".to_owned()));
        } else if !self.body.is_empty() {
            headers.push(("Content-Length".to_owned(), self.body.len().to_string()));
        }
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut bytes = Raw::request(&self.method, &self.path, &headers);
        match self.chunk {
            None => bytes.extend(&self.body),
            Some(size) => {
                bytes.extend(self.body.chunks(size).flat_map(chunk));
                bytes.extend(chunk(b""));
            }
        }
        bytes
    }

    /// Sends it on a connection of its own, and reads the whole response.
    pub async fn send(&self, address: SocketAddr) -> Response {
        self.send_on(&mut Raw::connect(address).await).await
    }

    /// Sends it on a connection that stays open, and reads the whole response.
    pub async fn send_on(&self, raw: &mut Raw) -> Response {
        let outcome = self.attempt_on(raw).await;
        outcome.unwrap_or_else(|broken| panic!("{self:?} is not answered whole: {broken:?}"))
    }

    /// Sends it on a connection of its own, and reads what comes until the connection is broken off. A whole response
    /// fails the test.
    pub async fn broken_off(&self, address: SocketAddr) -> BrokenOff {
        match self.attempt_on(&mut Raw::connect(address).await).await {
            Err(broken) => broken,
            Ok(response) => panic!("{self:?} is answered whole: {response:?}"),
        }
    }

    async fn attempt_on(&self, raw: &mut Raw) -> Result<Response, BrokenOff> {
        raw.write(&self.bytes()).await;
        raw.outcome(&self.method).await
    }
}

/// A GET of that path, and what it is answered with.
pub async fn ask(server: &Server, path: &str) -> Response {
    Request::get(path).send(server.address()).await
}

/// What came of a response before the connection ended: nothing, or a head and the beginning of a body.
#[derive(Debug)]
pub struct BrokenOff(pub Option<Response>);

impl BrokenOff {
    /// What came, which is at least the head.
    pub fn begun(self) -> Response {
        self.0.expect("a response had begun")
    }
}

/// A chunk of a body with `Transfer-Encoding: chunked`; an empty one is its end.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let length = format!("{:x}\r\n", bytes.len());
    [length.as_bytes(), bytes, b"\r\n"].concat()
}

/// Where the body of a response ends.
enum Framing {
    /// After so many bytes.
    Length(usize),
    /// After the empty chunk.
    Chunked,
    /// Where the connection ends.
    UntilTheEnd,
}

impl Framing {
    fn of(response: &Response, method: &str) -> Self {
        if method == "HEAD" || matches!(response.status, 100..200 | 204 | 304) {
            return Self::Length(0);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            return Self::Chunked;
        }
        match response.header("content-length") {
            Some(length) => Self::Length(length.parse().expect("a number")),
            None => Self::UntilTheEnd,
        }
    }
}

impl Raw {
    /// Reads one response to a request with that method, however its body is framed.
    pub async fn outcome(&mut self, method: &str) -> Result<Response, BrokenOff> {
        within("a response or its end", async {
            let mut response = self.head().await.ok_or(BrokenOff(None))?;
            let whole = match Framing::of(&response, method) {
                Framing::Length(length) => {
                    let whole = self.take(length).await;
                    let is_whole = whole.is_some();
                    response.body = whole.unwrap_or_else(|| self.left());
                    is_whole
                }
                Framing::Chunked => loop {
                    match self.next_chunk().await {
                        Some(chunk) if chunk.is_empty() => break true,
                        Some(chunk) => response.body.extend(chunk),
                        None => break false,
                    }
                },
                Framing::UntilTheEnd => {
                    while self.fill().await {}
                    response.body = self.left();
                    true
                }
            };
            if whole {
                Ok(response)
            } else {
                Err(BrokenOff(Some(response)))
            }
        })
        .await
    }

    /// Reads the head of a response whose body is still to come. The body stays empty.
    pub async fn response_head(&mut self) -> Response {
        let head = within("the head of a response", self.head()).await;
        head.expect("the connection ended before the head of a response")
    }

    /// Reads a chunk of a body with `Transfer-Encoding: chunked`; an empty one is its end.
    pub async fn chunk(&mut self) -> Vec<u8> {
        let chunk = within("a chunk", self.next_chunk()).await;
        chunk.expect("the connection ended before a whole chunk")
    }

    async fn next_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await?;
        let digits = std::str::from_utf8(&line).expect("a chunk's length is text");
        let length = usize::from_str_radix(digits.trim_end(), 16);
        let length = length.unwrap_or_else(|error| panic!("{error} in a chunk's length {line:?}"));
        let mut bytes = self.take(length + 2).await?;
        assert_eq!(bytes.split_off(length), b"\r\n", "a chunk ends with a line");
        Some(bytes)
    }
}
