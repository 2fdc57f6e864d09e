//! Where the log goes, and the traces: the standard error, what is kept for the live page, and an OpenTelemetry collector
//! when there is one.
//!
//! A span is made with [`span!`]. While nobody collects any, one costs a look at a flag.

mod filter;
pub mod recent;

use std::io;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anyhow::{Context, Result};
use hyper::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{LogExporter, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::recent::RECENT;
use crate::config::{self, ConfigError};

/// What spans are told by. At the level TRACE, so that they are made for nobody else.
pub(crate) const SPANS: &str = "tulpar::span";
/// How long one delivery to the collector may take, and all of them at the end.
const PATIENCE: Duration = Duration::from_secs(3);
/// Those who would write about what they send, and so have more to send.
const EXPORTERS: [&str; 4] = [
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry-otlp",
    "hyper_util",
];

/// A span for the collector, when there is one: what it is called, and fields.
macro_rules! span {
    ($name:expr, $($fields:tt)*) => {
        tracing::trace_span!(target: $crate::telemetry::SPANS, "call", otel.name = $name, $($fields)*)
    };
}
pub(crate) use span;

/// What still has to be sent when the server ends.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
}

/// Begins to log: what the environment says, or else what is `usual`. What goes to a collector is sent by the runtime.
///
/// # Errors
/// The environment says what cannot be understood, or the collector's address cannot be used.
pub fn start(config: &config::Telemetry, usual: &str, runtime: &Handle) -> Result<Telemetry> {
    let filter = || filter::of_environment(usual);
    let (to_text, to_recent) = (filter()?, filter()?);
    let telemetry = Telemetry::new(config, runtime).context("[telemetry]")?;
    let tracer = telemetry.traces.as_ref().map(|it| it.tracer("tulpar"));
    let traces = tracer.map(|tracer| {
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let spans = Targets::new().with_target(SPANS, LevelFilter::TRACE);
        layer
            .with_location(false)
            .with_threads(false)
            .with_filter(spans)
    });
    let logs = telemetry
        .logs
        .as_ref()
        .map(|logs| -> Result<_, ConfigError> {
            let mut others = Targets::new().with_default(LevelFilter::TRACE);
            for exporter in EXPORTERS {
                others = others.with_target(exporter, LevelFilter::OFF);
            }
            let layer = OpenTelemetryTracingBridge::new(logs);
            Ok(layer.with_filter(others).with_filter(filter()?))
        });
    let text = tracing_subscriber::fmt::layer()
        // It would say on the standard error that nobody reads there any more, which cannot end well.
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .with_ansi(AutoStream::choice(&io::stderr()) != ColorChoice::Never);
    tracing_subscriber::registry()
        .with(text.with_filter(to_text))
        .with(RECENT.with_filter(to_recent))
        .with(traces)
        .with(logs.transpose()?)
        .init();
    Ok(telemetry)
}

/// Who the server is. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go over that.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    // What is added later goes over what was there.
    let resource = Resource::builder_empty()
        .with_service_name("tulpar")
        .with_attribute(version)
        .with_detectors(&[
            Box::new(TelemetryResourceDetector),
            Box::new(EnvResourceDetector::new()),
        ]);
    let name = std::env::var("OTEL_SERVICE_NAME").unwrap_or_default();
    match name.is_empty() {
        true => resource.build(),
        false => resource.with_service_name(name).build(),
    }
}

impl Telemetry {
    fn new(config: &config::Telemetry, runtime: &Handle) -> Result<Self> {
        let client = || OnRuntime {
            client: HyperClient::with_default_connector(PATIENCE, None),
            runtime: runtime.clone(),
        };
        let traces = config.endpoint.url("/v1/traces").filter(|_| config.traces);
        let traces = traces.map(|url| {
            let exporter = SpanExporter::builder()
                .with_http()
                .with_http_client(client())
                .with_endpoint(url)
                .with_timeout(PATIENCE)
                .build()?;
            let some = Sampler::TraceIdRatioBased(1.0 / f64::from(config.trace_one_in));
            let provider = SdkTracerProvider::builder()
                .with_resource(resource())
                .with_sampler(Sampler::ParentBased(Box::new(some)))
                .with_batch_exporter(exporter)
                .build();
            anyhow::Ok(provider)
        });
        let logs = config.endpoint.url("/v1/logs").filter(|_| config.logs);
        let logs = logs.map(|url| {
            let exporter = LogExporter::builder()
                .with_http()
                .with_http_client(client())
                .with_endpoint(url)
                .with_timeout(PATIENCE)
                .build()?;
            let provider = SdkLoggerProvider::builder()
                .with_resource(resource())
                .with_batch_exporter(exporter)
                .build();
            anyhow::Ok(provider)
        });
        Ok(Self {
            traces: traces.transpose()?,
            logs: logs.transpose()?,
        })
    }

    /// Sends what has not been sent yet, as far as that takes no longer than some seconds. To be called outside of the
    /// runtime, while that still runs.
    pub fn end(self) {
        let ended = [
            self.traces.map(|it| it.shutdown_with_timeout(PATIENCE)),
            self.logs.map(|it| it.shutdown_with_timeout(PATIENCE)),
        ];
        for error in ended.into_iter().flatten().filter_map(Result::err) {
            tracing::warn!("not everything could be sent to the collector: {error}");
        }
    }
}

/// Has a span belong to the trace that a request says it belongs to (W3C Trace Context).
pub(crate) fn continue_trace(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() {
        return;
    }
    let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    if parent.span().span_context().is_valid() {
        // It fails when there is nobody to collect it.
        let _ = span.set_parent(parent);
    }
}

/// Sends by the runtime what is sent from a thread of the exporter's own.
#[derive(Debug)]
struct OnRuntime {
    client: HyperClient,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self
            .runtime
            .spawn(async move { client.send_bytes(request).await });
        sent.await?
    }
}
