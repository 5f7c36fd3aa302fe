//! What a seed asks for: the network's size, and which faults with which rates.
//! Every kind of fault is on in some seeds and off in others, because a fault
//! that is always there hides what only shows without it.

use std::collections::BTreeSet;

use consilium_kit::Rng;

/// A kind of fault or event that a seed may ask for, and that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// A message is lost.
    Loss,
    /// A message arrives twice.
    Duplicate,
    /// A message is much later than others, and overtaken.
    Delay,
    /// Two groups hear nothing of each other.
    Partition,
    /// A machine is heard and hears nothing, or the reverse.
    OneWay,
    /// A process is killed at any moment.
    Kill,
    /// The power of a machine fails at any moment.
    PowerCut,
    /// A machine fails exactly before or after a write.
    CrashPoint,
    /// A power cut took writes that were not synced.
    LostWrites,
    /// A record was torn.
    TornWrite,
    /// Writes take long.
    SlowDisk,
    /// A clock is off.
    ClockSkew,
    /// A clock jumps.
    ClockJump,
    /// A disk is lost, and the node replaced under a new raft id.
    Wipe,
    /// Stake is moved.
    Stake,
    /// Nodes are registered and retired.
    Nodes,
    /// Members are suspended and reinstated.
    Suspension,
    /// Logs are cut short, so that followers need certified blocks.
    Compaction,
    /// A node is asked to stop, and hands leadership over first.
    OrderlyStop,
    /// More is submitted at once than queues hold.
    Overload,
    /// Ledgers that cannot be read any more, on any number of machines but one at once.
    Unreadable,
    /// The clock of one machine is off by anything between seconds and for ever, and
    /// nobody sets it.
    FarClock,
    /// The newest record of a guard rots.
    RottenGuard,
    /// The disk of one machine loses attachments, or holds others in their place.
    LoseAttachments,
    /// All clocks go on by two minutes at once, as if nothing had happened meanwhile.
    Leap,
    /// A hospital leaves for good, and another one keeps its records.
    Removal,
    /// Two machines with one key.
    Twins,
    /// A leader that sends different logs to different followers.
    Equivocate,
    /// A leader that forges transactions.
    Forge,
    /// A leader that withholds transactions.
    Withhold,
    /// A leader that lies about the time.
    LieTime,
    /// A validator that signs two headers of one height.
    DoubleSign,
    /// A validator that does not vote.
    WithholdVotes,
    /// A member whose Raft messages are hostile, and who floods others with votes.
    HostileRaft,
    /// A leader whose blocks cannot be read in part.
    Garble,
    /// A leader that proposes to be the only voter.
    Capture,
    /// A member that speaks as the leader of terms in which nobody elected it.
    Usurp,
    /// A leader that tells one follower that all is committed, and others little.
    FalseCommit,
    /// A node that serves blocks without their attachments, and others in their place.
    WithholdAttachments,
    /// A member that takes no transaction by which others protect themselves, and says that it
    /// has.
    WithholdRights,
}

impl Fault {
    /// What makes a machine Byzantine.
    pub const BYZANTINE: [Self; 14] = [
        Self::Twins,
        Self::Equivocate,
        Self::Forge,
        Self::Withhold,
        Self::LieTime,
        Self::DoubleSign,
        Self::WithholdVotes,
        Self::HostileRaft,
        Self::Garble,
        Self::Capture,
        Self::Usurp,
        Self::FalseCommit,
        Self::WithholdAttachments,
        Self::WithholdRights,
    ];

    /// What else a seed may ask for, and in how many of a thousand it does.
    pub const USUAL: [(Self, u64); 24] = [
        (Self::Loss, 500),
        (Self::Duplicate, 400),
        (Self::Delay, 400),
        (Self::Partition, 500),
        (Self::OneWay, 300),
        (Self::Kill, 500),
        (Self::PowerCut, 500),
        (Self::CrashPoint, 500),
        (Self::SlowDisk, 300),
        (Self::ClockSkew, 300),
        (Self::ClockJump, 200),
        (Self::Wipe, 200),
        (Self::Stake, 500),
        (Self::Nodes, 400),
        (Self::Suspension, 250),
        (Self::Compaction, 400),
        (Self::OrderlyStop, 300),
        (Self::Overload, 200),
        (Self::FarClock, 250),
        (Self::Unreadable, 250),
        (Self::RottenGuard, 250),
        (Self::LoseAttachments, 250),
        (Self::Leap, 250),
        (Self::Removal, 250),
    ];

    /// Whether it makes a machine Byzantine.
    #[must_use]
    pub fn is_byzantine(self) -> bool {
        self >= Self::Twins
    }
}

/// Parameters of one seed. Times in milliseconds of virtual time, rates per mille.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// What is asked for.
    pub asked: BTreeSet<Fault>,
    /// Founding members.
    pub members: u64,
    /// Nodes of the first member; the others have one.
    pub first_nodes: u64,
    /// Stake of each member.
    pub stakes: Vec<u64>,
    /// Blocks of an epoch.
    pub epoch_blocks: u64,
    /// Milliseconds of an epoch.
    pub epoch_ms: u64,
    /// Seats.
    pub max_validators: u64,
    /// Blocks of one leader.
    pub rotation_blocks: u64,
    /// Longest usual delay of a message.
    pub latency_max: u64,
    /// Messages lost.
    pub loss: u64,
    /// Messages doubled.
    pub duplicate: u64,
    /// Messages delayed by up to a second.
    pub delay: u64,
    /// Longest usual time of a sync.
    pub sync_max: u64,
    /// Pause between faults, on average.
    pub fault_pause: u64,
    /// Pause between submissions, on average.
    pub submit_pause: u64,
    /// Transactions that a queue holds.
    pub queued_max: usize,
    /// Log entries kept before compaction.
    pub log_entries_max: u64,
    /// Length of the stormy phase.
    pub storm_ms: u64,
}

