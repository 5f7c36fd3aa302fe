//! Petitions: what patients ask of a hospital about their records and about who read them, and
//! what it answers. Texts are sealed here: a patient's for the custody key of the hospital, the
//! answer for the key of the identity that asked, a statement of disagreement for whoever may
//! read the version that it is about ([`crate::records::Statement`]). Nodes keep ciphertext.

use bytes::Bytes;
use consilium_proto::envelope::{EnvelopeContext, open_text, seal_text_for};
use consilium_proto::error::FieldError;
use consilium_proto::hash::{Hash, sha256};
use consilium_proto::header::Header;
use consilium_proto::ids::{PatientPseudonym, PetitionId, TimeMs};
use consilium_proto::keys::EncryptionPrivateKey;
use consilium_proto::names::MemberId;
use consilium_proto::pb::{self, PetitionState, PetitionVerdict, action::Action};
use consilium_proto::state::{StateKey, keys};
use consilium_proto::transaction::{Answered, PetitionSubject};
use zeroize::Zeroizing;

use crate::access_log::{LogFault, row_message, service};
use crate::client::Client;
use crate::custodian::kept;
use crate::documents::DocumentHash;
use crate::error::ClientError;
use crate::false_answer;
use crate::paging::{Pages, whole};
use crate::records::{Recipient, RecordReader, custodian, recipient};
use crate::submit::Submitted;

/// Petitions asked for at once.
const PAGE_SIZE: u32 = 256;
/// What stands for the version in the context of a sealed text: no record has such a version.
const TEXT: u32 = 0;
const ANSWER: u32 = u32::MAX;
/// Bytes of the salt before a named person.
const SALT_LEN: usize = 16;

/// A petition that is about to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PetitionDraft {
    /// The petition.
    pub id: PetitionId,
    /// Whose it is.
    pub patient: PatientPseudonym,
    /// The member that is asked.
    pub member: MemberId,
    /// What is asked, and about what.
    pub subject: PetitionSubject,
    /// Salted hash of the paper ([`crate::documents`]): where a hospital enters it for a patient.
    pub document: Option<Hash>,
}

impl PetitionDraft {
    /// One under a random id.
    #[must_use]
    pub fn new(patient: PatientPseudonym, member: MemberId, subject: PetitionSubject) -> Self {
        Self { id: PetitionId(rand::random()), patient, member, subject, document: None }
    }

    /// The action that opens it, with the sealed text that is attached.
    #[must_use]
    pub fn action(&self, sealed: Option<&[u8]>) -> pb::Action {
        let copy = |id: &[u8]| Bytes::copy_from_slice(id);
        let refused_id = match &self.subject {
            PetitionSubject::Disagreement { refused, .. } => copy(&refused.0),
            PetitionSubject::Correction(_) | PetitionSubject::Complaint(_) | PetitionSubject::Name(_) => Bytes::new(),
        };
        let open = pb::OpenPetition {
            petition_id: copy(&self.id.0),
            patient: copy(&self.patient.0),
            member: self.member.to_string(),
            kind: self.subject.kind().into(),
            record: self.subject.record().as_ref().map(Into::into),
            entry_id: self.subject.entry().map(|entry| entry.to_bytes()).unwrap_or_default(),
            refused_id,
            text_sha256: sealed.map(|sealed| copy(&sha256(&[sealed]))).unwrap_or_default(),
            document_sha256: self.document.map(|hash| hash.to_bytes()).unwrap_or_default(),
        };
        pb::Action { action: Some(Action::OpenPetition(open)) }
    }
}

/// An answer that is about to be given.
pub struct PetitionAnswer {
    /// What became of it.
    pub verdict: Answered,
    /// For the patient: sealed for the identity that asked, and for who answers. Of a name, see [`named_person`].
    pub text: Option<Zeroizing<Vec<u8>>>,
    /// Salted hash of a letter, for a petition on paper.
    pub letter: Option<Hash>,
}

/// A petition as the ledger has it, proven, with its sealed texts.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownPetition {
    /// The petition.
    pub id: PetitionId,
    /// Its row.
    pub state: PetitionState,
    /// Its texts, sealed; each is what the row names, or empty.
    pub texts: pb::PetitionTexts,
}

impl KnownPetition {
    /// Whether an answer should have come by then, and has not.
    #[must_use]
    pub fn is_overdue(&self, now: TimeMs) -> bool {
        self.state.due_ms != 0 && self.state.verdict() == PetitionVerdict::Unspecified && self.state.due_ms <= now.0
    }

