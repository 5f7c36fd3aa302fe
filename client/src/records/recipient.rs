//! Recipients: whose keys a record is wrapped for. What is sealed for somebody
//! can never be taken back, so that nothing is sealed for those who have lost
//! their rights: everything that is asked here comes from proven rows, none
//! older than the age that the profile allows for a head.

use bytes::Bytes;
use consilium_proto::consent::Custodians;
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::hash::HASH_LEN;
use consilium_proto::ids::{Fingerprint, KeyId, PatientPseudonym};
use consilium_proto::keys::EncryptionPublicKey;
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb::{CustodyState, EncryptionKeyState, GetIdentityResponse, MemberState, SignerState};
use consilium_proto::state::keys;
use consilium_proto::transaction::encryption_key_id;
use tonic::Code;

use crate::client::Client;
use crate::clock::now_ms;
use crate::consents::Whose;
use crate::error::ClientError;
use crate::standing::{Refusal, Standing, authorities};

/// Someone who will be able to open a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// For people.
    pub name: String,
    /// Whose member it is.
    pub member: MemberId,
    /// The key that wraps are for.
    pub key: EncryptionPublicKey,
}

/// Why nothing is sealed for somebody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipientRefusal {
    /// Its member is not in standing.
    #[error(transparent)]
    Member(#[from] Box<Refusal>),
    /// A published revocation list names its certificate.
    #[error("its certificate is revoked")]
    Revoked,
    /// The CA that vouched for it does so no more.
    #[error("the CA of its certificate is withdrawn by {0}")]
    Withdrawn(MemberId),
    /// Its certificate has ended and was not renewed.
    #[error("its certificate expired, and it has not enrolled a newer one")]
    Expired,
}

impl Recipient {
    /// Id of the key on the ledger.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        encryption_key_id(&self.key)
    }
}

/// Looks up the newest encryption key of an identity, and whether both the
/// identity and its member have their rights; all of it with proof.
///
/// # Errors
/// [`ClientError::RecipientRefused`]; if the identity is not enrolled, receives
/// no records, or the node cannot prove what is needed.
pub async fn recipient(client: &Client, spiffe_id: &str) -> Result<Recipient, ClientError> {
    let id: SpiffeId = spiffe_id
        .parse()
        .map_err(|_| ClientError::Usage(format!("{spiffe_id:?} is not the SPIFFE id of an identity")))?;
    let answer = client.identity_of(spiffe_id).await?;
    if answer.encryption_key.is_empty() {
        return Err(ClientError::Usage(format!("{spiffe_id} has enrolled no encryption key")));
    }
    let key = EncryptionPublicKey::decode(&answer.encryption_key)?;
    look(client, spiffe_id, &answer).await?;
    Ok(Recipient { name: spiffe_id.to_owned(), member: id.member().clone(), key })
}

/// Whether an identity and its member have their rights, by its newest enrolment.
async fn look(client: &Client, spiffe_id: &str, answer: &GetIdentityResponse) -> Result<(), ClientError> {
    let id: SpiffeId = spiffe_id.parse().map_err(|_| FieldError::malformed("spiffe_id", "is not a SPIFFE id"))?;
    // The key id was proven with the identity's row; see `Client::identity_of`.
    let row = answer.identity.as_ref().ok_or_else(|| FieldError::missing("identity"))?;
    let (standing, signer) =
        futures::try_join!(standing(client, id.member()), signer(client, &id, &row.signing_key_id))?;
    judge(id.member(), &standing, &signer, now_ms() / 1_000)
        .map_err(|reason| ClientError::RecipientRefused { recipient: spiffe_id.to_owned(), reason })
}

/// A member's custodian, if it has named one: what its people write is sealed for that key,
/// too. Its certificate may have ended, which takes no rights from whoever has the key.
///
/// # Errors
/// [`ClientError::RecipientRefused`] for one that was revoked or whose member has lost its
/// rights: an administrator names another; or if the node cannot prove what is needed.
pub async fn custodian(client: &Client, member: &MemberId) -> Result<Option<Recipient>, ClientError> {
    let row: Option<CustodyState> = client.proven_row(&keys::custody(member.as_str())).await?;
    let Some(row) = row else { return Ok(None) };
    let id = KeyId::from_bytes(fixed("encryption_key_id", &row.encryption_key_id)?);
    let key: Option<EncryptionKeyState> = client.proven_row(&keys::encryption_key(&id)).await?;
    let key = key.ok_or_else(|| ClientError::contradiction("the ledger's state has no such custody key"))?;
    let key = EncryptionPublicKey::decode(&key.encryption_key)?;
    match look(client, &row.custodian, &client.identity_of(&row.custodian).await?).await {
        Ok(()) => {}
        Err(ClientError::RecipientRefused { reason: RecipientRefusal::Expired, .. }) => {}
        Err(refused) => return Err(refused),
    }
    Ok(Some(Recipient { name: row.custodian, member: member.clone(), key }))
}

/// For whose keys everything is sealed that a member's people write: its custodian's, and the
/// custodian's of the member that it has named as deputy for emergencies. A deputy that has lost
/// its rights is left out.
///
/// # Errors
/// As [`custodian`].
pub async fn custodians(client: &Client, member: &MemberId) -> Result<Vec<Recipient>, ClientError> {
    let Some(own) = custodian(client, member).await? else { return Ok(Vec::new()) };
    let row: Option<CustodyState> = client.proven_row(&keys::custody(member.as_str())).await?;
    let deputy = row.map(|row| row.deputy).filter(|deputy| !deputy.is_empty());
    let Some(deputy) = deputy else { return Ok(vec![own]) };
    match custodian(client, &MemberId::parse("deputy", &deputy)?).await {
        Ok(deputy) => Ok(std::iter::once(own).chain(deputy).collect()),
        Err(ClientError::RecipientRefused { .. }) => Ok(vec![own]),
        Err(error) => Err(error),
    }
}

