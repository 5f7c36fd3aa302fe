//! Answers that do not prove what they say: kept, with the question and the node that gave
//! them, for whoever looks after that node and for the members. Nodes do not sign their answers,
//! so that this proves nothing about the node to others; what it shows is which
//! answer was refused and why, and anybody can verify that it does not hold.

use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::ids::TimeMs;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::client::Client;
use crate::clock::now_ms;
use crate::error::ClientError;

/// Kept until somebody takes them; of more, the first ones.
const FALSE_ANSWERS_MAX: usize = 16;

/// See the module. It may hold metadata of records and ciphertext: not for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct FalseAnswer {
    /// host:port of the node.
    pub node: String,
    /// The rpc, by its name alone.
    pub call: &'static str,
    /// The request, encoded.
    pub asked: Bytes,
    /// The answer, encoded.
    pub answered: Bytes,
    /// Why it is not believed.
    pub problem: String,
    /// By this machine's clock.
    pub at: TimeMs,
}

impl std::fmt::Debug for FalseAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FalseAnswer({} of {}: {})", self.call, self.node, self.problem)
    }
}

/// An answer, with whom it came from.
pub(crate) struct Answered<Q, A> {
    call: &'static str,
    node: Arc<str>,
    asked: Q,
    pub(crate) answer: A,
}

impl<Q, A> Answered<Q, A> {
    pub(crate) fn new(call: &'static str, (answer, node): (A, Arc<str>), asked: Q) -> Self {
        Self { call, node, asked, answer }
    }

    /// A message of a stream that was answered.
    pub(crate) fn part<B>(&self, answer: B) -> Answered<Q, B>
    where
        Q: Clone,
    {
        Answered { call: self.call, node: Arc::clone(&self.node), asked: self.asked.clone(), answer }
    }
}

impl Client {
    /// As [`Self::read`], for an answer that is to be verified.
    pub(crate) async fn ask<Q, A, F, Fut>(
        &self,
        call: &'static str,
        asked: Q,
        f: F,
    ) -> Result<Answered<Q, A>, ClientError>
    where
        Q: Message + Clone,
        F: Fn(Channel, Q) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let answer = self.read_from(|channel| f(channel, asked.clone())).await?;
        Ok(Answered::new(call, answer, asked))
    }

    /// Keeps an answer that was not believed.
    pub(crate) fn judged<Q: Message, A: Message, T>(
        &self,
        answered: &Answered<Q, A>,
        verdict: Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        if let Err(error @ (ClientError::Verification(_) | ClientError::Field(_))) = &verdict {
            let mut kept = self.false_answers();
            if kept.len() < FALSE_ANSWERS_MAX {
                kept.push(FalseAnswer {
                    node: answered.node.to_string(),
                    call: answered.call,
                    asked: answered.asked.encode_to_vec().into(),
                    answered: answered.answer.encode_to_vec().into(),
                    problem: error.to_string(),
                    at: TimeMs(now_ms()),
                });
            }
        }
        verdict
    }

    /// What was not believed since the last call: answers about records and other rows of the
    /// state, identities, heads and receipts.
    #[must_use]
    pub fn take_false_answers(&self) -> Vec<FalseAnswer> {
        std::mem::take(&mut *self.false_answers())
    }
}
