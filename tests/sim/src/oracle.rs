//! The oracle: it watches every step of every machine and keeps the first
//! violation. Machines that are Byzantine are not asked; what they make honest
//! ones believe is.

use std::collections::BTreeMap;

use consilium_consensus::{HardState, LogEntry, LogIndex, Membership, RaftId, Status, Term};
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::{Height, NodeId, TimeMs, TransactionId};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{CertifiedHeader, Vote};
use consilium_replica::ports::GuardRecord;

use crate::chronicle;
use crate::disk::port::Observation;
use crate::disk::{LedgerHandle, LedgerStore};
use crate::fixture::SKEW_MS;
use crate::invariants::i02_one_certificate::OneCertificate;
use crate::invariants::i03_certificate::Certificates;
use crate::invariants::i05_state_root::StateRoots;
use crate::invariants::i07_durable::Acknowledged;
use crate::invariants::i09_vote_guard::VoteGuards;
use crate::invariants::i11_watermark::Watermarks;
use crate::invariants::i12_raft_safety::RaftSafety;
use crate::invariants::i13_voters::Voters;
use crate::invariants::i16_raft_ids::RaftIds;
use crate::invariants::i20_progress_resumes::Standing;
use crate::invariants::i23_meaning::Meanings;
use crate::invariants::i26_counted::Counted;
use crate::invariants::i28_attachments::Attachments;
use crate::invariants::i30_released::{Release, Releases};
use crate::invariants::i33_alike::Logged;
use crate::invariants::{
    Check, Violation, i01_chain, i06_replay, i14_progress, i18_once, i19_time, i20_progress_resumes, i21_linearizable,
    i22_bounded, i25_heard, i27_needed, i29_rights, i31_logged,
};
use crate::rights;
use crate::stats::Stats;
use crate::swarm::Swarm;

/// How far a simulated clock may be off, either way.
pub const CLOCK_ERROR_MS_MAX: u64 = 3_000;

/// Membership entries of honest leaders that a node may refuse in a run.
const REFUSED_MAX: u32 = 2;

/// All invariants with what they remember.
pub struct Oracle {
    violation: Option<Violation>,
    byzantine: bool,
    /// Whether there is a traitor, which may lead.
    traitor: bool,
    certificates: Certificates,
    one: OneCertificate,
    /// State roots, and forks of honest nodes.
    pub roots: StateRoots,
    acknowledged: Acknowledged,
    guards: VoteGuards,
    watermarks: Watermarks,
    /// Raft's own safety.
    pub raft: RaftSafety,
    voters: Voters,
    ids: RaftIds,
    memberships: BTreeMap<NodeId, Membership>,
    meanings: Meanings,
    counted: Counted,
    releases: Releases,
    logged: Logged,
    /// Membership entries that did not fit, for each node.
    refused: BTreeMap<NodeId, u32>,
    told: Height,
}

impl Oracle {
    /// An oracle for one run.
    ///
    /// # Panics
    /// If the fixture's genesis has no validators.
    #[must_use]
    pub fn new(genesis: &Genesis, swarm: &Swarm) -> Self {
        let mut voters = Voters::default();
        let founders = genesis.validators().expect("the fixture names validators");
        voters.elected(seats(&founders));
        voters.founded(Membership::new(seats(&founders), []));
        Self {
            violation: None,
            byzantine: swarm.may_break_raft(),
            traitor: swarm.byzantine().is_some(),
            certificates: Certificates::new(genesis),
            one: OneCertificate::default(),
            roots: StateRoots::default(),
            acknowledged: Acknowledged::default(),
            guards: VoteGuards::default(),
            watermarks: Watermarks::default(),
            raft: RaftSafety::default(),
            voters,
            ids: RaftIds::default(),
            memberships: BTreeMap::new(),
            meanings: Meanings::default(),
            counted: Counted::default(),
            releases: Releases::default(),
            logged: Logged::default(),
            refused: BTreeMap::new(),
            told: Height::GENESIS,
        }
    }

    /// The first violation, if there was one.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Notes a violation that somebody else found.
    pub fn fail(&mut self, invariant: &'static str, what: String) {
        self.violation.get_or_insert(Violation { invariant, what });
    }

    fn note(&mut self, invariant: &'static str, check: Check) {
        if let Err(what) = check {
            self.fail(invariant, what);
        }
    }

    /// An honest node executed a block.
    pub fn executed(&mut self, node: NodeId, executed: &Observation) {
        self.note("I1 chain", i01_chain::check(executed));
        let (parent, header) = (&executed.parent.header, &executed.tip.header);
        self.note("I19 time", i19_time::monotone(parent, header));
        let same = self.roots.executed(node, header, self.byzantine);
        self.note("I5 state root", same);
        let alike = self.logged.executed(node, executed);
        self.note("I33 alike", alike);
        if let Some(next) = &executed.next_set {
            self.voters.elected(seats(next));
        }
    }

