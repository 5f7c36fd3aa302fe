//! Work for others: requests of clients and of peers, and what handshakes bring. A panic there is
//! a mistake of ours that somebody found, who could make it on every node: it ends the request,
//! with `INTERNAL`, and nothing else. What is shared with the rest of the node is told by messages
//! and read from snapshots, so that a request takes no half-done work with it.
//!
//! A panic of any other thread ends the process
//! ([`end_process_on_panic`](crate::runtime::end_process_on_panic)).

use std::any::Any;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{Semaphore, mpsc};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tower::Layer;

use crate::api::errors::Reason;

thread_local! {
    /// Whether what runs on this thread is work for others.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// The work has panicked; where and why is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node made a mistake with this request; its log says which")]
pub struct Panicked;

impl From<Panicked> for Status {
    fn from(panicked: Panicked) -> Self {
        Reason::Internal.status(panicked.to_string())
    }
}

/// Whether a panic on this thread, now, would end no more than a request.
#[must_use]
pub fn is_contained() -> bool {
    CONTAINED.get()
}

/// Does work for others.
///
/// # Errors
/// If it panics.
pub fn call<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let outer = CONTAINED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(outer);
    done.map_err(|_| Panicked)
}

/// As [`call`], for a future.
///
/// # Errors
/// If it panics.
pub async fn future<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    poll_fn(|cx| match call(|| work.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// Threads for work that waits for the disk. Whoever brings such work has a few places for it, so
/// that it never queues here, where one kind of work would hold up all others: reads of clients,
/// urgent ones, reads of peers, reads that were answered late. The rest is for what comes one at a
/// time, and for looking up names.
pub const BLOCKING_THREADS_MAX: usize = crate::api::READS_AT_ONCE
    + crate::transport::callers::READS_MAX
    + crate::api::late::JOURNAL_AT_ONCE
    + OTHER_BLOCKING_WORK;
/// Looks at attachments and at what is due, one each, and names of other nodes to be looked up.
const OTHER_BLOCKING_WORK: usize = 24;

/// As [`call`], for work that waits for the disk. Whoever has it done bounds how much there is of it at
/// once, within [`BLOCKING_THREADS_MAX`].
///
/// # Errors
/// If it panics, or the node is stopping.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    tokio::task::spawn_blocking(move || call(work)).await.unwrap_or(Err(Panicked))
}

/// As [`blocking`], once there is a place, which is taken until the work is done, whether somebody
/// still waits for it or not.
///
/// # Errors
/// If it panics, or the node is stopping.
pub async fn blocking_in<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    // Nobody closes the places of a node that runs.
    let place = Arc::clone(places).acquire_owned().await.map_err(|_| Panicked)?;
    blocking(move || {
        let _place = place;
        work()
    })
    .await
}

/// Where the items of a stream of answers go.
pub type Items<T> = mpsc::Sender<Result<T, Status>>;

/// Lets a task of its own make the items of a stream of answers. It waits for its reader as a task,
/// and does what waits for the disk by [`blocking`], a piece at a time: a reader that takes nothing
/// must hold no thread.
pub fn feed<T, F>(items: Items<T>, work: impl FnOnce(Items<T>) -> F)
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let work = work(items.clone());
    tokio::spawn(async move {
        if let Err(panicked) = future(work).await {
            let _ = items.send(Err(panicked.into())).await;
        }
    });
}

/// Contains every request of a server.
#[derive(Debug, Clone, Copy)]
pub struct ContainRequests;

impl<S> Layer<S> for ContainRequests {
    type Service = Contained<S>;

    fn layer(&self, service: S) -> Contained<S> {
        Contained(service)
    }
}

/// A service whose requests are contained.
#[derive(Debug, Clone)]
pub struct Contained<S>(S);

impl<S> Service<Request<Body>> for Contained<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<ContainedBody>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = call(|| self.0.call(request));
        Box::pin(async move {
            let response = match answer {
                Ok(answer) => future(answer).await,
                Err(panicked) => Err(panicked),
            };
            match response {
                Ok(response) => {
                    let mut response = response?;
                    let _held = response.extensions_mut().remove();
                    Ok(response.map(|body| ContainedBody { body: Some(body), _held }))
                }
                Err(panicked) => Ok(Status::from(panicked).into_http()),
            }
        })
    }
}

/// Something that an answer holds until it is sent, or its receiver is gone: an extension of the
/// response.
#[derive(Debug, Clone)]
pub struct Held {
    _held: Arc<dyn Any + Send + Sync>,
}

impl Held {
    /// Holds it.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self { _held: Arc::new(held) }
    }
}

/// The body of an answer: the items of a stream are made while it is sent.
#[derive(Debug, Default)]
pub struct ContainedBody {
    body: Option<Body>,
    _held: Option<Held>,
}

impl HttpBody for ContainedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match call(|| Pin::new(body).poll_frame(cx)) {
            Ok(polled) => polled,
            Err(panicked) => {
                self.body = None;
                let mut trailers = HeaderMap::new();
                let ended = Status::from(panicked).add_header(&mut trailers);
                Poll::Ready(Some(ended.map(|()| Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

#[cfg(test)]
mod tests;
