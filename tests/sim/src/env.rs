//! What every part of a run shares: time, randomness, counters, the oracle, and
//! the outbox into which machines put what leaves them.

use std::collections::{BTreeMap, BTreeSet};

use consilium_kit::Rng;
use consilium_kit::forks::Forks;
use consilium_ledger::{CheckedTransaction, StateReader, Table, keys};
use consilium_proto::ids::{NodeId, TimeMs, TransactionId};
use consilium_proto::pb::SignerState;
use consilium_proto::signing::VerifyingKey;
use prost::Message;

use crate::bugs::Bug;
use crate::crash_point::CrashPoint;
use crate::event::{Event, MachineId, Send, Timer};
use crate::fixture::{Fixture, START_MS};
use crate::oracle::Oracle;
use crate::stats::Stats;
use crate::swarm::Swarm;
use crate::trace::Trace;

/// Why a node goes down in the middle of its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// The machine failed at an armed point.
    Crash(CrashPoint),
    /// The node stopped by itself: what it computed is not what is certified.
    Diverged(String),
    /// The node stopped by itself: peers hold a vote that its disk does not.
    Forgot,
    /// The node stopped by itself, by a fault that must not happen.
    Fault(String),
}

/// What is shared.
pub struct Env {
    /// Milliseconds since the start.
    pub now: u64,
    /// By so many milliseconds all clocks have gone on beside that.
    pub leapt: u64,
    /// Choices of the machines' surroundings.
    pub rng: Rng,
    /// The parameters.
    pub swarm: Swarm,
    /// A bug that was put back.
    pub bug: Option<Bug>,
    /// Counters.
    pub stats: Stats,
    /// The log.
    pub trace: Trace,
    /// The oracle.
    pub oracle: Oracle,
    /// The network's people and keys.
    pub fixture: Fixture,
    /// What leaves the machines in this step.
    pub outbox: Vec<Send>,
    /// What is to happen later.
    pub later: Vec<(u64, Event)>,
    /// Whether faults are over.
    pub calm: bool,
    /// Nodes that are Byzantine.
    pub traitors: BTreeSet<NodeId>,
    /// What a traitor told others of its log.
    pub forks: Forks,
    /// What clients were told, to be passed on after the step.
    pub answers: Vec<TransactionId>,
    /// When a new transaction was certified in the calm phase.
    pub probed_at: Option<u64>,
    /// A traitor leads, since then.
    pub led_by_traitor: Option<u64>,
    /// A traitor came to lead then, and no client was answered since.
    pub unserved: Option<u64>,
    /// A node whose client waited in vain after that.
    pub deaf: Option<NodeId>,
    verified: BTreeMap<(TransactionId, [u8; 64]), VerifyingKey>,
}

impl Env {
    /// The start of a run.
    #[must_use]
    pub fn new(swarm: Swarm, bug: Option<Bug>, rng: Rng, trace: Trace) -> Self {
        let fixture = Fixture::new(&swarm);
        let oracle = Oracle::new(&fixture.genesis, &swarm);
        Self {
            now: 0,
            leapt: 0,
            rng,
            swarm,
            bug,
            stats: Stats::default(),
            trace,
            oracle,
            fixture,
            outbox: Vec::new(),
            later: Vec::new(),
            calm: false,
            traitors: BTreeSet::new(),
            forks: Forks::default(),
            answers: Vec::new(),
            probed_at: None,
            led_by_traitor: None,
            unserved: None,
            deaf: None,
            verified: BTreeMap::new(),
        }
    }

    /// True time, in ms since 1970.
    #[must_use]
    pub fn true_ms(&self) -> u64 {
        START_MS + self.now + self.leapt
    }

    /// The same as blocks count it.
    #[must_use]
    pub fn true_time(&self) -> TimeMs {
        TimeMs(self.true_ms())
    }

    /// Whether a bug was put back.
    #[must_use]
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Whether a node is Byzantine.
    #[must_use]
    pub fn is_traitor(&self, node: NodeId) -> bool {
        self.traitors.contains(&node)
    }

    /// Notes a line in the log.
    pub fn note(&mut self, line: std::fmt::Arguments<'_>) {
        self.trace.note(self.now, line);
    }

    /// Sets a timer of a machine.
    pub fn timer(&mut self, delay: u64, at: MachineId, incarnation: u64, timer: Timer) {
        self.later.push((self.now + delay.max(1), Event::Timer { at, incarnation, timer }));
    }

    /// A traitor came to lead, or does not any more.
    pub fn traitor_leads(&mut self, leads: bool) {
        let since = self.led_by_traitor.take();
        if leads {
            self.led_by_traitor = Some(since.unwrap_or(self.now));
            self.unserved.get_or_insert(self.now);
            self.stats.add("elections of a traitor", u64::from(since.is_none()));
        } else if let Some(since) = since {
            self.stats.add("milliseconds led by a traitor", self.now - since);
        }
    }

    /// A client was told that its transaction is certified.
    pub fn served(&mut self, id: TransactionId) {
        self.answers.push(id);
        if let Some(since) = self.unserved.take() {
            self.stats.count("answers after the election of a traitor");
            self.stats.add("milliseconds to the answer after the election of a traitor", self.now - since);
        }
    }

    /// A client at an honest node waited in vain. While faults happen that is what
    /// is promised; once a new transaction was certified, nobody may, unless what was
    /// certified since leaves too few to go on.
    pub fn late(&mut self, node: NodeId) {
        self.stats.count("answers that came too late");
        if self.probed_at.is_some_and(|at| self.now > at + 5_000) {
            self.deaf.get_or_insert(node);
        }
    }

    /// Looks for the author's key and verifies each signature once in a run: the
    /// result is kept by transaction id, which commits to what is signed, and
    /// signature. Bytes that were not seen before are always verified. Returns whether
    /// the author is known.
    pub fn verify<R: StateReader>(&mut self, reader: &R, checked: &mut CheckedTransaction) -> bool {
        let transaction = &checked.transaction;
        if transaction.enrollment().is_some() {
            return false;
        }
        let Some(key) = author_key(reader, checked) else { return false };
        let place = (transaction.id, transaction.signature);
        if self.verified.get(&place) == Some(&key) {
            checked.verified_under = Some(key);
        } else if transaction.signed().verify(&key).is_ok() {
            self.verified.insert(place, key.clone());
            checked.verified_under = Some(key);
        }
        true
    }
}

fn author_key<R: StateReader>(reader: &R, checked: &CheckedTransaction) -> Option<VerifyingKey> {
    let row = reader.get(Table::State, &keys::signer(&checked.transaction.head.author)).ok()??;
    VerifyingKey::from_bytes(&SignerState::decode(row).ok()?.signing_key).ok()
}
