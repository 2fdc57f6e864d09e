//! Other hosts, as plugins see them: what a test answers in their place, and no network behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tulpar_runtime::plugin::network::{Error, Network, RequestOptions, Rest, Sending, WasiBody};

use crate::{Request, Response};

type Answer = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

/// Other hosts by their names.
#[derive(Clone, Default)]
pub(crate) struct Hosts(BTreeMap<String, Answer>);

impl Hosts {
    pub(crate) fn add(
        &mut self,
        name: &str,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) {
        self.0.insert(name.to_owned(), Arc::new(answer));
    }
}

impl Network for Hosts {
    fn send(&self, request: hyper::Request<WasiBody>, _: Option<RequestOptions>) -> Sending {
        let authority = request.uri().authority();
        let name = authority.map_or("", |authority| authority.as_str());
        let host = authority.map_or("", |authority| authority.host());
        let answer = self.0.get(name).or_else(|| self.0.get(host)).cloned();
        let Some(answer) = answer else {
            println!("there is no host {name:?} in this test: add it by Builder::host");
            return Box::pin(async { Err(Error::DestinationNotFound) });
        };
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let said = answer(&Request::received(parts, body));
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