    /// Whether a text came with it.
    #[must_use]
    pub fn has_text(&self) -> bool {
        !self.texts.text.is_empty()
    }

    /// Whether an answer in words came with it.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        !self.texts.answer.is_empty()
    }

    /// What was asked, for whoever has the custody key of the member that is asked, and for who asked.
    /// The text of a disagreement is under the key of its record's version, and comes with that.
    ///
    /// # Errors
    /// If there is no text; [`ClientError::Envelope`] if it does not open with this identity's key.
    pub fn open_text(&self, client: &Client) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        self.open(client, &self.texts.text, TEXT)
    }

    /// What was answered, for the identity that asked, and for who answered.
    ///
    /// # Errors
    /// As [`Self::open_text`].
    pub fn open_answer(&self, client: &Client) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        self.open(client, &self.texts.answer, ANSWER)
    }

    fn open(&self, client: &Client, sealed: &[u8], part: u32) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        if sealed.is_empty() {
            return Err(ClientError::Usage("the petition has no such text, or it was erased".into()));
        }
        let private = client.identity().encryption_key().ok_or(ClientError::Setting { setting: "encryption_key" })?;
        Ok(open_text(private, &context(client, self.id, part), sealed)?)
    }
}

/// The person in the answer to a NAME: what the entry of the access log commits to, salt first.
///
/// # Errors
/// If the answer is not what the entry commits to.
pub fn named_person<'a>(answer: &'a [u8], acting: &Hash) -> Result<&'a [u8], ClientError> {
    let (salt, person) = answer.split_first_chunk::<SALT_LEN>().ok_or_else(not_the_person)?;
    match DocumentHash::with_salt(*salt, person).hash() == *acting {
        true => Ok(person),
        false => Err(not_the_person()),
    }
}

fn not_the_person() -> ClientError {
    ClientError::Usage("the answer names somebody else than the entry of the access log commits to".into())
}

fn context(client: &Client, id: PetitionId, part: u32) -> EnvelopeContext {
    EnvelopeContext { ledger_id: *client.genesis().ledger_id.as_bytes(), record_id: id.0, version: part }
}

type ListAnswer = false_answer::Answered<pb::ListPetitionsRequest, pb::ListPetitionsResponse>;

impl Client {
    /// Opens a petition. The text is sealed for the custody key of the member that is asked, and for
    /// this identity; a statement of disagreement with the key of the version, which is read for that.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if this identity may not ask for the
    /// patient, or there is no such record; a text where the member has no custodian.
    pub async fn open_petition(&self, draft: &PetitionDraft, text: Option<&[u8]>) -> Result<Submitted, ClientError> {
        let sealed = match (text, draft.subject) {
            (None, _) => None,
            (Some(text), PetitionSubject::Disagreement { record, .. }) => {
                let access = crate::records::Access::of(pb::PurposeOfUse::Patrqt);
                let reader = RecordReader::with(self.clone(), access);
                Some(reader.seal_statement(draft.patient, record, draft.id, text).await?)
            }
            (Some(text), _) => {
                let to = custodian(self, &draft.member).await?;
                let to = to.ok_or_else(|| {
                    ClientError::Usage(format!("{} has named no custodian: nobody could open a text", draft.member))
                })?;
                Some(self.seal(&to, &context(self, draft.id, TEXT), text)?)
            }
        };
        self.perform_with(draft.action(sealed.as_deref()), sealed).await
    }

    /// Answers a petition, once and for all.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if this identity may not answer it, it was
    /// answered, or it names no version that puts the record right.
    pub async fn answer_petition(
        &self,
        petition: &KnownPetition,
        answer: &PetitionAnswer,
    ) -> Result<Submitted, ClientError> {
        let sealed = match &answer.text {
            None => None,
            Some(text) => {
                let to = recipient(self, &petition.state.author).await?;
                Some(self.seal(&to, &context(self, petition.id, ANSWER), text)?)
            }
        };
        let (verdict, refusal, amended_version) = match answer.verdict {
            Answered::Granted { amended } => (PetitionVerdict::Granted, pb::PetitionRefusal::Unspecified, amended),
            Answered::Refused(refusal) => (PetitionVerdict::Refused, refusal, 0),
        };
        let action = pb::AnswerPetition {
            petition_id: Bytes::copy_from_slice(&petition.id.0),
            verdict: verdict.into(),
            refusal: refusal.into(),
            amended_version,
            text_sha256: sealed.as_deref().map(|s| Bytes::copy_from_slice(&sha256(&[s]))).unwrap_or_default(),
            letter_sha256: answer.letter.map(|hash| hash.to_bytes()).unwrap_or_default(),
        };
        let action = pb::Action { action: Some(Action::AnswerPetition(action)) };
        self.perform_with(action, sealed).await
    }

