//! Catching up by certified blocks: fetched from a peer, checked against the chain
//! and its certificates before anything is executed, executed here, and compared
//! header by header. It needs no trust in the peer, and serves followers that lag
//! behind the log (`CatchUp`) and nodes that went astray ([`rebuild`]) alike. What blocks
//! commit to and came without is looked for elsewhere (`attachments`), as is what a walk
//! over the own ledger (`audit`) misses.

mod attachments;
mod audit;
mod chain;
mod feed;
mod goal;
pub mod rebuild;
mod serve;

pub use self::attachments::{ATTACHMENTS_MAX, serve_attachments};
pub use self::audit::{Audited, Run, audit};
pub use self::chain::{CertifiedBlock, ChainCheck, ChainError};
pub use self::serve::{Serving, stored_attachments};

use consilium_proto::ids::{Height, LedgerId};
use consilium_proto::pb;
use consilium_proto::validators::ValidatorSet;

pub(crate) use self::attachments::{Attachments, Here};
pub(crate) use self::audit::{Audit, note_lost};
pub(crate) use self::feed::{Fed, Feed};
pub(crate) use self::goal::Goal;
use crate::io::{Applied, CallId, Output};

/// What is being followed.
struct Following {
    goal: Goal,
    feed: Feed,
    /// Height at which the present call began.
    began: Height,
    heard_ms: u64,
}

/// What catching up asks for next.
pub(crate) enum Step {
    /// Nothing, for now.
    Idle,
    /// Execute a block.
    Execute(Box<CertifiedBlock>),
    /// All that was given is executed; this certifies it.
    Certify(Box<consilium_proto::vote::CertifiedHeader>),
    /// The goal is reached.
    Reached(Goal),
    /// The call ended, and brought this node further: ask for more.
    Again(Goal),
    /// It does not come here.
    Failed(String),
}

/// See the module.
#[derive(Default)]
pub(crate) struct CatchUp {
    following: Option<Following>,
}

impl CatchUp {
    /// Whether it is under way.
    pub(crate) fn is_following(&self) -> bool {
        self.following.is_some()
    }

    /// Follows a peer from where this node stands.
    pub(crate) fn follow(
        &mut self,
        goal: Goal,
        applied: Applied,
        (ledger, validators): (LedgerId, ValidatorSet),
        (call, now_ms): (CallId, u64),
        out: &mut Vec<Output>,
    ) {
        let (from, first) = (goal.from(), applied.height.next());
        let check = ChainCheck::new(ledger, validators, (applied.height, applied.header_hash));
        let feed = Feed::new(call, check);
        self.following = Some(Following { goal, feed, began: applied.height, heard_ms: now_ms });
        out.push(Output::Fetch { call, from, first });
    }

    /// A block of the peer.
    pub(crate) fn fetched(&mut self, call: CallId, block: pb::FetchBlocksResponse, now_ms: u64) {
        if let Some(following) = self.following.as_mut().filter(|f| f.feed.call() == call) {
            following.heard_ms = now_ms;
            following.feed.push(block);
        }
    }

    /// No more blocks come.
    pub(crate) fn ended(&mut self, call: CallId, problem: Option<String>) {
        if let Some(following) = self.following.as_mut().filter(|f| f.feed.call() == call) {
            following.feed.end(problem);
        }
    }

    /// Gives up what does not come.
    pub(crate) fn tick(&mut self, now_ms: u64, patience_ms: u64, out: &mut Vec<Output>) {
        if let Some(following) = &mut self.following
            && following.feed.is_waiting()
            && now_ms.saturating_sub(following.heard_ms) > patience_ms
        {
            out.push(Output::StopFetch(following.feed.call()));
            following.feed.end(Some("the peer does not answer".into()));
        }
    }

    /// What is to be done next, with this node at `applied`. After anything but
    /// `Idle` it is to be asked again.
    pub(crate) fn next(&mut self, applied: Applied, out: &mut Vec<Output>) -> Step {
        let Some(following) = &mut self.following else { return Step::Idle };
        let (call, goal) = (following.feed.call(), &following.goal);
        let step = if goal.is_reached(applied) && !following.feed.is_ready() {
            Step::Reached(goal.clone())
        } else {
            match following.feed.next() {
                Fed::Nothing => Step::Idle,
                Fed::Execute(block) if goal.is_passed(&block) => {
                    Step::Failed(format!("the peer's block {} is beyond the offered state", block.header.height))
                }
                Fed::Execute(block) => Step::Execute(block),
                Fed::Certified(certified) => Step::Certify(certified),
                Fed::Ended(None) if applied.height > following.began => Step::Again(following.goal.clone()),
                Fed::Ended(problem) => Step::Failed(
                    problem.unwrap_or_else(|| format!("the peer's certified blocks end at height {}", applied.height)),
                ),
            }
        };
        match &step {
            Step::Idle | Step::Execute(_) | Step::Certify(_) => {}
            Step::Reached(_) | Step::Again(_) | Step::Failed(_) => self.stop(call, out),
        }
        step
    }

    fn stop(&mut self, call: CallId, out: &mut Vec<Output>) {
        self.following = None;
        out.push(Output::StopFetch(call));
    }

    /// A block did not give its header here: this peer's blocks are not taken.
    pub(crate) fn refuse(&mut self, out: &mut Vec<Output>) {
        if let Some(call) = self.following.as_ref().map(|f| f.feed.call()) {
            self.stop(call, out);
        }
    }

    /// From here on these validators certify.
    pub(crate) fn set_validators(&mut self, validators: ValidatorSet) {
        if let Some(following) = &mut self.following {
            following.feed.set_validators(validators);
        }
    }
}

#[cfg(test)]
mod tests;
