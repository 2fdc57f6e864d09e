//! The broker: send to the sockets of any namespace that the plugin may address, from anywhere: a handler, a
//! middleware, a service, a controller.
//!
//! A plugin may address the namespaces of its own tenant, each as it names itself: `/chat`, whatever the tenant
//! is called. There are three ways to say which, all of the same host functions:
//!
//! ```no_run
//! use tulpar::prelude::*;
//!
//! // One namespace, named once. What most plugins want.
//! const NOTIFICATIONS: Ulak<'static> = ulak("/notifications");
//!
//! # fn example() -> Result<()> {
//! NOTIFICATIONS.to("user:123", Json(json!({ "type": "profile_updated" })))?;
//!
//! // All of those that an expression takes.
//! ulak::matching(|path: &str| path.starts_with("/chat")).broadcast("back in a minute").into_result()?;
//!
//! // The one that is named in the call.
//! ulak::broadcast("/chat", "hello")?;
//! # Ok(()) }
//! ```
//!
//! What one call sends to a namespace arrives there in the order of the calls. Numbers of sockets are those of
//! this node.

mod bulk;
mod error;

pub use bulk::{BulkResult, Operation};
pub use error::{UlakError, UlakErrorCode};

use crate::bindings::imports::tulpar::plugin::ulak as host;
use crate::message::{IntoMessage, Payload};

/// One namespace, to be sent to: see [`ulak()`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ulak<'a> {
    namespace: &'a str,
}

/// The namespace of that path, to be sent to. Nothing is asked of the host before something is sent, so that it
/// can be a constant, and the namespace may come and go.
///
/// ```
/// use tulpar::{Ulak, ulak};
///
/// const NOTIFICATIONS: Ulak<'static> = ulak("/notifications");
/// assert_eq!(NOTIFICATIONS.namespace(), "/notifications");
/// ```
pub const fn ulak(namespace: &str) -> Ulak<'_> {
    Ulak { namespace }
}

impl<'a> Ulak<'a> {
    /// The path it was made with.
    pub const fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// Send to every socket of the namespace, as [`broadcast`] does.
    ///
    /// # Errors
    /// Those of [`broadcast`].
    pub fn broadcast(&self, message: impl IntoMessage) -> Result<u32, UlakError> {
        broadcast(self.namespace, message)
    }

    /// Send to the members of a room, as [`to`] does.
    ///
    /// # Errors
    /// Those of [`to`].
    pub fn to(&self, room: &str, message: impl IntoMessage) -> Result<u32, UlakError> {
        to(self.namespace, room, message)
    }

    /// Send to one socket, as [`to_socket`] does.
    ///
    /// # Errors
    /// Those of [`to_socket`].
    pub fn to_socket(&self, socket_id: &str, message: impl IntoMessage) -> Result<(), UlakError> {
        to_socket(self.namespace, socket_id, message)
    }

    /// Send to the members of several rooms, as [`to_many`] does.
    pub fn to_many(&self, rooms: &[impl AsRef<str>], message: impl IntoMessage) -> BulkResult {
        to_many(self.namespace, rooms, message)
    }

    /// How many sockets of this node are open in the namespace.
    ///
    /// # Errors
    /// Those of [`socket_count`].
    pub fn socket_count(&self) -> Result<u32, UlakError> {
        socket_count(self.namespace)
    }

    /// Whether there is such a namespace and the plugin may address it.
    pub fn exists(&self) -> bool {
        has_namespace(self.namespace)
    }
}

/// The namespaces that an expression over their paths takes.
///
/// It is asked anew at each use, of those that there are then. What is sent is one
/// [`bulk_send`]: at most 1,000 namespaces unless the operator says otherwise.
pub fn matching<F: Fn(&str) -> bool>(expression: F) -> Selection<F> {
    Selection { expression }
}

/// Several namespaces, to be sent to: see [`matching`].
#[derive(Clone, Copy)]
pub struct Selection<F> {
    expression: F,
}

impl<F: Fn(&str) -> bool> Selection<F> {
    /// The paths of the namespaces that it takes now, sorted.
    pub fn namespaces(&self) -> Vec<String> {
        let mut paths = namespaces();
        paths.retain(|path| (self.expression)(path));
        paths
    }

    /// Send to every socket of each: one result for each namespace, in the order of
    /// [`namespaces`](Self::namespaces).
    pub fn broadcast(&self, message: impl IntoMessage) -> BulkResult {
        self.send(host::Target::Broadcast, message)
    }

    /// Send to the members of the room of that name in each: one result for each namespace, in the order of
    /// [`namespaces`](Self::namespaces).
    pub fn to(&self, room: &str, message: impl IntoMessage) -> BulkResult {
        self.send(host::Target::Room(room), message)
    }

    fn send(&self, target: host::Target<'_>, message: impl IntoMessage) -> BulkResult {
        let namespaces = self.namespaces();
        let payload = match message.payload() {
            Ok(payload) => payload,
            Err(cause) => {
                let failed = |path: &String| Err(UlakError::unwritable(Some(path), &cause));
                return BulkResult {
                    results: namespaces.iter().map(failed).collect(),
                };
            }
        };
        let operations: Vec<_> = namespaces
            .iter()
            .map(|namespace| host::Operation {
                namespace,
                target: target.clone(),
                message: payload.borrow(),
            })
            .collect();
        host::bulk_send(&operations).into()
    }
}

