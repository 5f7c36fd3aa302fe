//! The blocks of one call to a peer, on their way from the network to the rules.
//! Blocks of the next epoch are looked at only after those of this one were
//! executed: only then is it known who certifies them.

use std::collections::VecDeque;

use consilium_proto::pb;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::CertifiedHeader;
use prost::Message;

use super::chain::{CertifiedBlock, ChainCheck, UNCERTIFIED_BYTES_MAX, UNCERTIFIED_MAX};
use crate::io::CallId;

/// What a feed gives out.
pub(crate) enum Fed {
    /// Nothing yet.
    Nothing,
    /// A block to execute.
    Execute(Box<CertifiedBlock>),
    /// What certifies all blocks given out so far. The validators of the next block
    /// are to be set before the feed is asked again.
    Certified(Box<CertifiedHeader>),
    /// Nothing more, and why, if it did not end well.
    Ended(Option<String>),
}

/// See the module.
pub(crate) struct Feed {
    call: CallId,
    check: ChainCheck,
    incoming: VecDeque<pb::FetchBlocksResponse>,
    incoming_bytes: usize,
    ready: VecDeque<CertifiedBlock>,
    certificate: Option<CertifiedHeader>,
    ended: Option<Option<String>>,
}

impl Feed {
    pub(crate) fn new(call: CallId, check: ChainCheck) -> Self {
        let (incoming, ready) = (VecDeque::new(), VecDeque::new());
        Self { call, check, incoming, incoming_bytes: 0, ready, certificate: None, ended: None }
    }

    pub(crate) fn call(&self) -> CallId {
        self.call
    }

    /// Takes a block. A peer that sends more than may wait here, looked at or not, gets
    /// no further.
    pub(crate) fn push(&mut self, block: pb::FetchBlocksResponse) {
        if self.ended.is_some() {
            return;
        }
        self.incoming_bytes += block.encoded_len();
        self.incoming.push_back(block);
        let bytes = self.incoming_bytes + self.check.waiting_bytes();
        if self.incoming.len() > UNCERTIFIED_MAX || bytes > UNCERTIFIED_BYTES_MAX {
            self.drop_unchecked();
            self.ended = Some(Some("the peer sends more at once than any node serves".into()));
        }
    }

    fn drop_unchecked(&mut self) {
        self.incoming = VecDeque::new();
        self.incoming_bytes = 0;
    }

    pub(crate) fn end(&mut self, problem: Option<String>) {
        self.ended.get_or_insert(problem);
    }

    /// Whether it is the peer's turn.
    pub(crate) fn is_waiting(&self) -> bool {
        self.ended.is_none() && !self.is_ready() && self.incoming.is_empty()
    }

    /// Whether a block is to be executed, or a certificate to be given out.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty() || self.certificate.is_some()
    }

    pub(crate) fn set_validators(&mut self, validators: ValidatorSet) {
        self.check.set_validators(validators);
    }

    pub(crate) fn next(&mut self) -> Fed {
        if let Some(block) = self.ready.pop_front() {
            return Fed::Execute(Box::new(block));
        }
        if let Some(certified) = self.certificate.take() {
            return Fed::Certified(Box::new(certified));
        }
        while let Some(block) = self.incoming.pop_front() {
            self.incoming_bytes -= block.encoded_len();
            match self.check.push(block) {
                Ok(None) => {}
                Ok(Some((blocks, certified))) => {
                    self.ready = blocks.into();
                    self.certificate = Some(certified);
                    return self.next();
                }
                Err(error) => {
                    self.drop_unchecked();
                    return Fed::Ended(Some(error.to_string()));
                }
            }
        }
        match &self.ended {
            Some(problem) => Fed::Ended(problem.clone()),
            None => Fed::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
