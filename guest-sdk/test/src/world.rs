//! A server, and all that there is around it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use toml::{Table, Value};
use tracing::Dispatch;
use tulpar_runtime::admin::{Admin, PluginInfo};
use tulpar_runtime::app::{App, Ended};
use tulpar_runtime::config::Config;
use tulpar_runtime::net;
use tulpar_runtime::plugin::Surroundings;
use tulpar_runtime::plugin::catalog::place;
use tulpar_runtime::plugin::compile::Compiler;
use tulpar_runtime::plugin::describe::Loaded;

use crate::clock::FakeClock;
use crate::hosts::Hosts;
use crate::idle::Idle;
use crate::link::Link;
use crate::log::Log;
use crate::published::Recorder;
use crate::{Request, Response, StartError, compile};

/// Instances that there may be at once unless a test says otherwise: address space for that many is reserved.
const INSTANCES: i64 = 100;
/// An hour, in milliseconds: what takes long on a slow machine is no reason for a test to fail.
const HOUR: i64 = 3_600_000;
/// A folder in memory, on most machines.
const MEMORY: &str = "/dev/shm";
/// How often one looks whether a call has ended that waits for the disk, or whether a file has been noticed.
const LOOK: Duration = Duration::from_millis(1);
/// How long a plugin's file may take to be noticed and compiled.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server, and all that there is around it.
pub(crate) struct World {
    runtime: Runtime,
    idle: Arc<Idle>,
    pub(crate) clock: FakeClock,
    pub(crate) log: Log,
    /// What leads there.
    dispatch: Dispatch,
    pub(crate) recorder: Recorder,
    /// The clients' ends of all connections.
    links: RefCell<Vec<Weak<RefCell<Link>>>>,
    running: Option<Running>,
    hosts: Hosts,
    settings: Table,
    folder: TempDir,
    /// What each plugin consists of, by its name. Its file may be another one, which is refused.
    pub(crate) consists_of: RefCell<BTreeMap<String, Vec<u8>>>,
    /// For the plugins' store: in memory where there is such a folder. What a plugin keeps waits for its disk, whose moods
    /// would count against its deadline.
    store: TempDir,
}

struct Running {
    admin: Arc<Admin>,
    server: Arc<net::Server>,
    /// What ends it; none when that has been used.
    end: RefCell<Option<(oneshot::Sender<()>, JoinHandle<Ended>)>>,
}

/// What a request came to.
pub(crate) enum Answer {
    /// The connection is one for messages now.
    Upgraded(Box<Link>),
    /// It was answered.
    Response(Response),
}

impl World {
    /// A server without plugins that has not started.
    pub(crate) fn new(settings: Table, hosts: Hosts, time: SystemTime) -> Result<Self, StartError> {
        let (runtime, idle) = Idle::runtime().map_err(broken)?;
        let folder = tempfile::tempdir().map_err(broken)?;
        fs::create_dir(folder.path().join("plugins")).map_err(broken)?;
        let log = Log::default();
        Ok(Self {
            runtime,
            idle,
            clock: FakeClock::new(time),
            dispatch: log.dispatch(),
            log,
            recorder: Recorder::default(),
            links: RefCell::default(),
            running: None,
            hosts,
            settings,
            consists_of: RefCell::default(),
            store: tempfile::tempdir_in(MEMORY)
                .or_else(|_| tempfile::tempdir())
                .map_err(broken)?,
            folder,
        })
    }

    /// Puts a plugin into the plugins folder, in one step. Returns the inode of its file, which is another one than that of the
    /// file that it takes the place of.
    pub(crate) fn put(&self, key: &str, content: &[u8]) -> Result<u64, StartError> {
        let place = place(key).map_err(StartError)?;
        let file = self.folder.path().join("plugins").join(place);
        let folder = file.parent().unwrap_or(&file);
        fs::create_dir_all(folder).map_err(broken)?;
        let unfinished = self.folder.path().join("unfinished");
        fs::write(&unfinished, content).map_err(broken)?;
        let inode = fs::metadata(&unfinished).map_err(broken)?.ino();
        fs::rename(&unfinished, &file).map_err(broken)?;
        Ok(inode)
    }