/// Send to every socket of a namespace. Returns how many sockets of this node were addressed.
///
/// # Errors
/// [`InvalidNamespace`](UlakErrorCode::InvalidNamespace),
/// [`NamespaceNotFound`](UlakErrorCode::NamespaceNotFound),
/// [`PermissionDenied`](UlakErrorCode::PermissionDenied), [`InvalidMessage`](UlakErrorCode::InvalidMessage),
/// [`LimitExceeded`](UlakErrorCode::LimitExceeded), [`BroadcastFailed`](UlakErrorCode::BroadcastFailed).
pub fn broadcast(namespace: &str, message: impl IntoMessage) -> Result<u32, UlakError> {
    let payload = payload(namespace, &message)?;
    Ok(host::broadcast(namespace, payload.borrow())?)
}

/// Send to the members of a room of a namespace. A room that does not exist addresses nobody, which is no error.
/// Returns how many sockets of this node were addressed.
///
/// # Errors
/// Those of [`broadcast`], and [`InvalidRoom`](UlakErrorCode::InvalidRoom).
pub fn to(namespace: &str, room: &str, message: impl IntoMessage) -> Result<u32, UlakError> {
    let payload = payload(namespace, &message)?;
    Ok(host::to(namespace, room, payload.borrow())?)
}

/// Send to one socket of a namespace.
///
/// # Errors
/// Those of [`broadcast`], [`SocketNotFound`](UlakErrorCode::SocketNotFound),
/// [`SendFailed`](UlakErrorCode::SendFailed).
pub fn to_socket(
    namespace: &str,
    socket_id: &str,
    message: impl IntoMessage,
) -> Result<(), UlakError> {
    let payload = payload(namespace, &message)?;
    Ok(host::to_socket(namespace, socket_id, payload.borrow())?)
}

/// Send to the members of several rooms of a namespace: one result for each room, in their order. Whoever is in
/// several of them gets the message as often.
pub fn to_many(
    namespace: &str,
    rooms: &[impl AsRef<str>],
    message: impl IntoMessage,
) -> BulkResult {
    match payload(namespace, &message) {
        Ok(payload) => {
            let rooms: Vec<&str> = rooms.iter().map(AsRef::as_ref).collect();
            host::to_many(namespace, &rooms, payload.borrow()).into()
        }
        Err(error) => BulkResult {
            results: vec![Err(error); rooms.len()],
        },
    }
}

/// Send to every socket of every namespace that the plugin may address: one result for each, sorted by path. A
/// message that cannot be written as JSON is a single failure.
pub fn broadcast_all(message: impl IntoMessage) -> BulkResult {
    match message.payload() {
        Ok(payload) => host::broadcast_all(payload.borrow()).into(),
        Err(cause) => BulkResult {
            results: vec![Err(UlakError::unwritable(None, &cause))],
        },
    }
}

/// Do several operations in their order: one result for each. What fails does not keep the others from being
/// done. At most 1,000 at once unless the operator says otherwise.
///
/// ```no_run
/// # fn example() -> tulpar::Result<()> {
/// use tulpar::ulak::{self, Operation};
///
/// let result = ulak::bulk_send([
///     Operation::broadcast("/chat", "the shop closes in ten minutes"),
///     Operation::to("/notifications", "staff", "please come to the door"),
/// ]);
/// tulpar::log::info(format!("{} of {} went out", result.succeeded(), result.results.len()));
/// # Ok(()) }
/// ```
pub fn bulk_send(operations: impl IntoIterator<Item = Operation>) -> BulkResult {
    bulk::send(operations, host::bulk_send)
}

/// The paths of the namespaces that the plugin may address, sorted.
pub fn namespaces() -> Vec<String> {
    host::namespaces()
}

/// Whether there is a namespace of that path that the plugin may address.
pub fn has_namespace(namespace: &str) -> bool {
    host::has_namespace(namespace)
}

/// How many sockets of this node are open in a namespace.
///
/// # Errors
/// [`InvalidNamespace`](UlakErrorCode::InvalidNamespace),
/// [`NamespaceNotFound`](UlakErrorCode::NamespaceNotFound),
/// [`PermissionDenied`](UlakErrorCode::PermissionDenied).
pub fn socket_count(namespace: &str) -> Result<u32, UlakError> {
    Ok(host::socket_count(namespace)?)
}

fn payload<'a>(namespace: &str, message: &'a impl IntoMessage) -> Result<Payload<'a>, UlakError> {
    let payload = message.payload();
    payload.map_err(|cause| UlakError::unwritable(Some(namespace), &cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Json;

    // What cannot be written is found before the host is asked, which natively would panic.
    fn unwritable() -> impl IntoMessage {
        Json(std::collections::BTreeMap::from([([1_u8], 1)]))
    }

    #[test]
    fn a_message_that_is_no_json_is_an_invalid_message() {
        const CHAT: Ulak<'static> = ulak("/chat");
        for error in [
            CHAT.broadcast(unwritable()).unwrap_err(),
            CHAT.to("room", unwritable()).unwrap_err(),
            CHAT.to_socket("id", unwritable()).unwrap_err(),
        ] {
            assert_eq!(error.code, UlakErrorCode::InvalidMessage);
            assert_eq!(error.namespace.as_deref(), Some("/chat"));
            assert!(
                error
                    .message
                    .starts_with("the message cannot be written as JSON: "),
                "{error}"
            );
        }
    }

    #[test]
    fn of_several_each_is_a_failure() {
        let rooms = vec![String::from("a"), String::from("b")];
        assert_eq!(to_many("/chat", &rooms, unwritable()).failed(), 2);
        assert_eq!(ulak("/chat").to_many(&["a"], unwritable()).failed(), 1);
        let all = broadcast_all(unwritable());
        assert_eq!(all.into_result().unwrap_err().namespace, None);
    }
}
