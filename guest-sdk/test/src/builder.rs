//! What a server in a test consists of.

use std::path::Path;
use std::time::SystemTime;

use toml::{Table, Value};

use crate::compile::{self, Component};
use crate::hosts::Hosts;
use crate::world::World;
use crate::{Request, Response, Server};

/// When the time begins: 2026-01-01T00:00:00Z.
const BEGIN: &str = "2026-01-01T00:00:00Z";

/// A server to be: its plugins, and what its configuration says.
///
/// ```no_run
/// # use tulpar_test::Server;
/// let server = Server::builder()
///     .this_crate()
///     .crate_in("../ws-auth")
///     .setting("limits.deadline-ms", 100)
///     .start();
/// ```
#[must_use = "a server begins with `start`"]
pub struct Builder {
    plugins: Vec<Plugin>,
    tenant: Option<String>,
    settings: Table,
    hosts: Hosts,
    time: String,
    /// What has gone wrong so far.
    problem: Option<StartError>,
}

/// A plugin to be.
struct Plugin {
    tenant: Option<String>,
    component: Component,
}

/// Why a server does not start.
#[derive(Debug)]
pub struct StartError(pub(crate) String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for StartError {}

impl Plugin {
    fn key(&self) -> String {
        let name = self
            .component
            .file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        match &self.tenant {
            Some(tenant) => format!("{tenant}/{name}"),
            None => name.into_owned(),
        }
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            plugins: Vec::new(),
            tenant: None,
            settings: Table::new(),
            hosts: Hosts::default(),
            time: BEGIN.to_owned(),
            problem: None,
        }
    }

    /// With the plugin whose test this is. It is built when a test of the process first asks for it, as by
    /// `cargo build --release --target wasm32-wasip2`.
    pub fn this_crate(self) -> Self {
        self.crate_in("")
    }

    /// With the plugin of another crate, which is built as well. `folder` is seen from the folder of this one.
    pub fn crate_in(self, folder: impl AsRef<Path>) -> Self {
        self.with(compile::build(folder.as_ref(), None))
    }

    /// With a plugin that is an example of another crate, or of this one: that of the folder `""`.
    pub fn example_in(self, folder: impl AsRef<Path>, name: &str) -> Self {
        self.with(compile::build(folder.as_ref(), Some(name)))
    }

    /// With a plugin that has been built: a `.wasm` file, whose name is the plugin's.
    pub fn plugin(self, file: impl AsRef<Path>) -> Self {
        self.with(compile::read(file.as_ref().to_owned()))
    }

    /// The plugins that are named after this are a tenant's. With an empty name they are no tenant's, as before the first.
    pub fn tenant(mut self, name: &str) -> Self {
        self.tenant = (!name.is_empty()).then(|| name.to_owned());
        self
    }

    /// Gives the plugin that was named last a value in its configuration.
    pub fn config(mut self, key: &str, value: &str) -> Self {
        let table = self.table_of_the_last();
        let config = table.entry("config").or_insert_with(|| Table::new().into());
        if let Value::Table(config) = config {
            config.insert(key.to_owned(), value.into());
        }
        self
    }

    /// Lets the plugin that was named last send requests to a host, and answers these. The name is as in `hosts` in
    /// `tulpar.toml`, with a port where it is not the usual one. Of several names that fit, the last one's answer holds.
    /// Requests to other hosts are refused, as on a server that does not grant them. Nothing ever leaves the machine.
    ///
    /// When the answer panics, by an assertion for instance, so does the function of the test that had the plugin ask.
    pub fn host(
        mut self,
        name: &str,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Self {
        let table = self.table_of_the_last();
        let hosts = table
            .entry("hosts")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(hosts) = hosts {
            hosts.push(name.into());
        }
        self.hosts.add(name, answer);
        self
    }

    /// Sets anything that `tulpar.toml` can: `limits.rooms-per-socket`, for instance, or, of the plugin `chat` alone,
    /// `plugin.chat.limits.rooms-per-socket`. The server does not start with `listen`, `plugins`, `store`, `state`,
    /// `cache`, `admin` or `proxy`, which are the test's own.
    pub fn setting(mut self, key: &str, value: impl Into<Value>) -> Self {
        let mut table = &mut self.settings;
        let mut parts = key.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                table.insert(part.to_owned(), value.into());
                break;
            }
            let inner = table.entry(part).or_insert_with(|| Table::new().into());
            match inner {
                Value::Table(inner) => table = inner,
                _ => {
                    let problem = format!("the setting {key:?} lies in one that is no table");
                    return self.fail(problem);
                }
            }
        }
        self
    }

    /// Begins at another time than 2026-01-01T00:00:00Z, such as "2026-07-31T23:59:00Z".
    pub fn time(mut self, time: &str) -> Self {
        time.clone_into(&mut self.time);
        self
    }

    /// Starts it. The services have started when this returns.
    ///
    /// # Panics
    /// It does not start, and why.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Server {
        match self.try_start() {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// A plugin does not build or is refused, two have the same name, or a setting is wrong. It says which, and why.
    pub fn try_start(self) -> Result<Server, StartError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let time: SystemTime = humantime::parse_rfc3339(&self.time)
            .map_err(|error| StartError(format!("{:?} is no time: {error}", self.time)))?;
        let mut world = World::new(self.settings, self.hosts, time)?;
        for (index, plugin) in self.plugins.iter().enumerate() {
            let (key, Component { file, content }) = (plugin.key(), &plugin.component);
            if let Some(first) = self.plugins[..index].iter().find(|it| it.key() == key) {
                return Err(StartError(format!(
                    "{} and {} are both called {key:?}, by the names of the files: give one of them another name",
                    first.component.file.display(),
                    file.display()
                )));
            }
            world.put(&key, content)?;
            world.consists_of.borrow_mut().insert(key, content.clone());
        }
        world.start()?;
        Ok(Server::new(world))
    }

    fn with(mut self, component: Result<Component, String>) -> Self {
        match component {
            Ok(component) => {
                let tenant = self.tenant.clone();
                self.plugins.push(Plugin { tenant, component });
                self
            }
            Err(why) => self.fail(why),
        }
    }

    fn fail(mut self, why: String) -> Self {
        self.problem.get_or_insert(StartError(why));
        self
    }

    /// What `tulpar.toml` says of the plugin that was named last.
    fn table_of_the_last(&mut self) -> &mut Table {
        let key = self.plugins.last().map(Plugin::key);
        if key.is_none() {
            let why = "what is said of a plugin comes behind the plugin".to_owned();
            self.problem.get_or_insert(StartError(why));
        }
        let mut table = &mut self.settings;
        for part in ["plugin".to_owned(), key.unwrap_or_default()] {
            let inner = table.entry(part).or_insert_with(|| Table::new().into());
            if !inner.is_table() {
                *inner = Table::new().into();
            }
            table = inner.as_table_mut().expect("it has just been made one");
        }
        table
    }
}
