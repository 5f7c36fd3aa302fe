//! Sensitivity labels, blinded under salts of a patient ([`PatientSalt`]), so that versions carry
//! them and consents name them without telling anybody else what they are.
//!
//! Each member has salts of its own: whoever writes the first label of a patient for it makes one,
//! and wraps it for its custodian and that one's deputy, for who reads for the patient, and for
//! itself. Others get it from who keeps it ([`Client::share_salt`]). A consent names a label under
//! every salt that its author keeps; what is labelled under another one it denies where it denies
//! labels, and permits to nobody.

use bytes::Bytes;
use consilium_proto::envelope::KeyWrap;
use consilium_proto::hash::sha256;
use consilium_proto::ids::{PatientPseudonym, PolicyTag, SaltId};
use consilium_proto::limits::SALT_KEEPERS_MAX;
use consilium_proto::names::MemberId;
use consilium_proto::patient::PatientSalt;
use consilium_proto::pb::{self, action::Action};
use tonic::Code;

use crate::access_log::PatientRows;
use crate::client::Client;
use crate::consents::Pseudonyms;
use crate::error::ClientError;
use crate::fhir::consent::sensitivities;
use crate::records::{Recipient, custodians, readers_for_patient, recipient};
use crate::submit::Submitted;

/// The salts of a patient that somebody keeps: of the pseudonym and of those that are linked with it,
/// of one member or of several.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    salts: Vec<PatientSalt>,
}

impl Labels {
    /// The tags of a sensitivity code of v3-ActCode, one under each salt; none if it keeps no salt.
    #[must_use]
    pub fn tags(&self, code: &str) -> Vec<PolicyTag> {
        self.salts.iter().map(|salt| salt.label(code)).collect()
    }

    /// The code of a tag, if it is a sensitivity label under one of the salts.
    #[must_use]
    pub fn code(&self, tag: &PolicyTag) -> Option<&'static str> {
        let salt = self.salts.iter().find(|salt| salt.id() == tag.salt())?;
        sensitivities().find(|code| salt.label(code) == *tag)
    }
}

/// The newest salt that the own member has put for a patient.
struct Newest<'a> {
    /// From 1; 0: there is none.
    number: u32,
    state: Option<&'a pb::PatientSalt>,
}

impl Client {
    /// The salts of a patient that this identity keeps.
    ///
    /// # Errors
    /// As [`Self::access_log`]; NOT_FOUND for who may not know of the patient.
    pub async fn labels(&self, patient: PatientPseudonym) -> Result<Labels, ClientError> {
        let rows = self.linked_patient_rows(patient).await?;
        self.labels_in(&rows)
    }

    /// The same, of rows that were looked up.
    ///
    /// # Errors
    /// Rows that are none.
    pub fn labels_in(&self, rows: &Pseudonyms) -> Result<Labels, ClientError> {
        let mut salts = self.open_salts(&rows.patient)?;
        for (linked, _) in &rows.linked {
            salts.extend(self.open_salts(linked)?);
        }
        Ok(Labels { salts })
    }

    /// The tags that a member's records of a patient carry if they are labelled with these codes now.
    ///
    /// # Errors
    /// Rows that are none; if the member has no salt for the patient, so that no record of it is
    /// labelled, or this identity does not keep the newest.
    pub fn label_tags<'a>(
        &self,
        rows: &PatientRows,
        member: &MemberId,
        codes: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<PolicyTag>, ClientError> {
        let salts = rows.salts.iter().find(|salts| salts.member == member.as_str());
        let unlabelled = || {
            ClientError::Usage(format!(
                "{member} has labelled no record of this patient, or this identity is not told of it"
            ))
        };
        let newest = salts.and_then(|salts| salts.salts.last()).ok_or_else(unlabelled)?;
        let salt = self.open_salt(rows, newest)?.ok_or_else(not_kept)?;
        Ok(codes.into_iter().map(|code| salt.label(code)).collect())
    }

    /// The salt for labels that this identity writes: made where its member has none. What the
    /// custodian, or who reads for the patient, has not been given of it is wrapped for them now.
    ///
    /// # Errors
    /// As [`Self::submit`]; for a patient that nobody has registered, or of whom this role may not
    /// know; if the member has a salt, and this identity does not keep it.
    pub async fn ensure_salt(&self, patient: PatientPseudonym) -> Result<PatientSalt, ClientError> {
        match self.make_salt(patient).await {
            // Somebody else was faster.
            Err(ClientError::Rejected { outcome: pb::Outcome::SaltConflict, .. }) => self.make_salt(patient).await,
            made => made,
        }
    }

