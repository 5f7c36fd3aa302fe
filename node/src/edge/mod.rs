//! What every call passes before it is a request: a layer around all services of a listener. By the
//! head of a call alone it is judged whether there is such a call, who makes it and may, for how long,
//! and in which form; nothing of a stranger's body is read. It holds a place for each stream of answers,
//! sees to it that bodies come and that calls end, and that nobody is refused without a reason. It must
//! never know what a call means.

pub(crate) mod body;
pub(crate) mod deadline;
mod refusals;
pub(crate) mod rpcs;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use consilium_proto::names::SpiffeId;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tower::Layer;

use self::body::{Awaited, Pace, Place as PlaceInBody, TimedBody};
use self::deadline::Deadline;
use self::rpcs::{Rpc, Shape, Table};
use crate::api::errors::Reason;
use crate::handle::reserve::{Place, Reserve, Room};
use crate::transport::connections::{Busy, PeerInfo};

/// What clients send comes at least as fast.
const PACE_OF_CLIENTS: Pace = Pace { patience: Duration::from_secs(10), bytes_per_s: 64 * 1024 };
/// What peers send: a message of theirs is large, and their lines are better.
const PACE_OF_PEERS: Pace = Pace { patience: Duration::from_secs(20), bytes_per_s: 256 * 1024 };
/// Of so many identities' streams, a member's people have their room together.
const IDENTITIES_OF_MEMBER: usize = 4;
/// Of so many identities' streams there is room in all.
const IDENTITIES: usize = 16;
/// Longest call of a peer that says nothing of its time: it is a stream, mostly.
const PEER_CALL_MAX: Duration = Duration::from_secs(60 * 60);

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Edge(Arc<Door>);

/// What is known of all calls of a listener.
#[derive(Debug)]
struct Door {
    rpcs: Table,
    pace: Pace,
    /// Longest wait of a call.
    longest: Duration,
    /// Places for streams of answers, where there are few for each.
    streams: Option<Reserve<SpiffeId>>,
}

impl Edge {
    /// Of the listener for clients, of whom each may have so many streams open.
    pub(crate) fn of_clients(streams_each: usize, longest: Duration) -> Self {
        let streams = Some(Reserve::new(room(streams_each)));
        Self(Arc::new(Door { rpcs: rpcs::of_clients(), pace: PACE_OF_CLIENTS, longest, streams }))
    }

    /// Of the listener for peers: their calls have places of their own.
    pub(crate) fn of_peers() -> Self {
        Self(Arc::new(Door { rpcs: rpcs::of_peers(), pace: PACE_OF_PEERS, longest: PEER_CALL_MAX, streams: None }))
    }
}

/// How many streams there may be, where each identity has so many.
fn room(each: usize) -> Room {
    Room { each, group: each.saturating_mul(IDENTITIES_OF_MEMBER), all: each.saturating_mul(IDENTITIES) }
}

/// A call that may be made.
struct Admitted {
    rpc: Rpc,
    deadline: Deadline,
    held: Held,
}

/// What a call holds for as long as it is answered.
#[derive(Debug)]
struct Held {
    _place: Option<Place<SpiffeId>>,
    _busy: Busy,
}

impl Door {
    /// Judges a call by its head.
    fn admit(&self, request: &Request<Body>) -> Result<Admitted, Status> {
        let path = request.uri().path();
        let rpc = *self.rpcs.get(path).ok_or_else(|| refusals::unknown(path))?;
        let info = request.extensions().get::<PeerInfo>();
        let info = info.ok_or_else(|| Reason::IdentityRefused.status("no identity on this connection"))?;
        let caller = info.identity.spiffe_id();
        if !info.stands() {
            tracing::info!(identity = %caller, "request of a fallen identity refused");
            return Err(Reason::IdentityRefused.status("the identity certificate is not accepted any more"));
        }
        if !rpc.who.contains(&caller.role()) {
            return Err(Reason::PermissionDenied.status(rpc.why));
        }
        plain(request)?;
        let deadline = Deadline::of(request.headers(), self.longest).map_err(|e| Reason::InvalidArgument.field(&e))?;
        let place = match rpc.shape {
            Shape::Unary | Shape::Requests => None,
            Shape::Answers | Shape::Both => self.place(caller)?,
        };
        Ok(Admitted { rpc, deadline, held: Held { _place: place, _busy: info.busy() } })
    }

    /// A place for a stream of answers.
    fn place(&self, caller: &SpiffeId) -> Result<Option<Place<SpiffeId>>, Status> {
        let Some(streams) = &self.streams else { return Ok(None) };
        let place = streams.take(caller).ok_or_else(|| {
            Reason::Overloaded.status(
                "too many streams are open: an identity may have limits.streams_per_identity_max, a member's \
                 identities four times as many together; end one of them",
            )
        })?;
        Ok(Some(place))
    }
}

/// Compressed messages are not taken: records are encrypted, and do not get smaller.
fn plain(request: &Request<Body>) -> Result<(), Status> {
    match request.headers().get("grpc-encoding").map(|encoding| encoding.as_bytes()) {
        None | Some(b"identity") => Ok(()),
        Some(_) => {
            let why = "compressed messages are not taken; send them as they are (grpc-encoding: identity)";
            let mut refused = Reason::CompressionRefused.status(why);
            refused
                .metadata_mut()
                .insert("grpc-accept-encoding", tonic::metadata::MetadataValue::from_static("identity"));
            Err(refused)
        }
    }
}

/// The time of a call is over.
fn too_late(rpc: &Rpc) -> Status {
    match rpc.executes {
        true => Reason::OutcomeUnknown
            .status("the time of the call is over; a transaction in it may still be executed: send the same one again"),
        false => Reason::Deadline.status("the time of the call is over; ask again, with more of it"),
    }
}

impl<S> Layer<S> for Edge {
    type Service = Edged<S>;

    fn layer(&self, service: S) -> Edged<S> {
        Edged { door: Arc::clone(&self.0), service }
    }
}

/// A service behind a door.
#[derive(Debug, Clone)]
pub(crate) struct Edged<S> {
    door: Arc<Door>,
    service: S,
}

impl<S> Service<Request<Body>> for Edged<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Admitted { rpc, deadline, held } = match self.door.admit(&request) {
            Ok(admitted) => admitted,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        request.extensions_mut().insert(deadline);
        let awaited = match rpc.shape {
            Shape::Unary | Shape::Answers => Awaited::End,
            Shape::Requests | Shape::Both => Awaited::Rest(PlaceInBody::default()),
        };
        let pace = self.door.pace;
        let answer = self.service.call(request.map(|body| Body::new(TimedBody::new(body, pace, awaited))));
        Box::pin(async move {
            let mut response = match rpc.shape {
                // A stream of messages ends with its last one.
                Shape::Requests => answer.await?,
                Shape::Unary | Shape::Answers | Shape::Both => {
                    match tokio::time::timeout_at(deadline.ends, answer).await {
                        Ok(answer) => answer?,
                        Err(_) => return Ok(too_late(&rpc).into_http()),
                    }
                }
            };
            refusals::complete(response.headers_mut(), &rpc);
            Ok(match rpc.shape {
                Shape::Unary | Shape::Requests => response,
                Shape::Answers | Shape::Both => response.map(|body| Body::new(Answers { body, rpc, _held: held })),
            })
        })
    }
}

/// A stream of answers on its way.
struct Answers {
    body: Body,
    rpc: Rpc,
    _held: Held,
}

impl HttpBody for Answers {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        Pin::new(&mut this.body).poll_frame(cx).map_ok(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                refusals::complete(trailers, &this.rpc);
            }
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
