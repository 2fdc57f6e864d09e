//! `tulpar:plugin/ulak`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::task::yield_now;
use tokio::time::timeout;
use wasmtime::{Result, format_err};

use super::super::Plugin;
use super::super::bindings::tulpar::plugin::types::{MessageResult, SocketError};
use super::super::bindings::tulpar::plugin::ulak::{
    BulkResult, Error, ErrorCode, Host, Operation, Target,
};
use super::{HostState, encode};
use crate::backplane::SendFailure;
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

/// A message on its way.
enum Going {
    Done(Outcome),
    /// Another node will tell.
    Waiting {
        sending: Pin<Box<dyn Future<Output = std::result::Result<u32, UlakError>> + Send>>,
        /// What comes of it when that does not.
        unanswered: Error,
    },
}

impl Going {
    /// What comes of it within that time.
    async fn outcome(self, patience: Duration) -> Outcome {
        match self {
            Self::Done(outcome) => outcome,
            Self::Waiting {
                sending,
                unanswered,
            } => match timeout(patience, sending).await {
                Ok(sent) => Ok(sent?),
                Err(_) => Err(unanswered),
            },
        }
    }
}

/// The socket's node has not said in time what came of it.
fn silent(namespace: &str) -> Error {
    let namespace = namespace.to_owned();
    let error = SendFailure::Silent;
    UlakError::SendFailed { namespace, error }.into()
}

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

    fn send_to(&self, namespace: &str, target: ulak::Target<'_>, message: &MessageResult) -> Going {
        match self.frame_for(namespace, message) {
            Ok(frame) => self.deliver(namespace, target, &frame),
            Err(error) => Going::Done(Err(error)),
        }
    }

    /// To an audience, of which nothing is to be waited for.
    fn send_at_once(
        &self,
        namespace: &str,
        target: ulak::Target<'_>,
        message: &MessageResult,
    ) -> Outcome {
        match self.send_to(namespace, target, message) {
            Going::Done(outcome) => outcome,
            Going::Waiting { unanswered, .. } => Err(unanswered),
        }
    }

    fn deliver(&self, namespace: &str, target: ulak::Target<'_>, frame: &hub::Frame) -> Going {
        match self.sender.send(namespace, target, frame) {
            ulak::Delivery::Done(sent) => {
                let addressed = sent.as_ref().map_or(0, |addressed| u64::from(*addressed));
                self.account.charge(Spent::Deliveries, addressed);
                Going::Done(sent.map_err(Error::from))
            }
            ulak::Delivery::Waiting(sending) => {
                self.account.charge(Spent::Deliveries, 1);
                let unanswered = silent(namespace);
                Going::Waiting {
                    sending,
                    unanswered,
                }
            }
        }
    }

    /// The results of several operations, of which the first `limits.bulk-operations` are done. Now and then it gives the
    /// thread to others, which counts as the call's time.
    ///
    /// # Errors
    /// There are so many that reporting them would cost more than a guest may have the host spend; the guest traps.
    async fn in_bulk<T: Sync>(
        &self,
        operations: &[T],
        patience: Duration,
        operate: impl Fn(&T) -> Going + Send,
    ) -> Result<BulkResult> {
        let most = self.settings.limits.bulk_operations;
        if operations.len() > most.saturating_mul(REPORTED) {
            return Err(format_err!(
                "{} operations in one call, of which {most} may be (limits.bulk-operations)",
                operations.len()
            ));
        }
        let mut results = Vec::with_capacity(operations.len());
        let mut waiting = FuturesUnordered::new();
        let mut done = 0;
        for (index, operation) in operations.iter().enumerate() {
            if done >= AT_A_TIME {
                done = 0;
                yield_now().await;
            }
            let going = match index < most {
                true => operate(operation),
                false => Going::Done(Err(Error {
                    code: ErrorCode::LimitExceeded,
                    message: format!(
                        "it is one of more than {most} in one call (limits.bulk-operations)"
                    ),
                    namespace: None,
                })),
            };
            done += OPERATION;
            results.push(match going {
                Going::Done(outcome) => {
                    done += outcome.as_ref().map_or(0, |addressed| *addressed as usize);
                    outcome
                }
                Going::Waiting {
                    sending,
                    unanswered,
                } => {
                    waiting.push(async move { (index, sending.await) });
                    Err(unanswered)
                }
            });
        }
        // They are under way together, so that many take as long as one.
        let all = async {
            while let Some((index, sent)) = waiting.next().await {
                results[index] = sent.map_err(Error::from);
            }
        };
        let _ = timeout(patience, all).await;
        let failed = results.iter().filter(|result| result.is_err()).count();
        Ok(BulkResult {
            succeeded: (results.len() - failed) as u32,
            failed: failed as u32,
            results,
        })
    }
}

