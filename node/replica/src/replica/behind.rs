//! Taking over what is certified without a leader. A leader that lied may have left another
//! entry in this node's log where a certified block stands; then this node refuses those who
//! have the block for candidates, and they refuse this one, and nobody is elected. So a node
//! that nobody leads asks what is certified, and takes the blocks from whoever gives them:
//! what their certificates say needs no leader.

use consilium_consensus::{LogReader, Role};
use consilium_proto::ids::{Height, NodeId};

use super::Replica;
use crate::catch_up::Goal;
use crate::io::Output;
use crate::peer::PeerMessage;
use crate::ports::Ledger;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// The height that was executed, and since when it has not moved.
    stands: Option<(Height, u64)>,
    /// How often others were tried.
    tries: usize,
}

impl<L: Ledger, R: LogReader> Replica<L, R> {
    /// From time to time: asks, and goes, if this node has not moved for as long as a leader
    /// would have been changed in.
    pub(super) fn watch_behind(&mut self) {
        let (height, now_ms) = (self.executor.height(), self.now.monotonic_ms);
        let since = match self.behind.stands {
            Some((stands, since)) if stands == height => since,
            Some(_) | None => now_ms,
        };
        self.behind.stands = Some((height, since));
        let waits = now_ms.saturating_sub(since) > self.settings.certificate_timeout_ms;
        if !waits || self.core.role() == Role::Leader || self.catch_up.is_following() {
            return;
        }
        if self.core.leader().is_none() {
            let message = PeerMessage::UncertifiedFrom(self.certifier.certified().next());
            self.out.extend(self.topology.others(self.me).map(|to| Output::Send { to, message: message.clone() }));
        }
        if self.core.waits_for_quorum() {
            self.ask_for_validators();
        }
        let ahead = self.certifier.voting().certified_ahead().filter(|ahead| *ahead > height);
        let others: Vec<NodeId> = self.topology.others(self.me).collect();
        if let (Some(height), Some(from)) = (ahead, others.get(self.behind.tries % others.len().max(1))) {
            self.behind.tries += 1;
            self.follow(Goal::Certified { from: *from, height });
        }
    }

    /// It may count by validators of the past: whoever led was believed by those who are in
    /// both sets, and nobody had to show it the rest of the changes.
    fn ask_for_validators(&mut self) {
        let others: Vec<NodeId> = self.topology.others(self.me).collect();
        let turn = usize::try_from(self.ticks).unwrap_or_default();
        if let Some(to) = others.get(turn % others.len().max(1)) {
            let message = PeerMessage::Recall(self.electors.newest_epoch());
            self.out.push(Output::Send { to: *to, message });
        }
    }
}
