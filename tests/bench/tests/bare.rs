//! The generator against the bare loops: each load once, briefly, for the checks and not for the figures.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use tulpar_bench::bare;
use tulpar_bench::load::{self, Asks, Broadcast, Echo, Idle, Length, Pace, Report, Window};

fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || bare::serve(listener));
    address
}

fn window(length: Length) -> Window {
    Window {
        warm_up: Duration::from_millis(20),
        length,
        processes: vec![std::process::id()],
        broker: None,
    }
}

fn check(report: &Report) {
    assert!(report.messages > 0);
    assert!(report.rate > 0.0);
    assert!(report.p50_us <= report.p99_us && report.p99_us <= report.p999_us);
    assert!(report.server_us.is_some_and(|cost| cost >= 0.0));
}

#[test]
fn echoes_come_back() {
    let address = server();
    for (connections, depth, size) in [(1, 1, 64), (10, 1, 8), (10, 16, 64), (3, 4, 100_000)] {
        let echo = Echo {
            paths: vec!["/echo".to_owned()],
            connections,
            depth,
            size,
        };
        let report = load::echo(address, &echo, &window(Length::Messages(200))).unwrap();
        assert!(report.messages >= 200);
        check(&report);
    }
}

#[test]
fn every_member_gets_every_publish() {
    for path in ["/room", "/room-batched"] {
        let paces = [Pace::Window(1), Pace::Window(8), Pace::Rate(500.0)];
        for (publishers, pace) in [1, 3, 20].into_iter().zip(paces) {
            let path = path.to_owned();
            let broadcast = Broadcast {
                path,
                first: Vec::new(),
                members: 20,
                publishers,
                size: 64,
                pace,
            };
            let length = Length::Time(Duration::from_millis(100));
            check(&load::broadcast(&[server()], &broadcast, &window(length)).unwrap());
        }
    }
}

#[test]
fn members_of_several_nodes_are_told_apart() {
    let address = server();
    let broadcast = Broadcast {
        path: "/room".to_owned(),
        first: Vec::new(),
        members: 7,
        publishers: 1,
        size: 64,
        pace: Pace::Window(1),
    };
    let window = window(Length::Messages(200));
    let report = load::broadcast(&[address; 3], &broadcast, &window).unwrap();
    assert_eq!(report.nodes.len(), 3);
    assert!(report.nodes.iter().all(|node| node.p50_us > 0.0));
}

#[test]
fn questions_are_answered() {
    let address = server();
    let mut asks = Asks {
        path: "/echo".to_owned(),
        sockets: 3,
        question: "who is there?".to_owned(),
        answer: "who is there?".to_owned(),
    };
    let window = window(Length::Messages(200));
    check(&load::asks(&[address], &asks, &window).unwrap());
    asks.answer = "nobody".to_owned();
    let error = load::asks(&[address], &asks, &window).unwrap_err();
    assert!(format!("{error:#}").contains("instead of"), "{error:#}");
}

#[test]
fn a_server_that_answers_wrongly_is_told() {
    let address = server();
    let echo = Echo {
        paths: vec!["/room".to_owned()],
        connections: 2,
        depth: 1,
        size: 64,
    };
    let error = load::echo(address, &echo, &window(Length::Messages(10))).unwrap_err();
    assert!(format!("{error:#}").contains("instead of"), "{error:#}");
}

#[test]
fn idle_connections_are_counted() {
    let idle = Idle {
        path: "/echo".to_owned(),
        connections: 50,
    };
    let report = load::idle(server(), &idle, std::process::id()).unwrap();
    assert_eq!(report.connections, 50);
    assert!(report.after.rss > 0);
}
