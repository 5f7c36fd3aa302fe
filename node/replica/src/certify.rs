//! Certifying: gives [`Voting`] its inputs and does what it asks for, in order. An
//! effect that needs a sync holds everything behind it back until the report.
//! What a peer is told comes from the ledger; what is decided, from voting.

mod inbox;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use consilium_consensus::LogIndex;
use consilium_consensus::voting::{Clock, Effect, VoteGuard, VoteProblem, Voting};
use consilium_ledger::StateReader;
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::limits::{EVIDENCE_PER_BLOCK_MAX, VALIDATORS_MAX};
use consilium_proto::observed::Observed;
use consilium_proto::pb::JailReason;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{CertifiedHeader, Equivocation, Vote};

pub(crate) use self::inbox::CertifyInput;
use self::inbox::Inbox;
use crate::alarm::Alarm;
use crate::disk::VoteWrite;
use crate::fault::Fault;
use crate::io::Output;
use crate::notice::Notice;
use crate::peer::PeerMessage;
use crate::ports::{Ledger, PortFault};
use crate::topology::{Topology, boundaries};

/// A write that everything waits for.
enum Hold {
    Guard,
    Boundary(Box<CertifiedHeader>),
}

/// See the module.
pub(crate) struct Certifier {
    voting: Voting,
    inputs: Inbox,
    effects: VecDeque<Effect>,
    hold: Option<Hold>,
    tick_due: bool,
    /// Own votes were handed out, for which peers wait.
    spoke: bool,
    newest: Option<Arc<CertifiedHeader>>,
    /// The newest vote of each node, as it came.
    votes: BTreeMap<NodeId, Vote>,
    /// Of these, whose are not handed out to be remembered.
    unsaved: BTreeSet<NodeId>,
    /// Proofs of double signing that the ledger has not recorded.
    evidence: BTreeMap<NodeId, Equivocation>,
    /// Nodes that the ledger has not seen in the current window.
    unseen: BTreeSet<NodeId>,
    /// Votes of this node up to this height may be lost: see [`crate::ports::GuardRecord`].
    doubted: Height,
    /// Who sent votes that turned out to be forged.
    forgers: Vec<NodeId>,
}

/// What certifying may look at.
pub(crate) struct Around<'a, L> {
    pub(crate) ledger: &'a L,
    pub(crate) topology: &'a Topology,
    pub(crate) me: NodeId,
    pub(crate) commit: LogIndex,
    pub(crate) now: Clock,
}

impl Certifier {
    /// Votes of this node up to `doubted` may be lost, and `votes` are those of others.
    pub(crate) fn new(voting: Voting, unseen: BTreeSet<NodeId>, doubted: Height, votes: Vec<Vote>) -> Self {
        let newest = voting.newest_certified().cloned().map(Arc::new);
        Self {
            voting,
            inputs: Inbox::default(),
            effects: VecDeque::new(),
            hold: None,
            tick_due: true,
            spoke: false,
            newest,
            votes: votes.into_iter().map(|vote| (vote.validator, vote)).collect(),
            unsaved: BTreeSet::new(),
            evidence: BTreeMap::new(),
            unseen,
            doubted,
            forgers: Vec::new(),
        }
    }

    /// The highest height that is certified and executed here.
    pub(crate) fn certified(&self) -> Height {
        self.newest.as_ref().map_or(Height::GENESIS, |c| c.header.height)
    }

    pub(crate) fn newest_certified(&self) -> Option<&Arc<CertifiedHeader>> {
        self.newest.as_ref()
    }

    pub(crate) fn voting(&self) -> &Voting {
        &self.voting
    }

    /// The newest vote of a node that came from itself, also before a restart.
    pub(crate) fn vote_of(&self, node: NodeId) -> Option<&Vote> {
        self.votes.get(&node)
    }

    pub(crate) fn voted_heights(&self) -> Vec<(NodeId, Height)> {
        self.votes.iter().map(|(id, vote)| (*id, vote.height)).collect()
    }

    pub(crate) fn set_unseen(&mut self, unseen: BTreeSet<NodeId>) {
        self.unseen = unseen;
    }

    /// Takes an input, if it fits.
    pub(crate) fn push(&mut self, input: CertifyInput) {
        self.inputs.push(input);
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self) {
        self.tick_due = true;
    }

    /// The write that was waited for is durable.
    pub(crate) fn written(&mut self, out: &mut Vec<Output>) -> Result<(), Fault> {
        match self.hold.take() {
            None => {}
            Some(Hold::Guard) => {
                self.voting.remembered()?;
                self.tick_due = true;
            }
            Some(Hold::Boundary(certified)) => self.announce(*certified, out),
        }
        self.effects.extend(self.voting.take_effects());
        Ok(())
    }

