//! From a request to a socket (RFC 6455, section 4.2).

use std::sync::Arc;

use fastwebsockets::upgrade::UpgradeFut;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Version};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::Server;
use super::admission::{Counted, Held};
use super::dispatch::Caller;
use super::respond::{self, Answer};
use crate::config::{Compression, SlowConsumer};
use crate::connection;
use crate::deflate::{self, Agreement};
use crate::hub::{Compressor, Socket};
use crate::ids::SocketId;
use crate::metrics::Refusal;
use crate::namespace::Namespace;
use crate::quota::{self, Hold};
use crate::transport::Transport;

/// Whether a request asks for a WebSocket.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    lists(headers, &header::UPGRADE, "websocket")
}

/// Answers 101, and serves the socket once that has been sent.
pub(super) fn upgrade(
    server: &Arc<Server>,
    caller: Caller,
    namespace: &Arc<Namespace>,
    values: Option<Arc<str>>,
    mut request: Request<Incoming>,
) -> Result<Answer, Box<Answer>> {
    let id = SocketId::random(server.node).map_err(|error| {
        tracing::error!("no randomness for a socket's id: {error}");
        Box::new(respond::internal_error())
    })?;
    let counted = match caller.forwarded {
        true => server.count(caller.remote),
        false => Ok(None),
    };
    let counted = counted.map_err(|reason| Box::new(respond::refusal(reason)))?;
    let account = namespace.sockets().account();
    let Some(open) = account.hold(quota::Held::Connections, 1) else {
        server.metrics.refused(Refusal::Quota);
        return Err(Box::new(respond::unavailable(respond::SOON)));
    };
    let (response, upgraded) = fastwebsockets::upgrade::upgrade(&mut request)
        .map_err(|error| Box::new(respond::bad_request(&error.to_string())))?;
    let mut answer = response.map(|_| respond::whole(""));
    if let Some(protocol) = namespace.choose_protocol(offered_protocols(request.headers())) {
        // It has come as a header's value, and so is one.
        if let Ok(value) = HeaderValue::from_str(protocol) {
            answer
                .headers_mut()
                .insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
    }
    let limits = &namespace.settings().limits;
    let config = server.config.load();
    let keepalive = server.keepalive.clone();
    let mut settings =
        connection::Settings::new(limits, &config.timeouts, keepalive, server.metrics.clone());
    let agreed = agree_on_compression(namespace, request.headers(), answer.headers_mut());
    let mut compressor = None;
    if let Some((Agreement { server, client }, compression)) = agreed {
        settings = settings.inflating(client, compression.ratio);
        let made = Compressor::new(server, compression.threshold, account.clone());
        compressor = Some(Box::new(made));
    }
    let capacity = limits.outbox_bytes;
    let policy = namespace.settings().sockets.slow_consumer;
    let patience = config.timeouts.handshake();
    let namespace = namespace.clone();
    tokio::spawn(async move {
        let held = Holds {
            connection: caller.held,
            // Boxed, as it is rare.
            _counted: counted.map(Box::new),
            _open: open,
        };
        let Some((transport, received)) = transport_of(upgraded).await else {
            tracing::debug!(conn = %id, "the client left during the handshake");
            return;
        };
        let Ok(Ok((read, write))) = timeout(patience, transport.split()).await else {
            tracing::debug!(conn = %id, "the client did not take the answer");
            return;
        };
        let wire = Arc::new(write);
        let outbox = namespace.sockets().outbox(capacity, policy, wire.clone());
        let socket = Socket::new(id, caller.remote, values, outbox).compressing(compressor);
        let socket = Arc::new(socket);
        // In a task of its own, as the one that the handshake needs is larger than what is to last.
        tokio::spawn(connection::serve(
            read, received, wire, namespace, socket, settings, held,
        ));
    });
    Ok(answer)
}

/// What a socket holds as long as it lasts.
struct Holds {
    connection: Arc<Held>,
    _counted: Option<Box<Counted>>,
    _open: Hold,
}

impl connection::Held for Holds {
    /// That the tenant has it stays counted: it goes on having what it set for its socket.
    fn release(self) -> impl Sized {
        (self.connection.busy.clone(), self._open)
    }
}

/// What namespace and client agree on about compressing messages, which the answer says; none when one of them does not
/// want to.
fn agree_on_compression(
    namespace: &Namespace,
    request: &HeaderMap,
    answer: &mut HeaderMap,
) -> Option<(Agreement, Compression)> {
    let settings = &namespace.settings().sockets;
    let compression = settings.compression()?;
    // Whatever refers to a message is lost with it.
    let refers_back = settings.slow_consumer != SlowConsumer::DropOldest;
    let offers = request.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    let offers = offers.filter_map(|value| value.to_str().ok());
    let (agreement, text) = deflate::negotiate(offers, &compression, refers_back)?;
    // It consists of words and numbers, and so is a header's value.
    let value = HeaderValue::from_str(&text).ok()?;
    answer.insert(header::SEC_WEBSOCKET_EXTENSIONS, value);
    Some((agreement, compression))
}

/// What an upgraded connection runs over and what was read of it behind the request; none when it broke.
async fn transport_of(upgraded: UpgradeFut) -> Option<(Transport, Vec<u8>)> {
    let upgraded = upgraded.await.ok()?.into_inner().into_inner();
    let parts = upgraded.downcast::<TokioIo<Transport>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf.into()))
}

/// Checks what RFC 6455 asks of a request for an upgrade.
///
/// # Errors
/// The answer to one that is malformed.
pub(super) fn check(request: &Request<Incoming>) -> Result<(), Box<Answer>> {
    let headers = request.headers();
    let bad = |why: &str| Err(Box::new(respond::bad_request(why)));
    if request.version() != Version::HTTP_11 {
        return bad("A WebSocket upgrade needs HTTP/1.1");
    }
    if !lists(headers, &header::CONNECTION, "upgrade") {
        return bad("The Connection header does not list Upgrade");
    }
    let mut versions = headers.get_all(header::SEC_WEBSOCKET_VERSION).iter();
    if versions
        .next()
        .is_none_or(|version| version.as_bytes() != b"13")
        || versions.next().is_some()
    {
        return Err(Box::new(respond::unsupported_version()));
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    if !keys.next().is_some_and(|key| is_key(key.as_bytes())) || keys.next().is_some() {
        return bad("The Sec-WebSocket-Key header is not 16 bytes in base64");
    }
    Ok(())
}

/// Whether these are 16 bytes in base64: 22 digits, of which the last has no more than two bits, and the padding.
fn is_key(key: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    matches!(key, [digits @ .., b'=', b'='] if digits.len() == 22 && digits.iter().all(digit))
        && matches!(key[21], b'A' | b'Q' | b'g' | b'w')
}

/// The members of a header that is a list, whether it comes once or often.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty())
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    members(headers, name).any(|member| member.eq_ignore_ascii_case(wanted))
}

fn offered_protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    members(headers, &header::SEC_WEBSOCKET_PROTOCOL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c1_a_key_is_sixteen_bytes_in_base64() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for wrong in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQAA",
            b"dGhlIHNhbXBsZSBub25jZR==",
            b"dGhlIHNhbXBsZSBub25j!Q==",
            b"AdGhlIHNhbXBsZSBub25jZQ==",
        ] {
            assert!(!is_key(wrong), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
