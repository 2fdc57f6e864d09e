//! What plugins keep, in JetStream: all nodes have the same.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tulpar_tests::{
    Cluster, Nats, Nodes, Server, Value, call, eventually, json, knows, three_nats,
};

const UNUSABLE: &str = "the store cannot be used at the moment";

fn nodes(count: usize, nats: &Nats) -> Nodes {
    Nodes::of(count, nats)
        .plugins(&["desk", "attach"])
        .tenant("acme", &["desk", "attach"])
        .backplane("store = \"jetstream\"")
}

fn error_of(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_default()
}

async fn fails(node: &Server, told: Value, part: &str) {
    let answer = call(node, "/desk", told.clone()).await;
    assert!(error_of(&answer).contains(part), "{told}: {answer}");
}

async fn done(node: &Server, told: Value) {
    let answer = call(node, "/desk", told.clone()).await;
    assert_eq!(answer, Value::Null, "{told}");
}

async fn keys(node: &Server, bucket: &str) -> Vec<String> {
    let keys = call(node, "/desk", json!({ "kv-keys": bucket })).await;
    let keys = keys.as_array().unwrap_or_else(|| panic!("{keys}"));
    let mut keys: Vec<String> = keys.iter().map(|it| it.as_str().unwrap().into()).collect();
    keys.sort();
    keys
}

async fn behaves_as_a_store(cluster: &Cluster) {
    let asked = [
        (json!({ "kv-get": ["b", "k"] }), Value::Null),
        (json!({ "kv-set": ["b", "k", "v"] }), Value::Null),
        (json!({ "kv-get": ["b", "k"] }), json!("v")),
        (json!({ "kv-set": ["b", "k", "w"] }), Value::Null),
        (json!({ "kv-get": ["b", "k"] }), json!("w")),
        (json!({ "kv-set": ["b", "empty", ""] }), Value::Null),
        (json!({ "kv-get": ["b", "empty"] }), json!("")),
        (json!({ "kv-exists": ["b", "empty"] }), json!(true)),
        (json!({ "kv-exists": ["c", "k"] }), json!(false)),
        (json!({ "kv-increment": ["b", "n", 2] }), json!(2)),
        (json!({ "kv-increment": ["b", "n", 3] }), json!(5)),
        (json!({ "kv-get": ["b", "n"] }), json!("5")),
        (
            json!({ "kv-set-many": ["b", [["x", "1"], ["y", "2"]]] }),
            Value::Null,
        ),
        (
            json!({ "kv-get-many": ["b", ["x", "nothing", "y", "x"]] }),
            json!(["1", null, "2", "1"]),
        ),
        (
            json!({ "kv-delete-many": ["b", ["x", "y", "nothing", "empty"]] }),
            Value::Null,
        ),
        (json!({ "kv-get": ["b", "x"] }), Value::Null),
        (json!({ "kv-delete": ["b", "nothing"] }), Value::Null),
        (json!({ "kv-delete": ["b", "n"] }), Value::Null),
        (json!({ "kv-increment": ["b", "n", 7] }), json!(7)),
    ];
    // Each on another node than the one before.
    for ((told, answer), node) in asked.into_iter().zip(cluster.nodes.iter().cycle()) {
        assert_eq!(call(node, "/desk", told.clone()).await, answer, "{told}");
    }
    for node in &cluster.nodes {
        assert_eq!(keys(node, "b").await, ["k", "n"]);
        assert_eq!(keys(node, "c").await, [""; 0]);
        fails(node, json!({ "kv-increment": ["b", "k", 1] }), "number").await;
    }
}

#[tokio::test]
async fn all_nodes_have_the_same_keys_and_values_which_outlive_them() {
    let Some(nats) = Nats::start() else { return };
    let cluster = nodes(2, &nats).join().await;
    behaves_as_a_store(&cluster).await;
    // Another tenant has other keys.
    let of_acme = json!({ "kv-keys": "b" });
    assert_eq!(call(&cluster[1], "/acme/desk", of_acme).await, json!([]));
    let told = json!({ "kv-set": ["b", "k", "acme's"] });
    assert_eq!(call(&cluster[0], "/acme/desk", told).await, Value::Null);
    cluster.has_not_panicked();
    drop(cluster);
    let cluster = nodes(1, &nats).join().await;
    let told = json!({ "kv-get": ["b", "k"] });
    assert_eq!(call(&cluster[0], "/desk", told.clone()).await, "w");
    assert_eq!(call(&cluster[0], "/acme/desk", told).await, "acme's");
}