    /// For a recipient and, so that it can be read again, for this identity.
    fn seal(&self, to: &Recipient, context: &EnvelopeContext, text: &[u8]) -> Result<Vec<u8>, ClientError> {
        let own = self.identity().encryption_key().map(EncryptionPrivateKey::public_key);
        Ok(seal_text_for(&to.key, own.as_ref().filter(|own| **own != to.key), context, text)?)
    }

    async fn perform_with(&self, action: pb::Action, attached: Option<Vec<u8>>) -> Result<Submitted, ClientError> {
        let signed = self.sign(vec![action], attached.map(Bytes::from).into_iter().collect())?;
        self.submit(signed, pb::WaitFor::Certified).await?.into_applied()
    }

    /// The petitions of a patient, or those that the own member was asked, or one that has left and
    /// whose records it keeps; oldest first, each proven; and the block time as of which. That there
    /// are no others is the node's word.
    ///
    /// # Errors
    /// As [`Self::read`]; an answer that proves nothing.
    pub async fn petitions(
        &self,
        patient: Option<PatientPseudonym>,
    ) -> Result<(Vec<KnownPetition>, TimeMs), ClientError> {
        whole(|| self.all_petitions(patient)).await
    }

    async fn all_petitions(
        &self,
        patient: Option<PatientPseudonym>,
    ) -> Result<(Vec<KnownPetition>, TimeMs), ClientError> {
        let (mut known, mut pages) = (Vec::new(), Pages::default());
        let mut answers_for = vec![self.identity().spiffe_id().member().clone()];
        loop {
            let request = pb::ListPetitionsRequest {
                patient: patient.map(|patient| Bytes::copy_from_slice(&patient.0)).unwrap_or_default(),
                page_token: pages.token(),
                page_size: PAGE_SIZE,
                read: None,
            };
            let (answered, header) = self.recent(|| self.fetch_petitions(request.clone())).await?;
            let answer = &answered.answer;
            let more = pages.follow(&answer.next_page_token, answer.petitions.len());
            let page = more.and_then(|more| Ok((self.check_petitions(patient, answer, &header)?, more)));
            let (page, more) = self.judged(&answered, page)?;
            if patient.is_none() {
                self.check_asked(&page, &mut answers_for).await?;
            }
            known.extend(page);
            if !more {
                return Ok((known, header.time));
            }
        }
    }

    /// What a member was asked and owes answers to, or whoever answers in its place, proven to be all;
    /// for auditors. `None`: nothing ever.
    ///
    /// # Errors
    /// As [`Self::proven_state`].
    pub async fn petitions_due(&self, member: &MemberId) -> Result<Option<pb::PetitionsDueState>, ClientError> {
        self.proven_row(&keys::petitions_due(member.as_str())).await
    }

    /// The members for which the own one answers to patients: itself, and those that have left and
    /// whose records it keeps; proven.
    ///
    /// # Errors
    /// As [`Self::proven_state`].
    pub async fn answers_for(&self) -> Result<Vec<MemberId>, ClientError> {
        let own = self.identity().spiffe_id().member();
        let duties = self.proven_row(&keys::custody_duties(own.as_str())).await?.unwrap_or_default();
        kept(own.clone(), &duties)
    }

    /// What the own member owes answers to, proven to be all, with what those owed for which it
    /// answers; for auditors.
    ///
    /// # Errors
    /// As [`Self::proven_state`].
    pub async fn petitions_owed(&self) -> Result<pb::PetitionsDueState, ClientError> {
        let mut owed = pb::PetitionsDueState::default();
        for member in self.answers_for().await? {
            let due = self.petitions_due(&member).await?.unwrap_or_default();
            owed.petitions.extend(due.petitions);
            owed.dropped = owed.dropped.saturating_add(due.dropped);
        }
        Ok(owed)
    }

