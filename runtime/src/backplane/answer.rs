//! What can be asked about a namespace, of one node and of all.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::hub::Namespace;

/// Names that an answer has at most; beyond, it says that there are more.
pub const MOST: usize = 50_000;

/// What can be asked about a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// How many sockets are open.
    SocketCount,
    /// Their ids.
    SocketIds,
    /// The names of the rooms.
    RoomNames,
    /// How many sockets are in a room.
    RoomCount(String),
    /// Their ids.
    RoomMembers(String),
}

/// What one node has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// How many there are.
    pub count: u64,
    /// Which, when that was asked: [`MOST`] of them at most.
    pub names: Vec<String>,
}

/// What all nodes have to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// How many there are on those that have answered. Of rooms each counts once.
    pub count: u64,
    /// Which, when that was asked, in no particular order.
    pub names: Vec<String>,
    /// Whether there are more than the names that are there.
    pub more: bool,
    /// Nodes that have answered, this one among them.
    pub nodes: u32,
    /// Nodes that have not, though they are there.
    pub silent: u32,
}

impl Question {
    /// Whether it is about a room that there cannot be.
    #[must_use]
    pub fn is_about_no_room(&self) -> bool {
        match self {
            Self::RoomCount(room) | Self::RoomMembers(room) => !Namespace::is_room_name(room),
            Self::SocketCount | Self::SocketIds | Self::RoomNames => false,
        }
    }

    /// What this node has to say.
    #[must_use]
    pub fn answer(&self, namespace: &Namespace) -> Part {
        let counted = |count: usize| Part {
            count: count as u64,
            names: Vec::new(),
        };
        match self {
            Self::SocketCount => counted(namespace.len()),
            Self::RoomCount(room) => counted(namespace.room_len(room)),
            Self::SocketIds => Part::of(namespace.ids()),
            Self::RoomMembers(room) => Part::of(namespace.room_members(room)),
            Self::RoomNames => Part::of(namespace.rooms()),
        }
    }
}

impl Part {
    fn of<T: ToString>(all: Vec<T>) -> Self {
        Self {
            count: all.len() as u64,
            names: all.iter().take(MOST).map(ToString::to_string).collect(),
        }
    }
}

impl Answer {
    /// What so many nodes have to say together, in as many parts as they like, when others have said nothing.
    #[must_use]
    pub fn of(parts: impl IntoIterator<Item = Part>, nodes: u32, silent: u32) -> Self {
        let (mut count, mut listed) = (0, 0);
        let mut names = BTreeSet::new();
        for part in parts {
            count += part.count;
            listed += part.names.len() as u64;
            // A room may be on several nodes.
            names.extend(part.names);
        }
        Self {
            count: count - (listed - names.len() as u64).min(count),
            more: listed > 0 && (count > listed || names.len() > MOST),
            names: names.into_iter().take(MOST).collect(),
            nodes,
            silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(count: u64, names: &[&str]) -> Part {
        Part {
            count,
            names: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn r6_what_several_nodes_have_counts_once() {
        let answer = Answer::of([part(2, &["a", "b"]), part(2, &["b", "c"])], 2, 1);
        assert_eq!(answer.names, ["a", "b", "c"]);
        assert_eq!((answer.count, answer.nodes, answer.silent), (3, 2, 1));
        assert!(!answer.more);
        let counts = Answer::of([part(2, &[]), part(3, &[])], 2, 0);
        assert_eq!((counts.count, counts.more), (5, false));
    }

    #[test]
    fn r6_what_can_be_no_room_is_known() {
        for (room, is_none) in [
            ("red".to_owned(), false),
            ("x".repeat(256), false),
            ("x".repeat(257), true),
            (String::new(), true),
            ("a\nb".to_owned(), true),
        ] {
            for question in [Question::RoomCount, Question::RoomMembers] {
                assert_eq!(question(room.clone()).is_about_no_room(), is_none, "{room}");
            }
        }
        assert!(!Question::RoomNames.is_about_no_room());
    }

    #[test]
    fn a_list_has_a_bound_and_says_so() {
        let names: Vec<String> = (0..=MOST).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let answer = Answer::of([part(MOST as u64 + 1, &names)], 1, 0);
        assert_eq!((answer.names.len(), answer.more), (MOST, true));
        assert_eq!(answer.count, MOST as u64 + 1);
    }
}
