//! The rules by which honest nodes agree, each of which can be taken away, and how much of
//! what can happen is looked at.

/// How a granter looks at what a candidate's log has where it counted something itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateCheck {
    /// Not at all: Raft's own rule.
    Off,
    /// Not where the candidate's log ends with an entry of another term.
    SameTerm,
    /// As `core/chain.rs` does: whatever other entry it is.
    Strict,
}

/// What an honest node does and does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Nobody is followed who does not show a quorum of grants.
    pub mandates: bool,
    /// A node grants once in a term, also over restarts.
    pub one_grant: bool,
    /// A candidate's log ends no earlier than the granter's (Raft, section 5.4.1).
    pub up_to_date: bool,
    /// A candidate has what the granter counted.
    pub candidates: CandidateCheck,
    /// Entries are the same if their hashes are, which commit to all before them; else if their
    /// index and term are.
    pub chained: bool,
    /// What a node acknowledged in a term it does not replace in that term.
    pub keeps_acknowledged: bool,
    /// What a node counted it never replaces.
    pub keeps_counted: bool,
    /// A node counts by what the others acknowledge; else by the leader's word.
    pub counts_itself: bool,
    /// Entries of earlier terms are counted below one of the current term only (Raft, section
    /// 5.4.2).
    pub heads_only: bool,
    /// A node votes once at a height, and goes on only from what it voted for, or from what
    /// was certified instead.
    pub votes_once: bool,
    /// Grants that make a leader.
    pub grant_quorum: u32,
    /// Acknowledgements that make an entry count.
    pub ack_quorum: u32,
    /// Votes that make a certificate.
    pub vote_quorum: u32,
}

/// More than two thirds, and a majority, of four.
pub const QUORUM: u32 = 3;

impl Rules {
    /// Those of the code.
    pub const AS_CODED: Self = Self {
        mandates: true,
        one_grant: true,
        up_to_date: true,
        candidates: CandidateCheck::Strict,
        chained: true,
        keeps_acknowledged: true,
        keeps_counted: true,
        counts_itself: true,
        heads_only: true,
        votes_once: true,
        grant_quorum: QUORUM,
        ack_quorum: QUORUM,
        vote_quorum: QUORUM,
    };

    /// None but that votes are given once, and that a certificate takes a quorum of them.
    pub const VOTES_ALONE: Self = Self {
        mandates: false,
        one_grant: false,
        up_to_date: false,
        candidates: CandidateCheck::Off,
        chained: false,
        keeps_acknowledged: false,
        keeps_counted: false,
        counts_itself: false,
        heads_only: false,
        grant_quorum: 2,
        ack_quorum: 2,
        ..Self::AS_CODED
    };
}

/// What the fourth node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liar {
    /// Whether it says anything: grants, acknowledges and votes as it suits, to each what it
    /// likes, and leads. If not, it is gone.
    pub speaks: bool,
    /// Terms that it may be elected in.
    pub terms: u32,
    /// Whether it acknowledges one log only in each term, though not to everybody.
    pub acks_once: bool,
    /// Whether it passes on entries of others' terms that these never made.
    pub makes_up: bool,
}

impl Liar {
    /// Does whatever it can, as often as it likes.
    pub const BOUNDLESS: Self = Self { speaks: true, terms: u32::MAX, acks_once: false, makes_up: false };
    /// Lies, but is never elected.
    pub const NEVER_ELECTED: Self = Self { terms: 0, ..Self::BOUNDLESS };
    /// Says nothing any more.
    pub const SILENT: Self = Self { speaks: false, terms: 0, acks_once: false, makes_up: false };
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Terms.
    pub terms: u8,
    /// Entries in a log, and heights.
    pub indexes: usize,
    /// The fourth node.
    pub liar: Liar,
    /// Whether honest nodes lose their log and ledger at times, though not the guard of their
    /// votes, nor their term.
    pub forgets: bool,
    /// Whether states that differ by names only are one, and what leads to nothing else is left
    /// out. The numbers of nodes in moves are not those of the state before, then.
    pub reduced: bool,
}

impl Scope {
    /// So many terms and indexes, with a liar that does whatever it can.
    #[must_use]
    pub const fn of(terms: u8, indexes: usize) -> Self {
        Self { terms, indexes, liar: Liar::BOUNDLESS, forgets: false, reduced: true }
    }

    /// With another liar.
    #[must_use]
    pub const fn with(self, liar: Liar) -> Self {
        Self { liar, ..self }
    }
}
