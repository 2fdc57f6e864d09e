//! Ulak: rules U1 to U3, called from a namespace (`commander`), a controller (`desk`) and a service (`worker`).

use tulpar_tests::{
    Client, Mould, Request, Server, Value, call, connect, json, next_event, observer,
};

fn server() -> Server {
    Server::with(&["commander", "desk", "attach"]).start()
}

/// A socket that is surely in its namespace, and its id.
async fn member(server: &Server, path: &str) -> (Client, String) {
    let mut client = connect(server.url(path)).await;
    let id = client.ask(json!({ "do": "id" })).await;
    (client, id.as_str().expect("an id is a text").to_owned())
}

async fn join(client: &mut Client, room: &str) {
    let joined = client.ask(json!({ "do": "subscribe", "room": room })).await;
    assert_eq!(joined, "done");
}

fn error_of(answer: &Value) -> &str {
    answer["error"]
        .as_str()
        .unwrap_or_else(|| panic!("it is a failure: {answer}"))
}

#[tokio::test]
async fn u1_broadcast_to_and_to_socket_reach_whom_they_name() {
    let server = server();
    let (mut one, id) = member(&server, "/commander").await;
    let (mut two, _) = member(&server, "/commander").await;
    join(&mut two, "a").await;

    assert_eq!(
        call(
            &server,
            "/desk",
            json!({ "broadcast": ["/commander", "all"] })
        )
        .await,
        2
    );
    assert_eq!(
        call(
            &server,
            "/desk",
            json!({ "to": ["/commander", "a", "room"] })
        )
        .await,
        1
    );
    assert_eq!(
        call(
            &server,
            "/desk",
            json!({ "to-socket": ["/commander", id, "you"] })
        )
        .await,
        1
    );
    for text in ["all", "you"] {
        assert_eq!(one.recv_text().await, text);
    }
    for text in ["all", "room"] {
        assert_eq!(two.recv_text().await, text);
    }
    one.expect_nothing().await;
    two.expect_nothing().await;
    assert_eq!(
        call(&server, "/desk", json!({ "socket-count": "/commander" })).await,
        2
    );
    assert_eq!(
        call(
            &server,
            "/desk",
            json!({ "to": ["/commander", "nobody", "x"] })
        )
        .await,
        0
    );
}

#[tokio::test]
async fn u1_each_failure_has_its_code_and_names_its_namespace() {
    let server = server();
    let (_client, _) = member(&server, "/commander").await;
    let long = format!("/{}", "a".repeat(256));
    for (told, code, namespace) in [
        (
            json!({ "broadcast": ["/nowhere", "x"] }),
            "NamespaceNotFound",
            "/nowhere",
        ),
        (
            json!({ "to": ["/nowhere", "a", "x"] }),
            "NamespaceNotFound",
            "/nowhere",
        ),
        (
            json!({ "socket-count": "/nowhere" }),
            "NamespaceNotFound",
            "/nowhere",
        ),
        (json!({ "broadcast": ["", "x"] }), "InvalidNamespace", ""),
        (
            json!({ "broadcast": ["commander", "x"] }),
            "InvalidNamespace",
            "commander",
        ),
        (
            json!({ "broadcast": ["/a/../commander", "x"] }),
            "InvalidNamespace",
            "/a/../commander",
        ),
        (
            json!({ "broadcast": [long, "x"] }),
            "InvalidNamespace",
            &long[..64],
        ),
        (
            json!({ "to": ["/commander", "", "x"] }),
            "InvalidRoom",
            "/commander",
        ),
        (
            json!({ "to": ["/commander", "a\nb", "x"] }),
            "InvalidRoom",
            "/commander",
        ),
        (
            json!({ "to": ["/commander", "r".repeat(257), "x"] }),
            "InvalidRoom",
            "/commander",
        ),
        (
            json!({ "to-socket": ["/commander", "", "x"] }),
            "SocketNotFound",
            "/commander",
        ),
        (
            json!({ "to-socket": ["/commander", "0".repeat(40), "x"] }),
            "SocketNotFound",
            "/commander",
        ),
    ] {
        let answer = call(&server, "/desk", told.clone()).await;
        assert_eq!(error_of(&answer), code, "{told}");
        assert_eq!(answer["namespace"], namespace, "{told}");
        assert!(
            !answer["message"].as_str().unwrap_or_default().is_empty(),
            "{told}"
        );
    }
    assert_eq!(
        call(&server, "/desk", json!({ "has-namespace": "/nowhere" })).await,
        false
    );
    assert_eq!(
        call(&server, "/desk", json!({ "has-namespace": "/commander" })).await,
        true
    );
}

