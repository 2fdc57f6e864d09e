//! Whoever asks the server on its admin address.

use std::net::SocketAddr;

use crate::client::Value;
use crate::http::Request;
use crate::raw::Response;
use crate::server::Server;

/// Asks on an admin address, as the live page does.
pub struct Operator {
    address: SocketAddr,
    token: Option<String>,
}

impl Operator {
    /// One who says no token.
    pub fn of(server: &Server) -> Self {
        Self {
            address: server.page(),
            token: None,
        }
    }

    /// One who says this one.
    pub fn with_token(server: &Server, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..Self::of(server)
        }
    }

    /// Sends a request with what is asked for beside it.
    pub async fn send(&self, request: Request) -> Response {
        let request = match &self.token {
            Some(token) => request.header("Authorization", &format!("Bearer {token}")),
            None => request.header("Tulpar-Admin", "1"),
        };
        request.send(self.address).await
    }

    /// What there is at that path, which must be there.
    pub async fn get(&self, path: &str) -> Value {
        let response = self.send(Request::get(path)).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        parse(&response)
    }

    /// Has something done to a socket or a plugin; what the server says when it is not.
    pub async fn order(&self, path: &str, order: Value) -> Result<(), (u16, String)> {
        let request = Request::post(path, order.to_string());
        let request = request.header("Content-Type", "application/json");
        done(self.send(request).await)
    }

    /// Puts a file into the plugins folder; what the server says when it does not.
    pub async fn upload(&self, plugin: &str, bytes: &[u8]) -> Result<(), (u16, String)> {
        let request = Request::new("PUT", &format!("/api/plugins?plugin={plugin}")).body(bytes);
        let request = request.header("Content-Type", "application/wasm");
        done(self.send(request).await)
    }
}

fn done(response: Response) -> Result<(), (u16, String)> {
    let said = parse(&response);
    match response.status {
        200 => {
            assert_eq!(said["done"], true);
            Ok(())
        }
        status => Err((
            status,
            said["error"].as_str().expect("it says why").to_owned(),
        )),
    }
}

fn parse(response: &Response) -> Value {
    serde_json::from_str(response.text())
        .unwrap_or_else(|error| panic!("{error} in {}", response.text()))
}
