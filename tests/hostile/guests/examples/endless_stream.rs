//! A controller that streams for ever: as much as is taken, or with `/drip` a byte at a time. `/idle` answers at once.

#![cfg(target_family = "wasm")]

use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct EndlessStream;

wasip2::http::proxy::export!(EndlessStream);

impl Guest for EndlessStream {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("it is asked for once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("it is asked for once");
        match path.as_str() {
            "/idle" => {
                drop(stream.blocking_write_and_flush(b"idle"));
                drop(stream);
                drop(OutgoingBody::finish(body, None));
            }
            "/drip" => {
                while stream.blocking_write_and_flush(b".").is_ok() {
                    monotonic_clock::subscribe_duration(1_000_000).block();
                }
            }
            _ => while stream.blocking_write_and_flush(&[b'.'; 4096]).is_ok() {},
        }
    }
}
