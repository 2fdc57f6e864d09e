//! What single steps inside the server cost, without a network: a call into a guest, a publish, loading a plugin, a new
//! instance. `make plugins` builds the plugins that it loads.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tulpar_runtime::backplane::Local;
use tulpar_runtime::config::{Config, SlowConsumer};
use tulpar_runtime::hub::{self, Audience, Frame, Namespace, Outbox, Socket};
use tulpar_runtime::ids::{NodeId, PluginId, SocketId};
use tulpar_runtime::message::Message;
use tulpar_runtime::plugin::compile::Compiler;
use tulpar_runtime::plugin::describe::Loaded;
use tulpar_runtime::plugin::load::{Content, load};
use tulpar_runtime::plugin::{Event, Shared, Surroundings};
use tulpar_runtime::quota::Account;
use tulpar_runtime::ulak::Ulak;

const PLUGIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/echo.wasm");
const TEXT: Message<'_> =
    Message::Text("sixty-four bytes, as many as in the loads that come from outside");

fn socket() -> Arc<Socket> {
    let node = NodeId::random().expect("there is randomness");
    let id = SocketId::random(node).expect("there is randomness");
    let nowhere = Arc::new(std::io::sink());
    let outbox = Outbox::new(1 << 20, SlowConsumer::Close, Arc::default(), nowhere);
    Arc::new(Socket::new(id, [127, 0, 0, 1].into(), None, outbox))
}

fn shared(runtime: &Runtime) -> Arc<Shared> {
    let _inside = runtime.enter();
    let config = Config {
        cache: Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
        ..Config::default()
    };
    let ulak = Arc::new(Ulak::new(Arc::new(Local), false));
    let surroundings = Surroundings {
        compiler: Compiler::in_process(),
        ..Surroundings::of_this_machine(&config.limits)
    };
    Shared::new(&config, surroundings, ulak).expect("the sandbox can be set up")
}

fn plugin(runtime: &Runtime, shared: &Arc<Shared>) -> Loaded {
    let id = PluginId {
        tenant: None,
        name: "echo".into(),
    };
    let loaded = runtime.block_on(async {
        let content = Content::read(Path::new(PLUGIN), u64::MAX - 1).await?;
        load(shared, id, None, 1, &content).await
    });
    loaded.unwrap_or_else(|refusal| panic!("{PLUGIN} {refusal}; `make plugins` builds it"))
}

fn guest(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("the runtime starts");
    let shared = shared(&runtime);
    let echo = plugin(&runtime, &shared).plugin;
    let socket = socket();
    criterion.bench_function("call", |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(async {
                let begun = Instant::now();
                for _ in 0..calls {
                    let called = echo.handle(&socket, Event::Message(black_box(TEXT)));
                    called.await.expect("the guest echoes");
                    socket.outbox().flush();
                }
                begun.elapsed()
            })
        });
    });
    // Where nobody else has the same plugin, whose code would be shared.
    let empty = self::shared(&runtime);
    criterion.bench_function("load", |bencher| {
        bencher.iter(|| plugin(&runtime, &empty));
    });
    criterion.bench_function("instance", |bencher| {
        bencher.iter_custom(|instances| {
            let mut taken = Duration::ZERO;
            for _ in 0..instances {
                let fresh = plugin(&runtime, &shared).plugin;
                runtime.block_on(async {
                    let begun = Instant::now();
                    let called = fresh.handle(&socket, Event::Message(TEXT));
                    called.await.expect("the guest echoes");
                    taken += begun.elapsed();
                });
                socket.outbox().flush();
            }
            taken
        });
    });
}

fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    for members in [1, 100, 10_000] {
        let namespace = Namespace::new(
            None,
            "/room".into(),
            &Config::default().limits,
            Account::unbounded(),
        );
        let sockets: Vec<_> = (0..members).map(|_| socket()).collect();
        for socket in &sockets {
            namespace.insert(socket.clone());
            namespace.join(socket, "room").expect("there is room");
        }
        let room = Audience::Room {
            name: "room",
            except: None,
        };
        group.throughput(Throughput::Elements(members));
        group.bench_function(BenchmarkId::from_parameter(members), |bencher| {
            bencher.iter_custom(|publishes| {
                let mut taken = Duration::ZERO;
                for _ in 0..publishes {
                    let begun = Instant::now();
                    hub::turn(|| {
                        let frame = Frame::message(black_box(TEXT));
                        black_box(namespace.deliver(room, &frame));
                    });
                    taken += begun.elapsed();
                    // What one turn does not write is left to others, who are not here.
                    sockets.iter().for_each(|socket| socket.outbox().flush());
                }
                taken
            });
        });
    }
}

criterion_group! {
    name = inside;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2));
    targets = guest, publish
}
criterion_main!(inside);
