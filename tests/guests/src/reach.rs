//! What a plugin of any kind does when it is told to: the functions of the SDK that need no socket.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tulpar::prelude::*;
use tulpar::ulak::{BulkResult, Operation};

/// A call of the host.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// `[namespace, message]`
    Broadcast(String, String),
    /// `[namespace, room, message]`
    To(String, String, String),
    /// `[namespace, id, message]`
    ToSocket(String, String, String),
    /// `[namespace, rooms, message]`
    ToMany(String, Vec<String>, String),
    /// A message.
    BroadcastAll(String),
    /// What the paths of the namespaces begin with, and a message.
    Matching(String, String),
    /// Operations: `[namespace, kind, name, message]`, the kind `all`, `room` or `socket`.
    BulkSend(Vec<(String, String, String, String)>),
    /// So many operations: rooms of `/commander` that nobody is in.
    BulkOf(usize),
    /// A broadcast of so many bytes.
    BroadcastOf(String, usize),
    /// Nothing.
    Namespaces(),
    /// A namespace.
    HasNamespace(String),
    /// A namespace.
    SocketCount(String),
    /// Nothing.
    ClusterSocketCount(),
    /// Nothing.
    ClusterSocketIds(),
    /// Nothing.
    ClusterRoomNames(),
    /// A room.
    ClusterRoomCount(String),
    /// A room.
    ClusterRoomMembers(String),
    /// `[bucket, key]`
    KvGet(String, String),
    /// `[bucket, key, value]`
    KvSet(String, String, String),
    /// `[bucket, key, bytes]`
    KvSetOf(String, String, usize),
    /// `[bucket, key]`
    KvDelete(String, String),
    /// `[bucket, key]`
    KvExists(String, String),
    /// A bucket.
    KvKeys(String),
    /// `[bucket, key, delta]`
    KvIncrement(String, String, u64),
    /// `[bucket, pairs]`
    KvSetMany(String, Vec<(String, String)>),
    /// `[bucket, keys]`
    KvGetMany(String, Vec<String>),
    /// `[bucket, keys]`
    KvDeleteMany(String, Vec<String>),
    /// A key.
    Config(String),
    /// Nothing.
    ConfigAll(),
    /// A URL.
    Fetch(String),
    /// `[URL, milliseconds]`: what each step may take.
    FetchWithin(String, u64),
    /// `[URL, bytes]`: a POST of that many.
    FetchOf(String, usize),
    /// A text for the log.
    Say(String),
}

