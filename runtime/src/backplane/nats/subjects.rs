//! Which subject is whose.
//!
//! `PREFIX.ns.TENANT.PATH.ROOM` is for the members of a room, `PREFIX.all.TENANT.PATH` for everybody in a namespace and
//! `PREFIX.node.NODE.TENANT.PATH` for single sockets of a node. Tenants, paths and rooms are [`token`]s; the root folder is
//! `%root`, which no token is.

use async_nats::Subject;

use crate::hub::{Audience, Namespace, Place};
use crate::ids::NodeId;
use crate::nats::{name, token};

const ROOT: &str = "%root";

/// The subjects of a namespace.
#[derive(Debug)]
pub(super) struct Subjects {
    /// `PREFIX.ns.TENANT.PATH.`
    rooms: String,
    everybody: Subject,
    prefix: String,
    /// `TENANT.PATH`
    namespace: String,
}

impl Subjects {
    pub(super) fn new(prefix: &str, namespace: &Namespace) -> Self {
        let namespace = of_namespace(namespace);
        Self {
            rooms: format!("{prefix}.ns.{namespace}."),
            everybody: format!("{prefix}.all.{namespace}").into(),
            prefix: prefix.to_owned(),
            namespace,
        }
    }

    pub(super) fn room(&self, room: &str) -> Subject {
        format!("{}{}", self.rooms, token(room)).into()
    }

    /// Those of all rooms.
    pub(super) fn all_rooms(&self) -> Subject {
        format!("{}*", self.rooms).into()
    }

    pub(super) fn everybody(&self) -> Subject {
        self.everybody.clone()
    }

    pub(super) fn node(&self, node: NodeId) -> Subject {
        format!("{}.node.{node}.{}", self.prefix, self.namespace).into()
    }

    pub(super) fn audience(&self, audience: Audience<'_>) -> Subject {
        match audience {
            Audience::Everybody => self.everybody(),
            Audience::Room { name, .. } => self.room(name),
        }
    }

    /// The room that a subject is of; none when it is of none.
    pub(super) fn room_of(&self, subject: &str) -> Option<String> {
        name(subject.strip_prefix(&self.rooms)?)
    }

    /// What is subscribed to for a place.
    pub(super) fn place(&self, place: &Place, node: NodeId) -> Vec<Subject> {
        match place {
            Place::Whole => vec![self.everybody(), self.node(node)],
            Place::Room(name) => vec![self.room(name)],
        }
    }
}

/// A namespace as the end of a subject: `TENANT.PATH`. The path is the tenant's own, without its name.
pub(super) fn of_namespace(namespace: &Namespace) -> String {
    let path = namespace.path();
    match namespace.tenant() {
        None => format!("{ROOT}.{}", token(path)),
        Some(tenant) => {
            let below = path
                .strip_prefix('/')
                .and_then(|it| it.strip_prefix(tenant));
            format!("{}.{}", token(tenant), token(below.unwrap_or(path)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::quota::Account;

    fn subjects(tenant: Option<&str>, path: &str) -> Subjects {
        let limits = Limits::default();
        let namespace = Namespace::new(tenant, path.to_owned(), &limits, Account::unbounded());
        Subjects::new("tulpar", &namespace)
    }

    #[test]
    fn r4_tenants_namespaces_and_rooms_are_apart() {
        let root = subjects(None, "/acme/chat");
        let acme = subjects(Some("acme"), "/acme/chat");
        assert_eq!(&*root.room("*"), "tulpar.ns.%root.%2Facme%2Fchat.%2A");
        assert_eq!(&*acme.room("*"), "tulpar.ns.acme.%2Fchat.%2A");
        assert_eq!(&*acme.everybody(), "tulpar.all.acme.%2Fchat");
        let odd = subjects(Some("root"), "/root/a.*.>");
        assert_eq!(&*odd.room("a.b"), "tulpar.ns.root.%2Fa%2E%2A%2E%3E.a%2Eb");
    }

    #[test]
    fn a_room_is_told_by_its_subject() {
        let chat = subjects(None, "/chat");
        for room in ["general", "*", "a.b", "ä ö", ">"] {
            assert_eq!(chat.room_of(&chat.room(room)).as_deref(), Some(room));
        }
        for other in ["tulpar.all.%root.%2Fchat", "tulpar.ns.%root.%2Fchat.*", "x"] {
            assert_eq!(chat.room_of(other), None);
        }
    }
}