    /// An honest node took a committed entry for a block, or for none.
    pub fn meaning(&mut self, node: NodeId, entry: &LogEntry, is_block: bool) {
        let same = self.meanings.taken(node, entry, is_block);
        self.note("I23 meaning", same);
    }

    /// The highest height of which a client was told.
    #[must_use]
    pub fn told(&self) -> Height {
        self.told
    }

    /// An honest node answered a linearizable read that began when `told` was the
    /// highest height of which anybody was told.
    pub fn read(&mut self, node: NodeId, told: Height, seen: Height) {
        self.note("I21 linearizable", i21_linearizable::check(node, told, seen));
    }

    /// An honest node that has nothing left to do was given a certificate before.
    pub fn heard(&mut self, node: NodeId, given: Height, certified: Height) {
        self.note("I25 heard", i25_heard::check(node, given, certified));
    }

    /// An honest node does not listen to a peer, which tells it a vote of its own.
    pub fn unheard(&mut self, node: NodeId, peer: NodeId, voted: Height, certified: Height, has_seat: bool) {
        self.note("I27 needed", i27_needed::check(node, peer, voted, certified, has_seat));
    }

    /// What waits in an honest node.
    pub fn queues(&mut self, node: NodeId, status: &consilium_replica::Status, (queued_max, members): (usize, u64)) {
        self.note("I22 bounded", i22_bounded::check(node, status, queued_max, members));
    }

    /// A right was handed to an honest node while a member that takes none led, and waited for.
    pub fn right(&mut self, node: NodeId, executed: bool) {
        self.note("I29 rights", i29_rights::check(node, executed));
    }

    /// Contents leave an honest node.
    pub fn released(&mut self, release: Release) {
        let good = self.releases.released(release);
        self.note("I30 released", good);
    }

    /// An honest node takes a header for certified.
    pub fn certified(&mut self, certified: &CertifiedHeader, next: Option<&ValidatorSet>, now: TimeMs) {
        let header = &certified.header;
        let good = self.certificates.check(certified, next);
        self.note("I3 certificate", good);
        let one = self.one.certified(header.height, header.hash());
        self.note("I2 one certificate", one);
        // A jump may have come and gone between a vote and now.
        let tolerance = SKEW_MS + CLOCK_ERROR_MS_MAX;
        self.note("I19 time", i19_time::tolerable(header, now.0, tolerance));
    }

    /// An honest node lets a vote of its own go.
    pub fn vote_sent(&mut self, vote: &Vote, guard: GuardRecord) {
        let good = self.guards.sent(vote, guard);
        self.note("I9 vote guard", good);
    }

    /// The newest record of an honest node's guard rots.
    pub fn rotted(&mut self, node: NodeId, left: Height) {
        self.guards.rotted(node, left);
    }

    /// The guard of a node was made durable.
    pub fn remembered(&mut self, node: NodeId, voted: Height) {
        let good = self.guards.remembered(node, voted);
        self.note("I9 vote guard", good);
    }

    /// The lowest executed boundary that an honest node has no certificate of.
    pub fn boundary(&mut self, node: NodeId, boundary: Option<Height>) {
        self.guards.boundary(node, boundary);
    }

    /// A node became leader.
    pub fn leads(&mut self, term: Term, node: NodeId) {
        let good = self.raft.leads(term, node);
        if !self.byzantine {
            self.note("I12 one leader", good);
        }
    }

    /// A machine won an election.
    pub fn elected(&mut self, term: Term, node: NodeId) {
        self.raft.elected(term, node);
    }

    /// An honest node follows a leader.
    pub fn follows(&mut self, node: NodeId, term: Term, leader: NodeId) {
        let good = self.raft.follows(node, term, leader);
        self.note("I12 elected", good);
    }

    /// An honest node applied a committed entry.
    pub fn committed(&mut self, node: NodeId, entry: &LogEntry) {
        let good = self.raft.committed(node, entry);
        if !self.byzantine {
            self.note("I12 log matching", good);
            let counted = self.counted.committed(node, entry, self.voters.counting(entry.index));
            self.note("I26 counted", counted);
        }
    }

    /// A machine writes an entry to its log.
    pub fn writes(&mut self, node: NodeId, entry: &LogEntry) {
        self.counted.writes(node, entry);
    }

    /// A machine's log begins behind an index.
    pub fn log_begins(&mut self, node: NodeId, truncated: LogIndex) {
        self.counted.begins(node, truncated);
    }

