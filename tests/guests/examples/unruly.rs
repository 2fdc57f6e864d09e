//! An HTTP controller that misbehaves as the path says. It is written against `wasi:http` itself, so that nothing
//! between keeps it from doing so.

#![cfg(target_family = "wasm")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Map, Value, json};
use wasip2::cli::stdout::get_stdout;
use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingRequest,
    OutgoingResponse, ResponseOutparam, Scheme,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// The most that `blocking-write-and-flush` takes at once.
const AT_ONCE: usize = 4096;

/// How many requests this instance has seen.
static REQUESTS: AtomicU32 = AtomicU32::new(0);

struct Unruly;

wasip2::http::proxy::export!(Unruly);

impl Guest for Unruly {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let seen = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        // For a test that cannot tell otherwise that a request is under way.
        println!("asked for {path}");
        match path {
            "/trap" => panic!("told to trap"),
            "/loop" => loop {
                black_box(seen);
            },
            "/sleep" => monotonic_clock::subscribe_duration(u64::MAX).block(),
            "/nothing" => (),
            "/error" => {
                let error = ErrorCode::InternalError(Some("told to fail".to_owned()));
                ResponseOutparam::set(out, Err(error));
            }
            "/stream-for-ever" => stream_for_ever(out),
            "/trap-in-body" => trap_in_body(out),
            "/short" => short(out),
            "/huge" => huge(out, number(query, "bytes")),
            "/status" => answer(out, number(query, "code") as u16, b"the body"),
            "/bad-status" => bad_status(out),
            "/bad-header" => bad_header(out),
            "/many-headers" => many_headers(out, number(query, "count")),
            "/read-slowly" => answer_length(out, &request, || {
                monotonic_clock::subscribe_duration(5_000_000).block();
            }),
            "/ignore-body" => answer(out, 200, b"ignored"),
            "/count-body" => answer_length(out, &request, || ()),
            "/bomb" => bomb(),
            "/recurse" => drop(black_box(recurse(seen.into()))),
            "/out" => call_out(out, query.strip_prefix("url=").unwrap_or_default()),
            "/state" => answer(out, 200, seen.to_string().as_bytes()),
            "/env" => environment(out),
            "/print" => print(out, number(query, "bytes") as usize),
            "/no-path" => answer(out, 200, no_path(number(query, "times")).as_bytes()),
            "/scheme" => answer(out, 200, format!("{:?}", request.scheme()).as_bytes()),
            "/echo" => echo(out, &request),
            _ => answer(out, 404, b"nothing unruly here"),
        }
    }
}

/// The number behind `KEY=`; 0 when there is none.
fn number(query: &str, key: &str) -> u64 {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .next();
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_default()
}

