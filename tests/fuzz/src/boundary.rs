//! The boundary between host and guest: a guest that makes whatever calls the bytes say, in whatever order.
//!
//! An input is lines, and each is an event. `1`, `2` or `3` and a program: that socket's peer sends the program to the
//! guest `driven`. `-` and a socket: it closes. `+` and a socket: another one comes in its place.
//! The guest is loaded anew for each input, and what is kept in the store stays: it is of the whole run.

mod client;

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tulpar_runtime::config::{Limits, Sockets};
use tulpar_runtime::hub::{self, Namespace, Socket};
use tulpar_runtime::ids::SocketId;
use tulpar_runtime::message::{CloseEvent, Message};
use tulpar_runtime::plugin::{CallError, Event, Plugin};
use tulpar_runtime::quota::Held;
use tulpar_runtime::ulak::Served;

use self::client::{Client, Peer, neighbour};
use crate::world::World;
use crate::{Seen, Target, kind};

pub(crate) const TARGET: Target = Target {
    name: "boundary",
    run: boundary,
    words: &[
        "\n1",
        "\n2",
        "\n3",
        "\n-1",
        "\n+1",
        "\n-2",
        "\n+2",
        "s.tB",
        "s.b~aA",
        "p.~aG",
        "j.B",
        "j.C",
        "j.\"x\"",
        "l.B",
        "u.BtC",
        "c.AB",
        "t.",
        "w.P",
        "v.",
        "r.",
        "m.B",
        "b.",
        "i.",
        "k",
        "g#A",
        "dA",
        "oB",
        "q",
        "n",
        "xB",
        "eBtB",
        "htB",
        "fAB",
        "BFtB",
        "BGtB",
        "BHtB",
        "BItB",
        "RFBtB",
        "SF#AtB",
        "MF3BCDtB",
        "AtB",
        "B~xRt~xP",
        "M~xR2BCt~xP",
        "U2FA tBFBBtB",
        "N",
        "HF",
        "CF",
        "FR",
        "E",
        "OB",
        "OC",
        "DA",
        "GAB",
        "PABB",
        "PAB~aM",
        "XAB",
        "QAB",
        "LA0",
        "LA+",
        "IABH",
        "KA2BC",
        "WA2BBCC",
        "ZA2BC",
        "0",
        "1",
        "2A",
        "3R",
        "4A",
        "5",
        "6A",
        "7",
        "8M",
        "9M",
        "[T",
        "]A",
        "&",
        "(AA",
        "!",
        "@0",
        "*9",
        "*z",
        "~aN",
        "~\u{e4}L",
        "#A",
        "\"text\"",
    ],
};

/// What a call may take beyond its deadline: others want to run too.
const SLACK: Duration = Duration::from_secs(10);
/// Events of one input.
const MAX_EVENTS: usize = 32;

static WORLD: LazyLock<Mutex<World>> =
    LazyLock::new(|| Mutex::new(World::with("driven", Sockets::default())));

/// Has the guest make the calls that the bytes say, and checks after each event that all is as it should be.
pub fn boundary(bytes: &[u8]) -> Seen {
    let world = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    let limits = &world.limits;
    let (of_tenant, friend) = neighbour("/acme/other", limits);
    let (of_other, stranger) = neighbour("/zeta/driven", limits);
    let (of_root, operator) = neighbour("/driven", limits);

    let mut seen = Vec::new();
    let account = world.runtime.block_on(async {
        let loaded = world.load("acme").await;
        let served = |tenant: Option<&str>, sockets: &Arc<Namespace>| Served {
            tenant: tenant.map(str::to_owned),
            sockets: sockets.clone(),
        };
        let own = loaded.namespace.expect("it is a namespace").sockets;
        world.ulak.set_served([
            served(Some("acme"), &own),
            served(Some("acme"), &of_tenant),
            served(Some("zeta"), &of_other),
            served(None, &of_root),
        ]);
        let scene = Scene {
            plugin: &loaded.plugin,
            namespace: &own,
            limits,
        };
        scene.play(bytes, &mut seen).await;
        world.ulak.set_served([]);
        loaded.plugin.account().clone()
    });

    seen.push(friend.check(limits).min(4) as u64 + 100);
    for (who, client) in [("another tenant", stranger), ("the root folder", operator)] {
        assert!(client.got_nothing(), "{who} got a message");
    }
    for namespace in [of_other, of_root, of_tenant] {
        assert_eq!(namespace.rooms().len(), 3, "{}", namespace.path());
        assert_eq!(namespace.len(), 1, "{}", namespace.path());
    }
    drop(friend);
    // All sockets, the instance and the plugin are gone.
    for held in [Held::Instances, Held::Memory, Held::Rooms, Held::Queued] {
        assert_eq!(account.used(held), 0, "{held:?}");
    }
    seen
}

/// The plugin with its sockets.
struct Scene<'a> {
    plugin: &'a Plugin,
    namespace: &'a Namespace,
    limits: &'a Limits,
}

