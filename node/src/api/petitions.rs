//! Petitions of patients, with their sealed texts: for who asked, who is asked or answers in the
//! place of one that has left, and auditors. What is not for the caller is passed over, so much at a time.

use bytes::Bytes;
use consilium_ledger::custody::Kept;
use consilium_ledger::{Table, keys};
use consilium_proto::error::fixed;
use consilium_proto::ids::{PatientPseudonym, PetitionId};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{self, PatientState, PetitionKind as Kind, PetitionState, PetitionTexts};
use consilium_proto::transaction::Slot;
use prost::Message;
use tonic::{Request, Status};

use super::Api;
use super::access_log::{page_size, parse_patient, prove, speaks_for};
use super::errors::Reason;
use super::pages::Filled;
use crate::access::{self, Accepted, Petition, What, decide};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

const PAGE_DEFAULT: u32 = 64;
const PAGE_MAX: u32 = 256;
/// Petitions that one answer looks at: it is given before the caller gives up.
const LOOKED_AT_MAX: usize = 4_096;

impl Api {
    pub(super) async fn petitions(
        &self,
        request: Request<pb::ListPetitionsRequest>,
    ) -> Result<pb::ListPetitionsResponse, Status> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let mut request = request.into_inner();
        let token = std::mem::take(&mut request.page_token);
        let asked = pb::ListPetitionsRequest { page_size: 0, read: None, ..request.clone() };
        let (pages, place) = self.shared.pages.open(("ListPetitions", &caller.id), &asked, &token)?;
        let patient = (!request.patient.is_empty()).then(|| parse_patient(&request.patient)).transpose()?;
        let page = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        let from = match place.is_empty() {
            true => 0,
            false => u64::from_be_bytes(fixed("page_token", &place).map_err(|e| Reason::InvalidArgument.field(&e))?),
        };
        self.freshen(request.read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let kept = kept(ledger)?;
            let prefixes = match &patient {
                Some(patient) if asks_or_answers(caller.id.role()) => vec![keys::index_petitions_of(patient)],
                None if answers(caller.id.role()) => {
                    kept.of(caller.id.member().as_str()).map(keys::index_petitions_to).collect()
                }
                Some(_) | None => Vec::new(),
            };
            let answer = list(ledger, (&caller.id, &kept), (&prefixes, from), page)?;
            Ok((answer, ledger.tip_header().clone()))
        };
        let (answer, header) = self.read(read).await?;
        let header = Some((&self.prove_header(header, within).await?).into());
        let next_page_token = pages.next(&answer.next_page_token)?;
        Ok(pb::ListPetitionsResponse { header, next_page_token, ..answer })
    }
}

/// Of a member's petitions others see none: how many there are costs them no time.
fn answers(role: Role) -> bool {
    match role {
        Role::Service | Role::Clinician | Role::Auditor => true,
        Role::Patient | Role::Node | Role::Admin | Role::Researcher | Role::Device => false,
    }
}

/// The same of a patient's.
fn asks_or_answers(role: Role) -> bool {
    role == Role::Patient || answers(role)
}

/// Who keeps the records of members that have left, and answers for them.
fn kept(ledger: &LedgerSnapshot<'_>) -> Result<Kept, StorageError> {
    Kept::load(ledger).map_err(|e| StorageError::corrupt("custody", e))
}

/// What the reader may see under prefixes of the index, from a place on: of all of them together in
/// the order in which they came onto the ledger.
fn list(
    ledger: &LedgerSnapshot<'_>,
    (reader, kept): (&SpiffeId, &Kept),
    (prefixes, from): (&[Vec<u8>], u64),
    page: usize,
) -> Result<pb::ListPetitionsResponse, StorageError> {
    let entries = prefixes.iter().map(|prefix| {
        let rows = ledger.scan(Table::Index, prefix, &keys::index_entry(prefix.clone(), from));
        rows.map(|row| row.map(|(place, id)| (place.get(prefix.len()..).unwrap_or_default().to_vec(), id)))
    });
    let mut entries: Vec<_> = entries.map(Iterator::peekable).collect();
    let (mut answer, mut filled) = (pb::ListPetitionsResponse::default(), Filled::default());
    for looked_at in 0.. {
        // What cannot be read comes first: it ends the answer.
        let next = entries.iter_mut().filter_map(|rows| {
            let place = rows.peek()?.as_ref().map_or_else(|_| Vec::new(), |(place, _)| place.clone());
            Some((place, rows))
        });
        let next = next.min_by(|(one, _), (other, _)| one.cmp(other));
        let Some(row) = next.and_then(|(_, rows)| rows.next()) else { break };
        let (place, id) = row?;
        let place = Bytes::from(place);
        if looked_at == LOOKED_AT_MAX {
            answer.next_page_token = place;
            break;
        }
        let id = PetitionId::parse("index", &id).map_err(|e| StorageError::corrupt("index", e))?;
        let state: Option<PetitionState> = ledger.state(&keys::petition(&id))?;
        let state = state.ok_or_else(|| StorageError::corrupt("index", "names a petition that is absent"))?;
        if !may_see(ledger, (reader, kept), &state)? {
            continue;
        }
        if answer.petitions.len() >= page {
            answer.next_page_token = place;
            break;
        }
        let row = prove(ledger, keys::petition(&id))?;
        let texts = PetitionTexts {
            text: text(ledger, &Slot::PetitionText { petition: id })?,
            answer: text(ledger, &Slot::PetitionAnswer { petition: id })?,
        };
        if !filled.takes(row.encoded_len() + texts.encoded_len()) {
            answer.next_page_token = place;
            break;
        }
        answer.petitions.push(row);
        answer.texts.push(texts);
    }
    Ok(answer)
}

fn may_see(
    ledger: &LedgerSnapshot<'_>,
    (reader, kept): (&SpiffeId, &Kept),
    state: &PetitionState,
) -> Result<bool, StorageError> {
    let patient = PatientPseudonym::parse("patient", &state.patient);
    let patient = patient.map_err(|e| StorageError::corrupt("state", e))?;
    let patient: PatientState = ledger.state(&keys::patient(&patient))?.unwrap_or_default();
    let custodians = kept.custodians(&state.member);
    let died = custodians.say_died(&patient);
    let speaks = speaks_for(ledger, &patient, reader)? == Accepted::ForAll;
    let of_reader = (state.author == reader.to_string() && !died) || speaks;
    let concerns_person = match state.kind() {
        Kind::Complaint | Kind::Name => true,
        Kind::Correction | Kind::Disagreement | Kind::Unspecified => false,
    };
    let petition = Petition { member: custodians.present(), concerns_person, of_reader };
    Ok(decide(&access::Request { reader, what: What::Petition(petition) }).allows())
}

fn text(ledger: &LedgerSnapshot<'_>, slot: &Slot) -> Result<Bytes, StorageError> {
    let (table, key) = keys::attachment(slot);
    Ok(ledger.read(table, &key)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
