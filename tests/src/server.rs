//! The server as a child process, with a plugins folder of its own.

use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, kill_process, prlimit, setrlimit};
use tempfile::TempDir;

use crate::lines::Lines;
use crate::{PATIENCE, guests, workspace};

pub use rustix::process::Signal;

/// A busy machine may hold a handler back for longer than the default deadline; only tests about the deadline
/// want one that is shorter.
const DEADLINE_MS: u32 = 2_000;

/// The first start after a change compiles the server's plugins, beside other tests doing the same.
const START: Duration = Duration::from_secs(60);

/// It listens to its operator a moment later than it says that it listens: when to look again.
const LATER: Duration = Duration::from_millis(5);

/// A server about to be started.
pub struct Builder {
    plugins: TempDir,
    config: Option<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    cache: PathBuf,
    listen: String,
    is_heard: bool,
}

impl Builder {
    /// Has nobody read its log, as when whoever collects it has ended.
    pub fn unheard(mut self) -> Self {
        self.is_heard = false;
        self
    }

    /// Writes this as the configuration file.
    pub fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.to_owned());
        self
    }

    /// Adds a command-line argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Uses this cache folder instead of the one that all tests share.
    pub fn cache(mut self, folder: &Path) -> Self {
        self.cache = folder.to_owned();
        self
    }

    /// Listens here instead of on a free port.
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.listen = address.to_string();
        self
    }

    /// Puts built guests into a tenant's folder.
    pub fn tenant(self, tenant: &str, names: &[&str]) -> Self {
        names.iter().fold(self, |server, name| {
            server.file(&format!("{tenant}/{name}.wasm"), &guests::guest(name))
        })
    }

    /// Writes bytes to a path below the plugins folder.
    pub fn file(self, path: &str, bytes: &[u8]) -> Self {
        write(&self.plugins_folder().join(path), bytes);
        self
    }

    /// The plugins folder.
    pub fn plugins_folder(&self) -> &Path {
        self.plugins.path()
    }

    /// Starts the server and waits until it listens.
    pub fn start(self) -> Server {
        let mut server = self.spawn();
        let Some(line) = server.stdout.wait_for(&["listening on "], START) else {
            panic!("the server did not say that it listens");
        };
        // On a Unix socket it has no address.
        if let Some((_, address)) = line.trim().split_once("://") {
            let address = address.parse();
            server.address = address.unwrap_or_else(|error| panic!("{error} in `{line}`"));
        }
        server
    }

    /// Starts the server and waits until it ends, as it does when it cannot serve.
    pub fn start_in_vain(self) -> (ExitStatus, Server) {
        let mut server = self.spawn();
        let status = server.wait_exit(START);
        (status, server)
    }

    fn spawn(self) -> Server {
        let mut command = Command::new(binary());
        command
            .arg("serve")
            .arg("--plugins")
            .arg(self.plugins.path());
        command
            .args(["--listen", &self.listen])
            .arg("--cache")
            .arg(&self.cache);

        let config = tempfile::tempdir().expect("a temporary folder");
        if let Some(toml) = &self.config {
            let file = config.path().join("tulpar.toml");
            write(&file, toml.as_bytes());
            command.arg("--config").arg(file);
        }
        for (key, _) in
            std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("TULPAR_"))
        {
            command.env_remove(key);
        }
        command.env("TULPAR_LOG", "info,tulpar=debug,tulpar_runtime=debug");
        let says = |key: &str| {
            let config = self.config.as_deref().unwrap_or_default();
            let mut words = config.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            words.any(|word| word.starts_with(key))
        };
        if !says("deadline-ms") {
            command.env("TULPAR_LIMITS_DEADLINE_MS", DEADLINE_MS.to_string());
        }
        // A guest that is busy looks at the clock all the time.
        if !says("host-calls") {
            command.env("TULPAR_LIMITS_HOST_CALLS", "1000000000");
        }
        // Few clients look for pings, and a test may be held back for longer than a peer may be silent.
        if !says("ping-ms") {
            command.env("TULPAR_TIMEOUTS_PING_MS", "0");
        }
        // Most tests have plugins fail on purpose, and not for the sake of what comes of it.
        if !says("quarantine") {
            command.env("TULPAR_LIMITS_QUARANTINE_FAILURES", "0");
        }
        command.envs(self.env).args(self.args);
        // Its working directory is empty, so that no tulpar.toml of the workspace is found.
        command.current_dir(config.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());

        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let stdout = Lines::collect(child.stdout.take().expect("it is piped"));
        let stderr = child.stderr.take().filter(|_| self.is_heard);
        let stderr = match stderr {
            Some(stderr) => Lines::collect(stderr),
            None => Lines::collect(io::empty()),
        };
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        Server {
            child,
            stdout,
            stderr,
            address,
            plugins: self.plugins,
            folder: config,
        }
    }
}

