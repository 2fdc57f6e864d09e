//! A middleware written against the contract itself, with the name that a test writes into its file. It does what
//! the request header `x-NAME` says, and reports each outcome in the response header `x-NAME-outcomes`.

#![allow(unsafe_code, reason = "the bindings that wit-bindgen makes")]
#![cfg(target_family = "wasm")]

use std::hint::{black_box, spin_loop};

use serde::Deserialize;
use serde_json::{Value, json};
use tulpar_test_guests::mould;

wit_bindgen::generate!({ world: "middleware", path: "../../wit", generate_all });

use crate::tulpar::plugin::types::Header;
use exports::tulpar::plugin::middleware_handler::{Context, Descriptor, Guest, Response, Verdict};

static BLOB: [u8; mould::LENGTH] = mould::blank();

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Step {
    /// Attaches a text to the connection.
    Value {
        json: String,
    },
    /// Attaches a JSON text of so many bytes.
    ValueOf {
        bytes: usize,
    },
    ReadValue,
    Set {
        key: String,
        json: String,
    },
    /// Sets a JSON text of so many bytes.
    SetOf {
        key: String,
        bytes: usize,
    },
    Get {
        key: String,
    },
    Header {
        name: String,
        value: String,
    },
    /// Adds so many headers, and tells how many were taken.
    Headers {
        times: usize,
    },
    Respond {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// Responds with a body of so many bytes.
    RespondOf {
        bytes: usize,
    },
    /// Responds with all that the context says.
    Describe {
        queries: Vec<String>,
        headers: Vec<String>,
    },
    Error {
        text: String,
    },
    Panic,
    Loop,
    Bomb,
}

struct Gate;

impl Guest for Gate {
    fn describe() -> Descriptor {
        let moulded = mould::read(&BLOB);
        mould::misbehave(&moulded);
        Descriptor { name: moulded.name }
    }

    fn handle(context: &Context) -> Result<Verdict, String> {
        let moulded = mould::read(&BLOB);
        if let Some((name, value)) = &moulded.header {
            context.set_response_header(name, value.as_bytes())?;
        }
        let Some(steps) = context.header(&format!("x-{}", moulded.name)) else {
            return Ok(Verdict::Next);
        };
        let steps: Vec<Step> = serde_json::from_str(&steps).map_err(|error| error.to_string())?;
        let mut outcomes = Vec::new();
        let mut verdict = Verdict::Next;
        for step in steps {
            let outcome = match step {
                Step::Value { json } => outcome(context.set_web_socket_value(&json)),
                Step::ValueOf { bytes } => outcome(context.set_web_socket_value(&json_of(bytes))),
                Step::ReadValue => context.web_socket_value().into(),
                Step::Set { key, json } => outcome(context.set(&key, &json)),
                Step::SetOf { key, bytes } => outcome(context.set(&key, &json_of(bytes))),
                Step::Get { key } => context.get(&key).into(),
                Step::Header { name, value } => {
                    outcome(context.set_response_header(&name, value.as_bytes()))
                }
                Step::Headers { times } => {
                    let add = |index: &usize| {
                        context
                            .set_response_header(&format!("x-{index}"), b"y")
                            .is_ok()
                    };
                    (0..times).take_while(add).count().into()
                }
                Step::Respond {
                    status,
                    headers,
                    body,
                } => {
                    let raw = |(name, value): (String, String)| Header {
                        name,
                        value: value.into_bytes(),
                    };
                    let headers = headers.into_iter().map(raw).collect();
                    verdict = Verdict::Respond(Response {
                        status,
                        headers,
                        body: body.into_bytes(),
                    });
                    break;
                }
                Step::RespondOf { bytes } => {
                    verdict = Verdict::Respond(Response {
                        status: 200,
                        headers: Vec::new(),
                        body: vec![b'x'; bytes],
                    });
                    break;
                }
                Step::Describe { queries, headers } => {
                    let body = describe(context, &queries, &headers)
                        .to_string()
                        .into_bytes();
                    verdict = Verdict::Respond(Response {
                        status: 200,
                        headers: Vec::new(),
                        body,
                    });
                    break;
                }
                Step::Error { text } => return Err(text),
                Step::Panic => panic!("the gate fell"),
                Step::Loop => {
                    // For a test that cannot tell otherwise that a request is under way.
                    println!("the gate turns");
                    loop {
                        spin_loop();
                    }
                }
                Step::Bomb => bomb(),
            };
            outcomes.push(outcome);
        }
        if !outcomes.is_empty() {
            let name = format!("x-{}-outcomes", moulded.name);
            context.set_response_header(&name, Value::from(outcomes).to_string().as_bytes())?;
        }
        Ok(verdict)
    }
}

fn outcome(result: Result<(), String>) -> Value {
    match result {
        Ok(()) => "done".into(),
        Err(text) => json!({ "error": text }),
    }
}

/// A JSON text of exactly so many bytes.
fn json_of(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

fn describe(context: &Context, queries: &[String], headers: &[String]) -> Value {
    let all = context.headers();
    let all: Vec<_> = all
        .iter()
        .map(|header| json!([header.name, String::from_utf8_lossy(&header.value)]))
        .collect();
    json!({
        "method": context.method(),
        "path": context.path(),
        "uri": context.uri(),
        "remote-address": context.remote_address(),
        "queries": queries.iter().map(|name| context.query(name)).collect::<Vec<_>>(),
        "header": headers.iter().map(|name| context.header(name)).collect::<Vec<_>>(),
        "headers": all,
    })
}

fn bomb() -> Value {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

export!(Gate);