/// Tries again until `attempt` gives something. Servers of NATS take some seconds to agree on who leads a bucket.
async fn within_a_minute<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(std::time::Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_broker_of_three_servers_keeps_it_when_one_is_gone() {
    let Some(mut servers) = three_nats().await else {
        return;
    };
    let urls: Vec<_> = servers.iter().map(Nats::url).collect();
    let nodes = |more: &str| {
        Nodes::at(2, urls.clone())
            .plugins(&["desk", "attach"])
            .backplane(&format!("store = \"jetstream\"\nreplicas = 3\n{more}"))
    };
    // While nobody leads, nothing is answered: these ask again soon.
    let cluster = nodes("request-ms = 1000\nheartbeat-ms = 1500").join().await;
    // The servers have just started, and agree a moment later on who leads the bucket.
    within_a_minute("a bucket that is led", async || {
        let told = json!({ "kv-set": ["led", "k", "v"] });
        (call(&cluster[0], "/desk", told).await == Value::Null).then_some(())
    })
    .await;
    // These wait for as long as a busy machine may take.
    let patient = nodes("").start();
    for node in &patient.nodes {
        knows(node, 4).await;
    }
    behaves_as_a_store(&patient).await;
    drop(patient);
    for server in &mut servers[..2] {
        server.kill();
        for node in &cluster.nodes {
            within_a_minute("the store to work again", async || {
                let told = json!({ "kv-get": ["b", "k"] });
                (call(node, "/desk", told).await == "w").then_some(())
            })
            .await;
        }
        let told = json!({ "kv-increment": ["b", "n", 1] });
        within_a_minute("a write", async || {
            call(&cluster[0], "/desk", told.clone()).await.as_u64()
        })
        .await;
        server.start_again();
    }
    cluster.has_not_panicked();
}

#[tokio::test]
async fn no_name_of_a_bucket_or_a_key_is_that_of_another() {
    let Some(nats) = Nats::start() else { return };
    let cluster = nodes(2, &nats).join().await;
    let names = [
        "*",
        ">",
        ".",
        "a.b",
        "a.*",
        "a",
        "A",
        "=",
        "=2E",
        "%2E",
        "a b",
        " ",
        "~",
        "\u{1f40e}",
    ];
    for bucket in names {
        let pairs: Vec<_> = names
            .iter()
            .map(|key| (key, format!("{bucket} {key}")))
            .collect();
        done(&cluster[0], json!({ "kv-set-many": [bucket, pairs] })).await;
    }
    done(&cluster[0], json!({ "kv-delete": ["*", "*"] })).await;
    for bucket in names {
        let mut expected: Vec<&str> = names.to_vec();
        expected.retain(|key| (bucket, *key) != ("*", "*"));
        expected.sort_unstable();
        assert_eq!(keys(&cluster[1], bucket).await, expected, "{bucket}");
        for key in expected {
            let value = call(&cluster[1], "/desk", json!({ "kv-get": [bucket, key] })).await;
            assert_eq!(value, format!("{bucket} {key}"));
        }
    }
}

#[tokio::test]
async fn what_nodes_add_to_a_number_at_once_adds_up() {
    let Some(nats) = Nats::start() else { return };
    let cluster = nodes(3, &nats).join().await;
    let adding = (0..12).map(async |number: usize| {
        let mut sums = Vec::new();
        for _ in 0..20 {
            let told = json!({ "kv-increment": ["b", "n", 1] });
            let sum = call(&cluster[number % 3], "/desk", told).await;
            sums.push(sum.as_u64().unwrap_or_else(|| panic!("{sum}")));
        }
        sums
    });
    let mut sums = join_all(adding).await.concat();
    sums.sort_unstable();
    assert_eq!(sums, (1..=240).collect::<Vec<_>>());
    let most = json!({ "kv-increment": ["b", "n", u64::MAX] });
    fails(&cluster[0], most, "over 18446744073709551615").await;
    cluster.has_not_panicked();
}

#[tokio::test]
async fn all_of_many_keys_are_listed_once() {
    let Some(nats) = Nats::start() else { return };
    let cluster = nodes(2, &nats).join().await;
    let all: Vec<String> = (0..7000).map(|number| format!("key {number:05}")).collect();
    for names in all.chunks(1000) {
        let pairs: Vec<_> = names.iter().map(|name| (name, "x")).collect();
        done(&cluster[0], json!({ "kv-set-many": ["b", pairs] })).await;
    }
    done(&cluster[0], json!({ "kv-set": ["other", "k", "v"] })).await;
    assert_eq!(keys(&cluster[1], "b").await, all);
    assert_eq!(keys(&cluster[1], "other").await, ["k"]);
    for names in all.chunks(1000) {
        done(&cluster[1], json!({ "kv-delete-many": ["b", names] })).await;
    }
    assert_eq!(keys(&cluster[0], "b").await, [""; 0]);
    // Nothing of it is left.
    let streams = nats.tell("/jsz?streams=true").await;
    let streams = &streams["account_details"][0]["stream_detail"];
    let streams = streams.as_array().expect("there are some").iter();
    let mut messages = streams.map(|it| (it["name"].clone(), it["state"]["messages"].clone()));
    let store = messages.find(|(name, _)| name == "KV_tulpar-store");
    assert_eq!(store, Some(("KV_tulpar-store".into(), 1.into())));
}

#[tokio::test]
async fn what_a_tenant_keeps_is_bounded() {
    let Some(nats) = Nats::start() else { return };
    let limits = |bytes: u32| format!("[limits]\nstore-bytes = {bytes}\nstore-value-bytes = 4000");
    let cluster = nodes(2, &nats).config(&limits(20_000)).join().await;
    let set = |key: &str, bytes: usize| json!({ "kv-set-of": ["b", key, bytes] });
    fails(&cluster[0], set("k", 4001), "limits.store-value-bytes").await;
    // About as many as there is room for, and a spare one.
    let mut count = 0;
    let answer = loop {
        let answer = call(&cluster[count % 2], "/desk", set(&count.to_string(), 4000)).await;
        if answer != Value::Null {
            break answer;
        }
        count += 1;
    };
    assert!((5..=6).contains(&count), "{count}");
    assert!(error_of(&answer).contains("limits.store-bytes"), "{answer}");
    // What is deleted makes room, also for what is read and replaced.
    done(&cluster[1], json!({ "kv-delete": ["b", "0"] })).await;
    done(&cluster[1], set("1", 4000)).await;
    done(&cluster[1], set("0", 4000)).await;
    for bad in ["", &"k".repeat(257)] {
        fails(&cluster[0], json!({ "kv-set": ["b", bad, "v"] }), "key").await;
    }
    let (long, longest) = ("b".repeat(128), "\u{7f}".repeat(256));
    done(&cluster[0], json!({ "kv-delete": ["b", "0"] })).await;
    done(&cluster[0], json!({ "kv-set": [long, longest, "v"] })).await;
    assert_eq!(keys(&cluster[1], &long).await, [longest]);
    for bad in ["", "a\nb", &"b".repeat(129)] {
        fails(&cluster[0], json!({ "kv-set": [bad, "k", "v"] }), "").await;
    }
    // A full tenant leaves the others their room.
    let told = set("k", 4000);
    assert_eq!(call(&cluster[0], "/acme/desk", told).await, Value::Null);
    // Other limits hold from the next start on.
    drop(cluster);
    let cluster = nodes(1, &nats).config(&limits(40_000)).join().await;
    for key in ["a", "b", "c"] {
        done(&cluster[0], set(key, 4000)).await;
    }
    cluster[0].log_line(&["the bucket tulpar-store of NATS is as it is configured now"]);
}

#[tokio::test]
async fn a_value_that_nats_does_not_take_is_refused_as_such() {
    let Some(nats) = Nats::with("max_payload: 10000") else {
        return;
    };
    let cluster = nodes(1, &nats).join().await;
    let set = |bytes: usize| json!({ "kv-set-of": ["b", "k", bytes] });
    done(&cluster[0], set(8000)).await;
    fails(&cluster[0], set(10_000), "max_payload").await;
}

async fn works(node: &Server) {
    eventually("the store to work", async || {
        let told = json!({ "kv-get": ["b", "k"] });
        (call(node, "/desk", told).await == "v").then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_the_broker_operations_fail_at_once_and_work_again_afterwards() {
    let Some(mut nats) = Nats::start() else {
        return;
    };
    let cluster = nodes(2, &nats).join().await;
    done(&cluster[0], json!({ "kv-set": ["b", "k", "v"] })).await;
    works(&cluster[1]).await;
    nats.kill();
    for node in &cluster.nodes {
        node.log_line(&["the connection to NATS is lost"]);
        // Whoever had asked and waited in vain would say another thing in the log.
        for _ in 0..5 {
            fails(node, json!({ "kv-get": ["b", "k"] }), UNUSABLE).await;
            fails(node, json!({ "kv-increment": ["b", "n", 1] }), UNUSABLE).await;
            fails(node, json!({ "kv-keys": "b" }), UNUSABLE).await;
        }
        let told = [
            "the store tulpar-store in NATS cannot be used",
            "no connection",
        ];
        node.log_line(&told);
        assert_eq!(node.stderr.with(told[0]).len(), 1);
    }
    nats.start_again();
    for node in &cluster.nodes {
        works(node).await;
        node.log_line(&["the store tulpar-store in NATS works again"]);
        // Nothing was added meanwhile.
        let told = json!({ "kv-exists": ["b", "n"] });
        assert_eq!(call(node, "/desk", told).await, false);
    }
    cluster.has_not_panicked();
}

#[tokio::test]
async fn a_broker_that_does_not_answer_makes_operations_fail_in_time() {
    let Some(nats) = Nats::start() else { return };
    // A connection that seems to be there for long.
    let settings = "store = \"jetstream\"\nrequest-ms = 2000\nheartbeat-ms = 20000";
    let cluster = nodes(1, &nats).backplane(settings).join().await;
    let node = &cluster[0];
    eventually("the store to work", async || {
        let told = json!({ "kv-set": ["b", "k", "v"] });
        (call(node, "/desk", told).await == Value::Null).then_some(())
    })
    .await;
    let unusable = "the store tulpar-store in NATS cannot be used";
    let before = node.stderr.with(unusable).len();
    nats.pause();
    fails(node, json!({ "kv-get": ["b", "k"] }), UNUSABLE).await;
    // From now on most do not even ask. If each did, they would take forty seconds.
    let begun = Instant::now();
    for _ in 0..20 {
        fails(node, json!({ "kv-set": ["b", "k", "w"] }), UNUSABLE).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    node.log_line(&[unusable, "request-ms"]);
    eventually("the log to say so", async || {
        (node.stderr.with(unusable).len() > before).then_some(())
    })
    .await;
    assert_eq!(node.stderr.with(unusable).len(), before + 1);
    nats.resume();
    eventually("the store to work", async || {
        let told = json!({ "kv-exists": ["b", "k"] });
        (call(node, "/desk", told).await == true).then_some(())
    })
    .await;
    cluster.has_not_panicked();
}

#[tokio::test]
async fn a_user_of_nats_needs_to_be_allowed_no_more_than_this() {
    // As in docs/cluster.md.
    let publish = [
        "tulpar.>",
        "$KV.*.>",
        "$JS.API.INFO",
        "$JS.API.STREAM.*.*",
        "$JS.API.STREAM.MSG.GET.*",
        "$JS.API.DIRECT.GET.>",
    ];
    let subscribe = ["tulpar.>", "$KV.tulpar-leases.>"];
    let user = format!(
        "authorization {{ users: [{{ user: node, password: p, permissions: {{ publish: {publish:?}, subscribe: \
         {subscribe:?} }} }}] }}"
    );
    let Some(nats) = Nats::with(&user) else {
        return;
    };
    let backplane = "store = \"jetstream\"\nlease-ms = 1000\nuser = \"node\"\npassword = \"p\"";
    let cluster = nodes(2, &nats)
        .plugins(&["desk", "attach", "worker", "commander"])
        .backplane(backplane)
        .join()
        .await;
    behaves_as_a_store(&cluster).await;
    let told = json!({ "kv-set": ["b", "k", "v"] });
    assert_eq!(call(&cluster[0], "/acme/desk", told).await, Value::Null);
    eventually("schedules to run", async || {
        let name = "tulpar_service_schedules{tenant=\"@root\",plugin=\"worker\"}";
        (cluster.metric(name) == 1).then_some(())
    })
    .await;
    for node in &cluster.nodes {
        assert_eq!(node.stderr.with("NATS refuses"), [""; 0]);
    }
}

#[tokio::test]
async fn without_jetstream_the_log_says_what_to_do() {
    // Only accounts that are given it have it.
    let accounts = "accounts { plain { users: [{ user: u, password: p }] } }\nno_auth_user: u";
    let Some(nats) = Nats::with(accounts) else {
        return;
    };
    let cluster = nodes(1, &nats).join().await;
    cluster[0].log_line(&["backplane.store is \"jetstream\", but NATS has no JetStream"]);
    fails(&cluster[0], json!({ "kv-get": ["b", "k"] }), UNUSABLE).await;
    fails(&cluster[0], json!({ "kv-set": ["b", "k", "v"] }), UNUSABLE).await;
    cluster.has_not_panicked();
}