/// Allows as many open files as the system lets a process have, for a test with thousands of sockets and the servers that
/// it starts then.
pub fn allow_many_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("a limit can be as high as the highest");
}

/// A running server. It is killed when it is dropped; when a test fails, what it printed is shown.
pub struct Server {
    child: Child,
    /// What it prints to standard output: the table of what it serves.
    pub stdout: Lines,
    /// What it prints to standard error: its log.
    pub stderr: Lines,
    address: SocketAddr,
    plugins: TempDir,
    /// Where it runs.
    folder: TempDir,
}

impl Server {
    /// A server with these built plugins in its folder.
    pub fn with(names: &[&str]) -> Builder {
        let plugins = tempfile::tempdir().expect("a temporary folder");
        for name in names {
            write(
                &plugins.path().join(format!("{name}.wasm")),
                &guests::guest(name),
            );
        }
        Builder {
            plugins,
            config: None,
            args: Vec::new(),
            env: Vec::new(),
            cache: workspace().join("target/tests-cache"),
            listen: "127.0.0.1:0".to_owned(),
            is_heard: true,
        }
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The WebSocket URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    /// Adds a file to the plugins folder at once: it is written elsewhere and moved there.
    pub fn drop_in(&self, path: &str, bytes: &[u8]) {
        self.drop_in_with_hole(path, bytes, bytes.len() as u64);
    }

    /// The same of a file that has zeros behind the bytes, up to that length, which take no place on the disk.
    pub fn drop_in_with_hole(&self, path: &str, bytes: &[u8], length: u64) {
        let elsewhere = self.plugins.path().join(".being-written");
        write(&elsewhere, bytes);
        // Closed again before it is moved, as who writes to a file is waited for.
        let written = fs::File::options().write(true).open(&elsewhere);
        let lengthened = written.and_then(|file| file.set_len(length));
        lengthened.expect("the file can be that long");
        let file = self.plugins.path().join(path);
        fs::create_dir_all(file.parent().expect("it lies in the folder"))
            .expect("the folder can be made");
        fs::rename(&elsewhere, &file).expect("the file can be moved");
    }

    /// The plugins folder.
    pub fn plugins_folder(&self) -> &Path {
        self.plugins.path()
    }

    /// The address of the live page.
    pub fn page(&self) -> SocketAddr {
        let line = self.stdout.wait_for(&["the live page: http://"], PATIENCE);
        let line = line.expect("the server says where the live page is");
        let address = line.trim().trim_end_matches('/').rsplit('/').next();
        let address = address.and_then(|it| it.parse().ok());
        address.unwrap_or_else(|| panic!("there is no address in `{line}`"))
    }

    /// Runs `tulpar` with these arguments where the server runs, and gives what it prints, or what it complains of.
    pub fn tulpar(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.folder.path());
        let end = Instant::now() + PATIENCE;
        loop {
            let output = command.output().expect("the binary runs");
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
            if output.status.success() {
                return Ok(text(output.stdout));
            }
            let error = text(output.stderr);
            let is_early = error.contains("no server listens on") && !args.contains(&"--admin");
            if !is_early || Instant::now() > end {
                return Err(error);
            }
            thread::sleep(LATER);
        }
    }

    /// The status of what the server answers to a GET on its admin socket; none when nobody answers there.
    pub fn admin_status(&self, path: &str) -> Option<u16> {
        self.admin(path)?.split(' ').nth(1)?.parse().ok()
    }

