//! Schedules of services where several nodes are joined: each time that comes is one node's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tulpar_tests::{
    Cluster, Mould, Nats, NatsClient, Nodes, PATIENCE, Server, Signal, Value, Wire, eventually,
    guest, json, observer, within,
};

/// A lease so long that nobody loses it while a machine is busy.
const LONG: &str = "lease-ms = 30000";

const HOLDS: &str = "tulpar_service_schedules{tenant=\"@root\",plugin=\"worker\"}";
const TAKEN: &str = "service Worker: its schedules run on this node";
const LOST: &str = "service Worker: its schedules run on this node no more";

fn nodes(count: usize, nats: &Nats, backplane: &str) -> Nodes {
    Nodes::of(count, nats)
        .plugins(&["worker", "commander"])
        .backplane(backplane)
}

fn wired(count: usize, nats: &Nats, backplane: &str) -> Nodes {
    Nodes::wired(count, nats)
        .plugins(&["worker", "commander"])
        .backplane(backplane)
}

/// Which nodes run the schedules.
fn holders(cluster: &Cluster) -> Vec<usize> {
    let nodes = 0..cluster.nodes.len();
    nodes.filter(|it| cluster[*it].metric(HOLDS) == 1).collect()
}

/// The one node that does. The nodes are looked at one after the other, so that two may seem to for a moment; that nothing runs
/// twice is seen where it runs.
async fn holder(cluster: &Cluster) -> usize {
    eventually("one node to run the schedules", async || {
        match holders(cluster)[..] {
            [holder] => Some(holder),
            _ => None,
        }
    })
    .await
}

/// How often a node has been called for a schedule.
fn runs(node: &Server) -> u64 {
    let name =
        "tulpar_plugin_call_seconds_count{tenant=\"@root\",plugin=\"worker\",call=\"on-schedule\"}";
    let metrics = node.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |count| count.trim().parse().expect("a number"))
}

/// The runs of the schedule that is due each second, on whichever node, by when they ran.
#[derive(Clone, Default)]
struct Seconds(Arc<Mutex<BTreeSet<String>>>);

impl Seconds {
    /// Listens on each node, so that none that is cut off runs unheard.
    async fn of(cluster: &Cluster) -> Self {
        let seconds = Self::default();
        for node in &cluster.nodes {
            seconds.listen(node).await;
        }
        seconds
    }

    async fn listen(&self, node: &Server) {
        let mut observer = observer(node, "/commander").await;
        let seconds = self.0.clone();
        tokio::spawn(async move {
            // A node may be silent for as long as it likes.
            while let Some(message) = observer.recv_or_end_some_time().await {
                let text = message.into_text().expect("it is text");
                let event: Value = text.parse().expect("it is JSON");
                if event["event"] == "second" {
                    let at = event["at"].as_str().expect("a time").to_owned();
                    seconds.lock().expect("nobody panicked").insert(at);
                }
            }
        });
    }

    /// How many there were, which were each in a second of their own.
    fn count(&self) -> usize {
        let seconds = self.0.lock().expect("nobody panicked");
        let mut by_second = BTreeMap::<&str, Vec<&str>>::new();
        for at in &*seconds {
            by_second.entry(&at[..19]).or_default().push(at);
        }
        let twice: Vec<_> = by_second.values().filter(|it| it.len() > 1).collect();
        assert!(twice.is_empty(), "these ran twice: {twice:?}");
        by_second.len()
    }