    async fn make_salt(&self, patient: PatientPseudonym) -> Result<PatientSalt, ClientError> {
        let rows = self.registered_rows(patient).await?;
        let newest = self.newest_salt(&rows);
        let Some(state) = newest.state else { return self.put_new_salt(patient, 1).await };
        let salt = self.open_salt(&rows, state)?.ok_or_else(not_kept)?;
        self.put_salt(patient, (newest.number, &salt), self.lacking(patient, state, Vec::new()).await?).await?;
        Ok(salt)
    }

    /// Hands all salts that the own member has put for a patient, and that this identity keeps, to
    /// others: services and clinicians of the member, beside its custodian, the deputy, and who reads
    /// for the patient. Makes one where there is none.
    ///
    /// # Errors
    /// As [`Self::ensure_salt`] and [`recipient`].
    pub async fn share_salt(&self, patient: PatientPseudonym, with: &[String]) -> Result<SharedSalt, ClientError> {
        self.ensure_salt(patient).await?;
        let mut others = Vec::new();
        for spiffe_id in with {
            others.push(recipient(self, spiffe_id).await?);
        }
        let rows = self.registered_rows(patient).await?;
        let mut shared = SharedSalt::default();
        for (number, state) in (1..).zip(self.own_salts(&rows)) {
            let Some(salt) = self.open_salt(&rows, state)? else { continue };
            let lacking = self.lacking(patient, state, others.clone()).await?;
            shared.salts += 1;
            shared.keys += lacking.len();
            shared.transaction = self.put_salt(patient, (number, &salt), lacking).await?.or(shared.transaction);
        }
        Ok(shared)
    }

    /// Hands what the own member has put for a patient to who may keep it and does not yet, if there is
    /// anything and this identity keeps it.
    ///
    /// # Errors
    /// As [`Self::share_salt`].
    pub async fn pass_on_salt(&self, patient: PatientPseudonym) -> Result<PassedOn, ClientError> {
        let rows = self.registered_rows(patient).await?;
        let Some(newest) = self.newest_salt(&rows).state else { return Ok(PassedOn::Nothing) };
        if self.open_salt(&rows, newest)?.is_none() {
            return Ok(PassedOn::NotKept);
        }
        self.share_salt(patient, &[]).await.map(|_| PassedOn::Done)
    }

    /// Puts a further salt of the own member, for when nobody keeps the newest one any more, or
    /// somebody keeps it who should not. What was labelled before stays as it is. A consent that
    /// denies labels denies all that is labelled under the new one until it is put again.
    ///
    /// # Errors
    /// As [`Self::ensure_salt`].
    pub async fn renew_salt(&self, patient: PatientPseudonym) -> Result<PatientSalt, ClientError> {
        let rows = self.registered_rows(patient).await?;
        let next = self.newest_salt(&rows).number.saturating_add(1);
        self.put_new_salt(patient, next).await
    }

    async fn put_new_salt(&self, patient: PatientPseudonym, number: u32) -> Result<PatientSalt, ClientError> {
        let own = self.identity().encryption_key().ok_or(ClientError::Setting { setting: "encryption_key" })?;
        let identity = self.identity().spiffe_id();
        let own = Recipient { name: identity.to_string(), member: identity.member().clone(), key: own.public_key() };
        let salt = PatientSalt::generate(patient)?;
        let keepers = self.lacking(patient, &pb::PatientSalt::default(), vec![own]).await?;
        self.put_salt(patient, (number, &salt), keepers).await?;
        Ok(salt)
    }

    async fn registered_rows(&self, patient: PatientPseudonym) -> Result<PatientRows, ClientError> {
        let unknown = || {
            let why = "labels are blinded for a registered patient, by a service or a clinician";
            ClientError::Usage(why.into())
        };
        match self.patient_rows(patient).await {
            Ok(rows) if rows.state.is_some() => Ok(rows),
            Ok(_) | Err(ClientError::Status { code: Code::NotFound, .. }) => Err(unknown()),
            Err(error) => Err(error),
        }
    }

