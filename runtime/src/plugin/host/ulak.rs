//! `tulpar:plugin/ulak`.

use wasmtime::Result;

use super::super::bindings::tulpar::plugin::types::{MessageResult, SocketError};
use super::super::bindings::tulpar::plugin::ulak::{
    BulkResult, Error, ErrorCode, Host, Operation, Target,
};
use super::HostState;
use crate::hub;
use crate::ulak::{self, UlakError};

type Outcome<T = u32> = std::result::Result<T, Error>;

impl HostState {
    /// The frame of a message to a namespace, unless it is too large.
    fn frame_for(&self, namespace: &str, message: &MessageResult) -> Outcome<hub::Frame> {
        self.encode(message).map_err(|error| Error {
            code: match error {
                SocketError::TooLarge => ErrorCode::InvalidMessage,
                _ => ErrorCode::SendFailed,
            },
            message: format!(
                "the message is over {} bytes (limits.max-message-bytes)",
                self.shared.limits.max_message_bytes
            ),
            namespace: Some(namespace.to_owned()),
        })
    }

    fn send_to(
        &self,
        namespace: &str,
        target: ulak::Target<'_>,
        message: &MessageResult,
    ) -> Outcome {
        let frame = self.frame_for(namespace, message)?;
        self.sender
            .send(namespace, target, &frame)
            .map_err(Error::from)
    }

    /// The results of several operations, of which the first `limits.bulk-operations` are done.
    fn in_bulk<T>(&self, operations: Vec<T>, mut operate: impl FnMut(&T) -> Outcome) -> BulkResult {
        let most = self.shared.limits.bulk_operations;
        let results = operations.iter().enumerate().map(|(index, operation)| {
            if index < most {
                return operate(operation);
            }
            Err(Error {
                code: ErrorCode::LimitExceeded,
                message: format!(
                    "it is one of more than {most} in one call (limits.bulk-operations)"
                ),
                namespace: None,
            })
        });
        let results: Vec<_> = results.collect();
        let failed = results.iter().filter(|result| result.is_err()).count();
        BulkResult {
            succeeded: (results.len() - failed) as u32,
            failed: failed as u32,
            results,
        }
    }
}

impl Host for HostState {
    fn broadcast(&mut self, namespace: String, message: MessageResult) -> Result<Outcome> {
        Ok(self.send_to(&namespace, ulak::Target::Broadcast, &message))
    }

    fn to(&mut self, namespace: String, room: String, message: MessageResult) -> Result<Outcome> {
        Ok(self.send_to(&namespace, ulak::Target::Room(&room), &message))
    }

    fn to_socket(
        &mut self,
        namespace: String,
        id: String,
        message: MessageResult,
    ) -> Result<Outcome<()>> {
        let sent = self.send_to(&namespace, ulak::Target::Socket(&id), &message);
        Ok(sent.map(drop))
    }

    fn to_many(
        &mut self,
        namespace: String,
        rooms: Vec<String>,
        message: MessageResult,
    ) -> Result<BulkResult> {
        // Encoded once; all rooms share the frame.
        let frame = self.frame_for(&namespace, &message);
        Ok(self.in_bulk(rooms, |room| {
            let frame = frame.as_ref().map_err(Error::clone)?;
            let sent = self
                .sender
                .send(&namespace, ulak::Target::Room(room), frame);
            sent.map_err(Error::from)
        }))
    }

    fn broadcast_all(&mut self, message: MessageResult) -> Result<BulkResult> {
        let frame = self.encode(&message).ok();
        Ok(self.in_bulk(self.sender.namespaces(), |namespace| {
            let frame = match &frame {
                Some(frame) => frame.clone(),
                None => self.frame_for(namespace, &message)?,
            };
            let sent = self.sender.send(namespace, ulak::Target::Broadcast, &frame);
            sent.map_err(Error::from)
        }))
    }

    fn bulk_send(&mut self, operations: Vec<Operation>) -> Result<BulkResult> {
        Ok(self.in_bulk(operations, |operation| {
            let target = match &operation.target {
                Target::Broadcast => ulak::Target::Broadcast,
                Target::Room(room) => ulak::Target::Room(room),
                Target::Socket(id) => ulak::Target::Socket(id),
            };
            self.send_to(&operation.namespace, target, &operation.message)
        }))
    }

    fn namespaces(&mut self) -> Result<Vec<String>> {
        Ok(self.sender.namespaces())
    }

    fn has_namespace(&mut self, namespace: String) -> Result<bool> {
        Ok(self.sender.find(&namespace).is_ok())
    }

    fn socket_count(&mut self, namespace: String) -> Result<Outcome> {
        let found = self.sender.find(&namespace);
        Ok(found
            .map(|sockets| u32::try_from(sockets.len()).unwrap_or(u32::MAX))
            .map_err(Error::from))
    }
}

impl From<UlakError> for Error {
    fn from(error: UlakError) -> Self {
        let message = error.to_string();
        let (code, namespace) = match error {
            UlakError::NamespaceNotFound(namespace) => (ErrorCode::NamespaceNotFound, namespace),
            UlakError::SocketNotFound { namespace, .. } => (ErrorCode::SocketNotFound, namespace),
            UlakError::InvalidNamespace { namespace, .. } => {
                (ErrorCode::InvalidNamespace, namespace)
            }
            UlakError::InvalidRoom { namespace } => (ErrorCode::InvalidRoom, namespace),
            UlakError::SendFailed { namespace, .. } => (ErrorCode::SendFailed, namespace),
            UlakError::PermissionDenied(namespace) => (ErrorCode::PermissionDenied, namespace),
        };
        Self {
            code,
            message,
            namespace: Some(namespace),
        }
    }
}