    /// Waits for so many more.
    async fn more(&self, count: usize) {
        let wanted = self.count() + count;
        within("schedules to run", async {
            while self.count() < wanted {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn s2_a_time_that_comes_is_one_nodes() {
    let Some(nats) = Nats::start() else { return };
    let cluster = nodes(3, &nats, LONG).join().await;
    let seconds = Seconds::of(&cluster).await;
    pretend_use(&nats, &cluster).await;
    let first = holder(&cluster).await;
    seconds.more(5).await;
    cluster[first].log_line(&[TAKEN]);
    // Services start on each node, whoever runs their schedules.
    for (number, node) in cluster.nodes.iter().enumerate() {
        node.log_line(&["service Worker has started"]);
        assert_eq!(node.stderr.with(TAKEN).is_empty(), number != first);
        assert_eq!(runs(node) > 0, number == first);
    }
    assert_eq!(holders(&cluster), [first]);
    cluster.has_not_panicked();
}

#[tokio::test]
async fn s2_another_node_runs_them_when_one_is_killed() {
    let Some(nats) = Nats::start() else { return };
    let lease = Duration::from_millis(2000);
    let mut cluster = nodes(3, &nats, "lease-ms = 2000").join().await;
    let seconds = Seconds::of(&cluster).await;
    let first = holder(&cluster).await;
    seconds.more(2).await;
    cluster.kill(first);
    let killed = Instant::now();
    holder(&cluster).await;
    let taken = killed.elapsed();
    // NATS lets it expire up to a quarter of a second later, and a busy machine is later than that.
    let late = PATIENCE / 2;
    assert!(taken < lease + late, "after {taken:?}");
    seconds.more(3).await;
    cluster.has_not_panicked();
}

/// Has somebody else have had a lease, so that nobody waits for those of a bucket that is new.
async fn pretend_use(nats: &Nats, cluster: &Cluster) {
    let mut client = NatsClient::of(nats).await;
    eventually("a node to take them", async || {
        client.publish("$KV.tulpar-leases.other", b"").await;
        (!holders(cluster).is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn s2_a_node_that_stops_leaves_them_to_another_at_once() {
    let Some(nats) = Nats::start() else { return };
    // Much longer than a test waits.
    let mut cluster = nodes(3, &nats, "lease-ms = 60000").join().await;
    let seconds = Seconds::of(&cluster).await;
    pretend_use(&nats, &cluster).await;
    let first = holder(&cluster).await;
    seconds.more(2).await;
    let mut leaving = cluster.nodes.remove(first);
    leaving.signal(Signal::TERM);
    let second = holder(&cluster).await;
    assert!(leaving.wait_exit(PATIENCE).success());
    leaving.log_line(&["its schedules are left to other nodes"]);
    seconds.more(2).await;
    // The same when its plugin goes.
    cluster[second].take_out("worker.wasm");
    eventually("the other node to run them", async || {
        let other = &cluster[1 - second];
        (other.metric(HOLDS) == 1).then_some(())
    })
    .await;
    seconds.more(2).await;
    cluster.has_not_panicked();
}

#[tokio::test]
async fn s2_a_service_that_is_replaced_keeps_them() {
    let Some(nats) = Nats::start() else { return };
    let cluster = nodes(2, &nats, LONG).join().await;
    let seconds = Seconds::of(&cluster).await;
    pretend_use(&nats, &cluster).await;
    let first = holder(&cluster).await;
    seconds.more(1).await;
    let mut new = guest("worker");
    // An empty custom section, so that the file is another one.
    new.extend([0, 2, 1, b'x']);
    cluster[first].drop_in("worker.wasm", &new);
    cluster[first].log_line(&["replaced worker.wasm"]);
    seconds.more(3).await;
    assert_eq!(holders(&cluster), [first]);
    cluster[first].log_line(&[TAKEN]);
    assert_eq!(cluster[first].stderr.with(TAKEN).len(), 1);
    cluster.has_not_panicked();
}

#[tokio::test]
async fn s2_a_service_that_has_no_schedules_any_more_leaves_them_to_another_at_once() {
    let Some(nats) = Nats::start() else { return };
    // Much longer than a test waits.
    let nodes = Nodes::of(2, &nats)
        .plugins(&["commander"])
        .file("worker.wasm", &Mould::service(&[("tick", "100")]).bytes())
        .backplane("lease-ms = 60000");
    let cluster = nodes.join().await;
    pretend_use(&nats, &cluster).await;
    let first = holder(&cluster).await;
    cluster[first].drop_in("worker.wasm", &Mould::service(&[]).bytes());
    cluster[first].log_line(&["replaced worker.wasm"]);
    cluster[first].log_line(&["its schedules are left to other nodes"]);
    eventually("the other node to run them", async || {
        (cluster[1 - first].metric(HOLDS) == 1).then_some(())
    })
    .await;
    cluster.has_not_panicked();
}

/// A node that cannot reach the broker any more stops before another begins, and all is well again when it can.
async fn cut_off(cut: impl Fn(&Wire)) {
    let Some(nats) = Nats::start() else { return };
    // So long that nobody loses the lease when something stands still for three seconds.
    let cluster = wired(2, &nats, "lease-ms = 6000\nrequest-ms = 1000")
        .join()
        .await;
    let seconds = Seconds::of(&cluster).await;
    pretend_use(&nats, &cluster).await;
    seconds.more(2).await;
    let first = holder(&cluster).await;
    let lost = cluster[first].stderr.with(LOST).len();
    cut(&cluster.wires[first]);
    eventually("the node to stop", async || {
        (cluster[first].stderr.with(LOST).len() > lost).then_some(())
    })
    .await;
    eventually("the other node to run them", async || {
        (cluster[1 - first].metric(HOLDS) == 1).then_some(())
    })
    .await;
    let before = runs(&cluster[first]);
    seconds.more(3).await;
    // Of each of its schedules a run may have been in hand, and is counted when it ends.
    assert!(runs(&cluster[first]) <= before + 2);
    cluster[first].log_line(&["no schedules run on this node", "backplane.schedules"]);
    assert_eq!(cluster[first].stderr.with("no schedules run").len(), 1);
    cluster.wires[first].restore();
    cluster[first].log_line(&["schedules can run on this node again"]);
    seconds.more(2).await;
    assert_eq!(holder(&cluster).await, 1 - first);
    cluster.has_not_panicked();
}

#[tokio::test]
async fn s2_a_node_that_is_cut_off_stops_before_another_begins() {
    cut_off(Wire::cut).await;
}

#[tokio::test]
async fn s2_so_does_one_that_gets_no_answers() {
    cut_off(Wire::swallow).await;
}

#[tokio::test]
async fn s2_nothing_runs_twice_when_the_broker_loses_all_leases() {
    let Some(mut nats) = Nats::start() else {
        return;
    };
    // What a broker that is starting does not answer is asked again soon.
    let lines = "lease-ms = 1500\nrequest-ms = 1000";
    let cluster = nodes(3, &nats, lines).join().await;
    let seconds = Seconds::of(&cluster).await;
    holder(&cluster).await;
    for _ in 0..2 {
        seconds.more(2).await;
        nats.kill();
        nats.start_again();
        // Nobody knows any more who had the lease. All wait for as long as somebody could have it.
        eventually("the nodes to be joined again", async || {
            let nodes = cluster.metric("tulpar_backplane_nodes");
            (nodes == 9).then_some(())
        })
        .await;
        seconds.more(3).await;
        holder(&cluster).await;
    }
    cluster.has_not_panicked();
}

#[tokio::test]
async fn s2_each_node_runs_them_when_it_is_told_to() {
    let Some(nats) = Nats::start() else { return };
    let cluster = nodes(2, &nats, "schedules = \"each-node\"").join().await;
    // They are there a moment after on-start.
    eventually("both nodes to run them", async || {
        (holders(&cluster) == [0, 1]).then_some(())
    })
    .await;
    for node in &cluster.nodes {
        eventually("schedules to run", async || (runs(node) > 2).then_some(())).await;
        assert!(node.stderr.with(TAKEN).is_empty());
    }
    cluster.has_not_panicked();
}

#[tokio::test]
async fn s2_without_jetstream_schedules_do_not_run_and_the_log_says_so_once() {
    // Only accounts that are given it have it.
    let accounts = "accounts { plain { users: [{ user: u, password: p }] } }\nno_auth_user: u";
    let Some(nats) = Nats::with(accounts) else {
        return;
    };
    let cluster = nodes(2, &nats, "lease-ms = 1000").join().await;
    for node in &cluster.nodes {
        node.log_line(&[
            "no schedules run on this node: NATS has no JetStream",
            "backplane.schedules = \"each-node\"",
        ]);
    }
    // Many have been due.
    sleep(Duration::from_secs(3)).await;
    for node in &cluster.nodes {
        assert_eq!(node.stderr.with("no schedules run").len(), 1);
        assert_eq!(runs(node), 0);
    }
    // All else works.
    let mut client = observer(&cluster[0], "/commander").await;
    assert_eq!(client.ask(json!({ "do": "nothing" })).await, json!(null));
    cluster.has_not_panicked();
}
