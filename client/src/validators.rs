//! Stake, elections and accountability: questions about them, and the
//! transactions of a member about its own stake and nodes.

use consilium_grpc::validators_service_client::ValidatorsServiceClient;
use consilium_proto::cose::{self, CoseError};
use consilium_proto::error::FieldError;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{Epoch, Height, NodeId};
use consilium_proto::pb::{self, action::Action};
use consilium_proto::state;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{Equivocation, Vote};

use crate::answer::Claimed;
use crate::client::Client;
use crate::error::ClientError;
use crate::governance::at_least;
use crate::submit::Submitted;

/// The outcome of an election, proven.
#[derive(Debug, Clone, PartialEq)]
pub struct Election {
    /// Who was seated with what power, and why others were not.
    pub state: pb::EpochState,
    /// The newest epoch.
    pub current: Claimed<u64>,
    /// Block time after which the newest epoch ends.
    pub ends_ms: Claimed<u64>,
}

impl Client {
    /// The election of an epoch, or of the current one, proven against a
    /// certified header.
    ///
    /// # Errors
    /// As [`Client::read`]; NOT_FOUND for an epoch that has not begun; an
    /// answer that proves something else.
    pub async fn election(&self, epoch: Option<u64>) -> Result<Election, ClientError> {
        let request = pb::GetEpochRequest { epoch, read: None };
        let answer =
            self.read(|channel| async move { ValidatorsServiceClient::new(channel).get_epoch(request).await }).await?;
        let told = answer.epoch.ok_or_else(|| ClientError::contradiction("the answer holds no epoch"))?;
        if epoch.is_some_and(|asked| asked != told.epoch) {
            return Err(ClientError::contradiction("the answer is about another epoch"));
        }
        // The row of an epoch is written once and never changes.
        let proven: Option<pb::EpochState> = self.proven_row(&state::keys::epoch(Epoch(told.epoch))).await?;
        match proven {
            Some(state) if state == told => {
                let (current, ends_ms) = (Claimed::new(answer.current), Claimed::new(answer.ends_ms));
                Ok(Election { state, current, ends_ms })
            }
            Some(_) | None => {
                Err(ClientError::contradiction(format!("epoch {} differs from the ledger's state", told.epoch)))
            }
        }
    }

