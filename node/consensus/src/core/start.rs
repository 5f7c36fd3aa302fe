//! Starting a core from what is on disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft::{RaftState, RawNode};
use slog::{Discard, Logger, o};

use super::Core;
use super::followers::Followers;
use super::office::Office;
use super::tally::Tally;
use super::voteless::Waiting;
use crate::config::{Config, ConfigError};
use crate::convert::{hard_state_to_raft, membership_to_raft};
use crate::ids::Term;
use crate::log::LogReader;
use crate::log_view::LogView;
use crate::mandate::Signer;
use crate::output::{LeaderChange, PersistSeq};
use crate::preflight::{Initial, PreflightError, Stored, preflight};
use crate::status::Role;

/// Why a core does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The settings do not fit together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What is on disk must not be used; see [`PreflightError::repair`].
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// The library refused for a reason that the checks do not know.
    #[error("raft refused to start: {0}")]
    Raft(String),
}

impl<R: LogReader> Core<R> {
    /// Checks settings and stored state, and starts as a follower that believes nobody before
    /// [`Core::set_electorate`]. Its votes are signed by `signer`.
    ///
    /// # Errors
    /// [`StartError`]; nothing was changed on disk.
    pub fn new(config: Config, signer: Signer, initial: Initial, reader: R) -> Result<Self, StartError> {
        config.validate()?;
        let bounds = reader.bounds().map_err(PreflightError::Log)?;
        let Stored { bounds, runs, hashes, changes } = preflight(&initial, bounds, &reader)?;
        let Initial { hard_state, membership, applied } = initial;
        let raft_state =
            RaftState { hard_state: hard_state_to_raft(&hard_state), conf_state: membership_to_raft(&membership) };
        let cache = config.cache_bytes_max;
        let view = LogView::new(reader, raft_state, (bounds, runs, hashes), cache);
        let logger = Logger::root(Discard, o!());
        let mut raw = RawNode::new(&config.to_raft(applied.0), view, &logger)
            .map_err(|error| StartError::Raft(error.to_string()))?;
        // Nobody waits to be told what is committed.
        raw.raft.skip_bcast_commit(true);
        Ok(Self {
            config,
            raw,
            membership,
            membership_since: applied,
            known: BTreeSet::new(),
            pending: VecDeque::new(),
            issued: PersistSeq(0),
            ready_number: 0,
            acknowledged: PersistSeq(0),
            durable_vote: (hard_state.term, hard_state.vote),
            handed_out: applied,
            changes,
            reads: BTreeMap::new(),
            read_outcomes: Vec::new(),
            leadership: LeaderChange { leader: None, term: Term(0), role: Role::Follower },
            held: None,
            held_is_new: false,
            held_term: Term(0),
            distrusted: None,
            shunned: BTreeSet::new(),
            snapshot_ages: BTreeMap::new(),
            office: Office::new(signer),
            tally: Tally::default(),
            heads: Vec::new(),
            followers: Followers::default(),
            waiting: Waiting::default(),
            may_lead: true,
            may_grant: true,
            owed: None,
            ticks: 0,
        })
    }
}