    /// One of the numbers that the server counts, as it is named in its metrics, labels and all.
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.metrics();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let number = line.unwrap_or_else(|| panic!("there is no {name} in {metrics}"));
        number.trim().parse().expect("it is a number")
    }

    /// All of them.
    pub fn metrics(&self) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.admin("/metrics") {
                Some(metrics) => {
                    let body = metrics.split_once("\r\n\r\n").map(|(_, body)| body);
                    return body.expect("it has a body").to_owned();
                }
                None if Instant::now() < end => thread::sleep(LATER),
                None => panic!("the server does not tell its metrics"),
            }
        }
    }

    /// The whole response to a GET on its admin socket.
    fn admin(&self, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.folder.path().join(".tulpar/admin.sock")).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: tulpar\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Where it runs, with its configuration file in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes a file out of the plugins folder.
    pub fn take_out(&self, path: &str) {
        fs::remove_file(self.plugins.path().join(path)).expect("the file is there");
    }

    /// The first log line that holds all of `parts`, as soon as there is one.
    pub fn log_line(&self, parts: &[&str]) -> String {
        let line = self.stderr.wait_for(parts, PATIENCE);
        line.unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for a log line with {parts:?}"))
    }

    /// The line that says why a file was refused.
    pub fn refusal(&self, file: &str) -> String {
        let start = format!("refused {file}: ");
        let line = self.stdout.wait_for(&[&start], PATIENCE);
        line.unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for a line `{start}...`"))
    }

    /// Shows that nothing in the process has panicked so far.
    pub fn has_not_panicked(&self) {
        let log = self.stderr.text();
        assert!(!log.contains("panicked"), "{log}");
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process can be signalled");
    }

    /// Waits until the process has ended and all it printed is collected.
    pub fn wait_exit(&mut self, patience: Duration) -> ExitStatus {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self
                .child
                .try_wait()
                .expect("the process can be waited for")
            {
                self.stdout.wait_for_end(PATIENCE);
                self.stderr.wait_for_end(PATIENCE);
                return status;
            }
            assert!(
                Instant::now() < end,
                "waited {patience:?} in vain for the server to end"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The time that the process has had of the processors, in milliseconds.
    pub fn processor_ms(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("the process runs");
        // Behind the name, which may have spaces; in hundredths of a second.
        let fields = stat
            .rsplit(')')
            .next()
            .expect("rsplit gives at least one part");
        let field = |index: usize| fields.split_whitespace().nth(index)?.parse::<u64>().ok();
        let (user, system) = (field(11), field(12));
        10 * (user.expect("it is a number") + system.expect("it is a number"))
    }

    /// How many descriptors the process has open: files, connections and what else.
    pub fn descriptors(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        open.expect("the process runs").count()
    }

    /// From now on the process may have so many descriptors open. What is open already stays.
    pub fn limit_descriptors(&self, most: usize) {
        let pid = Some(Pid::from_child(&self.child));
        let limit = Rlimit {
            current: Some(most as u64),
            maximum: Some(most as u64),
        };
        prlimit(pid, Resource::Nofile, limit).expect("the limit can be set");
    }

    /// The memory that the process holds, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.memory().expect("the process runs")
    }

    /// The memory that the process holds, in bytes; none when it has ended.
    pub fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes = line.trim().trim_end_matches(" kB").trim();
        Some(kilobytes.parse::<u64>().expect("it is a number") * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            self.stdout.wait_for_end(PATIENCE);
            self.stderr.wait_for_end(PATIENCE);
            eprintln!("--- the server's standard output\n{}", self.stdout.text());
            eprintln!("--- the server's standard error\n{}", self.stderr.text());
        }
    }
}

/// The server's binary: TULPAR_BIN, or the one built in the profile of this test, or in the workspace's.
pub(crate) fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("TULPAR_BIN") {
        return PathBuf::from(named);
    }
    let this = std::env::current_exe().expect("a test knows its own file");
    let beside = this
        .ancestors()
        .nth(2)
        .map(|profile| profile.join("tulpar"));
    let places = [beside, Some(workspace().join("target/debug/tulpar"))];
    let found = places.into_iter().flatten().find(|place| place.is_file());
    found.expect("there is no server to test; build it with `cargo build -p tulpar-runtime`, or name it in TULPAR_BIN")
}

fn write(file: &Path, bytes: &[u8]) {
    fs::create_dir_all(file.parent().expect("it lies in a folder"))
        .expect("the folder can be made");
    fs::write(file, bytes)
        .unwrap_or_else(|error| panic!("{} cannot be written: {error}", file.display()));
}
