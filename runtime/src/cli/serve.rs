//! `tulpar serve`.

use std::fmt::Write as _;
use std::future::pending;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::flags::Flags;
use super::table::{or_dash, table};
use crate::app::{App, Ended, threads};
use crate::config::{Config, ConfigError, Listen};
use crate::plugin::host::one_line;
use crate::telemetry;

/// What is logged unless TULPAR_LOG says otherwise.
const LOG: &str = "info,async_nats=warn";

#[derive(Args)]
#[command(after_help = "\
Settings come from the flags above, else from the environment (TULPAR_LISTEN, TULPAR_LIMITS_DEADLINE_MS, ...),
else from the configuration file, else from the defaults; tulpar.toml in the repository lists them all, and
`tulpar config` shows what holds.
TULPAR_LOG sets what is logged: error, warn, info, debug or trace, or e.g. info,plugin=debug.

Examples:
  tulpar serve                                    plugins/ on 127.0.0.1:3000
  tulpar serve --listen 0.0.0.0:8080              reachable from other machines
  tulpar serve --plugins /srv/tulpar/plugins --config /etc/tulpar.toml
  tulpar serve --dev                              with a page at / to try the namespaces, and the live page

Stop it with Ctrl-C or SIGTERM: sockets are closed with 1001 and handlers finish; a second signal stops at once.
At SIGHUP it reads its configuration again; the log says what of it needs a restart.")]
pub(super) struct Serve {
    #[command(flatten)]
    flags: Flags,
}

impl Serve {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut flags = self.flags;
        let mut load = move || Ok(flags.load()?.config);
        let config = load()?;
        let runtime = threads().context("cannot start the threads that serve")?;
        let telemetry = telemetry::start(&config.telemetry, LOG, runtime.handle())?;
        let ended = runtime.block_on(async { serve(config, Signals::new()?, load).await });
        telemetry.end();
        let ended = ended?;
        // What is still running has had its time.
        runtime.shutdown_background();
        Ok(match ended {
            Ended::Clean => ExitCode::SUCCESS,
            Ended::GraceOver => ExitCode::FAILURE,
        })
    }
}

/// The signals that stop a server.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// None when that one is to have the configuration read again.
    hangup: Option<Signal>,
}

impl Signals {
    /// Has them wait from now on until somebody asks for them. To be called in a runtime.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
            hangup: None,
        })
    }

    /// Those of a server that ends with its terminal.
    pub(super) fn of_a_terminal() -> Result<Self> {
        Ok(Self {
            hangup: Some(hangup()?),
            ..Self::new()?
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub(super) async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hangup => {}
        }
    }
}

fn hangup() -> Result<Signal> {
    signal(SignalKind::hangup()).context("cannot wait for SIGHUP")
}

/// Descriptors beside those of connections: files, the plugins' outgoing requests, what the system needs.
const OTHERS: u64 = 1024;

/// Has the process open as many descriptors as it may, and says so when those are fewer than connections may come. What the
/// system gives at first is meant for programs that know no more than a thousand.
fn allow_descriptors(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    if let Some(current) = current
        && current < connections as u64 + OTHERS
    {
        tracing::info!(
            "the system gives {current} file descriptors, which is less than limits.connections may need ({connections}); \
             `ulimit -Hn` or LimitNOFILE= raises that"
        );
    }
}

/// Serves until a signal comes, and says where. At SIGHUP, when that is none of them, the configuration becomes what `load`
/// gives then.
pub(super) async fn serve(
    config: Config,
    mut signals: Signals,
    mut load: impl FnMut() -> Result<Config, ConfigError> + Send + 'static,
) -> Result<Ended> {
    allow_descriptors(config.limits.connections);
    let plugins = config.plugins.clone();
    let dev = config.dev;
    let reloads = match signals.hangup {
        Some(_) => None,
        None => Some(hangup()?),
    };
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        signals.next().await;
        let _ = stop.send(());
        signals.next().await;
        tracing::warn!("stopped at once by a second signal");
        std::process::exit(1);
    });

    let app = tokio::select! {
        app = App::new(config) => app?,
        // Nothing is served yet, and nothing has started.
        _ = &mut stopped => return Ok(Ended::Clean),
    };
    let reload = app.reload();
    tokio::spawn(async move {
        let Some(mut reloads) = reloads else {
            return;
        };
        while reloads.recv().await.is_some() {
            match load() {
                // It fails when the server is about to end.
                Ok(config) => _ = reload.send(config).await,
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    tracing::warn!("the configuration stays as it is: {error:#}");
                }
            }
        }
    });
    let address = app.address()?;
    let mut report = report(&app, &plugins);
    let place = app.place()?;
    if let Some(page) = app.page() {
        _ = writeln!(report, "the live page: http://{page}/");
    }
    if dev && matches!(address, Listen::Tcp(_)) {
        _ = writeln!(report, "try it in a browser: {place}/");
    }
    _ = writeln!(report, "listening on {place}");
    // Nobody has to read this.
    let _ = std::io::stdout().write_all(report.as_bytes());
    Ok(app.run(async { _ = stopped.await }).await)
}

/// What is served, what waits and what is refused.
fn report(app: &App, folder: &std::path::Path) -> String {
    let router = app.router();
    let mut namespaces = vec![["PATH", "NAME", "MIDDLEWARES", "FILE"].map(String::from)];
    for route in router.routes() {
        let namespace = &route.namespace;
        namespaces.push([
            namespace.sockets().path().to_owned(),
            namespace.name.clone(),
            or_dash(namespace.middlewares.join(" > ")),
            namespace.source.clone(),
        ]);
    }

    let mut controllers = vec![["CONTROLLER", "NAME", "MIDDLEWARES", "FILE"].map(String::from)];
    for route in router.controllers() {
        let controller = &route.controller;
        controllers.push([
            format!("{}/", controller.mount),
            controller.name.clone(),
            or_dash(controller.middlewares.join(" > ")),
            controller.source(),
        ]);
    }

    let mut services = vec![["SERVICE", "SCHEDULES", "FILE"].map(String::from)];
    let mut middlewares = vec![["MIDDLEWARE", "FILE"].map(String::from)];
    for loaded in app.catalog().loaded() {
        let id = loaded.plugin.id();
        let tenant = id.tenant.as_ref().map(|tenant| format!(" (of {tenant})"));
        let of_tenant = |name: &str| format!("{name}{}", tenant.as_deref().unwrap_or_default());
        if let Some(name) = &loaded.middleware {
            middlewares.push([of_tenant(name), id.to_string()]);
        }
        if let Some(service) = &loaded.service {
            let schedules: Vec<_> = service
                .schedules
                .iter()
                .map(|schedule| schedule.name.as_str())
                .collect();
            services.push([
                of_tenant(&service.name),
                or_dash(schedules.join(", ")),
                id.to_string(),
            ]);
        }
    }

    let mut text = String::new();
    if app.catalog().loaded().is_empty() {
        _ = writeln!(
            text,
            "no plugins in {}: drop .wasm files there, also while the server runs",
            folder.display()
        );
    }
    for table in [
        table(&namespaces),
        table(&controllers),
        table(&services),
        table(&middlewares),
    ]
    .into_iter()
    .flatten()
    {
        text += &table;
        text.push('\n');
    }
    for waiting in router.waiting() {
        _ = writeln!(text, "{}", waiting.in_words());
    }
    for (file, refusal) in app.catalog().refused() {
        let file = file.strip_prefix(folder).unwrap_or(file);
        let line = format!("refused {}: {refusal}", file.display());
        _ = writeln!(text, "{}", one_line(&line));
    }
    text
}