    /// Starts the server, and waits until its services have started.
    pub(crate) fn start(&mut self) -> Result<(), StartError> {
        let config = self.configure()?;
        let surroundings = Surroundings {
            compiler: Compiler::in_process(),
            clock: Arc::new(self.clock.clone()),
            backplane: Arc::new(self.recorder.clone()),
            nats: None,
            network: Arc::new(self.hosts.clone()),
        };
        let app = self.block_on(App::amid(config, surroundings));
        let app = app.map_err(|error| StartError(format!("{error:#}")))?;
        let plugins = self.folder.path().join("plugins");
        let refused: Vec<_> = app
            .catalog()
            .refused()
            .map(|(file, refusal)| {
                let file = file.strip_prefix(&plugins).unwrap_or(file);
                format!("{} is refused: {refusal}", file.display())
            })
            .collect();
        if !refused.is_empty() {
            return Err(StartError(refused.join("\n")));
        }
        let (admin, server) = (app.admin().clone(), app.server().clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = self.runtime.spawn(app.run(async { _ = stopped.await }));
        self.running = Some(Running {
            admin,
            server,
            end: RefCell::new(Some((stop, task))),
        });
        self.wait("the server starts", || self.running().admin.is_ready());
        self.settle();
        Ok(())
    }

    fn configure(&self) -> Result<Config, StartError> {
        let folder = self.folder.path();
        let inside = |name: &str| Value::from(folder.join(name).to_string_lossy().into_owned());
        let mut table = self.settings.clone();
        default(&mut table, "limits", "instances", INSTANCES)?;
        default(&mut table, "timeouts", "start-ms", HOUR)?;
        default(&mut table, "timeouts", "settle-ms", 1)?;
        let cache = compile::target_folder().map_err(StartError)?.join("cache");
        // Each connection says by the header of a proxy where it is from.
        let mut proxy = Table::new();
        proxy.insert("trusted".into(), vec!["127.0.0.1"].into());
        proxy.insert("protocol".into(), true.into());
        for (key, value) in [
            (
                "listen",
                format!("unix:{}", folder.join("socket").display()).into(),
            ),
            ("plugins", inside("plugins")),
            (
                "store",
                self.store.path().to_string_lossy().into_owned().into(),
            ),
            ("state", inside("state")),
            ("cache", cache.to_string_lossy().into_owned().into()),
            // Nobody asks from outside.
            (
                "admin",
                Table::from_iter([("socket".to_owned(), "".into())]).into(),
            ),
            ("proxy", proxy.into()),
        ] {
            if table.insert(key.into(), value).is_some() {
                return Err(StartError(format!(
                    "the setting `{key}` is the test's own, as are all that say where the server listens, where its folders \
                     are, what is before it and who administers it"
                )));
            }
        }
        let file = folder.join("tulpar.toml");
        fs::write(&file, table.to_string()).map_err(broken)?;
        Config::load(Some(&file), []).map_err(|error| {
            let said = error.to_string();
            StartError(said.replace(&*file.to_string_lossy(), "the settings"))
        })
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it has been started")
    }

    /// What is loaded now.
    pub(crate) fn loaded(&self) -> Vec<Arc<Loaded>> {
        self.running().admin.loaded()
    }

    /// How a plugin is, by its name.
    pub(crate) fn info(&self, key: &str) -> Option<PluginInfo> {
        let plugins = self.running().admin.plugins();
        plugins.into_iter().find(|plugin| plugin.name == key)
    }

    /// Why a path is not served, when it is because plugins are missing.
    pub(crate) fn missing(&self, path: &str) -> Option<String> {
        let router = self.running().server.router();
        let waiting = router.waiting().iter().find(|it| it.path == path)?;
        let (source, missing) = (&waiting.source, waiting.missing.join(", "));
        Some(format!(
            "{source} wants the middleware {missing}, which no plugin of this server is"
        ))
    }

    /// Runs something among the server's tasks, its log being this one's. Panics when the answer of another host has.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let run = || self.runtime.block_on(work);
        let done = tracing::dispatcher::with_default(&self.dispatch, run);
        self.hosts.resume_panic();
        done
    }

    /// Has the server do all that there is to do now, and the clients take what it sends them.
    pub(crate) fn settle(&self) {
        loop {
            self.block_on(self.idle());
            if !self.pump() {
                return;
            }
        }
    }