    /// Whether peers wait for own votes while there is more to do.
    pub(crate) fn may_pause(&mut self) -> bool {
        std::mem::take(&mut self.spoke) && self.hold.is_none() && (self.tick_due || !self.inputs.is_empty())
    }

    /// Works until a write is awaited, own votes are handed out, or nothing is left;
    /// returns whether anything was done.
    pub(crate) fn run<L: Ledger>(&mut self, around: &Around<'_, L>, out: &mut Vec<Output>) -> Result<bool, Fault> {
        let mut busy = false;
        while self.hold.is_none() {
            if let Some(effect) = self.effects.pop_front() {
                self.effect(effect, around, out)?;
            } else if self.spoke {
                break;
            } else if let Some(input) = self.inputs.pop() {
                self.tick_due = true;
                self.input(input)?;
            } else if std::mem::take(&mut self.tick_due) {
                self.voting.tick(around.now)?;
            } else {
                break;
            }
            busy = true;
            self.effects.extend(self.voting.take_effects());
        }
        Ok(busy)
    }

    fn input(&mut self, input: CertifyInput) -> Result<(), Fault> {
        match input {
            CertifyInput::Executed { header, votable, next_set } => {
                self.voting.executed(*header, votable, next_set)?;
            }
            CertifyInput::Nodes { keys, clock_skew_max_ms } => {
                self.voting.set_nodes(keys);
                self.voting.set_clock_skew_max_ms(clock_skew_max_ms);
            }
            CertifyInput::Vote { from, vote } => {
                if from == vote.validator {
                    self.note(&vote);
                }
                self.voting.vote(from, vote);
            }
            CertifyInput::Certificate(certified) => self.voting.certificate(*certified),
            CertifyInput::UncertifiedFrom { peer, height } => self.voting.uncertified_from(peer, height),
        }
        Ok(())
    }

    fn note(&mut self, vote: &Vote) {
        if self.votes.get(&vote.validator).is_none_or(|before| before.height < vote.height) {
            self.votes.insert(vote.validator, vote.clone());
            self.unsaved.insert(vote.validator);
        }
    }

    /// Votes of others that came since the last call, the newest of each.
    pub(crate) fn take_unsaved(&mut self, me: NodeId) -> Vec<Vote> {
        let unsaved = std::mem::take(&mut self.unsaved).into_iter().filter(|id| *id != me);
        unsaved.filter_map(|id| self.votes.get(&id).cloned()).collect()
    }

