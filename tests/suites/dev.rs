//! `tulpar dev`: what is saved is served, with the sockets open.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tulpar_tests::{Lines, PATIENCE, Running, Signal, connect, get, lock_crate, succeed, tulpar};

/// How long a build may take, which other tests that build may hold up.
const BUILD: Duration = Duration::from_secs(300);

fn wait_for(lines: &Lines, parts: &[&str]) -> String {
    let line = lines.wait_for(parts, BUILD);
    line.unwrap_or_else(|| panic!("waited {BUILD:?} in vain for {parts:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_saved_takes_over_with_the_sockets_open() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    succeed(folder.path(), &["new", "developed"]);
    let developed = folder.path().join("developed");
    lock_crate(&developed);
    // The client answers no ping while it waits for a build.
    fs::write(developed.join("tulpar.toml"), "[timeouts]\nping-ms = 0\n")
        .expect("the configuration can be written");
    let file = developed.join("src/lib.rs");
    let source = fs::read_to_string(&file).expect("there is a source");
    let source = source.replace(
        "self.greeted += 1;",
        "log::debug(\"somebody comes\");\nself.greeted += 1;",
    );
    let save = |what: &str| fs::write(&file, what).expect("the source can be written");
    save(&source);

    let few = few_descriptors();
    let dev = [
        "dev",
        "developed",
        "--listen",
        "127.0.0.1:0",
        "--",
        "--offline",
    ];
    let mut dev = Running::start(tulpar(folder.path(), &dev));
    let line = wait_for(&dev.stdout, &["listening on "]);
    let (_, address) = line.split_once("://").expect("it says where");
    let address = address.trim().parse().expect("it is an address");
    wait_for(&dev.stdout, &["try it in a browser"]);
    wait_for(
        &dev.stderr,
        &[&format!("the system gives {few} file descriptors")],
    );
    assert!(get(address, "/").await.text().contains("/developed"));

    let mut client = connect(format!("ws://{address}/developed")).await;
    assert_eq!(client.recv_json().await["type"], "welcome");
    wait_for(&dev.stderr, &["DEBUG", "developed", "somebody comes"]);

    // What does not compile changes nothing.
    save("nonsense");
    wait_for(&dev.stderr, &["error", "expected one of"]);
    wait_for(&dev.stderr, &["does not compile"]);
    client.send("a").await;
    assert_eq!(client.recv_text().await, "You said: a");

    save(&source.replace("You said", "They say that you said"));
    wait_for(&dev.stderr, &["replaced developed.wasm: generation 2"]);
    client.send("b").await;
    assert_eq!(client.recv_text().await, "They say that you said: b");

    dev.signal(Signal::INT);
    assert_eq!(client.expect_close().await.0, 1001);
    assert_eq!(dev.wait_exit(PATIENCE).code(), Some(0));
}

/// Lets what is started from now on have fewer descriptors open than the connections that may come by default. How many.
fn few_descriptors() -> u64 {
    let most = getrlimit(Resource::Nofile).maximum;
    let few = most.map_or(4096, |most| most.min(4096));
    let limit = Rlimit {
        current: Some(few),
        maximum: Some(few),
    };
    setrlimit(Resource::Nofile, limit).expect("a limit can be lowered");
    few
}

#[test]
fn a_build_in_hand_ends_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    succeed(folder.path(), &["new", "unfinished"]);
    let unfinished = folder.path().join("unfinished");
    lock_crate(&unfinished);
    // A build script that says who runs it, and then goes on for longer than all that is waited for below. But not for
    // ever: when this fails nobody ends it, and others wait for its build.
    let script = "fn main() {\n    std::fs::write(\"running\", std::process::id().to_string()).unwrap();\n    \
                  std::fs::rename(\"running\", \"runs\").unwrap();\n    \
                  std::thread::sleep(std::time::Duration::from_secs(120));\n}\n";
    fs::write(unfinished.join("build.rs"), script).expect("the script can be written");
    let dev = ["dev", "--listen", "127.0.0.1:0", "--", "--offline"];
    let mut dev = Running::start(tulpar(&unfinished, &dev));
    let id = until(BUILD, || fs::read_to_string(unfinished.join("runs")).ok());
    dev.signal(Signal::TERM);
    assert_eq!(dev.wait_exit(PATIENCE).code(), Some(0));
    // A process that has ended and that nobody has asked for yet is not there any more either.
    let runs = || {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        (!status.contains("State:\tZ")).then_some(())
    };
    until(PATIENCE, || runs().is_none().then_some(()));
}

/// What there is at last.
fn until<T>(patience: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + patience;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(std::time::Instant::now() < end, "waited in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}
