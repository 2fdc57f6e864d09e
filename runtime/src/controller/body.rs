//! The bodies of a request and its response, bounded, and what their ends mean.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header;
use tokio::sync::watch;
use tokio::time::Instant;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::warn;
use crate::plugin::Plugin;

/// What those who have to do with a request tell each other.
#[derive(Clone, Default)]
pub(super) struct Course {
    /// The request's body was over its bound.
    pub(super) too_large: Flag,
    /// The controller has failed.
    pub(super) broken: Flag,
    /// Nobody reads the response any more.
    pub(super) abandoned: Flag,
    /// The controller has asked for more of the request's body than the client has sent.
    pub(super) unsent: Flag,
    /// The controller has written more of the response than the client has taken.
    pub(super) unread: Flag,
}

/// Something that is so or not.
#[derive(Clone, Default)]
pub(super) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(super) fn set(&self) {
        self.put(true);
    }

    fn put(&self, is_so: bool) {
        self.0.store(is_so, Ordering::Release);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Held by who waits for a response and then by its body. Dropped before the end, it tells that nobody does any more.
pub(super) struct Listener(pub(super) Course);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abandoned.set();
    }
}

/// The body of a request, bounded.
pub(super) struct RequestBody<B> {
    body: Pin<Box<Limited<B>>>,
    course: Course,
}

impl<B> RequestBody<B> {
    /// At most `limit` bytes of a body.
    pub(super) fn new(body: B, limit: usize, course: &Course) -> Self {
        Self {
            body: Box::pin(Limited::new(body, limit)),
            course: course.clone(),
        }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = self.body.as_mut().poll_frame(cx);
        self.course.unsent.put(frame.is_pending());
        Poll::Ready(ready!(frame).map(|frame| {
            frame.map_err(|error| match error.downcast::<LengthLimitError>() {
                Ok(_) => {
                    self.course.too_large.set();
                    Error::HttpRequestBodySize(None)
                }
                Err(error) => Error::InternalError(Some(error.to_string())),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a controller's response, bounded. When its controller fails it breaks off, so that nobody takes what there
/// is for the whole.
pub struct ResponseBody {
    /// None when nobody wants it.
    body: Option<Limited<HyperOutgoingBody>>,
    /// Bytes that are still to come, when it was said how many there are.
    left: Option<u64>,
    plugin: Arc<Plugin>,
    listener: Listener,
    /// When it has to be over.
    deadline: Instant,
}

/// How much later than its controller a connection is stopped, so that the log says who was too slow.
const LATER: Duration = Duration::from_millis(100);

/// When a connection is to be broken off, whatever it does; none while nothing is in the way.
pub type CutOff = watch::Sender<Option<Instant>>;

impl ResponseBody {
    /// What a plugin answers, with its body bounded.
    pub(super) fn of(
        plugin: &Arc<Plugin>,
        response: Response<HyperOutgoingBody>,
        listener: Listener,
        deadline: Instant,
    ) -> Response<Self> {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let left = length.and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|body| Self {
            body: Some(Limited::new(
                body,
                plugin.settings().limits.response_body_bytes,
            )),
            left,
            plugin: plugin.clone(),
            listener,
            deadline,
        })
    }

    /// Has the connection that it goes to broken off when its time is over: a client that does not read would hold what
    /// waits for it for ever, also when the body has ended. The next request on the connection takes that back, and has
    /// `pause` to come.
    #[must_use]
    pub fn or_cut_off(self, connection: &CutOff, pause: Duration) -> Self {
        connection.send_replace(Some(self.deadline + LATER.max(pause)));
        self
    }

    /// The body of an answer to HEAD: the controller writes it, and it goes nowhere.
    pub(super) fn for_nobody(mut self) -> Self {
        let unwanted = self.body.take();
        // It ends when the controller does, at its deadline if not before.
        tokio::spawn(async move {
            let mut unwanted = unwanted;
            while let Some(body) = &mut unwanted
                && let Some(Ok(_)) = body.frame().await
            {}
        });
        self
    }

    fn warn(&self, error: &(dyn std::error::Error + 'static)) {
        if error.is::<LengthLimitError>() {
            let limit = self.plugin.settings().limits.response_body_bytes;
            let what = format!("its response is over {limit} bytes (limits.response-body-bytes)");
            warn(&self.plugin, self.plugin.count_failure(), &what);
        } else {
            warn(
                &self.plugin,
                self.plugin.count_failure(),
                &format!("its response broke off: {error}"),
            );
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(cx);
        // The next one is asked for when the client has taken this one.
        let unread = &self.listener.0.unread;
        unread.put(matches!(frame, Poll::Ready(Some(Ok(_)))));
        let frame = ready!(frame);
        match &frame {
            Some(Err(error)) => self.warn(&**error),
            // The log has the reason.
            None if self.listener.0.broken.is_set() => {
                return Poll::Ready(Some(Err("the controller failed in its response".into())));
            }
            None => self.left = Some(0),
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left = self.left.map(|left| left.saturating_sub(length));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.body.is_none() || self.left == Some(0) {
            // All of it was read: what fails from now on is the controller's own failure.
            self.listener.0 = Course::default();
        } else {
            // Before the controller sees that what it writes is not read.
            self.listener.0.abandoned.set();
        }
    }
}
