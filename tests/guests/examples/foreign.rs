//! An HTTP component that knows nothing of Tulpar: it is written with `wstd`, as its documentation shows.

#![cfg(target_family = "wasm")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use wstd::http::body::{Body, Bytes, Frame, HttpBody};
use wstd::http::{Error, Request, Response, StatusCode};
use wstd::time::Duration;

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    match request.uri().path() {
        "/" => Ok(Response::new("Hello from elsewhere!\n".into())),
        "/echo" => Ok(Response::new(request.into_body())),
        "/headers" => headers(&request),
        "/wait" => {
            wait().await;
            Ok(Response::new("Thanks for waiting!\n".into()))
        }
        "/wait-body" => Ok(Response::new(Body::from_http_body(Late(Some(Box::pin(
            wait(),
        )))))),
        _ => not_found(&request),
    }
}

/// The headers of the request as JSON. Those of the same name are joined with `, `.
fn headers(request: &Request<Body>) -> Result<Response<Body>, Error> {
    let mut all = BTreeMap::<&str, String>::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        all.entry(name.as_str())
            .and_modify(|values| values.extend([", ", &value]))
            .or_insert_with(|| value.to_string());
    }
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(Body::from_json(&all)?)?)
}

/// Says which path it was, as this component sees it.
fn not_found(request: &Request<Body>) -> Result<Response<Body>, Error> {
    let response = Response::builder().status(StatusCode::NOT_FOUND);
    let what = request.method();
    Ok(response.body(
        format!(
            "no {what} of {}\n",
            request
                .uri()
                .path_and_query()
                .map_or("?", |path| path.as_str())
        )
        .into(),
    )?)
}

async fn wait() {
    wstd::task::sleep(Duration::from_millis(100)).await;
}

/// A body that begins when the head of its response has long been sent.
struct Late(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl HttpBody for Late {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(wait) = &mut self.0 else {
            return Poll::Ready(None);
        };
        ready!(wait.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(Some(Ok(Frame::data("Thanks for waiting!\n".into()))))
    }
}
