//! What a collector gets by OTLP: traces of requests and events, and the log.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tulpar_tests::{Connect, PATIENCE, Server, Signal, connect, eventually, json};

/// A collector that keeps what it gets.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    lines: Arc<Mutex<Vec<String>>>,
    services: Arc<Mutex<Vec<String>>>,
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(text(found.value.as_ref()))
}

impl Collector {
    /// Listens; returns its address as the configuration has it.
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let collector = Self::default();
        let accepting = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        (collector, format!("http://{address}"))
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut got = Vec::new();
        loop {
            let head = loop {
                if let Some(end) = got.windows(4).position(|it| it == b"\r\n\r\n") {
                    break end + 4;
                }
                if stream.read_buf(&mut got).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let text = String::from_utf8_lossy(&got[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok())
                .expect("it says how long it is");
            while got.len() < head + length {
                if stream.read_buf(&mut got).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            self.take(&text, &got[head..head + length]);
            got.drain(..head + length);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.expect("it is read");
        }
    }

    fn take(&self, head: &str, body: &[u8]) {
        if head.starts_with("post /v1/traces ") {
            let request = ExportTraceServiceRequest::decode(body).expect("it is OTLP");
            for resource in request.resource_spans {
                self.note_service(resource.resource);
                let scopes = resource.scope_spans.into_iter();
                self.spans
                    .lock()
                    .unwrap()
                    .extend(scopes.flat_map(|it| it.spans));
            }
        } else {
            assert!(head.starts_with("post /v1/logs "), "{head}");
            let request = ExportLogsServiceRequest::decode(body).expect("it is OTLP");
            for resource in request.resource_logs {
                self.note_service(resource.resource);
                let scopes = resource.scope_logs.into_iter();
                let records = scopes.flat_map(|it| it.log_records);
                let lines = records.map(|record| text(record.body.as_ref()));
                self.lines.lock().unwrap().extend(lines);
            }
        }
    }

    fn note_service(&self, resource: Option<Resource>) {
        let attributes = resource.expect("it says whose").attributes;
        let name = attribute(&attributes, "service.name");
        self.services.lock().unwrap().extend(name);
    }

    fn span(&self, name: &str) -> Option<Span> {
        let spans = self.spans.lock().unwrap();
        spans.iter().find(|span| span.name == name).cloned()
    }

    /// Waits for such a line of the log.
    async fn line(&self, what: &str, is_it: impl Fn(&String) -> bool) {
        eventually(what, async || {
            let lines = self.lines.lock().unwrap();
            lines.iter().any(&is_it).then_some(())
        })
        .await;
    }
}

fn server(plugins: &[&str], endpoint: &str, more: &str) -> Server {
    let config = format!("[telemetry]\nendpoint = '{endpoint}'\n{more}");
    Server::with(plugins)
        .config(&config)
        // As often as can be: otherwise each five seconds.
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("OTEL_BLRP_SCHEDULE_DELAY", "50")
        .start()
}

#[tokio::test]
async fn a_request_and_its_middlewares_are_one_trace_and_an_event_is_another() {
    let (collector, endpoint) = Collector::start().await;
    let server = server(
        &["scripted", "attach"],
        &endpoint,
        "trace-one-in = 1\n[proxy]\ntrusted = ['127.0.0.1']",
    );
    let mut client = Connect::to(server.url("/scripted"))
        .header("x-forwarded-for", "192.0.2.7")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .open()
        .await;
    client.send("[]").await;
    let find = async |name: &str| eventually(name, async || collector.span(name)).await;
    let (request, middleware) = (find("request").await, find("middleware").await);
    assert_eq!(middleware.parent_span_id, request.span_id);
    // What the proxy said it belongs to.
    let hex: String = request
        .trace_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, "0af7651916cd43dd8448eb211c80319c");
    let of = |span: &Span, key: &str| attribute(&span.attributes, key);
    assert_eq!(
        of(&request, "http.response.status_code").as_deref(),
        Some("101")
    );
    assert_eq!(of(&request, "client.address").as_deref(), Some("192.0.2.7"));
    assert_eq!(of(&middleware, "plugin").as_deref(), Some("attach.wasm"));
    let message = find("on-message").await;
    assert_eq!(of(&message, "ns").as_deref(), Some("/scripted"));
    assert_ne!(message.trace_id, request.trace_id);
    assert_eq!(collector.services.lock().unwrap()[0], "tulpar");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_do_not_say_what_is_traced() {
    let (collector, endpoint) = Collector::start().await;
    let mut server = server(&["commander"], &endpoint, "trace-one-in = 1000000000");
    let mut client = Connect::to(server.url("/commander"))
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .open()
        .await;
    client
        .ask(json!({ "do": "log", "level": "info", "text": "it came so far" }))
        .await;
    let is_it = |line: &String| line.contains("it came so far");
    collector.line("the plugin's line", is_it).await;
    // Spans may come behind the lines, but not behind the end.
    server.signal(Signal::TERM);
    assert_eq!(client.expect_close().await.0, 1001);
    assert!(server.wait_exit(PATIENCE).success());
    assert_eq!(collector.span("request"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_sent_at_the_end() {
    let (collector, endpoint) = Collector::start().await;
    let config = format!("[telemetry]\nendpoint = '{endpoint}'\ntrace-one-in = 1");
    let mut server = Server::with(&["commander"]).config(&config).start();
    let mut client = connect(server.url("/commander")).await;
    client.ask(json!({ "do": "rooms" })).await;
    server.signal(Signal::TERM);
    assert_eq!(client.expect_close().await.0, 1001);
    assert!(server.wait_exit(PATIENCE).success());
    // What was sent may still have to be read here.
    eventually("the span", async || collector.span("on-message")).await;
    let is_it = |line: &String| line == "stopping";
    collector.line("the last line", is_it).await;
}

#[tokio::test]
async fn a_collector_that_is_not_there_is_said_and_keeps_nobody_from_serving() {
    let server = server(&["commander"], "http://127.0.0.1:9", "trace-one-in = 1");
    let mut client = connect(server.url("/commander")).await;
    client.ask(json!({ "do": "rooms" })).await;
    eventually("a complaint", async || {
        server.stderr.text().contains("opentelemetry").then_some(())
    })
    .await;
    client.ask(json!({ "do": "rooms" })).await;
}

#[tokio::test]
async fn what_is_to_be_logged_is_understood_or_refused() {
    for said in ["verbose", "info,plugin=loud"] {
        let server = Server::with(&[]).env("TULPAR_LOG", said);
        let (status, server) = server.start_in_vain();
        assert_eq!(status.code(), Some(2), "{said}");
        let why = server.stderr.text();
        assert!(why.contains("environment: TULPAR_LOG: "), "{said}: {why}");
    }
    // Empty is as if it were not set.
    let server = Server::with(&["echo"]).env("TULPAR_LOG", "").start();
    server.drop_in("broken.wasm", b"nonsense");
    server.log_line(&["refused", "broken.wasm"]);
}

#[tokio::test]
async fn the_environment_says_who_the_server_is_before_anything_else_does() {
    let (collector, address) = Collector::start().await;
    let server = Server::with(&["echo"])
        .config(&format!("[telemetry]\nendpoint = '{address}'"))
        .env("OTEL_BLRP_SCHEDULE_DELAY", "50")
        .env("OTEL_SERVICE_NAME", "")
        .env("OTEL_RESOURCE_ATTRIBUTES", "service.name=edge")
        .start();
    server.drop_in("broken.wasm", b"nonsense");
    eventually("something to be sent", async || {
        let services = collector.services.lock().unwrap();
        let first = services.first()?;
        assert_eq!(first, "edge");
        Some(())
    })
    .await;
}
