//! A question to who answers by HTTP: the operator's socket of a node, or the monitoring port of the broker.

use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};

/// What is found under a path.
///
/// # Errors
/// There is no answer, or it is an error.
pub fn get(mut connection: impl Read + Write, path: &str) -> Result<String> {
    // With 1.0 the answer comes in one piece and ends with the connection.
    write!(connection, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    connection
        .read_to_string(&mut answer)
        .with_context(|| format!("no answer to GET {path}"))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("no whole answer to GET {path}"))?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(
        status.split(' ').nth(1) == Some("200"),
        "GET {path} was answered: {status}"
    );
    Ok(body.to_owned())
}
