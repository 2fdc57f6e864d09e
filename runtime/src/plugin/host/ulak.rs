//! `tulpar:plugin/ulak`.

use std::sync::Arc;

use tokio::task::yield_now;
use wasmtime::{Result, format_err};

use super::super::Plugin;
use super::super::bindings::tulpar::plugin::types::{MessageResult, SocketError};
use super::super::bindings::tulpar::plugin::ulak::{
    BulkResult, Error, ErrorCode, Host, Operation, Target,
};
use super::{HostState, encode};
use crate::config::PluginSettings;
use crate::hub;
use crate::quota::{Account, Spent};
use crate::ulak::{self, UlakError};

/// What is done without giving the thread to others: so many operations, each counting as one and one for every socket
/// that it addresses. Some hundred microseconds' worth.
const AT_A_TIME: usize = 1024;
/// What an operation counts beside its sockets.
const OPERATION: usize = 64;
/// How many times `limits.bulk-operations` a call may name and have each that is over it reported. Reports take memory.
const REPORTED: usize = 16;

type Outcome<T = u32> = std::result::Result<T, Error>;

/// The plugin's way to the namespaces. It is apart from the rest of the state, which cannot be lent while a call waits.
pub(super) struct Broker {
    sender: ulak::Sender,
    settings: Arc<PluginSettings>,
    account: Account,
}

impl Broker {
    pub(super) fn new(plugin: &Plugin) -> Self {
        Self {
            sender: plugin.sender.clone(),
            settings: plugin.settings(),
            account: plugin.account.clone(),
        }
    }

    /// The frame of a message to a namespace, unless it is too large.
    fn frame_for(&self, namespace: &str, message: &MessageResult) -> Outcome<hub::Frame> {
        encode(message, &self.settings.limits, &self.account).map_err(|error| {
            let (code, message) = match error {
                SocketError::TooLarge => (
                    ErrorCode::InvalidMessage,
                    format!(
                        "the message is over {} bytes (limits.max-message-bytes)",
                        self.settings.limits.max_message_bytes
                    ),
                ),
                _ => (
                    ErrorCode::LimitExceeded,
                    "too much is sent (quotas.deliveries-per-second, quotas.queued-bytes)".into(),
                ),
            };
            Error {
                code,
                message,
                namespace: Some(ulak::in_error(namespace)),
            }
        })
    }

    fn send_to(
        &self,
        namespace: &str,
        target: ulak::Target<'_>,
        message: &MessageResult,
    ) -> Outcome {
        let frame = self.frame_for(namespace, message)?;
        self.deliver(namespace, target, &frame)
    }

    fn deliver(&self, namespace: &str, target: ulak::Target<'_>, frame: &hub::Frame) -> Outcome {
        let addressed = self.sender.send(namespace, target, frame)?;
        self.account.charge(Spent::Deliveries, u64::from(addressed));
        Ok(addressed)
    }

    /// The results of several operations, of which the first `limits.bulk-operations` are done. Now and then it gives the
    /// thread to others, which counts as the call's time.
    ///
    /// # Errors
    /// There are so many that reporting them would cost more than a guest may have the host spend; the guest traps.
    async fn in_bulk<T: Sync>(
        &self,
        operations: Vec<T>,
        operate: impl Fn(&T) -> Outcome + Send,
    ) -> Result<BulkResult> {
        let most = self.settings.limits.bulk_operations;
        if operations.len() > most.saturating_mul(REPORTED) {
            return Err(format_err!(
                "{} operations in one call, of which {most} may be (limits.bulk-operations)",
                operations.len()
            ));
        }
        let mut results = Vec::with_capacity(operations.len());
        let mut done = 0;
        for (index, operation) in operations.iter().enumerate() {
            if done >= AT_A_TIME {
                done = 0;
                yield_now().await;
            }
            let outcome = match index < most {
                true => operate(operation),
                false => Err(Error {
                    code: ErrorCode::LimitExceeded,
                    message: format!(
                        "it is one of more than {most} in one call (limits.bulk-operations)"
                    ),
                    namespace: None,
                }),
            };
            done += OPERATION + outcome.as_ref().map_or(0, |addressed| *addressed as usize);
            results.push(outcome);
        }
        let failed = results.iter().filter(|result| result.is_err()).count();
        Ok(BulkResult {
            succeeded: (results.len() - failed) as u32,
            failed: failed as u32,
            results,
        })
    }
}

impl Host for HostState {
    fn broadcast(&mut self, namespace: String, message: MessageResult) -> Result<Outcome> {
        Ok(self
            .broker
            .send_to(&namespace, ulak::Target::Broadcast, &message))
    }

    fn to(&mut self, namespace: String, room: String, message: MessageResult) -> Result<Outcome> {
        Ok(self
            .broker
            .send_to(&namespace, ulak::Target::Room(&room), &message))
    }

    fn to_socket(
        &mut self,
        namespace: String,
        id: String,
        message: MessageResult,
    ) -> Result<Outcome<()>> {
        let sent = self
            .broker
            .send_to(&namespace, ulak::Target::Socket(&id), &message);
        Ok(sent.map(drop))
    }

    async fn to_many(
        &mut self,
        namespace: String,
        rooms: Vec<String>,
        message: MessageResult,
    ) -> Result<BulkResult> {
        let broker = &self.broker;
        // Encoded once; all rooms share the frame.
        let frame = broker.frame_for(&namespace, &message);
        let send = |room: &String| {
            let frame = frame.as_ref().map_err(Error::clone)?;
            let target = ulak::Target::Room(room);
            broker.deliver(&namespace, target, frame)
        };
        broker.in_bulk(rooms, send).await
    }

    async fn broadcast_all(&mut self, message: MessageResult) -> Result<BulkResult> {
        let broker = &self.broker;
        let frame = encode(&message, &broker.settings.limits, &broker.account).ok();
        let send = |namespace: &String| {
            let frame = match &frame {
                Some(frame) => frame.clone(),
                None => broker.frame_for(namespace, &message)?,
            };
            broker.deliver(namespace, ulak::Target::Broadcast, &frame)
        };
        broker.in_bulk(broker.sender.namespaces(), send).await
    }

    async fn bulk_send(&mut self, operations: Vec<Operation>) -> Result<BulkResult> {
        let broker = &self.broker;
        let send = |operation: &Operation| {
            let target = match &operation.target {
                Target::Broadcast => ulak::Target::Broadcast,
                Target::Room(room) => ulak::Target::Room(room),
                Target::Socket(id) => ulak::Target::Socket(id),
            };
            broker.send_to(&operation.namespace, target, &operation.message)
        };
        broker.in_bulk(operations, send).await
    }

    fn namespaces(&mut self) -> Result<Vec<String>> {
        Ok(self.broker.sender.namespaces())
    }

    fn has_namespace(&mut self, namespace: String) -> Result<bool> {
        Ok(self.broker.sender.find(&namespace).is_ok())
    }

    fn socket_count(&mut self, namespace: String) -> Result<Outcome> {
        let found = self.broker.sender.find(&namespace);
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