#[tokio::test]
async fn u1_a_message_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let server = Server::with(&["commander", "desk", "attach"])
        .config("[limits]\ndeadline-ms = 2000\nmax-message-bytes = 1000")
        .start();
    let (mut client, _) = member(&server, "/commander").await;
    let answer = call(
        &server,
        "/desk",
        json!({ "broadcast-of": ["/commander", 1001] }),
    )
    .await;
    assert_eq!(error_of(&answer), "InvalidMessage");
    assert_eq!(
        call(
            &server,
            "/desk",
            json!({ "broadcast-of": ["/commander", 1000] })
        )
        .await,
        1
    );
    assert_eq!(client.recv_text().await.len(), 1000);
    client.expect_nothing().await;
}

#[tokio::test]
async fn u1_a_socket_that_has_closed_is_not_found() {
    let server = server();
    let mut observer = observer(&server, "/commander").await;
    let (mut client, id) = member(&server, "/commander").await;
    client.close(1000, "").await;
    next_event(&mut observer, "close").await;
    let answer = call(
        &server,
        "/desk",
        json!({ "to-socket": ["/commander", id, "x"] }),
    )
    .await;
    assert_eq!(error_of(&answer), "SocketNotFound");
}

#[tokio::test]
async fn u1_to_many_reports_each_room() {
    let server = server();
    let (mut client, _) = member(&server, "/commander").await;
    join(&mut client, "a").await;
    join(&mut client, "b").await;
    let told = json!({ "to-many": ["/commander", ["a", "", "b", "nobody"], "x"] });
    let answer = call(&server, "/desk", told).await;
    assert_eq!(answer["counts"], json!([3, 1]));
    let results = answer["results"].as_array().expect("a list");
    assert_eq!(
        (&results[0], &results[2], &results[3]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(error_of(&results[1]), "InvalidRoom");
    for _ in 0..2 {
        assert_eq!(client.recv_text().await, "x");
    }
    client.expect_nothing().await;

    let told = json!({ "to-many": ["/nowhere", ["a", "b"], "x"] });
    let answer = call(&server, "/desk", told).await;
    assert_eq!(answer["counts"], json!([0, 2]));
    assert_eq!(error_of(&answer["results"][1]), "NamespaceNotFound");
}

#[tokio::test]
async fn u1_broadcast_all_reaches_every_namespace() {
    let server = Server::with(&["commander", "desk", "attach"])
        .file("other.wasm", &Mould::namespace("/other").bytes())
        .start();
    let (mut one, _) = member(&server, "/commander").await;
    let mut two = connect(server.url("/other")).await;
    two.send("in").await;
    assert_eq!(two.recv_text().await, "in");
    let answer = call(&server, "/desk", json!({ "broadcast-all": "x" })).await;
    assert_eq!(answer, json!({ "counts": [2, 0], "results": [1, 1] }));
    assert_eq!(one.recv_text().await, "x");
    assert_eq!(two.recv_text().await, "x");
    let names = call(&server, "/desk", json!({ "namespaces": [] })).await;
    assert_eq!(names, json!(["/commander", "/other"]));
}

#[tokio::test]
async fn u1_bulk_send_does_all_that_can_be_done_in_order() {
    let server = server();
    let (mut client, id) = member(&server, "/commander").await;
    join(&mut client, "a").await;
    let told = json!({ "bulk-send": [
        ["/commander", "all", "", "1"],
        ["/nowhere", "all", "", "2"],
        ["/commander", "room", "a", "3"],
        ["/commander", "socket", "gone", "4"],
        ["/commander", "socket", id, "5"],
    ] });
    let answer = call(&server, "/desk", told).await;
    assert_eq!(answer["counts"], json!([3, 2]));
    assert_eq!(error_of(&answer["results"][1]), "NamespaceNotFound");
    assert_eq!(error_of(&answer["results"][3]), "SocketNotFound");
    for text in ["1", "3", "5"] {
        assert_eq!(client.recv_text().await, text);
    }
    client.expect_nothing().await;
}

#[tokio::test]
async fn u1_so_many_operations_fit_into_one_call() {
    let server = Server::with(&["commander", "desk", "attach"])
        .config("[limits]\ndeadline-ms = 2000\nbulk-operations = 5")
        .start();
    let answer = call(&server, "/desk", json!({ "bulk-of": 5 })).await;
    assert_eq!(answer["counts"], json!([5, 0]));
    let answer = call(&server, "/desk", json!({ "bulk-of": 6 })).await;
    assert_eq!(answer["counts"], json!([5, 1]));
    assert_eq!(error_of(&answer["results"][5]), "LimitExceeded");
    // Sixteen times as many are reported, and one more is too much.
    let answer = call(&server, "/desk", json!({ "bulk-of": 80 })).await;
    assert_eq!(answer["counts"], json!([5, 75]));
    let told = json!({ "bulk-of": 81 }).to_string();
    let response = Request::post("/desk/obey", told)
        .send(server.address())
        .await;
    assert_eq!(response.status, 500);
    server.log_line(&["81 operations in one call", "limits.bulk-operations"]);
}

#[tokio::test]
async fn u1_a_namespace_reaches_another() {
    let server = Server::with(&["commander"])
        .file("other.wasm", &Mould::namespace("/other").bytes())
        .start();
    let mut other = connect(server.url("/other")).await;
    other.send("in").await;
    assert_eq!(other.recv_text().await, "in");
    let (mut client, _) = member(&server, "/commander").await;
    let told = json!({ "do": "call", "call": { "broadcast": ["/other", "hello"] } });
    assert_eq!(client.ask(told).await, 1);
    assert_eq!(other.recv_text().await, "hello");
}

#[tokio::test]
async fn u1_a_socket_that_is_closing_does_not_take_a_message() {
    let server = Server::with(&["commander", "desk", "attach"])
        .config("[timeouts]\nclose-ms = 60000")
        .start();
    let (mut closing, id) = member(&server, "/commander").await;
    let (mut other, _) = member(&server, "/commander").await;
    // It stays until its client answers the close frame, which this one has not read.
    let told = json!({ "do": "close", "on": id, "code": 1000, "reason": "" });
    assert_eq!(other.ask(told).await, "done");
    let answer = call(
        &server,
        "/desk",
        json!({ "to-socket": ["/commander", id, "late"] }),
    )
    .await;
    assert_eq!(error_of(&answer), "SendFailed");
    assert_eq!(answer["namespace"], "/commander");
    assert_eq!(closing.expect_close().await.0, 1000);
}

#[tokio::test]
async fn u2_tenants_reach_their_own_namespaces_alone() {
    let server = Server::with(&["commander", "desk", "attach"])
        .tenant("acme", &["commander", "desk", "attach"])
        .tenant("other", &["commander", "desk", "attach"])
        .start();
    let (mut root, root_id) = member(&server, "/commander").await;
    let (mut acme, _) = member(&server, "/acme/commander").await;
    let (mut other, other_id) = member(&server, "/other/commander").await;

    let told = json!({ "broadcast": ["/commander", "to acme"] });
    assert_eq!(call(&server, "/acme/desk", told).await, 1);
    assert_eq!(acme.recv_text().await, "to acme");
    assert_eq!(
        call(&server, "/acme/desk", json!({ "namespaces": [] })).await,
        json!(["/commander"])
    );
    let answer = call(
        &server,
        "/acme/desk",
        json!({ "broadcast-all": "all of acme" }),
    )
    .await;
    assert_eq!(answer["counts"], json!([1, 0]));
    assert_eq!(acme.recv_text().await, "all of acme");

    for other in [
        "/acme/commander",
        "/other/commander",
        "/../commander",
        "/../other/commander",
        "//other/commander",
        "/%2e%2e/other/commander",
        "/*",
        "/>",
        "/.",
        "/other%2fcommander",
        "/other\u{0}",
        "",
    ] {
        let answer = call(&server, "/acme/desk", json!({ "broadcast": [other, "x"] })).await;
        let code = error_of(&answer);
        assert!(
            ["NamespaceNotFound", "InvalidNamespace"].contains(&code),
            "{other:?}: {code}"
        );
        assert_eq!(
            call(&server, "/acme/desk", json!({ "has-namespace": other })).await,
            false
        );
    }
    for id in [root_id, other_id] {
        let answer = call(
            &server,
            "/acme/desk",
            json!({ "to-socket": ["/commander", id, "x"] }),
        )
        .await;
        assert_eq!(error_of(&answer), "SocketNotFound");
    }
    root.expect_nothing().await;
    other.expect_nothing().await;
    acme.expect_nothing().await;
}

#[tokio::test]
async fn u2_the_root_folder_reaches_tenants_when_that_is_granted() {
    for granted in [false, true] {
        let server = Server::with(&["commander", "desk", "attach"])
            .tenant("acme", &["commander"])
            .config(&format!("[ulak]\nall-tenants = {granted}"))
            .start();
        let (mut acme, _) = member(&server, "/acme/commander").await;
        let answer = call(
            &server,
            "/desk",
            json!({ "broadcast": ["/acme/commander", "x"] }),
        )
        .await;
        let names = call(&server, "/desk", json!({ "namespaces": [] })).await;
        if granted {
            assert_eq!(answer, 1);
            assert_eq!(acme.recv_text().await, "x");
            assert_eq!(names, json!(["/acme/commander", "/commander"]));
        } else {
            assert_eq!(error_of(&answer), "PermissionDenied");
            assert_eq!(names, json!(["/commander"]));
        }
        acme.expect_nothing().await;
    }
}

#[tokio::test]
async fn u1_a_namespace_that_is_not_served_is_not_found_until_it_is() {
    let server = Server::with(&["commander", "desk", "attach"])
        .file(
            "waits.wasm",
            &Mould::namespace("/waits")
                .set("middlewares", json!(["gate"]))
                .bytes(),
        )
        .start();
    let told = json!({ "broadcast": ["/waits", "x"] });
    assert_eq!(
        error_of(&call(&server, "/desk", told.clone()).await),
        "NamespaceNotFound"
    );
    server.drop_in("gate.wasm", &Mould::middleware("gate").bytes());
    server.log_line(&["serving /waits from waits.wasm"]);
    assert_eq!(call(&server, "/desk", told).await, 0);
}

#[tokio::test]
async fn u3_namespaces_are_found_by_expression() {
    let server = Server::with(&["commander", "desk", "attach"])
        .file("one.wasm", &Mould::namespace("/group/one").bytes())
        .file("two.wasm", &Mould::namespace("/group/two").bytes())
        .start();
    let mut two = connect(server.url("/group/two")).await;
    two.send("in").await;
    assert_eq!(two.recv_text().await, "in");
    let (mut outside, _) = member(&server, "/commander").await;
    let answer = call(&server, "/desk", json!({ "matching": ["/group/", "x"] })).await;
    assert_eq!(answer, json!({ "counts": [2, 0], "results": [0, 1] }));
    assert_eq!(two.recv_text().await, "x");
    outside.expect_nothing().await;
}

#[tokio::test]
async fn r5_what_a_controller_sends_arrives_in_that_order() {
    let server = server();
    let (mut client, _) = member(&server, "/commander").await;
    let operations: Vec<_> = (0..500)
        .map(|n| json!(["/commander", "all", "", n.to_string()]))
        .collect();
    let answer = call(&server, "/desk", json!({ "bulk-send": operations })).await;
    assert_eq!(answer["counts"], json!([500, 0]));
    for n in 0..500 {
        assert_eq!(client.recv_text().await, n.to_string());
    }
}