    /// An honest node put a configuration into force.
    pub fn membership(&mut self, node: NodeId, index: LogIndex, now: &Membership) {
        let before = self.memberships.insert(node, now.clone()).unwrap_or_default();
        let safe = self.voters.check(&before, now);
        let same = self.voters.changed(index, now);
        self.note("I13 voters", safe);
        if !self.byzantine {
            self.note("I13 voters", same);
        }
    }

    /// An honest node goes on from a configuration, as of an index: after a
    /// restart, or after catching up.
    pub fn resumed(&mut self, node: NodeId, index: LogIndex, membership: &Membership) {
        self.memberships.insert(node, membership.clone());
        if !self.byzantine {
            let same = self.voters.resumed(index, membership);
            self.note("I13 voters", same);
        }
    }

    /// An honest node refused a membership entry. An honest leader hardly ever proposes
    /// one that does not fit: two epochs must have ended while it was on its way.
    pub fn membership_refused(&mut self, node: NodeId, reason: &str) {
        let refused = self.refused.entry(node).or_default();
        *refused += 1;
        if !self.traitor && *refused > REFUSED_MAX {
            self.fail(
                "I13 voters",
                format!("{REFUSED_MAX} membership entries did not fit, nor does one more: {reason}"),
            );
        }
    }

    /// An honest node let Raft have a message that claims another sender.
    pub fn stepped(&mut self, proven: NodeId, claimed: Option<NodeId>) {
        self.fail("I16 raft ids", format!("a message of {proven} was taken as one of {claimed:?}"));
    }

    /// The state of an honest node after a step.
    pub fn status(&mut self, status: &Status) {
        self.note("I14 progress", i14_progress::check(status));
    }

    /// An honest node's writer reported a write.
    pub fn reported(&mut self, node: NodeId, hard_state: HardState) {
        self.watermarks.reported(node, hard_state);
    }

    /// An honest node starts from a disk, which has a number of its own.
    pub fn started(&mut self, node: NodeId, disk: u64, hard_state: HardState, last: LogIndex, applied: LogIndex) {
        let ids = self.ids.started(node, disk);
        self.note("I16 raft ids", ids);
        let kept = self.watermarks.started(node, hard_state, last, applied);
        self.note("I11 watermark", kept);
    }

    /// The ledger names a node's key.
    pub fn named(&mut self, node: NodeId, key: &[u8]) {
        let good = self.ids.named(node, key);
        self.note("I16 raft ids", good);
    }

    /// A client was told that a transaction is certified.
    pub fn acknowledged(&mut self, id: TransactionId, height: Height, outcome: i32) {
        self.told = self.told.max(height);
        let good = self.acknowledged.acknowledged(id, height, outcome);
        self.note("I7 durable", good);
    }

    /// Transactions that clients were told of.
    #[must_use]
    pub fn acknowledgements(&self) -> u64 {
        self.acknowledged.count()
    }

    /// The highest certified height.
    #[must_use]
    pub fn highest(&self) -> Height {
        self.one.highest()
    }

    /// The end of the calm phase.
    pub fn finish(&mut self, probe: Option<Height>, standings: &[Standing]) {
        self.note("I20 progress resumes", i20_progress_resumes::check(probe, standings));
    }

    /// What the honest have at the end.
    pub fn attachments(&mut self, attachments: &Attachments) {
        self.note("I28 attachments", attachments.check());
    }

    /// One ledger is executed again from the start.
    pub fn replay(&mut self, genesis: &Genesis, ledger: &LedgerHandle) {
        self.note("I6 replay", i06_replay::check(genesis, ledger));
    }

    /// What one ledger made of patients' rights is judged again.
    pub fn rights(&mut self, genesis: &Genesis, ledger: &LedgerStore, stats: &mut Stats) {
        match chronicle::effects(ledger, genesis.ledger_id) {
            Ok(effects) => {
                if let Err(Violation { invariant, what }) = rights::check(ledger, &effects, stats) {
                    self.fail(invariant, what);
                }
            }
            Err(what) => self.fail("I1 chain", what),
        }
    }

    /// The ledger of an honest node that has caught up.
    pub fn final_ledger(&mut self, genesis: &Genesis, ledger: &LedgerStore) {
        let effects = chronicle::effects(ledger, genesis.ledger_id);
        self.note("I31 logged", effects.and_then(|effects| i31_logged::check(ledger, &effects)));
        let stays = self.releases.check(ledger);
        self.note("I30 released", stays);
        let durable = self.acknowledged.check(ledger);
        self.note("I7 durable", durable);
        self.note("I18 once", i18_once::check(ledger));
    }
}

fn seats(set: &ValidatorSet) -> Vec<RaftId> {
    set.seats().iter().filter_map(|seat| RaftId::new(seat.id.0)).collect()
}
