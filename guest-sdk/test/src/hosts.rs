//! Other hosts, as plugins see them: what a test answers in their place, and no network behind it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Uri;
use hyper::http::uri::Scheme;
use tulpar_runtime::config::HostPattern;
use tulpar_runtime::plugin::network::{
    Error, Network, Permit, RequestOptions, Rest, Sending, WasiBody,
};

use crate::{Request, Response};

type Answer = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

/// What somebody panicked with.
type Panic = Box<dyn Any + Send>;

/// Other hosts by what a grant calls them. Of several that fit, the last one answers.
#[derive(Clone, Default)]
pub(crate) struct Hosts {
    answers: Vec<(HostPattern, Answer)>,
    /// What an answer has panicked with, the first that did: an assertion of the test, for instance.
    panicked: Arc<Mutex<Option<Panic>>>,
}

impl Hosts {
    pub(crate) fn add(
        &mut self,
        name: &str,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) {
        // What names no host is refused with the settings, where it stands as well.
        if let Ok(pattern) = HostPattern::try_from(name.to_owned()) {
            self.answers.push((pattern, Arc::new(answer)));
        }
    }

    /// The host of that address, found as the server finds whether it is granted.
    fn find(&self, uri: &Uri) -> Option<Answer> {
        let (host, port) = (uri.host()?, uri.port_u16());
        let default_port = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => 80,
            _ => 443,
        };
        let mut latest_first = self.answers.iter().rev();
        let found = latest_first.find(|(it, _)| it.allows(host, port, default_port));
        found.map(|(_, answer)| answer.clone())
    }

    /// Goes on with the panic of an answer, on the test's own thread. Answers are asked by tasks of the server: what ends
    /// one of those fails no test.
    pub(crate) fn resume_panic(&self) {
        // Two panics at once would end the process.
        if std::thread::panicking() {
            return;
        }
        let panicked = self
            .panicked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }
}

impl Network for Hosts {
    fn send(
        &self,
        request: hyper::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Permit,
    ) -> Sending {
        let Some(answer) = self.find(request.uri()) else {
            let name = request.uri().authority().map_or("", |it| it.as_str());
            println!("there is no host {name:?} in this test: add it by Builder::host");
            return Box::pin(async { Err(Error::DestinationNotFound) });
        };
        let panicked = self.panicked.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let request = Request::received(parts, body);
            let said = catch_unwind(AssertUnwindSafe(|| answer(&request))).map_err(|panic| {
                let mut first = panicked.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(panic);
                Error::ConnectionTerminated
            })?;
            let mut response = hyper::Response::new(body_of(said.body));
            *response.status_mut() = said.status;
            *response.headers_mut() = *said.headers;
            Ok((response, Box::new(async { Ok(()) }) as Rest))
        })
    }
}

fn body_of(bytes: Bytes) -> WasiBody {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_by_whatever_its_grant_allows() {
        let mut hosts = Hosts::default();
        hosts.add("*.example.com", |_| Response::new(201));
        hosts.add("API.example.com:443", |_| Response::new(202));
        hosts.add("plain.example.org", |_| Response::new(203));
        let status = |url: &str| {
            let found = hosts.find(&url.parse().unwrap());
            found.map(|answer| answer(&Request::get("/")).status())
        };
        for (url, expected) in [
            ("https://a.b.example.com/", Some(201)),
            ("https://A.Example.com:443/", Some(201)),
            // Of two that fit, the one that was named last; it has a port, which is not that of HTTP.
            ("https://api.example.com/", Some(202)),
            ("http://api.example.com/", Some(201)),
            ("http://plain.EXAMPLE.org:80/", Some(203)),
            ("https://plain.example.org./", Some(203)),
            ("https://example.com/", None),
            ("https://api.example.com:8443/", None),
            ("/", None),
        ] {
            assert_eq!(status(url), expected, "{url}");
        }
    }
}