/// Begins a response. Both have to be kept until the body is written.
fn begin(out: ResponseOutparam, status: u16, headers: Fields) -> (OutgoingBody, OutputStream) {
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("the status is one");
    let body = response.body().expect("it is asked for once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("it is asked for once");
    (body, stream)
}

fn write(stream: &OutputStream, bytes: &[u8]) -> Result<(), StreamError> {
    bytes
        .chunks(AT_ONCE)
        .try_for_each(|chunk| stream.blocking_write_and_flush(chunk))
}

/// Answers in order. That nobody takes the body is no failure: there is none in the answer to a HEAD.
fn answer(out: ResponseOutparam, status: u16, text: &[u8]) {
    answer_with(out, status, Fields::new(), text);
}

fn answer_with(out: ResponseOutparam, status: u16, headers: Fields, text: &[u8]) {
    let (body, stream) = begin(out, status, headers);
    let written = write(&stream, text);
    drop(stream);
    if written.is_ok() {
        drop(OutgoingBody::finish(body, None));
    }
}

/// Prints so many empty lines with one call, whatever there is room for.
/// Sends requests that say no path, and counts how many are refused.
fn no_path(times: u64) -> String {
    let refused = (0..times).filter(|_| {
        let request = OutgoingRequest::new(Fields::new());
        let named = request.set_authority(Some("elsewhere.example"));
        named.is_ok() && outgoing_handler::handle(request, None).is_err()
    });
    refused.count().to_string()
}

fn print(out: ResponseOutparam, bytes: usize) {
    let printed = get_stdout().write(&vec![b'\n'; bytes]);
    printed.expect("it is taken");
    answer(out, 200, b"printed");
}

/// Ends when nobody reads any more, and not before.
fn stream_for_ever(out: ResponseOutparam) {
    let (_body, stream) = begin(out, 200, Fields::new());
    while write(&stream, &[b'.'; 1000]).is_ok() {}
}

fn trap_in_body(out: ResponseOutparam) {
    let (_body, stream) = begin(out, 200, Fields::new());
    for chunk in 1..=3 {
        drop(write(&stream, format!("chunk {chunk}\n").as_bytes()));
    }
    panic!("told to trap in the body");
}

/// Announces more than it sends.
fn short(out: ResponseOutparam) {
    let headers = Fields::new();
    let length = headers.append("content-length", b"100");
    length.expect("a length is allowed");
    answer_with(out, 200, headers, b"ten bytes.");
}

fn huge(out: ResponseOutparam, bytes: u64) {
    let (body, stream) = begin(out, 200, Fields::new());
    let mut left = bytes;
    while left > 0 {
        let length = left.min(AT_ONCE as u64);
        if write(&stream, &[b'.'; AT_ONCE][..length as usize]).is_err() {
            return;
        }
        left -= length;
    }
    drop(stream);
    drop(OutgoingBody::finish(body, None));
}

/// What was said to statuses that are none.
fn bad_status(out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let said: Map<_, _> = [99, 1000]
        .into_iter()
        .map(|status| {
            (
                status.to_string(),
                json!(response.set_status_code(status).is_ok()),
            )
        })
        .collect();
    drop(response);
    answer(out, 200, json!(said).to_string().as_bytes());
}

/// What was said to headers that nobody may send. Those that were accepted are sent.
fn bad_header(out: ResponseOutparam) {
    let headers = Fields::new();
    let said: Vec<Value> = [
        ("x-good", "good"),
        ("", "no name"),
        ("bad name", "a space"),
        ("bad\nname", "a line's end"),
        ("bad:name", "a colon"),
        ("x-line", "good\r\nx-evil: evil"),
        ("x-return", "good\rx-evil: evil"),
        ("x-feed", "good\nx-evil: evil"),
        ("x-nul", "good\0"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("host", "elsewhere"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
    ]
    .into_iter()
    .map(|(name, value)| {
        let said = match headers.append(name, value.as_bytes()) {
            Ok(()) => "accepted".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        json!([name, value, said])
    })
    .collect();
    answer_with(out, 200, headers, json!(said).to_string().as_bytes());
}

/// Adds and sends that many headers, or as many as are accepted.
fn many_headers(out: ResponseOutparam, count: u64) {
    let headers = Fields::new();
    let added = (0..count)
        .take_while(|index| {
            headers
                .append(&format!("x-many-{index}"), b"one of many")
                .is_ok()
        })
        .count();
    answer_with(out, 200, headers, added.to_string().as_bytes());
}

/// Reads the body piece by piece, and answers its length, or `error`.
fn answer_length(out: ResponseOutparam, request: &IncomingRequest, mut between: impl FnMut()) {
    let body = request.consume().expect("it is asked for once");
    let mut length = 0;
    let read = read(&body, 16, |bytes| {
        length += bytes.len();
        between();
        Ok(())
    });
    match read {
        Ok(()) => answer(out, 200, length.to_string().as_bytes()),
        Err(_) => answer(out, 200, b"error"),
    }
}

/// Hands over the body in pieces of at most that size, until its end.
fn read(
    body: &IncomingBody,
    at_most: u64,
    mut each: impl FnMut(&[u8]) -> Result<(), StreamError>,
) -> Result<(), StreamError> {
    let stream: InputStream = body.stream().expect("it is asked for once");
    loop {
        match stream.blocking_read(at_most) {
            Ok(bytes) => each(&bytes)?,
            Err(StreamError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Sends each piece of the body back before it reads the next.
fn echo(out: ResponseOutparam, request: &IncomingRequest) {
    let (body, stream) = begin(out, 200, Fields::new());
    let incoming = request.consume().expect("it is asked for once");
    let echoed = read(&incoming, AT_ONCE as u64, |bytes| write(&stream, bytes));
    drop(stream);
    if echoed.is_ok() {
        drop(OutgoingBody::finish(body, None));
    }
}

fn bomb() {
    loop {
        black_box(Vec::<u8>::with_capacity(1 << 20)).leak();
    }
}

fn recurse(depth: u64) -> u64 {
    let below = black_box([depth; 64]);
    // The compiler must not see that it never ends.
    match black_box(below[0]) {
        u64::MAX => 0,
        depth => recurse(depth + 1) + below[1],
    }
}

/// Requests a URL, and answers its status and the beginning of its body, or with 502 the error.
fn call_out(out: ResponseOutparam, url: &str) {
    match fetch(url) {
        Ok((status, beginning)) => {
            let text = String::from_utf8_lossy(&beginning);
            let said = json!({ "status": status, "body": text });
            answer(out, 200, said.to_string().as_bytes());
        }
        Err(error) => answer(out, 502, error.as_bytes()),
    }
}

fn fetch(url: &str) -> Result<(u16, Vec<u8>), String> {
    let (scheme, rest) = url.split_once("://").ok_or("no URL")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let request = OutgoingRequest::new(Fields::new());
    request
        .set_scheme(Some(&scheme))
        .map_err(|()| "bad scheme")?;
    request
        .set_authority(Some(authority))
        .map_err(|()| "bad authority")?;
    request
        .set_path_with_query(Some(path))
        .map_err(|()| "bad path")?;

    let failed = |error: ErrorCode| format!("{error:?}");
    let response = outgoing_handler::handle(request, None).map_err(failed)?;
    response.subscribe().block();
    let response = response.get().ok_or("no response")?;
    let response = response
        .map_err(|()| "the response is gone")?
        .map_err(failed)?;
    let body = response.consume().map_err(|()| "the body is gone")?;
    let stream = body.stream().map_err(|()| "the stream is gone")?;
    match stream.blocking_read(100) {
        Ok(beginning) => Ok((response.status(), beginning)),
        Err(StreamError::Closed) => Ok((response.status(), Vec::new())),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// What it is told of the machine: nothing, one hopes.
fn environment(out: ResponseOutparam) {
    let variables: BTreeMap<_, _> = std::env::vars().collect();
    let arguments: Vec<_> = std::env::args().collect();
    let said = json!({ "variables": variables, "arguments": arguments });
    answer(out, 200, said.to_string().as_bytes());
}