    fn own_salts<'a>(&self, rows: &'a PatientRows) -> &'a [pb::PatientSalt] {
        let own = self.identity().spiffe_id().member().as_str();
        let own = rows.salts.iter().find(|salts| salts.member == own);
        own.map(|own| &own.salts[..]).unwrap_or_default()
    }

    fn newest_salt<'a>(&self, rows: &'a PatientRows) -> Newest<'a> {
        let salts = self.own_salts(rows);
        Newest { number: u32::try_from(salts.len()).unwrap_or(u32::MAX), state: salts.last() }
    }

    fn open_salts(&self, rows: &PatientRows) -> Result<Vec<PatientSalt>, ClientError> {
        let all = rows.salts.iter().flat_map(|member| &member.salts);
        all.filter_map(|state| self.open_salt(rows, state).transpose()).collect()
    }

    fn open_salt(&self, rows: &PatientRows, state: &pb::PatientSalt) -> Result<Option<PatientSalt>, ClientError> {
        let Some(private) = self.identity().encryption_key() else { return Ok(None) };
        let known = (rows.patient, SaltId::parse("salt_id", &state.salt_id)?);
        // Some are of other salts or of an older key, or say what is false.
        let open = |bytes: &Bytes| {
            let wrap = KeyWrap::decode(bytes).ok()?;
            PatientSalt::open(self.genesis().ledger_id, known, &wrap, private).ok()
        };
        Ok(rows.salt_wraps.iter().find_map(open))
    }

    /// Of these, and of those who are to keep every salt, who does not keep one yet.
    async fn lacking(
        &self,
        patient: PatientPseudonym,
        state: &pb::PatientSalt,
        mut keepers: Vec<Recipient>,
    ) -> Result<Vec<Recipient>, ClientError> {
        keepers.extend(custodians(self, self.identity().spiffe_id().member()).await?);
        keepers.extend(readers_for_patient(self, patient).await?);
        let mut lacking: Vec<Recipient> = Vec::new();
        for keeper in keepers {
            let id = keeper.key_id();
            let keeps = state.keepers.iter().any(|known| known.recipient_key_id == id.as_bytes()[..]);
            if !keeps && lacking.iter().all(|known| known.key_id() != id) {
                lacking.push(keeper);
            }
        }
        lacking.truncate(SALT_KEEPERS_MAX);
        Ok(lacking)
    }

    /// Nothing is put where nobody lacks it.
    async fn put_salt(
        &self,
        patient: PatientPseudonym,
        (number, salt): (u32, &PatientSalt),
        keepers: Vec<Recipient>,
    ) -> Result<Option<Submitted>, ClientError> {
        if keepers.is_empty() {
            return Ok(None);
        }
        let (mut wraps, mut attachments) = (Vec::new(), Vec::new());
        for keeper in &keepers {
            let wrap = Bytes::from(salt.wrap(self.genesis().ledger_id, &keeper.key)?.encode());
            let wrap_sha256 = Bytes::copy_from_slice(&sha256(&[&wrap]));
            wraps.push(pb::SaltWrap { recipient_key_id: keeper.key_id().to_bytes(), wrap_sha256 });
            attachments.push(wrap);
        }
        let put = pb::PutPatientSalt {
            patient: Bytes::copy_from_slice(&patient.0),
            salt_id: Bytes::copy_from_slice(&salt.id().0),
            number,
            wraps,
        };
        let action = pb::Action { action: Some(Action::PutPatientSalt(put)) };
        let signed = self.sign(vec![action], attachments)?;
        self.submit(signed, pb::WaitFor::Certified).await?.into_applied().map(Some)
    }
}

/// Whether a salt was handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOn {
    /// The member has put none.
    Nothing,
    /// To all who may keep it.
    Done,
    /// This identity does not keep it itself.
    NotKept,
}

/// What was handed out.
#[derive(Debug, Clone, Default)]
pub struct SharedSalt {
    /// Salts that this identity keeps and hands on.
    pub salts: usize,
    /// Keys for which one was wrapped; of those who kept it already, none.
    pub keys: usize,
    /// The last transaction that did so.
    pub transaction: Option<Submitted>,
}

fn not_kept() -> ClientError {
    let why = "the member has a salt for this patient's labels, and this identity does not keep it: who does, such \
               as the custodian, hands it on (`consilium patient salt`)";
    ClientError::Usage(why.into())
}
