//! What bugs that count for themselves remember, and what becomes of inputs.

use std::collections::BTreeMap;

use consilium_proto::header::Header;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::Vote;
use consilium_replica::Input;
use consilium_replica::peer::{PeerMessage, Recollection};

use crate::bugs::Bug;
use crate::env::Env;

/// What such a mistake remembers.
#[derive(Default)]
pub(super) struct BugState {
    pub(super) recent: BTreeMap<Height, (Header, Option<ValidatorSet>)>,
    pub(super) heard: BTreeMap<Height, BTreeMap<NodeId, Vote>>,
}

impl BugState {
    /// Everything up to a height is certified.
    pub(super) fn forget(&mut self, certified: Height) {
        self.heard = self.heard.split_off(&certified.next());
        self.recent = self.recent.split_off(&certified);
    }
}

/// What goes into the replica at once.
#[must_use]
pub(super) fn inputs(env: &Env, mut inputs: Vec<Input>) -> Vec<Input> {
    for input in inputs.iter_mut().filter(|_| env.has(Bug::CertificateLostInBatch)) {
        if let Input::Peer { messages, .. } = input
            && messages.len() > 1
        {
            messages.retain(|message| !matches!(message, PeerMessage::Certified(_)));
        }
    }
    inputs
}

/// The bugs: what others remember of this node's votes is not looked at.
pub(super) fn remembered(env: &Env, message: PeerMessage) -> PeerMessage {
    let bugs = [Bug::ReuseRaftId, Bug::SkipVoteGuard];
    match message {
        PeerMessage::Recollection(told) if bugs.into_iter().any(|bug| env.has(bug)) => {
            PeerMessage::Recollection(Box::new(Recollection { vote: None, ..*told }))
        }
        message => message,
    }
}
