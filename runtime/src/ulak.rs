//! Ulak, the broker: whoever may address a namespace reaches its sockets by its path, from anywhere.
//!
//! It knows which namespaces are served and whose they are; it sends by way of the [`backplane`](crate::backplane), as
//! rooms do. Host functions come here, each with the [`Sender`] of its plugin.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::backplane::{Backplane, NotCarried, SendFailure, Sending};
use crate::hub::{self, Audience, Frame};
use crate::ids::SocketId;

/// The namespaces that are served, and the way to them.
pub struct Ulak {
    backplane: Arc<dyn Backplane>,
    /// Whether the root folder may address the namespaces of all tenants.
    all_tenants: bool,
    served: ArcSwap<BTreeMap<String, Served>>,
}

/// A namespace that is served.
pub struct Served {
    /// Whose it is; none for the root folder.
    pub tenant: Option<String>,
    /// Its sockets. Their namespace's path begins with the tenant's.
    pub sockets: Arc<hub::Namespace>,
}

/// Whom a message is for in its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Every socket.
    Broadcast,
    /// The members of a room.
    Room(&'a str),
    /// The socket of that id.
    Socket(&'a str),
}

/// A message on its way: how many sockets of this node were addressed, or that one of another node took it.
pub enum Delivery {
    /// It has arrived where it can be seen to, or not.
    Done(Result<u32, UlakError>),
    /// Another node will tell.
    Waiting(Pin<Box<dyn Future<Output = Result<u32, UlakError>> + Send>>),
}

/// Why a message was not sent. The texts name what a plugin named, and nothing of others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UlakError {
    /// Nothing serves that path.
    #[error("no namespace is served at {0}")]
    NamespaceNotFound(String),
    /// The namespace has no such socket.
    #[error("{namespace} has no socket {id:?}")]
    SocketNotFound {
        /// The namespace, as it was named.
        namespace: String,
        /// The id, as it was given.
        id: String,
    },
    /// No namespace can have that path.
    #[error("{namespace:?} is no path of a namespace: it {problem}")]
    InvalidNamespace {
        /// The path, as it was given.
        namespace: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No room can have that name.
    #[error("a room's name is 1 to 256 bytes without control characters")]
    InvalidRoom {
        /// The namespace, as it was named.
        namespace: String,
    },
    /// The socket did not take it.
    #[error("the socket did not take the message: {error}")]
    SendFailed {
        /// The namespace, as it was named.
        namespace: String,
        /// Why.
        error: SendFailure,
    },
    /// It did not reach the other nodes; sockets of this node that it is for have it.
    #[error("the message reached {here} sockets of this node, and no other node: {error}")]
    BroadcastFailed {
        /// The namespace, as it was named.
        namespace: String,
        /// How many sockets of this node were addressed.
        here: u32,
        /// Why.
        error: NotCarried,
    },
    /// The sender may not address it.
    #[error(
        "{0} is a tenant's, and may be addressed from the root folder only with `ulak.all-tenants = true`"
    )]
    PermissionDenied(String),
}

impl Ulak {
    /// A broker that knows no namespaces yet.
    #[must_use]
    pub fn new(backplane: Arc<dyn Backplane>, all_tenants: bool) -> Self {
        Self {
            backplane,
            all_tenants,
            served: ArcSwap::default(),
        }
    }

    /// Tells it what is served from now on.
    pub fn set_served(&self, namespaces: impl IntoIterator<Item = Served>) {
        let by_path = namespaces.into_iter().map(|served| {
            self.backplane.attach(&served.sockets);
            (served.sockets.path().to_owned(), served)
        });
        self.served.store(Arc::new(by_path.collect()));
    }

    /// The way of a tenant's plugins to the namespaces that they may address.
    #[must_use]
    pub fn sender(self: &Arc<Self>, tenant: Option<&str>) -> Sender {
        Sender {
            ulak: self.clone(),
            tenant: tenant.map(str::to_owned),
        }
    }
}