/// The keys of a patient itself: of identities that the own member has accepted as the patient's,
/// to read, and that have their rights. None for a patient that nobody has registered, and for
/// roles that may not know who speaks for patients: then it is wrapped once the patient asks.
///
/// # Errors
/// If the node cannot prove what is needed.
pub async fn patient_keys(client: &Client, patient: PatientPseudonym) -> Result<Vec<Recipient>, ClientError> {
    let own = client.identity().spiffe_id().member();
    keys_of_identities(client, patient, (Custodians::only(own.as_str()), Whose::Patient)).await
}

/// The same of identities that the custodians of a record have accepted, for a version of it.
///
/// # Errors
/// As [`patient_keys`].
pub(super) async fn patient_keys_for(
    client: &Client,
    patient: PatientPseudonym,
    custodians: Custodians<'_>,
) -> Result<Vec<Recipient>, ClientError> {
    keys_of_identities(client, patient, (custodians, Whose::Patient)).await
}

/// The same of all identities that the own member has accepted to read for a patient.
///
/// # Errors
/// As [`patient_keys`].
pub async fn readers_for_patient(client: &Client, patient: PatientPseudonym) -> Result<Vec<Recipient>, ClientError> {
    let own = client.identity().spiffe_id().member();
    keys_of_identities(client, patient, (Custodians::only(own.as_str()), Whose::Reader)).await
}

async fn keys_of_identities(
    client: &Client,
    patient: PatientPseudonym,
    (custodians, whose): (Custodians<'_>, Whose),
) -> Result<Vec<Recipient>, ClientError> {
    let rows = match client.linked_patient_rows(patient).await {
        Ok(rows) => rows,
        Err(ClientError::Status { code: Code::NotFound, .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut keys: Vec<Recipient> = Vec::new();
    for identity in rows.identities(custodians, whose) {
        match recipient(client, &identity).await {
            Ok(found) => keys.push(found),
            // A patient without a key, or whose key is not to be trusted any more, asks later.
            Err(ClientError::Usage(_) | ClientError::RecipientRefused { .. }) => {}
            Err(ClientError::Status { code: Code::NotFound, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(keys)
}

async fn standing(client: &Client, member: &MemberId) -> Result<Standing, ClientError> {
    let row: Option<MemberState> = client.proven_row(&keys::member(member.as_str())).await?;
    Standing::of(member, row)
}

async fn signer(client: &Client, id: &SpiffeId, fingerprint: &Bytes) -> Result<SignerState, ClientError> {
    let fingerprint = <[u8; HASH_LEN]>::try_from(&fingerprint[..]);
    let fingerprint = fingerprint.map_err(|_| ClientError::contradiction("a signer's fingerprint is malformed"))?;
    let row: Option<SignerState> = client.proven_row(&keys::signer(&Fingerprint::from_bytes(fingerprint))).await?;
    row.filter(|signer| signer.spiffe_id == id.to_string())
        .ok_or_else(|| ClientError::contradiction(format!("the ledger's state has no signer of {id}")))
}

fn judge(member: &MemberId, standing: &Standing, signer: &SignerState, now_s: u64) -> Result<(), RecipientRefusal> {
    let row = standing.active(member).map_err(Box::new)?;
    let withdrawn = authorities(&row.withdrawn);
    if signer.revoked_ms != 0 {
        return Err(RecipientRefusal::Revoked);
    }
    if authorities(std::slice::from_ref(&signer.authority)).is_disjoint(&withdrawn) {
        if now_s > signer.not_after_s { Err(RecipientRefusal::Expired) } else { Ok(()) }
    } else {
        Err(RecipientRefusal::Withdrawn(member.clone()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::pb::MemberStatus;

    use super::*;

    #[test]
    fn who_lost_its_rights_is_refused_and_told_why() {
        let member: MemberId = "a.example".parse().unwrap();
        let (ca, other) = (Bytes::from_static(&[1; 32]), Bytes::from_static(&[2; 32]));
        let row = MemberState {
            id: member.to_string(),
            status: MemberStatus::Active.into(),
            withdrawn: vec![other.clone()],
            ..Default::default()
        };
        let signer = SignerState { authority: ca, not_after_s: 10, ..Default::default() };
        let judged = |row: &MemberState, signer: &SignerState| {
            judge(&member, &Standing::of(&member, Some(row.clone())).unwrap(), signer, 10)
        };
        assert_eq!(judged(&row, &signer), Ok(()));
        let revoked = SignerState { revoked_ms: 1, ..signer.clone() };
        assert_eq!(judged(&row, &revoked), Err(RecipientRefusal::Revoked));
        let rotated = SignerState { authority: other, ..signer.clone() };
        assert_eq!(judged(&row, &rotated), Err(RecipientRefusal::Withdrawn(member.clone())));
        let expired = SignerState { not_after_s: 9, ..signer.clone() };
        assert_eq!(judged(&row, &expired), Err(RecipientRefusal::Expired));
        for (status, refusal) in [
            (MemberStatus::Suspended, Refusal::Suspended(member.clone())),
            (MemberStatus::Removed, Refusal::Removed(member.clone())),
        ] {
            let row = MemberState { status: status.into(), ..row.clone() };
            assert_eq!(judged(&row, &signer), Err(RecipientRefusal::Member(Box::new(refusal))));
        }
    }
}