impl Swarm {
    /// The parameters of a seed.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Self {
        let mut asked = BTreeSet::new();
        for (fault, per_mille) in Fault::USUAL {
            if rng.chance(per_mille) {
                asked.insert(fault);
            }
        }
        if rng.chance(300) {
            asked.remove(&Fault::FarClock);
            asked.extend(rng.pick(&Fault::BYZANTINE));
        }
        spare(&mut asked);
        Self::with(asked, rng)
    }

    /// The parameters of a seed with faults of a choice beside those that it draws.
    #[must_use]
    pub fn focused(rng: &mut Rng, on: &[Fault]) -> Self {
        let mut asked = Self::new(rng).asked;
        let asks = |fault| on.contains(&fault);
        if asks(Fault::Removal) || on.iter().copied().any(is_lasting) {
            asked.retain(|fault| !is_lasting(*fault));
            asked.extend(on.iter().filter(|fault| is_lasting(**fault) || **fault == Fault::Removal));
        }
        if asks(Fault::Wipe) || asks(Fault::Suspension) {
            asked.remove(&Fault::Removal);
        }
        spare(&mut asked);
        asked.extend(on);
        Self::with(asked, rng)
    }

    /// Parameters for what many deeds bring to light and faults hide: much is asked for, and nothing
    /// fails.
    #[must_use]
    pub fn busy(rng: &mut Rng) -> Self {
        Self { submit_pause: 15, ..Self::with(BTreeSet::new(), rng) }
    }

    /// Parameters for given faults, and no others.
    #[must_use]
    pub fn with(asked: BTreeSet<Fault>, rng: &mut Rng) -> Self {
        // With one that does not count, certificates and Raft need the others to be equals.
        let lasting = asked.iter().copied().any(is_lasting);
        let fewer = lasting || asked.contains(&Fault::Removal);
        let members = rng.range(4, 5) + u64::from(fewer && rng.chance(500));
        let equal = lasting || rng.chance(500);
        let stakes = (0..members).map(|_| if equal { 100 } else { rng.range(60, 180) }).collect();
        let mut rate = |fault, low, high| if asked.contains(&fault) { rng.range(low, high) } else { 0 };
        let loss = rate(Fault::Loss, 5, 120);
        let duplicate = rate(Fault::Duplicate, 5, 150);
        let delay = rate(Fault::Delay, 5, 80);
        let compaction = asked.contains(&Fault::Compaction);
        let overload = asked.contains(&Fault::Overload);
        Self {
            members,
            first_nodes: if lasting { 1 } else { rng.range(1, 2) },
            stakes,
            epoch_blocks: rng.range(5, 20),
            epoch_ms: rng.range(1_500, 6_000),
            max_validators: if lasting { 7 } else { rng.range(4, 7) },
            rotation_blocks: if rng.chance(500) { rng.range(5, 30) } else { 0 },
            latency_max: rng.range(5, 40),
            loss,
            duplicate,
            delay,
            sync_max: rng.range(1, 15),
            fault_pause: rng.range(150, 900),
            submit_pause: rng.range(60, 250),
            queued_max: if overload { rng.range(4, 12) as usize } else { 10_000 },
            log_entries_max: if compaction { rng.range(6, 20) } else { 10_000 },
            storm_ms: rng.range(6_000, 12_000),
            asked,
        }
    }

    /// Whether missed votes may cost a seat.
    #[must_use]
    pub fn may_jail(&self) -> bool {
        let leave = [Fault::Wipe, Fault::Suspension, Fault::Removal];
        !leave.into_iter().any(|fault| self.has(fault)) && !self.asked.iter().copied().any(is_lasting)
    }

    /// Whether a fault is asked for.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.asked.contains(&fault)
    }

    /// Whether a machine may break what Raft promises: one that acknowledges and grants
    /// twice can.
    #[must_use]
    pub fn may_break_raft(&self) -> bool {
        self.has(Fault::Twins)
    }

    /// The Byzantine behaviour asked for, if any.
    #[must_use]
    pub fn byzantine(&self) -> Option<Fault> {
        self.asked.iter().copied().find(|fault| fault.is_byzantine())
    }
}

/// Whether a machine never counts again, from the founding to the end.
fn is_lasting(fault: Fault) -> bool {
    fault.is_byzantine() || fault == Fault::FarClock
}

/// One that does not count is all that four nodes bear.
fn spare(asked: &mut BTreeSet<Fault>) {
    if asked.iter().copied().any(is_lasting) {
        asked.remove(&Fault::Removal);
    }
    if asked.contains(&Fault::Removal) || asked.iter().copied().any(is_lasting) {
        asked.remove(&Fault::Wipe);
        asked.remove(&Fault::Suspension);
    }
}
