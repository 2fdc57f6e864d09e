//! A server in a test.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use tulpar_runtime::hub::{self, Namespace};
use tulpar_runtime::plugin::Job;
use tulpar_runtime::plugin::describe::Loaded;

use crate::world::{Answer, World};
use crate::{Builder, Client, LogLine, Published, Request, Response};

/// A section of a component that says nothing: of the kind for whatever one likes, 5 bytes, of which 4 are its name.
const NOTHING: &[u8] = b"\0\x05\x04test";

/// A server with plugins in it. It goes with its last client.
///
/// Whatever a test has it do has been done when the function returns. It runs on the test's own thread, so that the test is
/// a plain `#[test]`, and none that is asynchronous itself.
pub struct Server {
    world: Rc<World>,
}

impl Server {
    /// A server with the plugin whose test this is, and nothing else: `Server::builder().this_crate().start()`.
    ///
    /// # Panics
    /// The plugin does not build or is refused, and why.
    #[must_use]
    #[track_caller]
    pub fn of_this_crate() -> Self {
        Self::builder().this_crate().start()
    }

    /// A server to be told of more.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(world: World) -> Self {
        Self {
            world: Rc::new(world),
        }
    }

    /// Connects a client to a namespace: a path, or a [`Request`] with more in it. on-open has run.
    ///
    /// # Panics
    /// It is not let in, and why.
    #[must_use]
    #[track_caller]
    pub fn open(&self, request: impl Into<Request>) -> Client {
        let request = request.into();
        let path = request.path().to_owned();
        let refused = match self.connect(request) {
            Ok(client) => return client,
            Err(refused) => refused,
        };
        let why = match self.world.missing(&path) {
            Some(missing) => missing,
            None => refused.text(),
        };
        panic!("{path} answers {}: {why}", refused.status());
    }

    /// The same, for a client that may be refused.
    ///
    /// # Errors
    /// The response of whoever refuses it: a middleware, or the server.
    ///
    /// # Panics
    /// The connection is broken off.
    #[track_caller]
    pub fn connect(&self, request: impl Into<Request>) -> Result<Client, Response> {
        let mut request = request.into();
        for (name, value) in [
            (CONNECTION, "Upgrade"),
            (UPGRADE, "websocket"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            let value = HeaderValue::from_static(value);
            request.headers.entry(name).or_insert(value);
        }
        let namespace = self.find(request.path());
        let before = namespace.as_ref().map(|it| it.ids()).unwrap_or_default();
        match self.ask(request) {
            Answer::Upgraded(link) => {
                self.world.settle_before_clients();
                // Asked for anew: a plugin may have been replaced by what it has just done itself.
                let sockets = namespace.iter().flat_map(|it| it.sockets());
                let socket = sockets
                    .into_iter()
                    .find(|socket| !before.contains(&socket.id()));
                let client = Client::new(self.world.clone(), *link, namespace, socket);
                self.world.settle();
                Ok(client)
            }
            Answer::Response(response) => {
                self.world.settle();
                Err(response)
            }
        }
    }

    /// Sends an HTTP request, to a controller for instance: a path, or a [`Request`] with more in it.
    ///
    /// # Panics
    /// The connection is broken off, or upgraded.
    #[track_caller]
    pub fn request(&self, request: impl Into<Request>) -> Response {
        match self.ask(request.into()) {
            Answer::Response(response) => {
                self.world.settle();
                response
            }
            Answer::Upgraded(_) => panic!("it asks for a WebSocket; `open` and `connect` do that"),
        }
    }

    #[track_caller]
    fn ask(&self, request: Request) -> Answer {
        let what = format!("{} {}", request.method(), request.target());
        match self.world.ask(request) {
            Ok(answer) => answer,
            Err(error) => panic!("{what}: {error}"),
        }
    }

    /// Lets time pass: for the plugins' clocks, their schedules, which run as often as they are due, and quarantines.
    /// Deadlines and timeouts keep to real time.
    pub fn advance(&self, time: Duration) {
        let end = self.world.clock.passed() + time;
        self.world.settle();
        while self.world.clock.go_on(end) {
            self.world.settle();
        }
    }

    /// Has a service run one of its schedules now: the name of its method, `greet` for instance.
    ///
    /// # Errors
    /// What the service answers when it fails, or how it failed otherwise.
    ///
    /// # Panics
    /// There is no such service or schedule.
    #[track_caller]
    pub fn run(&self, service: &str, schedule: &str) -> Result<(), String> {
        let loaded = self.world.loaded();
        let services = || {
            loaded
                .iter()
                .filter_map(|it| Some((it, it.service.as_ref()?)))
        };
        let Some((loaded, found)) = services().find(|(_, it)| it.name == service) else {
            let names: Vec<_> = services().map(|(_, it)| &it.name).collect();
            panic!("there is no service {service:?}; there are {names:?}");
        };
        if !found.schedules.iter().any(|it| it.name == schedule) {
            let names: Vec<_> = found.schedules.iter().map(|it| &it.name).collect();
            panic!("{service} has no schedule {schedule:?}; it has {names:?}");
        }
        if let Some(left) = loaded.plugin.quarantined() {
            return Err(format!("it is in quarantine for {left:?} more"));
        }
        let job = hub::in_turns(loaded.plugin.run_job(Job::Schedule(schedule)));
        let outcome = self.world.block_on(job);
        self.world.settle();
        outcome.map_err(|error| {
            loaded.plugin.report(&error);
            error.to_string()
        })
    }

    /// The names of the rooms of a namespace, sorted.
    ///
    /// # Panics
    /// No plugin has that path.
    #[must_use]
    #[track_caller]
    pub fn rooms(&self, path: &str) -> Vec<String> {
        sorted(self.namespace(path).rooms())
    }

    /// The ids of a room's members, sorted.
    ///
    /// # Panics
    /// No plugin has that path.
    #[must_use]
    #[track_caller]
    pub fn members(&self, path: &str, room: &str) -> Vec<String> {
        sorted(self.namespace(path).room_members(room))
    }

    /// The ids of the sockets of a namespace, sorted.
    ///
    /// # Panics
    /// No plugin has that path.
    #[must_use]
    #[track_caller]
    pub fn sockets(&self, path: &str) -> Vec<String> {
        sorted(self.namespace(path).ids())
    }

    /// What the plugins have logged and printed since this was asked last. It is shown with a test that fails, too.
    #[must_use]
    pub fn logs(&self) -> Vec<LogLine> {
        self.world.log.take(true)
    }

    /// What the server has logged since this was asked last: that a plugin has trapped, for instance.
    #[must_use]
    pub fn server_logs(&self) -> Vec<LogLine> {
        self.world.log.take(false)
    }

    /// What plugins have published to rooms and to everybody since this was asked last.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        self.world.recorder.take()
    }

    /// Replaces a plugin, `NAME` or `TENANT/NAME`, by itself, with its sockets open: as when a new version is deployed that
    /// does the same. on-reload has run, in a new instance.
    ///
    /// # Errors
    /// It is refused, and why: on-reload fails, for instance. What was there serves on.
    ///
    /// # Panics
    /// There is no such plugin.
    #[track_caller]
    pub fn reload(&self, plugin: &str) -> Result<(), String> {
        let mut content = self.content(plugin);
        content.extend_from_slice(NOTHING);
        self.replace_content(plugin, content)
    }

    /// Replaces a plugin, `NAME` or `TENANT/NAME`, by what is in a `.wasm` file, with its sockets open.
    ///
    /// # Errors
    /// It is refused, and why. What was there serves on.
    ///
    /// # Panics
    /// There is no such plugin, or it consists of the same bytes already.
    #[track_caller]
    pub fn replace(&self, plugin: &str, file: impl AsRef<Path>) -> Result<(), String> {
        let file = file.as_ref();
        let Ok(content) = fs::read(file) else {
            panic!("{} cannot be read", file.display());
        };
        // Where another file is refused, this one is put back.
        let refused = self
            .world
            .info(plugin)
            .is_some_and(|it| it.refusal.is_some());
        let same = self.content(plugin) == content && !refused;
        assert!(!same, "{plugin} consists of that already");
        self.replace_content(plugin, content)
    }

    /// What a plugin consists of.
    #[track_caller]
    fn content(&self, plugin: &str) -> Vec<u8> {
        match self.world.consists_of.borrow().get(plugin) {
            Some(content) => content.clone(),
            None => panic!("there is no plugin {plugin:?}"),
        }
    }

    #[track_caller]
    fn replace_content(&self, plugin: &str, content: Vec<u8>) -> Result<(), String> {
        let inode = match self.world.put(plugin, &content) {
            Ok(inode) => inode,
            Err(error) => panic!("{error}"),
        };
        let mut refusal = None;
        self.world.wait("the plugin is replaced", || {
            let now = self.world.info(plugin);
            let Some(now) = now.filter(|now| now.inode == Some(inode)) else {
                return false;
            };
            refusal = now.refusal;
            true
        });
        self.world.settle();
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let mut all = self.world.consists_of.borrow_mut();
        all.insert(plugin.to_owned(), content);
        Ok(())
    }

    /// Stops the server: its sockets are closed with 1001, and its services run on-stop. What was received, logged and
    /// published can still be asked for, and nothing else.
    pub fn stop(&self) {
        self.world.stop();
    }

    #[track_caller]
    fn namespace(&self, path: &str) -> Arc<Namespace> {
        if let Some(namespace) = self.find(path) {
            return namespace;
        }
        let loaded = self.world.loaded();
        let paths: Vec<_> = loaded.iter().filter_map(path_of).collect();
        panic!("no plugin serves {path:?}; there are {paths:?}");
    }

    fn find(&self, path: &str) -> Option<Arc<Namespace>> {
        let loaded = self.world.loaded();
        let found = loaded.iter().find(|it| path_of(it) == Some(path))?;
        Some(found.namespace.as_ref()?.sockets.clone())
    }
}

fn path_of(loaded: &Arc<Loaded>) -> Option<&str> {
    Some(loaded.namespace.as_ref()?.sockets.path())
}

pub(crate) fn sorted(names: Vec<impl ToString>) -> Vec<String> {
    let mut names: Vec<_> = names.iter().map(ToString::to_string).collect();
    names.sort();
    names
}
