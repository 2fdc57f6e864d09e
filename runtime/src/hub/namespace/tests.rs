//! What holds for the sockets and rooms of a namespace.

use super::*;
use crate::ids::NodeId;

fn namespace(rooms_per_socket: usize, rooms_per_namespace: usize) -> Namespace {
    let limits = Limits {
        rooms_per_socket,
        rooms_per_namespace,
        ..Limits::default()
    };
    Namespace::new(None, "/test".into(), &limits, Account::unbounded())
}

fn socket(namespace: &Namespace) -> Arc<Socket> {
    let id = SocketId::random(NodeId::random().unwrap()).unwrap();
    let nowhere = Arc::new(std::io::sink());
    let outbox = namespace.outbox(1000, SlowConsumer::Close, nowhere);
    let socket = Arc::new(Socket::new(id, [127, 0, 0, 1].into(), None, outbox));
    namespace.insert(socket.clone());
    socket
}

#[test]
fn p2_a_path_is_checked_at_its_limits() {
    for good in ["/", "/a", "/a/b-c_d", &format!("/{}", "a".repeat(255))] {
        assert_eq!(Namespace::path_problem(good), None, "{good}");
    }
    for bad in [
        "", "a", "//", "/a//b", "/a/", "/.", "/a/../b", "/a?b", "/a#b", "/a b", "/a\n",
    ] {
        assert!(Namespace::path_problem(bad).is_some(), "{bad:?}");
    }
    assert!(Namespace::path_problem(&format!("/{}", "a".repeat(256))).is_some());
}

#[test]
fn v2_a_room_that_many_have_left_is_small_again() {
    let namespace = namespace(10, 10);
    let sockets: Vec<_> = (0..1000).map(|_| socket(&namespace)).collect();
    for socket in &sockets {
        assert_eq!(namespace.join(socket, "a"), Ok(()));
    }
    let places = || namespace.read().of("a").map(|it| it.capacity());
    assert!(places() >= Some(1000));
    for socket in &sockets[1..] {
        namespace.leave(socket.id(), "a");
    }
    assert_eq!(namespace.room_members("a"), [sockets[0].id()]);
    assert!(places() <= Some(64), "{:?}", places());
}

#[test]
fn r1_joining_and_leaving_are_idempotent_and_leave_nothing_behind() {
    let namespace = namespace(10, 10);
    let socket = socket(&namespace);
    for _ in 0..2 {
        assert_eq!(namespace.join(&socket, "a"), Ok(()));
    }
    assert_eq!(namespace.room_members("a"), [socket.id()]);
    for _ in 0..2 {
        namespace.leave(socket.id(), "a");
    }
    assert!(namespace.rooms().is_empty());
    assert!(namespace.read().by_name.is_empty());
    assert!(namespace.read().rooms.is_empty());
}

#[test]
fn r1_a_socket_that_goes_leaves_its_rooms() {
    let namespace = namespace(10, 10);
    let (staying, going) = (socket(&namespace), socket(&namespace));
    for room in ["a", "b"] {
        namespace.join(&going, room).unwrap();
    }
    namespace.join(&staying, "a").unwrap();
    assert!(namespace.remove(&going).is_none());
    assert_eq!(namespace.rooms(), ["a".into()]);
    assert_eq!(namespace.room_members("a"), [staying.id()]);
    let mut left: Vec<_> = going.left().unwrap().to_vec();
    left.sort();
    assert_eq!(left, ["a".into(), "b".into()]);
    assert_eq!(namespace.join(&going, "a"), Err(JoinError::Closed));
    assert_eq!(namespace.read().joined.len(), 1);
}

#[test]
fn r1_a_socket_leaves_many_rooms_some_at_a_time() {
    let namespace = namespace(1000, 1000);
    let going = socket(&namespace);
    let rooms = AT_ONCE + IN_A_TURN + 1;
    for room in 0..rooms {
        namespace.join(&going, &room.to_string()).unwrap();
    }
    let mut leaving = namespace.remove(&going).unwrap();
    assert_eq!(namespace.rooms().len(), IN_A_TURN + 1);
    assert!(!namespace.remove_more(&going, &mut leaving));
    assert_eq!(going.left(), None);
    assert!(namespace.remove_more(&going, &mut leaving));
    assert_eq!(going.left().unwrap().len(), rooms);
    assert!(namespace.rooms().is_empty());
    assert_eq!(namespace.account().used(Held::Rooms), 0);
}

#[test]
fn r1_caps_and_names_hold_at_the_limit_and_one_past() {
    let namespace = namespace(2, 3);
    let (one, two) = (socket(&namespace), socket(&namespace));
    namespace.join(&one, "a").unwrap();
    namespace.join(&one, &"b".repeat(256)).unwrap();
    assert_eq!(namespace.join(&one, "c"), Err(JoinError::TooMany));
    assert_eq!(namespace.join(&one, "a"), Ok(()));
    namespace.join(&two, "c").unwrap();
    assert_eq!(namespace.join(&two, "d"), Err(JoinError::TooMany));
    assert_eq!(namespace.join(&two, "a"), Ok(()));
    namespace.leave(two.id(), "a");
    assert_eq!(namespace.join(&two, "ü\u{a0}b"), Err(JoinError::TooMany));
    for name in ["", "a\nb", "\u{7f}", "\u{80}", "ü\u{9f}", &"b".repeat(257)] {
        assert_eq!(
            namespace.join(&two, name),
            Err(JoinError::InvalidName),
            "{name:?}"
        );
    }
}

#[test]
fn r2_a_room_is_addressed_but_for_the_one_left_out() {
    let namespace = namespace(10, 10);
    let (one, two, other) = (socket(&namespace), socket(&namespace), socket(&namespace));
    namespace.join(&one, "a").unwrap();
    namespace.join(&two, "a").unwrap();
    let frame = Frame::ping(b"");
    let room = |except| Audience::Room { name: "a", except };
    assert_eq!(namespace.deliver(room(None), &frame), 2);
    assert_eq!(namespace.deliver(room(Some(one.id())), &frame), 1);
    assert_eq!(namespace.deliver(room(Some(other.id())), &frame), 2);
    assert_eq!(namespace.deliver(Audience::Everybody, &frame), 3);
    assert_eq!(
        namespace.deliver(
            Audience::Room {
                name: "b",
                except: None
            },
            &frame
        ),
        0
    );
    let buffered = [one, two, other].map(|socket| socket.outbox().buffered());
    assert_eq!(buffered, [6, 8, 2]);
}
