//! Remembering for others what they promised, and asking them for what this node did: see
//! [`crate::recall`].

use consilium_consensus::LogReader;
use consilium_proto::ids::{Epoch, NodeId};

use super::Replica;
use super::inputs::raft_id;
use crate::disk::LogWrite;
use crate::electors::changes_from;
use crate::io::Output;
use crate::notice::Notice;
use crate::peer::{PeerMessage, Recollection};
use crate::ports::{Ledger, PortFault};
use crate::recall::Recalled;

impl<L: Ledger, R: LogReader> Replica<L, R> {
    /// Asks what is not known yet.
    pub(super) fn ask_back(&mut self) {
        let epoch = self.electors.newest_epoch();
        self.recall.ask(self.topology.others(self.me), epoch, self.now.monotonic_ms, &mut self.out);
    }

    /// With every tick: has remembered what others promised, and looks whether the log reaches
    /// as far again as what this node did.
    pub(super) fn look_back(&mut self) {
        self.rounds.remember(self.certifier.take_unsaved(self.me), &mut self.out);
        self.tell_voting();
    }

    fn tell_voting(&mut self) {
        let lost = self.recall.lost_vote(self.certifier.voting().guard()).cloned();
        self.certifier.set_recalled(self.core.grants(), lost.as_ref());
    }

    /// Enough others may have answered, or fewer be needed.
    pub(super) fn be_recalled(&mut self) {
        let recalled = self.electors.newest_set().and_then(|validators| self.recall.settle(validators));
        self.core.set_may_grant(self.recall.is_settled());
        if let Some(Recalled { answers, vote, owed, log_trusted }) = recalled {
            owed.into_iter().for_each(|owed| self.core.owe(owed));
            if log_trusted {
                self.out.push(Output::WriteLog(LogWrite::Trust));
            }
            if answers > 0 {
                self.out.push(Output::Notice(Notice::Recalled { answers, vote, owed }));
            }
        }
        self.tell_voting();
    }

    /// Tells a peer what this node holds of it; first, who leads, and what it needs to know to
    /// believe that.
    pub(super) fn recollect(&mut self, from: NodeId, epoch: Epoch) -> Result<(), PortFault> {
        if !self.recall.may_answer(from, self.ticks) {
            return Ok(());
        }
        let changes = changes_from(self.executor.ledger(), epoch)?.into_iter();
        let changes = changes.map(|change| PeerMessage::SetChange(Box::new(change)));
        let vote = self.certifier.vote_of(from).cloned();
        let acknowledged = raft_id(from).and_then(|peer| self.core.head_of(peer));
        let mandate = self.core.mandate().map(|mandate| PeerMessage::Mandate(Box::new(mandate.clone())));
        let told = PeerMessage::Recollection(Box::new(Recollection { vote, acknowledged }));
        self.out.extend(changes.chain(mandate).chain([told]).map(|message| Output::Send { to: from, message }));
        Ok(())
    }
}
