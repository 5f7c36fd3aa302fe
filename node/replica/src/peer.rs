//! What nodes tell each other over the stream between them. A batch keeps the
//! order in which things were said, and nothing in it replaces another thing.

use bytes::Bytes;
use consilium_consensus::{LogHash, LogIndex, LogPosition, Mandate, SealedPosition, Term};
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::ids::{Epoch, Height, TimeMs};
use consilium_proto::light_client::SetChange;
use consilium_proto::pb;
use consilium_proto::vote::{CertifiedHeader, Vote};

/// Messages of one batch.
pub const BATCH_MAX: usize = 256;

/// One message to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerMessage {
    /// For its Raft core.
    Raft(Bytes),
    /// The sender's own vote.
    Vote(Vote),
    /// Another node's vote, in conflict with what the sender executed.
    RelayedVote(Vote),
    /// A certified header that the receiver seems to lack.
    Certified(Box<CertifiedHeader>),
    /// The sender lacks certificates from this height on.
    UncertifiedFrom(Height),
    /// What the sender's wall clock shows.
    WallClock(TimeMs),
    /// The proof that the sender leads.
    Mandate(Box<Mandate>),
    /// The sender heard of a term and does not know that its leader was elected.
    MandateWanted {
        /// The term.
        term: Term,
        /// The newest epoch whose validators the sender knows.
        epoch: Epoch,
    },
    /// A change of the validators that the receiver seems to lack.
    SetChange(Box<SetChange>),
    /// Asks what the receiver holds of the sender; the newest epoch whose validators that
    /// one knows.
    Recall(Epoch),
    /// What the sender holds of the receiver.
    Recollection(Box<Recollection>),
    /// What the sender has where another node has something else.
    Sealed(Box<SealedPosition>),
}

/// What a node holds of another one, that a disk must not forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recollection {
    /// The newest vote.
    pub vote: Option<Vote>,
    /// How far it has acknowledged the log in the present term.
    pub acknowledged: Option<LogPosition>,
}

impl PeerMessage {
    /// Bytes on the wire, roughly.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Raft(bytes) => bytes.len(),
            Self::Vote(_) | Self::RelayedVote(_) | Self::UncertifiedFrom(_) | Self::WallClock(_) | Self::Sealed(_) => {
                256
            }
            Self::Mandate(mandate) => 256 + 96 * mandate.grants.len(),
            Self::MandateWanted { .. } | Self::Recall(_) => 64,
            Self::Recollection(_) => 320,
            Self::SetChange(change) => {
                let signatures = change.boundary.certificate.signatures().count();
                512 + 96 * signatures + 96 * change.next.seats().len()
            }
            Self::Certified(certified) => 512 + 96 * certified.certificate.signatures().count(),
        }
    }
}

impl From<PeerMessage> for pb::PeerMessage {
    fn from(message: PeerMessage) -> Self {
        use pb::peer_message::Message;
        let message = match message {
            PeerMessage::Raft(bytes) => Message::Raft(bytes),
            PeerMessage::Vote(vote) => Message::Vote((&vote).into()),
            PeerMessage::RelayedVote(vote) => Message::RelayedVote((&vote).into()),
            PeerMessage::Certified(certified) => Message::Certified((&*certified).into()),
            PeerMessage::UncertifiedFrom(height) => Message::UncertifiedFrom(height.0),
            PeerMessage::WallClock(time) => Message::WallClockMs(time.0),
            PeerMessage::Mandate(mandate) => Message::Mandate((&*mandate).into()),
            PeerMessage::MandateWanted { term, epoch } => {
                Message::MandateWanted(pb::MandateWanted { term: term.0, epoch: epoch.0 })
            }
            PeerMessage::SetChange(change) => Message::SetChange((&*change).into()),
            PeerMessage::Recall(epoch) => Message::Recall(pb::RecallRequest { epoch: epoch.0 }),
            PeerMessage::Recollection(recollection) => Message::Recollection((&*recollection).into()),
            PeerMessage::Sealed(sealed) => Message::Sealed((&*sealed).into()),
        };
        Self { message: Some(message) }
    }
}

impl From<&Recollection> for pb::Recollection {
    fn from(recollection: &Recollection) -> Self {
        let head = |position: LogPosition| {
            let LogPosition { index, term, hash } = position;
            pb::LogHead { index: index.0, term: term.0, hash: hash.to_bytes() }
        };
        Self { vote: recollection.vote.as_ref().map(Into::into), acknowledged: recollection.acknowledged.map(head) }
    }
}

impl TryFrom<&pb::Recollection> for Recollection {
    type Error = FieldError;

    fn try_from(m: &pb::Recollection) -> Result<Self, FieldError> {
        let position = |head: &pb::LogHead| {
            let hash = LogHash::from_bytes(fixed("acknowledged.hash", &head.hash)?);
            Ok::<_, FieldError>(LogPosition { index: LogIndex(head.index), term: Term(head.term), hash })
        };
        Ok(Self {
            vote: m.vote.as_ref().map(Vote::try_from).transpose()?,
            acknowledged: m.acknowledged.as_ref().map(position).transpose()?,
        })
    }
}

impl TryFrom<pb::PeerMessage> for PeerMessage {
    type Error = FieldError;

    fn try_from(m: pb::PeerMessage) -> Result<Self, FieldError> {
        use pb::peer_message::Message;
        Ok(match m.message.ok_or_else(|| FieldError::missing("message"))? {
            Message::Raft(bytes) => Self::Raft(bytes),
            Message::Vote(vote) => Self::Vote(Vote::try_from(&vote)?),
            Message::RelayedVote(vote) => Self::RelayedVote(Vote::try_from(&vote)?),
            Message::Certified(certified) => Self::Certified(Box::new(CertifiedHeader::try_from(&certified)?)),
            Message::UncertifiedFrom(height) => Self::UncertifiedFrom(Height(height)),
            Message::WallClockMs(time) => Self::WallClock(TimeMs(time)),
            Message::Mandate(mandate) => Self::Mandate(Box::new(Mandate::try_from(&mandate)?)),
            Message::MandateWanted(pb::MandateWanted { term, epoch }) => {
                Self::MandateWanted { term: Term(term), epoch: Epoch(epoch) }
            }
            Message::SetChange(change) => Self::SetChange(Box::new(SetChange::try_from(&change)?)),
            Message::Recall(pb::RecallRequest { epoch }) => Self::Recall(Epoch(epoch)),
            Message::Recollection(recollection) => Self::Recollection(Box::new(Recollection::try_from(&recollection)?)),
            Message::Sealed(sealed) => Self::Sealed(Box::new(SealedPosition::try_from(&sealed)?)),
        })
    }
}