impl HostState {
    /// How long the call in hand may wait for other nodes, so that it can still do something about what it hears.
    pub(super) fn patience(&self) -> Duration {
        self.clock.left() * 3 / 4
    }
}

impl Host for HostState {
    fn broadcast(&mut self, namespace: String, message: MessageResult) -> Result<Outcome> {
        let broker = &self.broker;
        Ok(broker.send_at_once(&namespace, ulak::Target::Broadcast, &message))
    }

    fn to(&mut self, namespace: String, room: String, message: MessageResult) -> Result<Outcome> {
        let broker = &self.broker;
        Ok(broker.send_at_once(&namespace, ulak::Target::Room(&room), &message))
    }

    async fn to_socket(
        &mut self,
        namespace: String,
        id: String,
        message: MessageResult,
    ) -> Result<Outcome<()>> {
        let going = self
            .broker
            .send_to(&namespace, ulak::Target::Socket(&id), &message);
        let outcome = going.outcome(self.patience()).await;
        Ok(outcome.map(drop))
    }

    async fn to_many(
        &mut self,
        namespace: String,
        rooms: Vec<String>,
        message: MessageResult,
    ) -> Result<BulkResult> {
        let (broker, patience) = (&self.broker, self.patience());
        // Encoded once; all rooms share the frame.
        let frame = broker.frame_for(&namespace, &message);
        let send = |room: &String| {
            let target = ulak::Target::Room(room);
            match &frame {
                Ok(frame) => broker.deliver(&namespace, target, frame),
                Err(error) => Going::Done(Err(error.clone())),
            }
        };
        broker.in_bulk(&rooms, patience, send).await
    }

    async fn broadcast_all(&mut self, message: MessageResult) -> Result<BulkResult> {
        let (broker, patience) = (&self.broker, self.patience());
        let frame = encode(&message, &broker.settings.limits, &broker.account).ok();
        let send = |namespace: &String| {
            let target = ulak::Target::Broadcast;
            match &frame {
                Some(frame) => broker.deliver(namespace, target, frame),
                None => broker.send_to(namespace, target, &message),
            }
        };
        let namespaces = broker.sender.namespaces();
        broker.in_bulk(&namespaces, patience, send).await
    }

    async fn bulk_send(&mut self, operations: Vec<Operation>) -> Result<BulkResult> {
        let (broker, patience) = (&self.broker, self.patience());
        let send = |operation: &Operation| {
            let target = match &operation.target {
                Target::Broadcast => ulak::Target::Broadcast,
                Target::Room(room) => ulak::Target::Room(room),
                Target::Socket(id) => ulak::Target::Socket(id),
            };
            broker.send_to(&operation.namespace, target, &operation.message)
        };
        broker.in_bulk(&operations, patience, send).await
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
            UlakError::BroadcastFailed { namespace, .. } => (ErrorCode::BroadcastFailed, namespace),
            UlakError::PermissionDenied(namespace) => (ErrorCode::PermissionDenied, namespace),
        };
        Self {
            code,
            message,
            namespace: Some(namespace),
        }
    }
}
