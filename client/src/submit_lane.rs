//! One stream to a node over which all callers submit, rather than a call for each: what a call costs
//! beside its transaction (headers, trailers, tasks, wake-ups) is then paid once for what waits
//! together.
//!
//! Only records go this way ([`takes`]). Anything else has a call of its own: what a patient or a
//! member protects itself with must not wait behind other people's records.
//!
//! Where the stream is refused or breaks, whoever waits makes a call of its own for the same
//! transaction, which executes once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use consilium_proto::pb::{self, SubmitStreamResponse as Answer, submit_stream_response::Result as Said};
use futures::stream;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::transport::ledger_service;

/// A stream over which nothing was sent for so long is ended: it takes a place at the node.
const IDLE: Duration = Duration::from_secs(20);
/// Transactions that are handed over and not sent yet.
const QUEUE_MAX: usize = 256;

/// See the module. Clones share the stream.
#[derive(Clone)]
pub struct SubmitLane(Arc<Lane>);

struct Lane {
    channel: Channel,
    /// Into the stream that is open.
    open: Mutex<Option<mpsc::Sender<Submission>>>,
}

struct Submission {
    request: pb::SubmitStreamRequest,
    answer: oneshot::Sender<Answer>,
}

/// Who waits, by the number of the request. Where one is dropped, the stream has failed.
type Waiters = HashMap<u64, oneshot::Sender<Answer>>;

/// `None` once nobody reads answers any more: what is sent then would be waited for in vain.
type Waiting = Arc<Mutex<Option<Waiters>>>;

/// Whether a transaction goes by the stream: it writes records, and does nothing else.
#[must_use]
pub fn takes(transaction: &pb::SignedTransaction) -> bool {
    let writes = |action: &Bytes| {
        let action = pb::Action::decode(action.clone()).ok().and_then(|action| action.action);
        matches!(action, Some(pb::action::Action::WriteRecord(_)))
    };
    transaction.body.as_ref().is_some_and(|body| !body.actions.is_empty() && body.actions.iter().all(writes))
}

impl SubmitLane {
    /// One over a connection; the stream is opened when it is first needed.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self(Arc::new(Lane { channel, open: Mutex::new(None) }))
    }

    /// Submits, and waits for the answer, as the call does: at most so long, if a call is needed.
    ///
    /// # Errors
    /// The node's answer, or that of the transport.
    pub async fn submit(
        &self,
        request: pb::SubmitRequest,
        within: Duration,
    ) -> Result<Response<pb::SubmitResponse>, Status> {
        match self.by_stream(&request).await.map(|answer| (answer.transaction_id, answer.result)) {
            Some((transaction_id, Some(Said::Executed(executed)))) => Ok(Response::new(pb::SubmitResponse {
                transaction_id,
                height: executed.height,
                outcome: executed.outcome,
                receipt: executed.receipt,
            })),
            Some((_, Some(Said::Failure(failure)))) => {
                Err(Status::with_details(Code::from_i32(failure.code), failure.message, failure.details))
            }
            Some((_, None)) | None => {
                let mut request = Request::new(request);
                request.set_timeout(within);
                ledger_service(self.0.channel.clone()).submit(request).await
            }
        }
    }

    /// `None` if the stream has failed.
    async fn by_stream(&self, request: &pb::SubmitRequest) -> Option<Answer> {
        let pb::SubmitRequest { transaction, wait_for, omit_receipt } = request.clone();
        let request = pb::SubmitStreamRequest { transaction, wait_for, with_receipt: !omit_receipt };
        let (answer, answered) = oneshot::channel();
        let queue = self.queue();
        if let Err(mpsc::error::SendError(submission)) = queue.send(Submission { request, answer }).await {
            // It was ended meanwhile; a new one is not that quickly.
            self.reopen(&queue).send(submission).await.ok()?;
        }
        answered.await.ok()
    }

    fn open(&self) -> MutexGuard<'_, Option<mpsc::Sender<Submission>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> mpsc::Sender<Submission> {
        self.open().get_or_insert_with(|| self.start()).clone()
    }

    /// A new stream in place of one that has ended, unless somebody else has opened one.
    fn reopen(&self, ended: &mpsc::Sender<Submission>) -> mpsc::Sender<Submission> {
        let mut open = self.open();
        if open.as_ref().is_none_or(|known| known.same_channel(ended)) {
            *open = Some(self.start());
        }
        open.get_or_insert_with(|| self.start()).clone()
    }

    fn start(&self) -> mpsc::Sender<Submission> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(self.0.channel.clone(), receiver));
        sender
    }
}

/// Sends what comes, and hands the answers to who waits for them, until nothing comes for a while or
/// the stream breaks.
async fn run(channel: Channel, receiver: mpsc::Receiver<Submission>) {
    let waiting = Waiting::new(Mutex::new(Some(Waiters::new())));
    // Who waits still makes a call, and learns why from that.
    let _ = answers(channel, receiver, &waiting).await;
    *lock(&waiting) = None;
}

async fn answers(channel: Channel, receiver: mpsc::Receiver<Submission>, waiting: &Waiting) -> Result<(), Status> {
    let noted = Arc::clone(waiting);
    let requests = stream::unfold((receiver, 0_u64), move |(mut receiver, sequence)| {
        let noted = Arc::clone(&noted);
        async move {
            let submission = tokio::time::timeout(IDLE, receiver.recv()).await.ok().flatten()?;
            lock(&noted).as_mut()?.insert(sequence, submission.answer);
            Some((submission.request, (receiver, sequence + 1)))
        }
    });
    let mut answers = ledger_service(channel).submit_stream(requests).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        let waits = lock(waiting).as_mut().and_then(|waiters| waiters.remove(&answer.sequence));
        if let Some(waits) = waits {
            let _ = waits.send(answer);
        }
    }
    Ok(())
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, Option<Waiters>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for SubmitLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubmitLane(..)")
    }
}
