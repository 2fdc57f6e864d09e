//! Requests and responses as `wasi:http` moves them: in with `serve`, bodies either way for `fetch` too. A body is
//! whole in memory; how large it may be is the host's to say.

use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse,
    ResponseOutparam, http_error_code,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{OutputStream, StreamError};

use crate::controller::{Found, answer, find, refusal};
use crate::error::{Error, Result};
use crate::private::ControllerExport;
use crate::{Request, Response, log};

const READ_BYTES: u64 = 64 * 1024;

/// Answer one request to a controller.
pub fn serve<T: ControllerExport>(incoming: IncomingRequest, out: ResponseOutparam) {
    let method = method_name(incoming.method());
    let with_body = method != "HEAD";
    let response = respond::<T>(method, &incoming);
    drop(incoming);
    send(response, with_body, out);
}

fn respond<T: ControllerExport>(method: String, incoming: &IncomingRequest) -> Response {
    let target = incoming.path_with_query().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (index, params) = match find(T::ROUTES, &method, path) {
        Found::Route(index, params) => (index, params),
        Found::OtherMethods(methods) => {
            return refusal(405, "Method Not Allowed").header("Allow", methods);
        }
        Found::Nothing => return refusal(404, "Not Found"),
    };
    let body = match incoming.consume().map(|body| read(&body, u64::MAX)) {
        Ok(Ok(body)) => body,
        Ok(Err(ReadError::TooLarge)) => return refusal(413, "Content Too Large"),
        Ok(Err(ReadError::Failed(_))) | Err(()) => return refusal(400, "Bad Request"),
    };
    let request = Request {
        path: path.to_owned(),
        query: query.to_owned(),
        headers: incoming.headers().entries(),
        method,
        params,
        body,
    };
    let result = T::with(|it| it.call(index, &request));
    let (response, line) = answer(T::ROUTES[index], result);
    if let Some(line) = line {
        log::error(line);
    }
    response
}

fn send(response: Response, with_body: bool, out: ResponseOutparam) {
    let (outgoing, body) = match outgoing(&response) {
        Ok(outgoing) => (outgoing, response.body),
        Err(error) => {
            log::error(format!("a response cannot be sent: {error}"));
            let response = refusal(500, "Internal Server Error");
            match outgoing(&response) {
                Ok(outgoing) => (outgoing, response.body),
                // Without a response the host answers 500 by itself.
                Err(_) => return,
            }
        }
    };
    // Taken before the response goes away; left alone, there is none.
    let stream = (with_body && has_body(response.status)).then(|| outgoing.body());
    ResponseOutparam::set(out, Ok(outgoing));
    if let Some(Ok(stream)) = stream {
        // It fails when the client has gone, whom nobody can tell any more.
        let _ = write(stream, &body);
    }
}

fn outgoing(response: &Response) -> Result<OutgoingResponse> {
    let headers = Fields::new();
    for (name, value) in &response.headers {
        append(&headers, name, value)?;
    }
    if has_body(response.status) {
        let length = response.body.len().to_string();
        append(&headers, "content-length", length.as_bytes())?;
    }
    let outgoing = OutgoingResponse::new(headers);
    let set = outgoing.set_status_code(response.status);
    set.map_err(|()| Error::msg(format_args!("the status {} is not valid", response.status)))?;
    Ok(outgoing)
}

/// Statuses whose responses end with their headers (RFC 9110, sections 15.3.5 and 15.4.5).
fn has_body(status: u16) -> bool {
    !matches!(status, 204 | 304)
}

/// Add a header.
pub(crate) fn append(headers: &Fields, name: &str, value: &[u8]) -> Result<()> {
    let added = headers.append(name, value);
    added.map_err(|_| {
        Error::msg(format_args!(
            "the header `{name}` is not valid or not allowed"
        ))
    })
}

fn method_name(method: Method) -> String {
    match method {
        Method::Get => "GET".into(),
        Method::Head => "HEAD".into(),
        Method::Post => "POST".into(),
        Method::Put => "PUT".into(),
        Method::Delete => "DELETE".into(),
        Method::Connect => "CONNECT".into(),
        Method::Options => "OPTIONS".into(),
        Method::Trace => "TRACE".into(),
        Method::Patch => "PATCH".into(),
        Method::Other(name) => name,
    }
}

/// Why a body was not read.
pub(crate) enum ReadError {
    /// It is over the limit.
    TooLarge,
    /// It broke off.
    Failed(Option<ErrorCode>),
}

/// Read a body to its end, in chunks, up to `limit` bytes.
pub(crate) fn read(body: &IncomingBody, limit: u64) -> Result<Vec<u8>, ReadError> {
    let stream = body.stream().map_err(|()| ReadError::Failed(None))?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(match http_error_code(&error) {
                    Some(ErrorCode::HttpRequestBodySize(_)) => ReadError::TooLarge,
                    code => ReadError::Failed(code),
                });
            }
        }
        if bytes.len() as u64 > limit {
            return Err(ReadError::TooLarge);
        }
    }
}

/// A body that is being written. What it is the body of is broken off when this is dropped before its end.
pub(crate) struct Upload<'a> {
    // It is the body's child: it has to go first.
    stream: OutputStream,
    body: OutgoingBody,
    rest: &'a [u8],
    flushed: bool,
}

impl<'a> Upload<'a> {
    pub(crate) fn new(body: OutgoingBody, bytes: &'a [u8]) -> Result<Self, StreamError> {
        Ok(Self {
            stream: body.write().map_err(|()| StreamError::Closed)?,
            body,
            rest: bytes,
            flushed: false,
        })
    }

    /// Write it in the chunks that the host allows. Returns whether all of it is written: it stops where it would have to
    /// wait while something else is ready.
    pub(crate) fn write(&mut self, unless: Option<&Pollable>) -> Result<bool, StreamError> {
        loop {
            let allowed = usize::try_from(self.stream.check_write()?).unwrap_or(usize::MAX);
            if allowed == 0 {
                let room = self.stream.subscribe();
                match unless {
                    None => room.block(),
                    Some(other) if !poll(&[&room, other]).contains(&0) => return Ok(false),
                    Some(_) => {}
                }
            } else if !self.rest.is_empty() {
                let (chunk, rest) = self.rest.split_at(allowed.min(self.rest.len()));
                self.stream.write(chunk)?;
                self.rest = rest;
            } else if !self.flushed {
                // There is room again when all is flushed.
                self.stream.flush()?;
                self.flushed = true;
            } else {
                return Ok(true);
            }
        }
    }

    /// Say that all of it is written.
    pub(crate) fn finish(self) -> Result<(), StreamError> {
        drop(self.stream);
        OutgoingBody::finish(self.body, None).map_err(|_| StreamError::Closed)
    }
}

/// Write a body to its end.
pub(crate) fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), StreamError> {
    let mut upload = Upload::new(body, bytes)?;
    upload.write(None)?;
    upload.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_their_names() {
        assert_eq!(method_name(Method::Patch), "PATCH");
        assert_eq!(method_name(Method::Other("PURGE".into())), "PURGE");
    }

    #[test]
    fn responses_that_end_with_their_headers() {
        assert!(has_body(200) && has_body(404));
        assert!(!has_body(204) && !has_body(304));
    }
}
