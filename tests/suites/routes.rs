//! HTTP controllers that are written with the SDK: rules S1, M1, P3 and P4.

use tulpar_tests::{Mould, PATIENCE, Raw, Request, Server, Value, eventually, json};

#[tokio::test]
async fn s1_m1_middlewares_stand_before_a_controller_and_what_they_attach_reaches_it() {
    let server = Server::with(&["desk"])
        .file("attach.wasm", &Mould::middleware("attach").bytes())
        .start();
    let ask = async |steps: Value| {
        let request = Request::get("/desk/values").header("tulpar-values", "\"a lie\"");
        let request = request.header("x-attach", &steps.to_string());
        request.send(server.address()).await
    };
    assert_eq!(ask(json!([])).await.text(), "null");
    let steps = json!([
        { "do": "value", "json": "{\"a\": 1}" },
        { "do": "header", "name": "x-added", "value": "yes" },
    ]);
    let answered = ask(steps).await;
    assert_eq!(answered.text(), r#"{"a":1}"#);
    assert_eq!(answered.header("x-added"), Some("yes"));
    let steps = json!([{ "do": "respond", "status": 401, "headers": [], "body": "no" }]);
    let refused = ask(steps).await;
    assert_eq!((refused.status, refused.text()), (401, "no"));
    let refused = ask(json!([{ "do": "panic" }])).await;
    let internal = r#"{"error":"Internal Server Error"}"#;
    assert_eq!((refused.status, refused.text()), (500, internal));

    let server = Server::with(&["desk", "attach"]).start();
    for values in [json!({ "a": [1.50, "ö\u{7f}\n"] }), json!("x"), json!(null)] {
        let request = Request::get("/desk/values")
            // A client cannot send DEL as it is.
            .header("x-values", &values.to_string().replace('\u{7f}', "\\u007f"));
        let response = request.send(server.address()).await;
        let seen: Value = serde_json::from_slice(&response.body).expect("it is JSON");
        assert_eq!(seen, values);
    }
}

#[tokio::test]
async fn s1_p4_a_controller_whose_middleware_is_missing_is_not_served() {
    let server = Server::with(&["desk"]).start();
    server
        .stdout
        .wait_for(
            &["not served /desk/ (desk.wasm): missing middleware `attach`"],
            PATIENCE,
        )
        .expect("it is said");
    let answered = Request::get("/desk/answered").send(server.address()).await;
    assert_eq!(answered.status, 404);
    server.drop_in("attach.wasm", &tulpar_tests::guest("attach"));
    eventually("/desk to be served", async || {
        let answered = Request::get("/desk/answered").send(server.address()).await;
        (answered.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn p3_a_tenant_takes_nothing_out_of_what_a_controller_of_the_root_serves() {
    let server = Server::with(&["desk", "attach"])
        .tenant("desk", &["commander", "worker"])
        .tenant("desks", &["commander"])
        .start();
    let line = server.refusal("desk/commander.wasm");
    assert!(
        line.contains("what is below /desk is desk.wasm's already"),
        "{line}"
    );
    for served in [&["/desks/commander"][..], &["Worker (of desk)"]] {
        server
            .stdout
            .wait_for(served, PATIENCE)
            .expect("it is served");
    }
}

#[tokio::test]
async fn s1_routes_parameters_bodies_and_errors_of_an_sdk_controller() {
    let server = Server::with(&["desk", "attach"])
        .tenant("acme", &["desk"])
        .start();
    let ask = async |method: &str, path: &str, body: &str| {
        let request = Request::new(method, path).body(body);
        let mut raw = Raw::connect(server.address()).await;
        raw.write(&request.bytes()).await;
        let response = raw.outcome(method).await.expect("it is whole");
        (response.status, response.text().to_owned())
    };
    for (method, path, body, status, text) in [
        ("GET", "/desk/items/first", "", 200, "the literal one"),
        (
            "GET",
            "/desk/items/a%20b%2Fc?q=x+y",
            "",
            200,
            r#"{"id":"a b/c","q":"x y","path":"/items/a%20b%2Fc","prefix":"/desk"}"#,
        ),
        (
            "GET",
            "/acme/desk/items/7",
            "",
            200,
            r#"{"id":"7","q":null,"path":"/items/7","prefix":"/acme/desk"}"#,
        ),
        // As browsers send it.
        ("GET", "/desk/%C3%BCr%C3%BCn", "", 200, "ürün"),
        ("PUT", "/desk/items/7", "", 204, ""),
        ("POST", "/desk/items", r#"{"a":1}"#, 201, r#"{"a":1}"#),
        (
            "GET",
            "/desk/missing",
            "",
            404,
            r#"{"error":"no such thing"}"#,
        ),
        (
            "GET",
            "/desk/fails",
            "",
            500,
            r#"{"error":"Internal Server Error"}"#,
        ),
        (
            "GET",
            "/desk/panics",
            "",
            500,
            r#"{"error":"Internal Server Error"}"#,
        ),
        ("GET", "/desk", "", 404, r#"{"error":"Not Found"}"#),
        (
            "GET",
            "/desk/items/7/more",
            "",
            404,
            r#"{"error":"Not Found"}"#,
        ),
        (
            "DELETE",
            "/desk/items/7",
            "",
            405,
            r#"{"error":"Method Not Allowed"}"#,
        ),
        ("HEAD", "/desk/items/7", "", 200, ""),
        ("GET", "/deskitems", "", 404, r#"{"error":"Not Found"}"#),
    ] {
        assert_eq!(
            ask(method, path, body).await,
            (status, text.to_owned()),
            "{method} {path}"
        );
    }
    let (status, text) = ask("POST", "/desk/items", "{not json").await;
    assert!(
        status == 400 && text.starts_with(r#"{"error":"invalid JSON in the body"#),
        "{status} {text}"
    );
    server.log_line(&["a secret reason", "desk.wasm"]);
    for _ in 0..2 {
        // Each request has an instance of its own.
        assert_eq!(ask("GET", "/desk/answered", "").await.1, "1");
    }
}