/// Sends on behalf of the plugins of a tenant, or of the root folder. What it is given and what it returns names
/// namespaces as these plugins do: without the tenant.
#[derive(Clone)]
pub struct Sender {
    ulak: Arc<Ulak>,
    tenant: Option<String>,
}

impl Sender {
    /// Sends a frame. What is sent afterwards arrives afterwards, also when the outcome is not awaited.
    #[must_use]
    pub fn send(&self, namespace: &str, target: Target<'_>, frame: &Frame) -> Delivery {
        let sockets = match self.find(namespace) {
            Ok(sockets) => sockets,
            Err(error) => return Delivery::Done(Err(error)),
        };
        let audience = match target {
            Target::Broadcast => Audience::Everybody,
            Target::Room(name) if hub::Namespace::is_room_name(name) => {
                Audience::Room { name, except: None }
            }
            Target::Room(_) => {
                return Delivery::Done(Err(UlakError::InvalidRoom {
                    namespace: namespace.to_owned(),
                }));
            }
            Target::Socket(id) => return self.to_socket(&sockets, namespace, id, frame),
        };
        let published = self.ulak.backplane.publish(&sockets, audience, frame);
        let here = published.here;
        let carried = published.elsewhere.map(|()| here);
        Delivery::Done(carried.map_err(|error| UlakError::BroadcastFailed {
            namespace: namespace.to_owned(),
            here,
            error,
        }))
    }

    fn to_socket(
        &self,
        sockets: &hub::Namespace,
        namespace: &str,
        id: &str,
        frame: &Frame,
    ) -> Delivery {
        let failed = failed(namespace, id);
        let Ok(socket) = id.parse::<SocketId>() else {
            return Delivery::Done(Err(failed(SendFailure::Unknown)));
        };
        match self.ulak.backplane.send_to(sockets, socket, frame) {
            Sending::Done(sent) => Delivery::Done(sent.map(|()| 1).map_err(failed)),
            Sending::Waiting(sending) => Delivery::Waiting(Box::pin(async move {
                sending.await.map(|()| 1).map_err(failed)
            })),
        }
    }

    /// The paths of all namespaces that may be addressed, sorted.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        let served = self.ulak.served.load();
        served
            .iter()
            .filter(|(_, served)| self.may_address(served))
            .map(|(path, _)| self.named(path).to_owned())
            .collect()
    }

    /// The sockets of a namespace.
    ///
    /// # Errors
    /// It is not served, or may not be addressed.
    pub fn find(&self, namespace: &str) -> Result<Arc<hub::Namespace>, UlakError> {
        if let Some(problem) = hub::Namespace::path_problem(namespace) {
            return Err(UlakError::InvalidNamespace {
                namespace: in_error(namespace),
                problem,
            });
        }
        let served = self.ulak.served.load();
        let found = match &self.tenant {
            Some(tenant) => served.get(&format!("/{tenant}{namespace}")),
            None => served.get(namespace),
        };
        match found {
            Some(served) if self.may_address(served) => Ok(served.sockets.clone()),
            // The root folder is the operator's, who may know. A tenant learns nothing of others.
            Some(_) if self.tenant.is_none() => {
                Err(UlakError::PermissionDenied(namespace.to_owned()))
            }
            _ => Err(UlakError::NamespaceNotFound(namespace.to_owned())),
        }
    }

    fn may_address(&self, served: &Served) -> bool {
        served.tenant == self.tenant || (self.tenant.is_none() && self.ulak.all_tenants)
    }

    /// A path as the plugins name it.
    fn named<'a>(&self, path: &'a str) -> &'a str {
        match &self.tenant {
            Some(tenant) => &path[1 + tenant.len()..],
            None => path,
        }
    }
}

/// A namespace as an error names it: cut when no namespace can be called that. An error may be copied a thousand times,
/// and an over-long name is not worth carrying around.
pub(crate) fn in_error(namespace: &str) -> String {
    match hub::Namespace::path_problem(namespace) {
        None => namespace.to_owned(),
        Some(_) => namespace.chars().take(64).collect(),
    }
}