    /// The candidates as they stand, and what an election now would come to, as
    /// a node tells it.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn candidates(&self) -> Result<Claimed<pb::ListCandidatesResponse>, ClientError> {
        let request = pb::ListCandidatesRequest { read: None };
        let ask = |channel| async move { ValidatorsServiceClient::new(channel).list_candidates(request).await };
        Ok(Claimed::new(self.read(ask).await?))
    }

    /// A member's stake, as a node tells it; `after` reads at least at that
    /// height.
    ///
    /// # Errors
    /// As [`Client::read`]; NOT_FOUND if there is no such member.
    pub async fn stake(
        &self,
        member: &str,
        after: Option<Height>,
    ) -> Result<Claimed<pb::GetStakeResponse>, ClientError> {
        let request = pb::GetStakeRequest { member: member.to_owned(), read: after.map(at_least) };
        let answer = self.read(|channel| {
            let request = request.clone();
            async move { ValidatorsServiceClient::new(channel).get_stake(request).await }
        });
        Ok(Claimed::new(answer.await?))
    }

    /// Penalties for double signing, newest first, as a node tells it.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn penalties(&self) -> Result<Claimed<Vec<pb::PenaltyState>>, ClientError> {
        let request = pb::ListPenaltiesRequest { read: None };
        let answer = self
            .read(|channel| async move { ValidatorsServiceClient::new(channel).list_penalties(request).await })
            .await?;
        Ok(Claimed::new(answer.penalties))
    }

    /// Puts free stake of the own member on a node, from the end of the epoch.
    ///
    /// # Errors
    /// As [`Client::perform`].
    pub async fn delegate(&self, node: u64, amount: u64) -> Result<Submitted, ClientError> {
        self.perform(Action::Delegate(pb::Delegate { node, amount })).await
    }

    /// Moves delegated stake to another node at the end of the epoch.
    ///
    /// # Errors
    /// As [`Client::perform`].
    pub async fn redelegate(&self, from: u64, to: u64, amount: u64) -> Result<Submitted, ClientError> {
        self.perform(Action::Redelegate(pb::Redelegate { from, to, amount })).await
    }

    /// Takes stake off a node at the end of the epoch; it is free again after
    /// the unbonding epochs.
    ///
    /// # Errors
    /// As [`Client::perform`].
    pub async fn undelegate(&self, node: u64, amount: u64) -> Result<Submitted, ClientError> {
        self.perform(Action::Undelegate(pb::Undelegate { node, amount })).await
    }

    /// Asks for the release of an own node that was jailed for missed votes.
    ///
    /// # Errors
    /// As [`Client::perform`].
    pub async fn release_validator(&self, node: u64) -> Result<Submitted, ClientError> {
        self.perform(Action::ReleaseValidator(pb::ReleaseValidator { node })).await
    }

    /// Announces that an own node will be away between two block times,
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// As [`Client::perform`].
    pub async fn announce_maintenance(&self, node: u64, from_ms: u64, until_ms: u64) -> Result<Submitted, ClientError> {
        self.perform(Action::AnnounceMaintenance(pb::AnnounceMaintenance { node, from_ms, until_ms })).await
    }

    /// The proof that a validator signed a false root, out of the COSE receipt (RFC 9942)
    /// that it lied with and the hash of the leaf that it was shown for. For
    /// [`Self::submit_evidence`].
    ///
    /// # Errors
    /// As [`Self::read`]; if the receipt does not verify, was not made of a vote, or is true.
    pub async fn evidence_in(&self, cose: &[u8], leaf: &Hash) -> Result<pb::Equivocation, ClientError> {
        let wrong = |e: CoseError| ClientError::from(FieldError::malformed("receipt", problem_of(e)));
        let receipt = cose::Receipt::decode(cose).map_err(wrong)?;
        let vote = receipt.vote(NodeId(0), leaf.as_bytes()).map_err(wrong)?;
        let problem = |why| Err(FieldError::malformed("receipt", why).into());
        if self.certified_head().await?.header.height < vote.height || vote.height == Height::GENESIS {
            return problem("names a height that is not certified");
        }
        let header = self.watch(Height(vote.height.0 - 1), true).next().await?.header;
        let set = self.election(Some(header.epoch.0)).await?.state.validators.unwrap_or_default();
        let set = ValidatorSet::try_from(&set)?;
        let signer = set.seats().iter().find(|seat| receipt.kid() == Some(&seat.key.thumbprint()[..]));
        let Some(signer) = signer else { return problem("is by nobody who had a seat at its height") };
        let evidence = Equivocation::of_header(Vote { validator: signer.id, ..vote }, header)?;
        if !evidence.verifies(&signer.key) {
            return problem("does not verify for that leaf");
        }
        Ok((&evidence).into())
    }

    /// Submits the proof that a validator signed twice, or a false root.
    ///
    /// # Errors
    /// As [`Client::perform`].
    pub async fn submit_evidence(&self, evidence: pb::Equivocation) -> Result<Submitted, ClientError> {
        self.perform(Action::SubmitEvidence(pb::SubmitEvidence { evidence: Some(evidence) })).await
    }
}

/// The error itself is for those who verify; here it is only why there is no evidence.
fn problem_of(error: CoseError) -> &'static str {
    match error {
        CoseError::NoVote => "does not name the block that was signed",
        CoseError::TooLarge(_) => "is larger than a COSE receipt",
        CoseError::Path { .. } => "is a COSE receipt of another leaf",
        CoseError::Signature => "is not signed by the validator that it names",
        CoseError::Malformed
        | CoseError::Algorithm
        | CoseError::Critical
        | CoseError::PayloadAttached
        | CoseError::PayloadCount
        | CoseError::DataStructure
        | CoseError::Proof
        | CoseError::KeyAlgorithm(_)
        | CoseError::Encode => "is no COSE receipt",
    }
}
