//! What a plugin does with sockets, and what its clients see of it.

mod common;

use common::{commander, told};
use tulpar_test::{Request, Server, json};

#[test]
fn what_is_attached_and_joined_can_be_asked_for() {
    let server = commander().start();
    let ada = server.open("/commander");
    assert_eq!(told(&ada, json!({ "do": "id" })), json!(ada.id()));
    assert_eq!(ada.values(), json!(null));
    told(
        &ada,
        json!({ "do": "set-data", "value": { "name": "Ada" } }),
    );
    assert_eq!(ada.values(), json!({ "name": "Ada" }));
    for room in ["b", "a"] {
        told(&ada, json!({ "do": "subscribe", "room": room }));
    }
    assert_eq!(ada.rooms(), ["a", "b"]);
    assert_eq!(server.rooms("/commander"), ["a", "b"]);
    assert_eq!(server.members("/commander", "a"), [ada.id()]);
    assert_eq!(server.members("/commander", "none"), [""; 0]);
    told(&ada, json!({ "do": "unsubscribe", "room": "a" }));
    assert_eq!(ada.rooms(), ["b"]);
    assert_eq!(server.sockets("/commander"), [ada.id()]);
}

#[test]
fn bytes_and_large_messages_go_both_ways() {
    let server = commander().start();
    let ada = server.open("/commander");
    ada.send(b"\x00\xff");
    assert_eq!(ada.received(), [vec![0, 255]]);
    let large = "x".repeat(5 << 20);
    ada.send(&large);
    assert_eq!(ada.received(), [large]);
}

#[test]
fn what_is_published_reaches_others_and_is_told() {
    let server = commander().start();
    let (ada, bob) = (server.open("/commander"), server.open("/commander"));
    for client in [&ada, &bob] {
        told(client, json!({ "do": "subscribe", "room": "a" }));
    }
    assert_eq!(
        told(
            &ada,
            json!({ "do": "publish", "room": "a", "message": "hi" })
        ),
        1
    );
    assert_eq!(bob.received(), ["hi"]);
    assert_eq!(ada.received(), [""; 0]);
    ada.send(json!({ "do": "broadcast", "message": [1, 2] }));
    let published = server.published();
    assert_eq!(published.len(), 2 + 2, "{published:?}");
    let of = |index: usize| (published[index].room.as_deref(), &published[index].message);
    assert_eq!(of(2), (Some("a"), &"hi".into()));
    assert_eq!(of(3), (None, &b"\x01\x02".into()));
    assert!(server.published().is_empty());
}

#[test]
fn each_way_to_end_is_told_from_the_others() {
    let server = commander().start();
    let observer = server.open("/commander");
    told(&observer, json!({ "do": "subscribe", "room": "observers" }));
    let closed = || {
        let event = observer.next().json::<tulpar_test::Value>();
        (event["code"].as_u64(), event["reason"].clone())
    };
    let open = || {
        let client = server.open("/commander");
        assert_eq!(
            observer.next().json::<tulpar_test::Value>()["event"],
            "open"
        );
        client
    };

    let ada = open();
    ada.close(4000, "bye");
    assert_eq!(closed(), (Some(4000), json!("bye")));
    assert_eq!((ada.closed(), ada.is_open()), (None, false));

    let ada = open();
    ada.break_off();
    assert_eq!(closed(), (Some(1006), json!("")));
    assert_eq!((ada.closed(), ada.is_open()), (None, false));
    drop(open());
    assert_eq!(closed(), (Some(1006), json!("")));
    assert_eq!(server.sockets("/commander"), [observer.id()]);

    let ada = open();
    ada.send(json!({ "do": "close", "code": 4001, "reason": "enough" }));
    assert_eq!(ada.closed(), Some((4001, "enough".into())));
    assert_eq!(closed(), (Some(4001), json!("enough")));

    let ada = open();
    ada.send(json!({ "do": "terminate" }));
    assert_eq!(ada.closed(), Some((1006, String::new())));
}

#[test]
fn rooms_are_as_many_as_the_configuration_allows() {
    let server = commander()
        .setting("plugin.commander.limits.rooms-per-socket", 2)
        .start();
    let ada = server.open("/commander");
    let join = |room: &str| told(&ada, json!({ "do": "subscribe", "room": room }));
    assert_eq!([join("a"), join("b")], ["done", "done"]);
    assert_eq!(join("c"), json!({ "error": "limit-exceeded" }));
    assert_eq!(ada.rooms(), ["a", "b"]);
}

#[test]
fn a_message_over_the_limit_closes_its_client() {
    let server = Server::builder()
        .crate_in("../../plugins/echo")
        .setting("limits.max-message-bytes", 10)
        .start();
    let ada = server.open("/echo");
    ada.send("0123456789");
    assert_eq!(ada.received(), ["0123456789"]);
    ada.send("0123456789a");
    assert_eq!(ada.closed().map(|(code, _)| code), Some(1009));
}

#[test]
fn a_client_that_does_not_read_is_a_slow_consumer() {
    let drained = common::GUESTS;
    let server = Server::builder()
        .example_in(drained, "drained")
        .setting("sockets.slow-consumer", "drop-newest")
        .start();
    let observer = server.open("/drained");
    told(&observer, json!({ "do": "subscribe", "room": "observers" }));
    let ada = server.open("/drained");
    ada.stop_reading();
    let large = json!({ "text_of": 100_000 });
    ada.send(json!({ "do": "flood", "message": large, "at_most": 100 }));
    assert_eq!(ada.received(), [""; 0]);
    ada.read_on();
    let received = ada.received();
    let answer = received
        .last()
        .expect("the answer")
        .json::<tulpar_test::Value>();
    assert_eq!(answer["answer"]["error"], "backpressure");
    let drained = observer.received();
    assert_eq!(
        drained
            .last()
            .map(|it| it.json::<tulpar_test::Value>()["event"].clone()),
        Some(json!("drain"))
    );
}

#[test]
fn a_client_is_where_it_says_and_speaks_what_it_offers() {
    let server = commander().start();
    let address = |request: Request| {
        let client = server.open(request);
        told(&client, json!({ "do": "remote-address" }))
    };
    let request = || Request::get("/commander");
    assert_eq!(address(request()), "192.0.2.1");
    assert_eq!(address(request().from_address([10, 0, 0, 7])), "10.0.0.7");
    let six: std::net::IpAddr = "2001:db8::7".parse().unwrap();
    assert_eq!(address(request().from_address(six)), "2001:db8::7");
    let foreign = request().with_header("origin", "https://elsewhere.example");
    assert_eq!(
        server.connect(foreign).err().map(|it| it.status()),
        Some(403)
    );
}