    /// Who sent votes that turned out to be forged since the last call, once for each.
    pub(crate) fn take_forgers(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.forgers)
    }

    /// Whether this node may vote for more than its guard remembers; and a vote that the guard
    /// has lost.
    pub(crate) fn set_recalled(&mut self, recalled: bool, lost: Option<&Vote>) {
        lost.into_iter().for_each(|vote| self.voting.recall(vote));
        self.voting.set_recalled(recalled);
        self.tick_due = true;
    }

    fn effect<L: Ledger>(
        &mut self,
        effect: Effect,
        around: &Around<'_, L>,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        match effect {
            Effect::WriteGuard(vote) => self.write_guard(vote, around.commit, out),
            Effect::BroadcastVote(vote) => {
                self.note(&vote);
                self.spoke = true;
                broadcast(around, &PeerMessage::Vote(vote), out);
            }
            Effect::RelayVote(vote) => broadcast(around, &PeerMessage::RelayedVote(vote), out),
            Effect::SendCertificate { to, certified } => {
                out.push(Output::Send { to, message: PeerMessage::Certified(certified) });
            }
            Effect::SendStored { to, from } => {
                if let Some(certified) = self.stored(from, around.ledger)? {
                    out.push(Output::Send { to, message: PeerMessage::Certified(Box::new(certified)) });
                }
            }
            Effect::AskPeers { from } => broadcast(around, &PeerMessage::UncertifiedFrom(from), out),
            Effect::Certified { certified, ends_epoch } => self.store(certified, ends_epoch, around.ledger, out)?,
            Effect::Diverged { height, own, certified } => {
                out.push(Output::Raise(Alarm::StateDiverged { height, own, certified }));
                return Err(Fault::Diverged { height, own, certified });
            }
            Effect::Evidence(evidence) => {
                out.push(Output::Raise(Alarm::Equivocation(evidence.clone())));
                self.evidence.entry(evidence.validator()).or_insert(*evidence);
            }
            Effect::Refused { from, validator, height, problem } => {
                match problem {
                    VoteProblem::Forged | VoteProblem::OtherLedger => self.forgers.push(from),
                    // It may be registered and not known here yet.
                    VoteProblem::Stranger => {}
                }
                let problem = problem.to_string();
                out.push(Output::Notice(Notice::VoteRefused { validator, height, problem }));
            }
            Effect::Withheld { height, ahead_ms } => {
                out.push(Output::Notice(Notice::VoteWithheld { height, ahead_ms }));
            }
        }
        Ok(())
    }

    /// Invariant I9: durable before any signature leaves.
    fn write_guard(&mut self, vote: VoteGuard, commit: LogIndex, out: &mut Vec<Output>) {
        out.push(Output::WriteVote(VoteWrite::Guard { vote, commit, doubted: self.doubted }));
        self.hold = Some(Hold::Guard);
    }

    /// A certificate can be had again from peers and is not synced, except at the
    /// end of an epoch: there, before any vote of the next.
    fn store<L: Ledger>(
        &mut self,
        certified: Box<CertifiedHeader>,
        ends_epoch: bool,
        ledger: &L,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        ledger.write_certificate(&certified.certificate)?;
        if ends_epoch {
            out.push(Output::WriteVote(VoteWrite::Ledger));
            self.hold = Some(Hold::Boundary(certified));
        } else {
            self.announce(*certified, out);
        }
        Ok(())
    }

    fn announce(&mut self, certified: CertifiedHeader, out: &mut Vec<Output>) {
        let certified = Arc::new(certified);
        self.newest = Some(Arc::clone(&certified));
        out.push(Output::Certified(certified));
    }

    /// The certified header of the first epoch boundary at or above a height, else
    /// the newest.
    fn stored<L: Ledger>(&self, from: Height, ledger: &L) -> Result<Option<CertifiedHeader>, PortFault> {
        let newest = self.voting.newest_certified().cloned();
        let Some(header) = ledger.header(from)? else { return Ok(newest) };
        let boundary = boundaries(ledger, header.epoch, 1)?.first().copied();
        let Some(boundary) = boundary.filter(|height| *height <= self.voting.certified()) else { return Ok(newest) };
        let (header, certificate) = (ledger.header(boundary)?, ledger.certificate_at(boundary)?);
        Ok(header.zip(certificate).map(|(header, certificate)| CertifiedHeader { header, certificate }).or(newest))
    }

    /// What the ledger has not recorded yet of who is there and who lied: for the
    /// blocks that this node proposes.
    pub(crate) fn observed(&mut self, topology: &Topology) -> Observed {
        let unseen = &self.unseen;
        let mut votes = match unseen.is_empty() {
            true => Vec::new(),
            false => self.voting.presence(|id| unseen.contains(&id)),
        };
        votes.truncate(VALIDATORS_MAX);
        let recorded = |id| topology.node(id).is_none_or(|node| node.jailed == JailReason::Equivocation);
        self.evidence.retain(|id, _| !recorded(*id));
        Observed {
            certificate: self.newest.as_ref().map(|c| c.certificate.clone()),
            votes,
            evidence: self.evidence.values().take(EVIDENCE_PER_BLOCK_MAX).cloned().collect(),
        }
    }
}

fn broadcast<L>(around: &Around<'_, L>, message: &PeerMessage, out: &mut Vec<Output>) {
    out.extend(around.topology.others(around.me).map(|to| Output::Send { to, message: message.clone() }));
}

/// Headers that are executed and not certified, to be voted on or repeated: the
/// newest, every one that ends an epoch, and the guard's; with the set that follows
/// those that end one.
pub(crate) fn uncertified<L: Ledger + StateReader>(
    ledger: &L,
    certified: &Header,
    applied: Height,
    guarded: Height,
) -> Result<Vec<(Header, Option<ValidatorSet>)>, PortFault> {
    let newest = certified.height.0.max(applied.0.saturating_sub(NEWEST)) + 1..=applied.0;
    let mut heights: BTreeSet<Height> = newest.map(Height).collect();
    heights.extend(boundaries(ledger, certified.epoch, usize::MAX)?);
    heights.insert(guarded);
    let mut headers = Vec::new();
    for height in heights.into_iter().filter(|h| *h > certified.height && *h <= applied) {
        if let Some(header) = ledger.header(height)? {
            let next_set = crate::topology::next_set_of(ledger, &header)?;
            headers.push((header, next_set));
        }
    }
    Ok(headers)
}

/// Uncertified headers that are read at start.
const NEWEST: u64 = 1_024;
