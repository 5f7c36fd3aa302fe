//! What a leader has seen of the validators and reports in its block: the
//! ledger's own record of who is there and who lied. Not hashed into the header;
//! what it does to the state is.

use crate::error::{FieldError, length_in};
use crate::limits::{EVIDENCE_PER_BLOCK_MAX, VALIDATORS_MAX};
use crate::pb;
use crate::vote::{BlockCertificate, Equivocation, Vote};

/// The observations of one block. Signatures are not verified yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The newest certificate that the leader knew.
    pub certificate: Option<BlockCertificate>,
    /// Votes that are not in it.
    pub votes: Vec<Vote>,
    /// Proofs of double signing.
    pub evidence: Vec<Equivocation>,
}

impl Observed {
    /// Parses the observations of a proposal or a stored block.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn parse(
        certificate: Option<&pb::BlockCertificate>,
        votes: &[pb::Vote],
        evidence: &[pb::Equivocation],
    ) -> Result<Self, FieldError> {
        length_in("observed_votes", votes.len(), 0, VALIDATORS_MAX)?;
        length_in("observed_evidence", evidence.len(), 0, EVIDENCE_PER_BLOCK_MAX)?;
        let certificate = certificate.map(BlockCertificate::try_from).transpose();
        let votes = votes.iter().map(Vote::try_from).collect::<Result<_, _>>();
        let evidence = evidence.iter().map(Equivocation::try_from).collect::<Result<_, _>>();
        Ok(Self {
            certificate: certificate.map_err(|e| e.within("observed_certificate"))?,
            votes: votes.map_err(|e| e.within("observed_votes"))?,
            evidence: evidence.map_err(|e| e.within("observed_evidence"))?,
        })
    }

    /// Of a proposal.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn of_proposal(m: &pb::BlockProposal) -> Result<Self, FieldError> {
        Self::parse(m.observed_certificate.as_ref(), &m.observed_votes, &m.observed_evidence)
    }

    /// Of a stored block.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn of_block(m: &pb::Block) -> Result<Self, FieldError> {
        Self::parse(m.observed_certificate.as_ref(), &m.observed_votes, &m.observed_evidence)
    }

    /// Puts them into a proposal.
    pub fn write_to_proposal(&self, m: &mut pb::BlockProposal) {
        m.observed_certificate = self.certificate.as_ref().map(Into::into);
        m.observed_votes = self.votes.iter().map(Into::into).collect();
        m.observed_evidence = self.evidence.iter().map(Into::into).collect();
    }

    /// Puts them into a block to be stored.
    pub fn write_to_block(&self, m: &mut pb::Block) {
        m.observed_certificate = self.certificate.as_ref().map(Into::into);
        m.observed_votes = self.votes.iter().map(Into::into).collect();
        m.observed_evidence = self.evidence.iter().map(Into::into).collect();
    }
}
