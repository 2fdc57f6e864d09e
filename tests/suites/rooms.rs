//! Rooms: rules R1 to R6.

use tulpar_tests::{Client, Mould, Server, Value, connect, eventually, json};

async fn commander(server: &Server) -> Client {
    connect(server.url("/commander")).await
}

async fn join(client: &mut Client, room: &str) {
    assert_eq!(
        client.ask(json!({ "do": "subscribe", "room": room })).await,
        "done"
    );
}

async fn id(client: &mut Client) -> Value {
    client.ask(json!({ "do": "id" })).await
}

fn sorted(mut ids: Vec<Value>) -> Value {
    ids.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    ids.into()
}

#[tokio::test]
async fn r1_joining_twice_is_joining_once() {
    let server = Server::with(&["commander"]).start();
    let mut client = commander(&server).await;
    let id = id(&mut client).await;
    join(&mut client, "red").await;
    join(&mut client, "red").await;
    assert_eq!(
        client.ask(json!({ "do": "members", "room": "red" })).await,
        json!([id])
    );
    assert_eq!(client.ask(json!({ "do": "rooms" })).await, json!(["red"]));
    let mut other = commander(&server).await;
    assert_eq!(
        other
            .ask(json!({ "do": "to", "room": "red", "message": "once" }))
            .await,
        1
    );
    assert_eq!(client.recv_text().await, "once");
    client.expect_nothing().await;
    client
        .ask(json!({ "do": "unsubscribe", "room": "red" }))
        .await;
    assert_eq!(
        client
            .ask(json!({ "do": "is-subscribed", "room": "red" }))
            .await,
        false
    );
    assert_eq!(
        other
            .ask(json!({ "do": "to", "room": "red", "message": "gone" }))
            .await,
        0
    );
    client.expect_nothing().await;
}

#[tokio::test]
async fn r1_leaving_a_room_one_is_not_in_does_nothing() {
    let server = Server::with(&["commander"]).start();
    let mut member = commander(&server).await;
    let mut stranger = commander(&server).await;
    join(&mut member, "red").await;
    for room in ["red", "blue"] {
        assert_eq!(
            stranger
                .ask(json!({ "do": "unsubscribe", "room": room }))
                .await,
            "done"
        );
    }
    assert_eq!(
        member
            .ask(json!({ "do": "is-subscribed", "room": "red" }))
            .await,
        true
    );
    assert_eq!(member.ask(json!({ "do": "names" })).await, json!(["red"]));
}

