//! Bodies of requests that must come. Whoever begins a message and does not send the rest of it makes
//! the node keep what came, for as long as it likes; so there is a time for that, and a little more for
//! each byte that came. Of a call with one message the body must end in that time; a stream of messages
//! may rest between them for ever.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use crate::api::errors::Reason;

/// Of gRPC: whether a message is compressed, and its length.
const PREFIX: usize = 5;
/// When nobody has looked for so long after a body was late, nobody has asked for it: it is not the
/// sender's fault.
const NOT_ASKED_FOR: Duration = Duration::from_secs(1);

/// How long a sender may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// For the first byte, and for however few there are.
    pub(crate) patience: Duration,
    /// What comes more slowly is late.
    pub(crate) bytes_per_s: u32,
}

impl Pace {
    fn within(self, bytes: usize) -> Duration {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.patience + Duration::from_secs(1) * bytes / self.bytes_per_s
    }
}

/// What of a body is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Awaited {
    /// All of it.
    End,
    /// The rest of each message that has begun.
    Rest(Place),
}

/// Where in a stream of messages a body is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// Bytes of the prefix that have come.
    prefix: usize,
    length: u32,
    /// Bytes of the message that have not come, once its prefix has.
    left: usize,
}

impl Place {
    fn is_between(&self) -> bool {
        self.prefix == 0 && self.left == 0
    }

    fn advance(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = bytes.get(taken..).unwrap_or_default();
                continue;
            }
            if self.prefix > 0 {
                self.length = self.length << 8 | u32::from(*first);
            }
            self.prefix += 1;
            if self.prefix == PREFIX {
                *self = Self { left: self.length as usize, ..Self::default() };
            }
            bytes = rest;
        }
    }
}

/// A body that comes in time, or fails.
pub(crate) struct TimedBody {
    body: Body,
    pace: Pace,
    awaited: Awaited,
    began: Instant,
    bytes: usize,
    late: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    /// That of a request that arrives now.
    pub(crate) fn new(body: Body, pace: Pace, awaited: Awaited) -> Self {
        Self { body, pace, awaited, began: Instant::now(), bytes: 0, late: None }
    }

    fn took(&mut self, data: &[u8]) {
        self.bytes += data.len();
        if let Awaited::Rest(place) = &mut self.awaited {
            let was_between = place.is_between();
            place.advance(data);
            if was_between || place.is_between() {
                (self.began, self.bytes, self.late) = (Instant::now(), 0, None);
            }
        }
    }

    /// Whether what is waited for does not come.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if let Awaited::Rest(place) = &self.awaited
            && place.is_between()
        {
            return false;
        }
        let deadline = self.began + self.pace.within(self.bytes);
        let now = Instant::now();
        if now > deadline + NOT_ASKED_FOR {
            (self.began, self.bytes) = (now, 0);
        }
        let deadline = self.began + self.pace.within(self.bytes);
        let late = self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if late.deadline() != deadline {
            late.as_mut().reset(deadline);
        }
        late.as_mut().poll(cx).is_ready()
    }
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    let data = data.clone();
                    self.took(&data);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(ended) => Poll::Ready(ended),
            Poll::Pending if self.is_late(cx) => {
                metrics::counter!("consilium_requests_late_total").increment(1);
                let late = format!(
                    "the message did not come whole within {} s and a second for each {} bytes",
                    self.pace.patience.as_secs(),
                    self.pace.bytes_per_s
                );
                Poll::Ready(Some(Err(Reason::Deadline.status(late))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;
    use tonic::Code;

    use super::*;

    const PACE: Pace = Pace { patience: Duration::from_millis(20), bytes_per_s: 1_000_000 };

    type Sender = mpsc::UnboundedSender<Result<Frame<Bytes>, Status>>;

    fn body(awaited: Awaited) -> (Sender, TimedBody) {
        let (sender, received) = mpsc::unbounded_channel();
        let body = Body::new(StreamBody::new(UnboundedReceiverStream::new(received)));
        (sender, TimedBody::new(body, PACE, awaited))
    }

    fn stream() -> (Sender, TimedBody) {
        body(Awaited::Rest(Place::default()))
    }

    /// Sends something, and has it received.
    async fn pass(sender: &Sender, body: &mut TimedBody, bytes: impl Into<Bytes>) {
        sender.send(Ok(Frame::data(bytes.into()))).unwrap();
        body.frame().await.unwrap().unwrap();
    }

    async fn failed(body: &mut TimedBody) -> Code {
        body.frame().await.unwrap().unwrap_err().code()
    }

    async fn rests(body: &mut TimedBody) -> bool {
        tokio::time::timeout(5 * PACE.patience, body.frame()).await.is_err()
    }

    fn message() -> Vec<u8> {
        [&[0, 0, 0, 0, 3][..], b"all"].concat()
    }

    #[test]
    fn what_is_longer_may_take_longer() {
        let pace = Pace { patience: Duration::from_secs(10), bytes_per_s: 100 };
        assert_eq!([0, 200].map(|bytes| pace.within(bytes).as_secs()), [10, 12]);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_fails() {
        let (_sender, mut late) = body(Awaited::End);
        assert_eq!(failed(&mut late).await, Code::DeadlineExceeded);
        let (sender, mut half) = body(Awaited::End);
        pass(&sender, &mut half, message()).await;
        assert_eq!(failed(&mut half).await, Code::DeadlineExceeded, "its end, too, must come");
        let (sender, mut whole) = body(Awaited::End);
        pass(&sender, &mut whole, message()).await;
        drop(sender);
        assert!(whole.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_stream_may_rest_between_its_messages_and_not_within_one() {
        let (sender, mut body) = stream();
        assert!(rests(&mut body).await);
        // Two whole ones and a piece, in one go; and byte by byte.
        pass(&sender, &mut body, [&message()[..], &message(), &message()[..2]].concat()).await;
        assert_eq!(failed(&mut body).await, Code::DeadlineExceeded);
        let (sender, mut body) = stream();
        for byte in [message(), message()].concat() {
            pass(&sender, &mut body, vec![byte]).await;
        }
        assert!(rests(&mut body).await);
        pass(&sender, &mut body, vec![0; PREFIX]).await;
        assert!(rests(&mut body).await, "an empty message is whole");
        pass(&sender, &mut body, message()[..6].to_vec()).await;
        assert_eq!(failed(&mut body).await, Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn nobody_is_late_for_whom_nobody_looks() {
        let (sender, mut body) = stream();
        pass(&sender, &mut body, message()[..6].to_vec()).await;
        assert!(futures::poll!(Pin::new(&mut body).frame()).is_pending());
        // As if this had been long ago.
        body.began -= 10 * NOT_ASKED_FOR;
        assert!(futures::poll!(Pin::new(&mut body).frame()).is_pending());
        pass(&sender, &mut body, message()[6..].to_vec()).await;
        assert!(rests(&mut body).await);
    }
}
