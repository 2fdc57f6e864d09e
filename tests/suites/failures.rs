//! Handlers that fail: rules C5 and C6.

use tulpar_tests::{
    Server, connect, eventually, expect_handler_error, json, next_event, observer, scripted,
};

#[tokio::test]
async fn c5_an_error_in_on_message_is_told_and_closes_with_1011() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let mut client = connect(server.url("/commander")).await;
    client
        .send(json!({ "do": "fail", "text": "the cellar is flooded" }).to_string())
        .await;
    expect_handler_error(&mut client).await;
    let event = next_event(&mut observer, "close").await;
    assert_eq!(
        (&event["code"], &event["reason"]),
        (&json!(1011), &json!("Handler error"))
    );
    observer.expect_nothing().await;
    server.log_line(&["the cellar is flooded"]);
}

#[tokio::test]
async fn c5_an_error_in_on_open_is_told_and_closes_with_1011() {
    let server = Server::with(&["scripted", "attach"]).start();
    let mut observer = observer(&server, "/scripted").await;
    let script = json!({ "open": [{ "do": "send", "message": "before" }, { "do": "fail", "text": "the attic burns" }] });
    let mut client = scripted(&server, script).await;
    assert_eq!(client.recv_text().await, "before");
    expect_handler_error(&mut client).await;
    assert_eq!(next_event(&mut observer, "close").await["code"], 1011);
    observer.expect_nothing().await;
    server.log_line(&["the attic burns"]);
}

#[tokio::test]
async fn c5_an_error_in_on_close_goes_to_the_log_only() {
    let server = Server::with(&["commander"]).start();
    let mut neighbour = connect(server.url("/commander")).await;
    let before = neighbour
        .ask(json!({ "do": "seen" }))
        .await
        .as_u64()
        .expect("a number");
    let mut client = connect(server.url("/commander")).await;
    let script = json!({ "close": [{ "do": "fail", "text": "the lock is broken" }] });
    client
        .ask(json!({ "do": "set-data", "value": script }))
        .await;
    client.close(1000, "bye").await;
    assert_eq!(client.expect_close().await.0, 1000);
    server.log_line(&["the lock is broken"]);
    // On-open, set-data and on-close of the client, and this question: the instance is still the same one.
    assert_eq!(neighbour.ask(json!({ "do": "seen" })).await, before + 4);
}

#[tokio::test]
async fn c6_a_failure_in_on_message_costs_one_peer_and_the_instance() {
    for failure in [
        json!({ "do": "panic", "text": "oh no" }),
        json!({ "do": "loop" }),
        json!({ "do": "bomb" }),
        json!({ "do": "recurse" }),
    ] {
        let server = Server::with(&["commander"])
            .config("[limits]\ndeadline-ms = 500")
            .start();
        let mut neighbour = observer(&server, "/commander").await;
        neighbour
            .ask(json!({ "do": "subscribe", "room": "red" }))
            .await;
        neighbour
            .ask(json!({ "do": "set-data", "value": { "kept": true } }))
            .await;
        let mut client = connect(server.url("/commander")).await;
        next_event(&mut neighbour, "open").await;

        client.send(failure.to_string()).await;
        expect_handler_error(&mut client).await;
        let event = next_event(&mut neighbour, "close").await;
        assert_eq!(event["code"], 1011, "{failure}");

        // The close was the new instance's first call, so this is its second.
        assert_eq!(neighbour.ask(json!({ "do": "seen" })).await, 2, "{failure}");
        assert_eq!(
            neighbour.ask(json!({ "do": "data" })).await,
            json!({ "kept": true }),
            "{failure}"
        );
        assert_eq!(
            neighbour.ask(json!({ "do": "rooms" })).await,
            json!(["observers", "red"]),
            "{failure}"
        );
        let mut late = connect(server.url("/commander")).await;
        next_event(&mut neighbour, "open").await;
        late.ask(json!({ "do": "to", "room": "red", "message": "still here" }))
            .await;
        assert_eq!(neighbour.recv_text().await, "still here", "{failure}");
    }
}

#[tokio::test]
async fn c6_a_trap_in_on_open_costs_that_peer() {
    let server = Server::with(&["scripted", "attach"]).start();
    let mut neighbour = observer(&server, "/scripted").await;
    let mut client = scripted(
        &server,
        json!({ "open": [{ "do": "panic", "text": "oh no" }] }),
    )
    .await;
    expect_handler_error(&mut client).await;
    assert_eq!(next_event(&mut neighbour, "close").await["code"], 1011);
    neighbour.expect_nothing().await;
}

#[tokio::test]
async fn c6_a_trap_in_on_close_costs_nobody() {
    let server = Server::with(&["commander"]).start();
    let mut neighbour = connect(server.url("/commander")).await;
    // Its on-open has run when it is answered; later it would be the new instance's first call.
    neighbour.ask(json!({ "do": "seen" })).await;
    let mut client = connect(server.url("/commander")).await;
    let script = json!({ "close": [{ "do": "panic", "text": "oh no" }] });
    client
        .ask(json!({ "do": "set-data", "value": script }))
        .await;
    client.close(1000, "").await;
    client.expect_close().await;
    // A new instance counts from the start.
    eventually("a new instance", async || {
        let seen = neighbour.ask(json!({ "do": "seen" })).await;
        (seen == 1).then_some(())
    })
    .await;
    assert_eq!(neighbour.ask(json!({ "do": "sockets" })).await, 1);
}

#[tokio::test]
async fn c6_messages_in_hand_of_the_failed_peer_are_not_handled() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let mut client = connect(server.url("/commander")).await;
    next_event(&mut observer, "open").await;
    client
        .feed(json!({ "do": "panic", "text": "oh no" }).to_string())
        .await;
    client
        .feed(json!({ "do": "broadcast", "message": "after the fall" }).to_string())
        .await;
    client.flush().await;
    expect_handler_error(&mut client).await;
    assert_eq!(observer.recv_json().await["event"], "close");
    observer.expect_nothing().await;
}
