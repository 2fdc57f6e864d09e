//! The sockets and rooms of a namespace, some at a time.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;

use super::Admin;
use super::answer::Refused;
use crate::hub::{Namespace, Socket, State};
use crate::ids::SocketId;

/// How many are told at once.
const PAGE: usize = 200;

/// What a request asks for. What it does not say is empty.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// `NAME` or `TENANT/NAME`.
    pub(super) plugin: String,
    /// The path of a namespace.
    pub(super) namespace: String,
    /// The name of a room.
    pub(super) room: Option<String>,
    /// The id of a socket.
    pub(super) id: String,
    /// The last one of the page before.
    pub(super) after: String,
    /// What those that are told have in them.
    pub(super) search: String,
}

impl Query {
    /// What is behind the `?` of an address. What is not known is left aside.
    pub(super) fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "plugin" => query.plugin = value,
                "namespace" => query.namespace = value,
                "room" => query.room = Some(value),
                "id" => query.id = value,
                "after" => query.after = value,
                "search" => query.search = value,
                _ => {}
            }
        }
        query
    }
}

/// Some of many.
#[derive(Serialize)]
pub(super) struct Page<T> {
    /// How many there are, whatever is looked for.
    total: usize,
    /// How many have in them what is looked for.
    matching: usize,
    /// In their order.
    items: Vec<T>,
    /// What to ask for the next ones with; none when there are none.
    next: Option<String>,
}

#[derive(Serialize)]
pub(super) struct RoomInfo {
    name: String,
    members: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct SocketInfo {
    id: String,
    address: String,
    state: &'static str,
    /// Bytes that wait to be written.
    queued_bytes: usize,
    /// Messages that were dropped because its peer reads too slowly.
    dropped_messages: u64,
}

#[derive(Serialize)]
pub(super) struct SocketDetails {
    #[serde(flatten)]
    info: SocketInfo,
    /// JSON text.
    values: Option<String>,
    rooms: Page<String>,
}

/// The rooms of a namespace, by name.
pub(super) fn rooms(admin: &Admin, query: &Query) -> Result<Page<RoomInfo>, Refused> {
    let sockets = admin.sockets_of(&query.namespace)?;
    let names = page_of_names(sockets.rooms(), query);
    Ok(names.map(|name| RoomInfo {
        members: sockets.room_len(&name),
        name: name.as_ref().to_owned(),
    }))
}

/// The sockets of a namespace or of one of its rooms, by id.
pub(super) fn sockets(admin: &Admin, query: &Query) -> Result<Page<SocketInfo>, Refused> {
    let sockets = admin.sockets_of(&query.namespace)?;
    let ids = match &query.room {
        Some(room) => sockets.room_members(room),
        None => sockets.ids(),
    };
    let after: Option<SocketId> = match query.after.as_str() {
        "" => None,
        after => Some(id(after)?),
    };
    let is_meant = |id: &SocketId| {
        query.search.is_empty() || sockets.get(*id).is_some_and(|it| has(&it, &query.search))
    };
    let found = page(ids, is_meant, after.as_ref());
    Ok(Page {
        total: found.total,
        matching: found.matching,
        next: found.next.map(|id| id.to_string()),
        // Some may have gone meanwhile.
        items: found
            .items
            .into_iter()
            .filter_map(|id| Some(info(&*sockets.get(id)?)))
            .collect(),
    })
}

/// One socket, with its values and rooms.
pub(super) fn socket(admin: &Admin, query: &Query) -> Result<SocketDetails, Refused> {
    let sockets = admin.sockets_of(&query.namespace)?;
    let socket = find(&sockets, &query.id)?;
    let rooms = page_of_names(sockets.rooms_of(socket.id()), query);
    Ok(SocketDetails {
        values: socket.values().map(|json| json.as_ref().to_owned()),
        rooms: rooms.map(|name| name.as_ref().to_owned()),
        info: info(&socket),
    })
}

/// The socket with that id.
///
/// # Errors
/// There is none.
pub(super) fn find(sockets: &Namespace, text: &str) -> Result<Arc<Socket>, Refused> {
    let gone = || {
        let why = format!("there is no socket {text} in {}", sockets.path());
        (StatusCode::NOT_FOUND, why)
    };
    sockets.get(id(text)?).ok_or_else(gone)
}

fn id(text: &str) -> Result<SocketId, Refused> {
    let id = text.parse::<SocketId>();
    id.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

fn info(socket: &Socket) -> SocketInfo {
    let outbox = socket.outbox();
    SocketInfo {
        id: socket.id().to_string(),
        address: socket.remote().to_string(),
        state: match outbox.state() {
            State::Open => "open",
            State::Closing => "closing",
            State::Aborted => "dropped",
        },
        queued_bytes: outbox.buffered(),
        dropped_messages: outbox.dropped(),
    }
}

/// Whether a socket has that in what is told of it.
fn has(socket: &Socket, text: &str) -> bool {
    socket.id().to_string().contains(text)
        || socket.remote().to_string().contains(text)
        || socket.values().is_some_and(|values| values.contains(text))
}

fn page_of_names(names: Vec<Arc<str>>, query: &Query) -> Page<Arc<str>> {
    let after: Option<Arc<str>> = (!query.after.is_empty()).then(|| query.after.as_str().into());
    let found = page(names, |name| name.contains(&query.search), after.as_ref());
    Page {
        total: found.total,
        matching: found.matching,
        next: found.next.map(|name| name.as_ref().to_owned()),
        items: found.items,
    }
}

/// What [`page`] finds.
struct Found<K> {
    total: usize,
    matching: usize,
    items: Vec<K>,
    next: Option<K>,
}

/// The first of those that are meant, behind `after`, in their order. Not all are put in order for that.
fn page<K: Ord + Clone>(
    mut keys: Vec<K>,
    is_meant: impl Fn(&K) -> bool,
    after: Option<&K>,
) -> Found<K> {
    let total = keys.len();
    keys.retain(is_meant);
    let matching = keys.len();
    keys.retain(|key| after.is_none_or(|after| key > after));
    let more = keys.len() > PAGE;
    if more {
        keys.select_nth_unstable(PAGE);
        keys.truncate(PAGE);
    }
    keys.sort_unstable();
    Found {
        total,
        matching,
        next: keys.last().filter(|_| more).cloned(),
        items: keys,
    }
}

impl<T> Page<T> {
    fn map<U>(self, f: impl Fn(T) -> U) -> Page<U> {
        Page {
            total: self.total,
            matching: self.matching,
            items: self.items.into_iter().map(f).collect(),
            next: self.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        for count in [0, 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 1] {
            let keys: Vec<_> = (0..count).rev().collect();
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let found = page(keys.clone(), |_| true, after.as_ref());
                assert!(found.items.len() <= PAGE);
                assert_eq!((found.total, found.matching), (count, count));
                seen.extend(found.items);
                match found.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_search_counts_what_it_finds_on_all_pages() {
        let found = page((0..3 * PAGE).collect(), |key| key % 2 == 0, Some(&9));
        assert_eq!((found.total, found.matching), (3 * PAGE, 3 * PAGE / 2));
        assert_eq!((found.items[0], found.items.len()), (10, PAGE));
    }
}
