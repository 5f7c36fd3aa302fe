//! Many transactions over one stream, each with a definite answer.
//!
//! What the stream does not answer for good (it broke, the node was busy) is
//! submitted again one by one, which is safe: a transaction executes once.

use std::collections::{BTreeMap, VecDeque};

use consilium_proto::ids::Height;
use consilium_proto::{pb, transaction};
use futures::stream::{self, Stream};
use pb::submit_stream_response::Result as Answer;
use tonic::{Code, Streaming};

use crate::client::Client;
use crate::error::{ClientError, is_retryable_code};
use crate::submit::{Submitted, outcome_from};
use crate::transport::ledger_service;

/// Answer to the transaction at a position of the input.
pub type BulkAnswer = (usize, Result<Submitted, ClientError>);

impl Client {
    /// Submits all and yields answers as they are known, in any order, exactly
    /// one for each. Answers from the stream carry no receipt: they are the
    /// node's word until [`Client::receipt`] proves them.
    pub fn submit_stream(&self, txs: Vec<pb::SignedTransaction>, wait: pb::WaitFor) -> impl Stream<Item = BulkAnswer> {
        let waiting: BTreeMap<usize, pb::SignedTransaction> = txs.into_iter().enumerate().collect();
        let bulk = Bulk { client: self.clone(), wait, waiting, again: VecDeque::new(), stream: Stage::Unopened };
        stream::unfold(bulk, |mut bulk| async move { bulk.next().await.map(|answer| (answer, bulk)) })
    }
}

struct Bulk {
    client: Client,
    wait: pb::WaitFor,
    /// Not answered yet, by position.
    waiting: BTreeMap<usize, pb::SignedTransaction>,
    /// Answered with "not now".
    again: VecDeque<usize>,
    stream: Stage,
}

enum Stage {
    Unopened,
    Open(Box<Streaming<pb::SubmitStreamResponse>>),
    Over,
}

impl Bulk {
    async fn next(&mut self) -> Option<BulkAnswer> {
        loop {
            match &mut self.stream {
                Stage::Unopened => self.stream = self.open().await,
                Stage::Open(stream) => match stream.message().await {
                    Ok(Some(answer)) => {
                        if let Some(known) = self.take(answer) {
                            return Some(known);
                        }
                    }
                    Ok(None) | Err(_) => self.stream = Stage::Over,
                },
                Stage::Over => return self.submit_left_over().await,
            }
        }
    }

    async fn open(&self) -> Stage {
        let wait_for = self.wait.into();
        let requests: Vec<_> = self
            .waiting
            .values()
            .map(|tx| pb::SubmitStreamRequest { transaction: Some(tx.clone()), wait_for })
            .collect();
        let opened = self
            .client
            .read(|channel| {
                let requests = stream::iter(requests.clone());
                async move { ledger_service(channel).submit_stream(requests).await }
            })
            .await;
        match opened {
            Ok(stream) => Stage::Open(Box::new(stream)),
            // One by one, each then reports what is wrong.
            Err(_) => Stage::Over,
        }
    }

    /// The answer, unless the transaction is to be submitted again.
    fn take(&mut self, answer: pb::SubmitStreamResponse) -> Option<BulkAnswer> {
        let position = usize::try_from(answer.sequence).ok()?;
        let tx = self.waiting.get(&position)?;
        let id = transaction::transaction_id(tx).ok()?;
        let result = match answer.result {
            Some(Answer::Executed(done)) if answer.transaction_id == id.to_bytes() => outcome_from(done.outcome)
                .map(|outcome| Submitted { transaction_id: id, height: Height(done.height), outcome, receipt: None }),
            Some(Answer::Failure(failure)) if !is_retryable_code(Code::from_i32(failure.code)) => {
                let (code, reason) = (Code::from_i32(failure.code), failure.reason);
                Err(ClientError::Status { code, reason, message: failure.message })
            }
            // Busy, or nonsense: the unary call decides.
            Some(Answer::Executed(_) | Answer::Failure(_)) | None => {
                if !self.again.contains(&position) {
                    self.again.push_back(position);
                }
                return None;
            }
        };
        self.waiting.remove(&position);
        Some((position, result))
    }

    async fn submit_left_over(&mut self) -> Option<BulkAnswer> {
        let next = self.again.pop_front().filter(|p| self.waiting.contains_key(p));
        let position = next.or_else(|| self.waiting.keys().next().copied())?;
        let tx = self.waiting.remove(&position)?;
        Some((position, self.client.submit(tx, self.wait).await))
    }
}

impl std::fmt::Debug for Bulk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bulk({} waiting)", self.waiting.len())
    }
}
