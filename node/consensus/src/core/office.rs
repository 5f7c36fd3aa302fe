//! What a node remembers of elections: who asked it, who granted it, and the newest proof of
//! who leads. What follows from it is in [`super::elections`].

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::ids::NodeId;
use consilium_proto::signing::SignatureBytes;
use raft::eraftpb::Message;

use crate::ids::{LogIndex, LogPosition, RaftId, Term};
use crate::mandate::{Candidacy, Electorate, HandOver, Mandate, Signer, Standpoint};

/// See the module.
pub(super) struct Office {
    pub(super) signer: Signer,
    pub(super) electorate: Electorate,
    /// What each peer asked for last.
    pub(super) asked: BTreeMap<RaftId, Candidacy>,
    /// For which term each peer last wanted another leader, and in which tick it said so.
    pub(super) wanting: BTreeMap<RaftId, (Term, u64)>,
    pub(super) standing: Option<Standing>,
    pub(super) probing: Option<Probing>,
    /// Of the newest term that is proven.
    pub(super) mandate: Option<Mandate>,
    /// With which this node may stand although a leader is heard.
    pub(super) hand_over: Option<HandOver>,
    /// A voter is in a later term than this leader's, and does not listen; since which tick.
    pub(super) overtaken: Option<(Term, u64)>,
    pub(super) renewed_at: u64,
    /// Nothing is proposed until the log is durable, and then the mandate is renewed.
    pub(super) renewal_waits: bool,
}

/// A candidacy of this node.
pub(super) struct Standing {
    pub(super) candidacy: Candidacy,
    pub(super) grants: BTreeMap<NodeId, SignatureBytes>,
    /// Granted votes that Raft was not told of, one of each peer.
    pub(super) held: BTreeMap<RaftId, Message>,
    pub(super) proven: bool,
}

/// A look at who would grant, before the term is touched (pre-vote, thesis 9.6).
pub(super) struct Probing {
    pub(super) term: Term,
    /// Who would; and what it said, until Raft is told.
    pub(super) would_grant: BTreeSet<NodeId>,
    pub(super) held: BTreeMap<RaftId, Message>,
}

impl Office {
    pub(super) fn new(signer: Signer) -> Self {
        Self {
            signer,
            electorate: Electorate::default(),
            asked: BTreeMap::new(),
            wanting: BTreeMap::new(),
            standing: None,
            probing: None,
            mandate: None,
            hand_over: None,
            overtaken: None,
            renewed_at: 0,
            renewal_waits: false,
        }
    }

    /// Term and leader that are proven.
    pub(super) fn proven(&self) -> Option<(Term, RaftId)> {
        self.mandate.as_ref().map(|mandate| (mandate.candidacy.term, mandate.candidacy.candidate))
    }

    pub(super) fn grant(&self, candidacy: &Candidacy) -> Option<SignatureBytes> {
        self.signer.sign(&candidacy.signing_bytes(&self.signer.ledger_id))
    }

    pub(super) fn stand(&mut self, me: RaftId, candidacy: Candidacy) {
        let own = self.grant(&candidacy).map(|grant| (NodeId(me.get()), grant));
        let grants: BTreeMap<_, _> = own.into_iter().filter(|_| self.electorate.has_seat(me)).collect();
        let mandate = self.electorate.mandate(&candidacy, &grants, &self.signer.ledger_id);
        self.standing = Some(Standing { candidacy, grants, held: BTreeMap::new(), proven: mandate.is_some() });
    }
}

/// What a request for a vote asks for.
pub(super) fn candidacy_of(message: &Message, standpoint: Standpoint) -> Option<Candidacy> {
    let Standpoint { tail, applied, membership, .. } = standpoint;
    let hash = tail.last();
    let last = LogPosition { index: LogIndex(message.index), term: Term(message.log_term), hash };
    let candidate = RaftId::new(message.from)?;
    Some(Candidacy { term: Term(message.term), candidate, last, applied, membership })
}