impl Scene<'_> {
    async fn play(&self, bytes: &[u8], seen: &mut Seen) {
        const PEERS: [Peer; 3] = [Peer::Fast, Peer::Slow, Peer::Stuck];
        let mut clients = [None, None, None];
        for (slot, peer) in clients.iter_mut().zip(PEERS) {
            *slot = Some(self.enter(peer, seen).await);
        }
        for event in bytes.split(|byte| *byte == b'\n').take(MAX_EVENTS) {
            let (&first, rest) = event.split_first().unwrap_or((&b'1', &[]));
            let named = if b"+-".contains(&first) {
                rest.first()
            } else {
                Some(&first)
            };
            let which = usize::from(named.copied().unwrap_or(b'1').wrapping_sub(b'1')) % 3;
            match (first, &clients[which]) {
                (b'-', Some(_)) => {
                    if let Some(client) = clients[which].take() {
                        self.leave(&client, seen).await;
                    }
                }
                (b'+', None) => clients[which] = Some(self.enter(PEERS[which], seen).await),
                (_, Some(client)) => {
                    let message = Message::Binary(rest);
                    self.tell(&client.socket, Event::Message(message), seen)
                        .await;
                }
                (_, None) => (),
            }
            let open = clients.iter().flatten().map(|client| client.socket.id());
            self.check(&open.collect::<Vec<_>>());
        }
        for client in clients.into_iter().flatten() {
            self.leave(&client, seen).await;
        }
        self.check(&[]);
    }

    async fn enter(&self, peer: Peer, seen: &mut Seen) -> Client {
        let client = Client::new(peer, self.limits);
        self.namespace.insert(client.socket.clone());
        self.tell(&client.socket, Event::Open, seen).await;
        client
    }

    async fn leave(&self, client: &Client, seen: &mut Seen) {
        if let Some(mut leaving) = self.namespace.remove(&client.socket) {
            while !self.namespace.remove_more(&client.socket, &mut leaving) {}
        }
        let event = CloseEvent {
            code: 1006,
            reason: String::new(),
        };
        self.tell(&client.socket, Event::Close(&event), seen).await;
        client.socket.outbox().flush();
        seen.push(client.check(self.limits).min(9) as u64 + 200);
    }

    /// Tells the plugin of an event. How it took it is its own affair, but for the time.
    async fn tell(&self, socket: &Arc<Socket>, event: Event<'_>, seen: &mut Seen) {
        let begun = Instant::now();
        let outcome = hub::in_turns(self.plugin.handle(socket, event)).await;
        let taken = begun.elapsed();
        let most = Duration::from_millis(self.limits.deadline_ms.into()) + SLACK;
        assert!(taken < most, "a call took {taken:?}");
        match outcome {
            Ok(()) => (),
            Err(CallError::Handler(text)) => seen.extend(tally(&text)),
            Err(error @ (CallError::Trap(_) | CallError::Overrun(_))) => {
                seen.push(kind(&error.to_string()));
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Checks what has to hold between any two events, when these sockets are open.
    fn check(&self, open: &[SocketId]) {
        let namespace = self.namespace;
        let mut ids = namespace.ids();
        ids.sort_by_key(SocketId::to_string);
        let mut expected = open.to_vec();
        expected.sort_by_key(SocketId::to_string);
        assert_eq!(ids, expected, "the sockets");

        let rooms = namespace.rooms();
        assert!(rooms.len() <= self.limits.rooms_per_namespace, "{rooms:?}");
        for room in &rooms {
            assert!(Namespace::is_room_name(room), "{room:?}");
            let members = namespace.room_members(room);
            assert!(!members.is_empty(), "nobody is in {room:?}");
            for member in members {
                assert!(
                    open.contains(&member),
                    "{room:?} has a member that has gone"
                );
                assert!(namespace.is_member(member, room), "{room:?}");
            }
        }
        for id in open {
            let of_socket = namespace.rooms_of(*id);
            assert!(
                of_socket.len() <= self.limits.rooms_per_socket,
                "{of_socket:?}"
            );
            assert!(
                of_socket.iter().all(|room| rooms.contains(room)),
                "{of_socket:?}"
            );
        }
        let account = self.plugin.account();
        assert_eq!(
            account.used(Held::Rooms),
            rooms.len() as u64,
            "counted rooms"
        );
        assert!(account.used(Held::Instances) <= 1, "instances");
        let memory = account.used(Held::Memory);
        assert!(
            memory <= self.limits.instance_memory_bytes as u64,
            "{memory}"
        );
    }
}

/// Which calls ended how. Anything else that the guest says is about a promise that it found broken.
fn tally(text: &str) -> impl Iterator<Item = u64> {
    let words = text
        .strip_prefix("tally ")
        .unwrap_or_else(|| panic!("the guest: {text}"));
    let words: Vec<_> = words
        .split(' ')
        .map(|word| u64::from_str_radix(word, 16).expect("a number"))
        .collect();
    (0..words.len() * 64)
        .filter(move |place| words[place / 64] >> (place % 64) & 1 == 1)
        .map(|place| place as u64 + 1000)
}