#[tokio::test]
async fn r1_a_room_exists_while_it_has_members() {
    let server = Server::with(&["commander"]).start();
    let mut first = commander(&server).await;
    let mut second = commander(&server).await;
    let names = json!({ "do": "names" });
    assert_eq!(first.ask(names.clone()).await, json!([]));
    join(&mut first, "red").await;
    join(&mut second, "red").await;
    first
        .ask(json!({ "do": "unsubscribe", "room": "red" }))
        .await;
    assert_eq!(first.ask(names.clone()).await, json!(["red"]));
    second
        .ask(json!({ "do": "unsubscribe", "room": "red" }))
        .await;
    assert_eq!(first.ask(names.clone()).await, json!([]));

    join(&mut second, "blue").await;
    second.close(1000, "").await;
    second.expect_close().await;
    eventually("the room to vanish with its last member", async || {
        (first.ask(names.clone()).await == json!([])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn r2_publish_reaches_every_member_but_the_sender() {
    let server = Server::with(&["commander"]).start();
    let mut sender = commander(&server).await;
    let mut members = [commander(&server).await, commander(&server).await];
    let mut stranger = commander(&server).await;
    for member in &mut members {
        join(member, "red").await;
    }
    let publish = json!({ "do": "publish", "room": "red", "message": "hi" });
    for is_member in [false, true] {
        if is_member {
            join(&mut sender, "red").await;
        }
        // The sender's own answer is next: nothing was sent to itself.
        assert_eq!(
            sender.ask(publish.clone()).await,
            2,
            "the sender is a member: {is_member}"
        );
        for member in &mut members {
            assert_eq!(member.recv_text().await, "hi");
            member.expect_nothing().await;
        }
        stranger.expect_nothing().await;
    }
}

#[tokio::test]
async fn r2_to_reaches_every_member_the_sender_included() {
    let server = Server::with(&["commander"]).start();
    let mut sender = commander(&server).await;
    let mut member = commander(&server).await;
    let mut stranger = commander(&server).await;
    join(&mut sender, "red").await;
    join(&mut member, "red").await;
    sender
        .send(json!({ "do": "to", "room": "red", "message": "hi" }).to_string())
        .await;
    assert_eq!(sender.recv_text().await, "hi");
    assert_eq!(sender.recv_json().await, json!({ "answer": 2 }));
    assert_eq!(member.recv_text().await, "hi");
    member.expect_nothing().await;
    stranger.expect_nothing().await;
}

#[tokio::test]
async fn r2_broadcast_reaches_every_socket_of_the_namespace() {
    let server = Server::with(&["commander", "scripted", "attach"]).start();
    let mut sender = commander(&server).await;
    let mut member = commander(&server).await;
    let mut elsewhere = connect(server.url("/scripted")).await;
    join(&mut member, "red").await;
    sender
        .send(json!({ "do": "broadcast", "message": "hi" }).to_string())
        .await;
    assert_eq!(sender.recv_text().await, "hi");
    assert_eq!(sender.recv_json().await, json!({ "answer": 2 }));
    assert_eq!(member.recv_text().await, "hi");
    member.expect_nothing().await;
    elsewhere.expect_nothing().await;
}

#[tokio::test]
async fn r2_an_unknown_room_addresses_nobody() {
    let server = Server::with(&["commander"]).start();
    let mut client = commander(&server).await;
    for send in ["publish", "to"] {
        assert_eq!(
            client
                .ask(json!({ "do": send, "room": "nowhere", "message": "hi" }))
                .await,
            0
        );
    }
    assert_eq!(
        client.ask(json!({ "do": "names" })).await,
        json!([]),
        "asking makes no room"
    );
}

#[tokio::test]
async fn r2_a_sender_that_another_socket_speaks_for_is_left_out() {
    let server = Server::with(&["commander"]).start();
    let mut speaker = commander(&server).await;
    let mut sender = commander(&server).await;
    let on = id(&mut sender).await;
    for client in [&mut speaker, &mut sender] {
        join(client, "red").await;
    }
    speaker
        .send(json!({ "do": "publish", "on": on, "room": "red", "message": "hi" }).to_string())
        .await;
    assert_eq!(speaker.recv_text().await, "hi");
    assert_eq!(speaker.recv_json().await, json!({ "answer": 1 }));
    sender.expect_nothing().await;
}

#[tokio::test]
async fn r3_text_goes_out_as_that_text_and_bytes_as_binary() {
    let server = Server::with(&["commander"]).start();
    let mut sender = commander(&server).await;
    let mut member = commander(&server).await;
    let on = id(&mut member).await;
    join(&mut member, "red").await;
    let texts = [
        "",
        "plain",
        "\"quoted\"",
        r#"{"type":"x","n":1.0}"#,
        "line\nbreak",
        "ö😀\u{0}",
    ];
    let every_byte: Vec<u8> = (0..=255).collect();
    let all_bytes = [&b""[..], b"text?", &every_byte];
    for way in [
        json!({ "do": "publish", "room": "red" }),
        json!({ "do": "to", "room": "red" }),
        json!({ "do": "send", "on": on }),
    ] {
        let with = |message: Value| {
            let mut command = way.clone();
            command["message"] = message;
            command
        };
        for text in texts {
            sender.ask(with(text.into())).await;
            assert_eq!(member.recv_text().await, text, "{way}");
        }
        for bytes in all_bytes {
            sender.ask(with(bytes.into())).await;
            assert_eq!(member.recv_bytes().await, bytes, "{way}");
        }
    }
    sender
        .send(json!({ "do": "broadcast", "message": "\"all\"" }).to_string())
        .await;
    assert_eq!(member.recv_text().await, "\"all\"");
}

#[tokio::test]
async fn r4_a_room_is_its_namespaces_own() {
    let server = Server::with(&["commander", "scripted", "attach"]).start();
    let mut here = commander(&server).await;
    let mut there = connect(server.url("/scripted")).await;
    join(&mut here, "red").await;
    join(&mut there, "red").await;
    assert_eq!(here.ask(json!({ "do": "count", "room": "red" })).await, 1);
    assert_eq!(
        here.ask(json!({ "do": "publish", "room": "red", "message": "hi" }))
            .await,
        0
    );
    here.send(json!({ "do": "to", "room": "red", "message": "hi" }).to_string())
        .await;
    assert_eq!(here.recv_text().await, "hi");
    assert_eq!(here.recv_json().await, json!({ "answer": 1 }));
    there.expect_nothing().await;
}

#[tokio::test]
async fn r4_a_room_is_its_tenants_own() {
    let server = Server::with(&["commander"])
        .tenant("acme", &["commander"])
        .tenant("zeta", &["commander"])
        .start();
    let paths = ["/commander", "/acme/commander", "/zeta/commander"];
    let mut clients = Vec::new();
    for path in paths {
        let mut client = connect(server.url(path)).await;
        join(&mut client, "red").await;
        clients.push(client);
    }
    for index in 0..clients.len() {
        let message = format!("of {}", paths[index]);
        clients[index]
            .send(json!({ "do": "to", "room": "red", "message": message }).to_string())
            .await;
        assert_eq!(clients[index].recv_text().await, message);
        assert_eq!(clients[index].recv_json().await, json!({ "answer": 1 }));
        assert_eq!(clients[index].ask(json!({ "do": "sockets" })).await, 1);
        for client in &mut clients {
            client.expect_nothing().await;
        }
    }
}

#[tokio::test]
async fn r5_what_one_socket_sends_arrives_at_every_member_in_that_order() {
    const NUMBERS: u32 = 1000;
    let server = Server::with(&["commander"]).start();
    let mut senders = [commander(&server).await, commander(&server).await];
    let mut members = [
        commander(&server).await,
        commander(&server).await,
        commander(&server).await,
    ];
    for member in &mut members {
        join(member, "red").await;
    }
    for (index, sender) in senders.iter_mut().enumerate() {
        for number in 0..NUMBERS {
            let message = format!("{index} {number}");
            sender
                .feed(json!({ "do": "publish", "room": "red", "message": message }).to_string())
                .await;
        }
    }
    let [first, second] = &mut senders;
    tokio::join!(first.flush(), second.flush());
    for member in &mut members {
        let mut next = [0; 2];
        while next != [NUMBERS; 2] {
            let text = member.recv_text().await;
            let (sender, number) = text.split_once(' ').expect("two numbers");
            let next = &mut next[sender.parse::<usize>().expect("a number")];
            assert_eq!(number.parse::<u32>(), Ok(*next), "of the sender {sender}");
            *next += 1;
        }
    }
}

#[tokio::test]
async fn r5_what_one_handler_sends_in_different_ways_keeps_its_order() {
    let server = Server::with(&["commander"]).start();
    let mut sender = commander(&server).await;
    let mut member = commander(&server).await;
    let on = id(&mut member).await;
    join(&mut member, "red").await;
    join(&mut member, "blue").await;
    let commands = json!([
        { "do": "publish", "room": "red", "message": "1" },
        { "do": "send", "on": on, "message": "2" },
        { "do": "to", "room": "blue", "message": "3" },
        { "do": "broadcast", "message": "4" },
        { "do": "publish", "room": "blue", "message": "5" },
        { "do": "to", "room": "red", "message": "6" },
    ]);
    sender.send(commands.to_string()).await;
    for number in 1..=6 {
        assert_eq!(member.recv_text().await, number.to_string());
    }
}

#[tokio::test]
async fn r6_members_names_and_counts_can_be_asked_for() {
    let server = Server::with(&["commander"]).start();
    let mut clients = [
        commander(&server).await,
        commander(&server).await,
        commander(&server).await,
    ];
    let mut ids = Vec::new();
    for client in &mut clients {
        ids.push(id(client).await);
    }
    for (index, rooms) in [&["red", "blue"][..], &["red"], &[]].iter().enumerate() {
        for room in *rooms {
            join(&mut clients[index], room).await;
        }
    }
    let [first, second, _] = &mut clients;
    assert_eq!(
        first.ask(json!({ "do": "names" })).await,
        json!(["blue", "red"])
    );
    let reds = sorted(ids[..2].to_vec());
    assert_eq!(
        first.ask(json!({ "do": "members", "room": "red" })).await,
        reds
    );
    assert_eq!(
        second.ask(json!({ "do": "members", "room": "blue" })).await,
        json!([ids[0]])
    );
    assert_eq!(
        second
            .ask(json!({ "do": "members", "room": "green" }))
            .await,
        json!([])
    );
    assert_eq!(second.ask(json!({ "do": "count", "room": "red" })).await, 2);
    assert_eq!(
        second.ask(json!({ "do": "count", "room": "green" })).await,
        0
    );
    assert_eq!(second.ask(json!({ "do": "rooms" })).await, json!(["red"]));
    assert_eq!(
        second.ask(json!({ "do": "rooms", "on": ids[0] })).await,
        json!(["blue", "red"])
    );
    assert_eq!(first.ask(json!({ "do": "ids" })).await, sorted(ids.clone()));
    assert_eq!(first.ask(json!({ "do": "sockets" })).await, 3);
}

#[tokio::test]
async fn r6_a_handler_can_put_another_socket_into_a_room() {
    let server = Server::with(&["commander"]).start();
    let mut host = commander(&server).await;
    let mut guest = commander(&server).await;
    let on = id(&mut guest).await;
    assert_eq!(
        host.ask(json!({ "do": "subscribe", "on": on, "room": "red" }))
            .await,
        "done"
    );
    assert_eq!(
        host.ask(json!({ "do": "publish", "room": "red", "message": "welcome" }))
            .await,
        1
    );
    assert_eq!(guest.recv_text().await, "welcome");
    assert_eq!(guest.ask(json!({ "do": "rooms" })).await, json!(["red"]));
}

#[tokio::test]
async fn r6_a_tenants_plugin_counts_its_own_sockets_only() {
    let other = Mould::namespace("/other").bytes();
    let server = Server::with(&["commander"])
        .file("acme/other.wasm", &other)
        .tenant("acme", &["commander"])
        .start();
    let _elsewhere = (
        commander(&server).await,
        connect(server.url("/acme/other")).await,
    );
    let mut client = connect(server.url("/acme/commander")).await;
    let id = id(&mut client).await;
    assert_eq!(client.ask(json!({ "do": "ids" })).await, json!([id]));
    assert_eq!(
        client.ask(json!({ "do": "remote-address" })).await,
        "127.0.0.1"
    );
}