    /// Has the server do all that there is to do before clients take anything.
    pub(crate) fn settle_before_clients(&self) {
        self.block_on(self.idle());
    }

    async fn idle(&self) {
        loop {
            self.idle.reached().await;
            let plugins = self.running.as_ref().map(|it| it.admin.loaded());
            let mut plugins = plugins.iter().flatten();
            if !plugins.any(|loaded| loaded.plugin.is_at_work()) {
                return;
            }
            // It computes, or waits for the disk.
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Has the clients take what has come. Returns whether any of them did something.
    fn pump(&self) -> bool {
        let mut links = self.links.borrow_mut();
        let mut active = false;
        links.retain(|link| match link.upgrade() {
            Some(link) => {
                active |= link.borrow_mut().pump();
                true
            }
            None => false,
        });
        active
    }

    pub(crate) fn keep(&self, link: Link) -> Rc<RefCell<Link>> {
        let link = Rc::new(RefCell::new(link));
        self.links.borrow_mut().push(Rc::downgrade(&link));
        link
    }

    /// Waits for what happens on other threads.
    pub(crate) fn wait(&self, what: &str, mut happened: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !happened() {
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
            self.block_on(async { tokio::time::sleep(LOOK).await });
        }
    }

    /// Sends a request over a connection of its own.
    pub(crate) fn ask(&self, request: Request) -> Result<Answer, String> {
        let socket = self.folder.path().join("socket");
        let asked = self.block_on(ask(&socket, request));
        asked.map_err(|error| format!("the server breaks off: {error}"))
    }

    /// Stops the server, whose services stop and whose sockets are closed.
    pub(crate) fn stop(&self) {
        let Some((stop, task)) = self.running().end.take() else {
            return;
        };
        let _ = stop.send(());
        while !task.is_finished() {
            self.settle();
            self.block_on(async { tokio::time::sleep(LOOK).await });
        }
        self.settle();
    }
}

/// Sets what is not set.
fn default(table: &mut Table, inside: &str, key: &str, value: i64) -> Result<(), StartError> {
    let inner = table.entry(inside).or_insert_with(|| Table::new().into());
    let Value::Table(inner) = inner else {
        return Err(StartError(format!("the setting {inside:?} is a table")));
    };
    inner.entry(key).or_insert(value.into());
    Ok(())
}

fn broken(error: std::io::Error) -> StartError {
    StartError(format!("the test's server cannot be set up: {error}"))
}

async fn ask(socket: &Path, request: Request) -> Result<Answer, Box<dyn std::error::Error>> {
    let mut stream = UnixStream::connect(socket).await?;
    let family = match request.from {
        IpAddr::V4(_) => "TCP4 {} 192.0.2.254",
        IpAddr::V6(_) => "TCP6 {} 2001:db8::fe",
    };
    let addresses = family.replace("{}", &request.from.to_string());
    let header = format!("PROXY {addresses} 40000 80\r\n");
    stream.write_all(header.as_bytes()).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut sent = hyper::Request::builder()
        .method(request.method)
        .uri(request.target)
        .body(Full::<Bytes>::new(request.body))?;
    *sent.headers_mut() = request.headers;
    let host = HeaderValue::from_static("localhost");
    sent.headers_mut().entry(HOST).or_insert(host);
    let mut response = sender.send_request(sent).await?;
    if response.status() == hyper::StatusCode::SWITCHING_PROTOCOLS {
        let upgraded = hyper::upgrade::on(&mut response).await?;
        return Ok(Answer::Upgraded(Box::new(link(upgraded)?)));
    }
    let (head, body) = response.into_parts();
    Ok(Answer::Response(Response {
        status: head.status,
        headers: head.headers.into(),
        body: body.collect().await?.to_bytes(),
    }))
}

fn link(upgraded: Upgraded) -> Result<Link, Box<dyn std::error::Error>> {
    let parts = upgraded.downcast::<TokioIo<UnixStream>>();
    let parts = parts.map_err(|_| "it is another connection")?;
    let stream = parts.io.into_inner().into_std()?;
    Ok(Link::new(stream, parts.read_buf.into()))
}