    fn check_petitions(
        &self,
        patient: Option<PatientPseudonym>,
        answer: &pb::ListPetitionsResponse,
        header: &Header,
    ) -> Result<Vec<KnownPetition>, ClientError> {
        if answer.petitions.len() != answer.texts.len() {
            return Err(ClientError::contradiction("the list has not as many texts as petitions"));
        }
        let wanted = |state: &PetitionState| patient.is_none_or(|patient| state.patient == patient.0[..]);
        let pairs = answer.petitions.iter().zip(&answer.texts);
        let known = pairs.map(|(row, texts)| {
            let other = || ClientError::from(LogFault::OtherRow("petitions that were asked for".into()));
            let Some(StateKey::Petition(id)) = StateKey::decode(&row.key) else { return Err(other()) };
            let state: Option<PetitionState> = row_message(&row.key, Some(row), header)?;
            let state = state.filter(wanted).ok_or_else(other)?;
            let texts = pb::PetitionTexts {
                text: committed("text", &texts.text, &state.text_sha256)?,
                answer: committed("answer", &texts.answer, &state.answer_sha256)?,
            };
            Ok(KnownPetition { id, state, texts })
        });
        known.collect()
    }

    /// Refuses petitions that are not the own member's to answer. For whom it answers beside those that
    /// are known is looked up once there is one of another.
    async fn check_asked(
        &self,
        petitions: &[KnownPetition],
        answers_for: &mut Vec<MemberId>,
    ) -> Result<(), ClientError> {
        for KnownPetition { state, .. } in petitions {
            let answers = |known: &[MemberId]| known.iter().any(|member| member.as_str() == state.member);
            if !answers(answers_for) {
                *answers_for = self.answers_for().await?;
            }
            if !answers(answers_for) {
                return Err(LogFault::OtherRow("petitions that were asked for".into()).into());
            }
        }
        Ok(())
    }

    async fn fetch_petitions(&self, request: pb::ListPetitionsRequest) -> Result<(ListAnswer, Header), ClientError> {
        let ask = |channel, request| async move { service(channel).list_petitions(request).await };
        let answered = self.ask("ListPetitions", request, ask).await?;
        let header = self.final_header(answered.answer.header.as_ref()).await;
        let header = self.judged(&answered, header)?;
        Ok((answered, header))
    }
}

/// A sealed text that the row names, or none.
fn committed(field: &str, sealed: &Bytes, named: &Bytes) -> Result<Bytes, FieldError> {
    match sealed.is_empty() || sha256(&[sealed])[..] == named[..] {
        true => Ok(sealed.clone()),
        false => Err(FieldError::malformed(format!("texts.{field}"), "does not have the hash that the row names")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_is_the_one_that_the_entry_commits_to() {
        let made = DocumentHash::of(b"Dr. Example, ward 3");
        let answer = [&made.salt()[..], b"Dr. Example, ward 3"].concat();
        assert_eq!(named_person(&answer, &made.hash()).unwrap(), b"Dr. Example, ward 3");
        let another = [&made.salt()[..], b"Dr. Another, ward 3"].concat();
        assert!(named_person(&another, &made.hash()).is_err() && named_person(b"short", &made.hash()).is_err());
    }

    #[test]
    fn what_is_not_answered_in_time_is_overdue() {
        let petition = |verdict: PetitionVerdict, due_ms| KnownPetition {
            id: PetitionId([1; 16]),
            state: PetitionState { due_ms, verdict: verdict.into(), ..PetitionState::default() },
            texts: pb::PetitionTexts::default(),
        };
        assert!(petition(PetitionVerdict::Unspecified, 10).is_overdue(TimeMs(10)));
        assert!(!petition(PetitionVerdict::Unspecified, 10).is_overdue(TimeMs(9)));
        assert!(!petition(PetitionVerdict::Refused, 10).is_overdue(TimeMs(10)));
        assert!(!petition(PetitionVerdict::Unspecified, 0).is_overdue(TimeMs(10)), "no answer is due");
    }

    #[test]
    fn only_a_text_that_the_row_names_is_taken() {
        let (sealed, named) = (Bytes::from_static(b"sealed"), Bytes::copy_from_slice(&sha256(&[b"sealed"])));
        assert_eq!(committed("text", &sealed, &named).unwrap(), sealed);
        assert_eq!(committed("text", &Bytes::new(), &named).unwrap(), Bytes::new(), "it was erased");
        assert!(committed("text", &sealed, &Bytes::new()).is_err());
    }
}