/// Does it. A failure is an answer too: `{"error": ...}`.
///
/// # Errors
/// One that the SDK has no type of its own for.
pub fn obey(call: &Call) -> Result<Value> {
    Ok(match call {
        Call::Broadcast(namespace, message) => addressed(ulak::broadcast(namespace, message)),
        Call::To(namespace, room, message) => addressed(ulak(namespace).to(room, message)),
        Call::ToSocket(namespace, id, message) => {
            addressed(ulak::to_socket(namespace, id, message).map(|()| 1))
        }
        Call::ToMany(namespace, rooms, message) => bulk(ulak::to_many(namespace, rooms, message)),
        Call::BroadcastAll(message) => bulk(ulak::broadcast_all(message)),
        Call::Matching(start, message) => {
            bulk(ulak::matching(|path: &str| path.starts_with(start)).broadcast(message))
        }
        Call::BulkSend(operations) => bulk(ulak::bulk_send(operations.iter().map(operation))),
        Call::BulkOf(count) => {
            let operation = || Operation::to("/commander", "nobody", "x");
            bulk(ulak::bulk_send((0..*count).map(|_| operation())))
        }
        Call::BroadcastOf(namespace, bytes) => {
            addressed(ulak::broadcast(namespace, "x".repeat(*bytes)))
        }
        Call::Namespaces() => ulak::namespaces().into(),
        Call::HasNamespace(namespace) => ulak::has_namespace(namespace).into(),
        Call::SocketCount(namespace) => addressed(ulak::socket_count(namespace)),
        Call::ClusterSocketCount() => counted(cluster::socket_count()),
        Call::ClusterSocketIds() => listed(cluster::socket_ids()),
        Call::ClusterRoomNames() => listed(cluster::room_names()),
        Call::ClusterRoomCount(room) => counted(cluster::room_count(room)),
        Call::ClusterRoomMembers(room) => listed(cluster::room_members(room)),
        Call::KvGet(bucket, key) => kept(with(bucket, |bucket| bucket.get(key)).map(text)),
        Call::KvSet(bucket, key, value) => kept(with(bucket, |bucket| bucket.set(key, value))),
        Call::KvSetOf(bucket, key, bytes) => {
            kept(with(bucket, |bucket| bucket.set(key, vec![7; *bytes])))
        }
        Call::KvDelete(bucket, key) => kept(with(bucket, |bucket| bucket.delete(key))),
        Call::KvExists(bucket, key) => kept(with(bucket, |bucket| bucket.exists(key))),
        Call::KvKeys(bucket) => kept(with(bucket, |bucket| bucket.keys())),
        Call::KvIncrement(bucket, key, delta) => {
            kept(with(bucket, |bucket| bucket.increment(key, *delta)))
        }
        Call::KvSetMany(bucket, pairs) => kept(with(bucket, |bucket| bucket.set_many(pairs))),
        Call::KvGetMany(bucket, keys) => kept(
            with(bucket, |bucket| bucket.get_many(keys))
                .map(|values| values.into_iter().map(text).collect::<Vec<_>>()),
        ),
        Call::KvDeleteMany(bucket, keys) => kept(with(bucket, |bucket| bucket.delete_many(keys))),
        Call::Config(key) => config::get(key)?.into(),
        Call::ConfigAll() => json!(config::all()?),
        Call::Fetch(url) => fetched(fetch::get(url)),
        Call::FetchWithin(url, limit) => {
            let limit = Duration::from_millis(*limit);
            fetched(fetch::Request::get(url).timeout(limit).send())
        }
        Call::FetchOf(url, bytes) => {
            fetched(fetch::Request::post(url).body(vec![b'x'; *bytes]).send())
        }
        Call::Say(text) => {
            log::info(text);
            Value::Null
        }
    })
}

fn operation((namespace, kind, name, message): &(String, String, String, String)) -> Operation {
    match kind.as_str() {
        "room" => Operation::to(namespace, name, message),
        "socket" => Operation::to_socket(namespace, name, message),
        _ => Operation::broadcast(namespace, message),
    }
}

fn addressed(outcome: Result<u32, UlakError>) -> Value {
    match outcome {
        Ok(addressed) => addressed.into(),
        Err(error) => json!({
            "error": format!("{:?}", error.code),
            "namespace": error.namespace,
            "message": error.message,
        }),
    }
}

fn bulk(result: BulkResult) -> Value {
    let counts = [result.succeeded(), result.failed()];
    let results: Vec<_> = result.results.into_iter().map(addressed).collect();
    json!({ "counts": counts, "results": results })
}

fn counted(all: cluster::Count) -> Value {
    json!({ "count": all.count, "nodes": all.nodes, "silent": all.silent })
}

fn listed(mut all: cluster::Listing) -> Value {
    all.names.sort();
    json!({ "names": all.names, "more": all.more, "nodes": all.nodes, "silent": all.silent })
}

fn fetched(outcome: Result<fetch::Response, fetch::FetchError>) -> Value {
    match outcome {
        Ok(response) => json!({ "status": response.status, "body": response.text() }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

fn with<T>(
    bucket: &str,
    work: impl FnOnce(&kv::Bucket) -> Result<T, kv::KvError>,
) -> Result<T, kv::KvError> {
    work(&kv::open(bucket)?)
}

fn kept(outcome: Result<impl serde::Serialize, kv::KvError>) -> Value {
    match outcome {
        Ok(value) => json!(value),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

fn text(value: Option<Vec<u8>>) -> Option<String> {
    value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
