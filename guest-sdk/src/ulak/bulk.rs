//! Several operations in one call, and what came of them.

use super::UlakError;
use crate::Message;
use crate::bindings::imports::tulpar::plugin::ulak as host;
use crate::message::IntoMessage;

/// One message to one target, for [`bulk_send`](super::bulk_send).
///
/// Making one cannot fail, so that a list of them needs no `?`: a message that cannot be written as JSON is the
/// failure of that operation, at its place among the results.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    namespace: String,
    target: Target,
    message: Result<Message, UlakError>,
}

#[derive(Debug, Clone, PartialEq)]
enum Target {
    Broadcast,
    Room(String),
    Socket(String),
}

impl Operation {
    /// To every socket of a namespace.
    pub fn broadcast(namespace: impl Into<String>, message: impl IntoMessage) -> Self {
        Self::new(namespace.into(), Target::Broadcast, message)
    }

    /// To the members of a room of a namespace.
    pub fn to(
        namespace: impl Into<String>,
        room: impl Into<String>,
        message: impl IntoMessage,
    ) -> Self {
        Self::new(namespace.into(), Target::Room(room.into()), message)
    }

    /// To one socket of a namespace.
    pub fn to_socket(
        namespace: impl Into<String>,
        socket_id: impl Into<String>,
        message: impl IntoMessage,
    ) -> Self {
        Self::new(namespace.into(), Target::Socket(socket_id.into()), message)
    }

    fn new(namespace: String, target: Target, message: impl IntoMessage) -> Self {
        let message = match message.payload() {
            Ok(payload) => Ok(payload.into_message()),
            Err(cause) => Err(UlakError::unwritable(Some(&namespace), &cause)),
        };
        Self {
            namespace,
            target,
            message,
        }
    }
}

/// What came of several operations.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an operation that failed is seen here alone"]
pub struct BulkResult {
    /// Of each operation, in their order: how many sockets of this node were addressed, or why it failed.
    pub results: Vec<Result<u32, UlakError>>,
}

impl BulkResult {
    /// How many succeeded.
    pub fn succeeded(&self) -> usize {
        self.results.iter().filter(|result| result.is_ok()).count()
    }

    /// How many failed.
    pub fn failed(&self) -> usize {
        self.results.len() - self.succeeded()
    }

    /// How many sockets of this node were addressed by all of them together.
    ///
    /// # Errors
    /// The first failure, when there is one. The others have been done nevertheless.
    pub fn into_result(self) -> Result<u32, UlakError> {
        let add = |sum: u32, result| Ok(sum.saturating_add(result?));
        self.results.into_iter().try_fold(0, add)
    }
}

impl From<host::BulkResult> for BulkResult {
    fn from(result: host::BulkResult) -> Self {
        let results = result.results.into_iter();
        Self {
            results: results.map(|result| Ok(result?)).collect(),
        }
    }
}

/// Hand the host what could be written, and put what could not at its place among the results.
pub(super) fn send(
    operations: impl IntoIterator<Item = Operation>,
    host: impl FnOnce(&[host::Operation<'_>]) -> host::BulkResult,
) -> BulkResult {
    let mut operations: Vec<_> = operations.into_iter().collect();
    let sent = {
        let writable: Vec<_> = operations.iter().filter_map(borrow).collect();
        BulkResult::from(host(&writable))
    };
    let mut sent = sent.results.into_iter();
    let results = operations.drain(..).map_while(|it| match it.message {
        Ok(_) => sent.next(),
        Err(error) => Some(Err(error)),
    });
    BulkResult {
        results: results.collect(),
    }
}

fn borrow(operation: &Operation) -> Option<host::Operation<'_>> {
    Some(host::Operation {
        namespace: &operation.namespace,
        target: match &operation.target {
            Target::Broadcast => host::Target::Broadcast,
            Target::Room(room) => host::Target::Room(room),
            Target::Socket(id) => host::Target::Socket(id),
        },
        message: operation.message.as_ref().ok()?.borrow(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::imports::tulpar::plugin::types::MessageParam;
    use crate::ulak::UlakErrorCode;
    use crate::{Json, json};

    fn unwritable() -> impl IntoMessage {
        Json(std::collections::BTreeMap::from([([1_u8], 1)]))
    }

    fn failure(message: &str) -> host::Error {
        host::Error {
            code: host::ErrorCode::SocketNotFound,
            message: message.into(),
            namespace: None,
        }
    }

    #[test]
    fn each_result_stands_at_the_place_of_its_operation() {
        let operations = [
            Operation::broadcast("/a", "text"),
            Operation::to("/b", "room", unwritable()),
            Operation::to_socket("/c", "id", vec![1]),
            Operation::to("/d", "room", Json(json!({ "a": 1 }))),
        ];
        let result = send(operations, |operations| {
            let [a, c, d] = operations else {
                panic!("{operations:?}")
            };
            assert!(matches!(a.message, MessageParam::Text("text")));
            assert!(matches!(a.target, host::Target::Broadcast));
            assert!(matches!(c.message, MessageParam::Binary([1])));
            assert!(matches!(c.target, host::Target::Socket("id")));
            assert!(matches!(d.message, MessageParam::Text(r#"{"a":1}"#)));
            assert!(matches!(d.target, host::Target::Room("room")));
            host::BulkResult {
                succeeded: 2,
                failed: 1,
                results: vec![Ok(3), Err(failure("gone")), Ok(4)],
            }
        });
        let codes: Vec<_> = result
            .results
            .iter()
            .map(|result| result.as_ref().map_err(|error| error.code).copied())
            .collect();
        assert_eq!(
            codes,
            [
                Ok(3),
                Err(UlakErrorCode::InvalidMessage),
                Err(UlakErrorCode::SocketNotFound),
                Ok(4)
            ]
        );
        assert_eq!((result.succeeded(), result.failed()), (2, 2));
        let first = result.into_result().unwrap_err();
        assert_eq!(first.namespace.as_deref(), Some("/b"));
    }

    #[test]
    fn what_succeeded_is_added_up() {
        let results = vec![Ok(1), Ok(2), Ok(0)];
        assert_eq!(BulkResult { results }.into_result(), Ok(3));
        let results = vec![Ok(u32::MAX), Ok(1)];
        assert_eq!(BulkResult { results }.into_result(), Ok(u32::MAX));
        assert_eq!(
            BulkResult {
                results: Vec::new()
            }
            .into_result(),
            Ok(0)
        );
    }
}