/// What becomes of a failure to send to a socket that was named so.
fn failed(namespace: &str, id: &str) -> impl Fn(SendFailure) -> UlakError + Send + use<> {
    let namespace = namespace.to_owned();
    let id: String = id.chars().take(64).collect();
    move |error| {
        let namespace = namespace.clone();
        match error {
            SendFailure::Unknown => UlakError::SocketNotFound {
                namespace,
                id: id.clone(),
            },
            SendFailure::NotCarried(error) => UlakError::BroadcastFailed {
                namespace,
                here: 0,
                error,
            },
            error => UlakError::SendFailed { namespace, error },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Local;
    use crate::config::Limits;

    fn ulak(all_tenants: bool) -> Arc<Ulak> {
        let ulak = Arc::new(Ulak::new(Arc::new(Local), all_tenants));
        let served = |tenant: Option<&str>, path: &str| Served {
            tenant: tenant.map(str::to_owned),
            sockets: Arc::new(hub::Namespace::new(
                tenant,
                path.to_owned(),
                &Limits::default(),
                crate::quota::Account::unbounded(),
            )),
        };
        ulak.set_served([
            served(None, "/chat"),
            served(None, "/acme/of-root"),
            served(Some("acme"), "/acme/chat"),
            served(Some("acme"), "/acme/news"),
            served(Some("other"), "/other/chat"),
        ]);
        ulak
    }

    #[test]
    fn u2_a_tenant_sees_its_own_namespaces_and_no_others() {
        let sender = ulak(true).sender(Some("acme"));
        assert_eq!(sender.namespaces(), ["/chat", "/news"]);
        assert_eq!(sender.find("/chat").unwrap().path(), "/acme/chat");
        for other in ["/other/chat", "/of-root", "/acme/chat", "/x"] {
            let expected = UlakError::NamespaceNotFound(other.into());
            assert_eq!(sender.find(other).err(), Some(expected));
        }
    }

    #[test]
    fn u2_the_root_folder_reaches_tenants_only_when_that_is_granted() {
        let sender = ulak(false).sender(None);
        assert_eq!(sender.namespaces(), ["/acme/of-root", "/chat"]);
        let denied = UlakError::PermissionDenied("/acme/chat".into());
        assert_eq!(sender.find("/acme/chat").err(), Some(denied));
        let granted = ulak(true).sender(None);
        assert_eq!(granted.namespaces().len(), 5);
        assert!(granted.find("/acme/chat").is_ok());
    }

    #[test]
    fn u1_what_no_namespace_can_be_called_is_said_to_be_so() {
        let sender = ulak(true).sender(Some("acme"));
        let long = format!("/{}", "a".repeat(256));
        for bad in [
            "",
            "chat",
            "/../other/chat",
            "//",
            "/a?b",
            "/a b",
            "/a\0",
            &long,
        ] {
            assert!(
                matches!(sender.find(bad), Err(UlakError::InvalidNamespace { .. })),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn u1_rooms_and_sockets_that_cannot_be_are_errors_and_empty_rooms_are_not() {
        let sender = ulak(false).sender(None);
        let frame = Frame::ping(b"");
        let send = |target| match sender.send("/chat", target, &frame) {
            Delivery::Done(sent) => sent,
            Delivery::Waiting(_) => panic!("there is no other node"),
        };
        assert_eq!(send(Target::Broadcast), Ok(0));
        assert_eq!(send(Target::Room("nobody")), Ok(0));
        assert!(matches!(
            send(Target::Room("")),
            Err(UlakError::InvalidRoom { .. })
        ));
        for id in ["", "x", &"0".repeat(40)] {
            assert!(matches!(
                send(Target::Socket(id)),
                Err(UlakError::SocketNotFound { .. })
            ));
        }
    }
}
