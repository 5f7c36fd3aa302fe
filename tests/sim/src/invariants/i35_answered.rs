//! I35, G6: what a patient asks of a member is by whom that member accepts, or the registering one,
//! or on its own paper; it is in the lists of the patient and of the member, is owed an answer
//! until there is one, and answered by that member alone, or once it has left by who answers for its
//! records: about people by auditors, and a correction is refused neither by who entered the
//! petition nor by who wrote the record.

use std::collections::BTreeMap;

use consilium_ledger::{Table, keys};
use consilium_proto::ids::{DisclosureId, PatientPseudonym, PetitionId, RecordId, TransactionId};
use consilium_proto::names::{MemberId, Role};
use consilium_proto::pb::{PetitionKind as Kind, PetitionState, PetitionsDueState};
use consilium_proto::state::StateRow;
use consilium_proto::transaction::{
    AcceptPatient, Action, AnswerPetition, Answered, DisclosureAction, OpenPetition, PatientAction, PetitionAction,
    VersionRef,
};
use prost::Message;

use super::Check;
use crate::chronicle::Effect;
use crate::disk::LedgerStore;
use crate::fixture::{member_id, spiffe_id};
use crate::judge::Judge;

struct Asked<'a> {
    by: String,
    what: &'a OpenPetition,
    answer: Option<&'a AnswerPetition>,
}

/// What stands in a log, as far as a complaint may be about it.
struct Logged {
    reader_of: String,
    records: Vec<RecordId>,
}

#[derive(Default)]
struct Audit<'a> {
    /// By transaction, and in whose log.
    logged: BTreeMap<(TransactionId, PatientPseudonym), Logged>,
    disclosures: BTreeMap<DisclosureId, (PatientPseudonym, Logged)>,
    asked: BTreeMap<PetitionId, Asked<'a>>,
    /// In the order of the ledger.
    order: Vec<PetitionId>,
}

/// Compares a ledger's lists with its blocks; gives how many petitions were answered.
///
/// # Errors
/// What differs.
pub fn check(ledger: &LedgerStore, effects: &[Effect]) -> Result<u64, String> {
    let (mut audit, mut judge) = (Audit::default(), Judge::new(0));
    for effect in effects {
        for action in &effect.transaction.actions {
            let checked = match action {
                Action::Petition(PetitionAction::Open(what)) => audit.open(&judge, effect, what),
                Action::Petition(PetitionAction::Answer(answer)) => audit.answer(&judge, effect, answer),
                Action::RequestAccess(request) => {
                    let logged = Logged::of(effect, &request.records);
                    audit.logged.insert((effect.transaction.id, request.patient), logged);
                    Ok(())
                }
                Action::Patient(action) => {
                    for patient in said_of(action) {
                        let logged = Logged::of(effect, &[]);
                        audit.logged.entry((effect.transaction.id, patient)).or_insert(logged);
                    }
                    Ok(())
                }
                Action::Disclosure(action) => {
                    audit.disclosed(effect, action);
                    Ok(())
                }
                _ => Ok(()),
            };
            checked.map_err(|what| format!("{} in block {}: {what}", effect.author, effect.height))?;
            judge.hear(effect, action);
        }
    }
    audit.check_rows(ledger)?;
    Ok(audit.asked.values().filter(|asked| asked.answer.is_some()).count() as u64)
}

impl Logged {
    fn of(effect: &Effect, records: &[VersionRef]) -> Self {
        let records = records.iter().map(|version| version.record).collect();
        Self { reader_of: effect.author.member().to_string(), records }
    }

    /// Whether a member must answer for it: the reader's, and who keeps what was asked for, which
    /// may have been written since.
    fn concerns(&self, judge: &Judge, patient: &PatientPseudonym, member: &MemberId) -> bool {
        let found = self.records.iter().filter_map(|record| judge.record(record));
        let kept = found.filter(|(of, _)| of == patient).map(|(_, member)| member);
        kept.chain([self.reader_of.as_str()]).any(|of| judge.members().keeps(member.as_str(), of))
    }
}

/// In whose logs it stands that something was said.
fn said_of(action: &PatientAction) -> Vec<PatientPseudonym> {
    match action {
        PatientAction::Accept(said) => vec![said.patient],
        PatientAction::Link { pair, .. } | PatientAction::Unlink(pair) => vec![pair.patient, pair.other],
        PatientAction::AttestDeath(said) => vec![said.patient],
        PatientAction::Register(_)
        | PatientAction::AddLookups(_)
        | PatientAction::AttestCare(_)
        | PatientAction::PutSalt(_) => Vec::new(),
    }
}

impl<'a> Audit<'a> {
    /// A disclosure stands in the log by the transaction that confirms it.
    fn disclosed(&mut self, effect: &Effect, action: &DisclosureAction) {
        let id = effect.transaction.id;
        match action {
            DisclosureAction::Disclose(made) => {
                let logged = Logged::of(effect, &made.records);
                self.disclosures.insert(made.id, (made.patient, logged));
            }
            DisclosureAction::Confirm(made) => {
                let made = self.disclosures.remove(made);
                self.logged.extend(made.map(|(patient, logged)| ((id, patient), logged)));
            }
        }
    }

    fn open(&mut self, judge: &Judge, effect: &Effect, what: &'a OpenPetition) -> Check {
        let by = &effect.author;
        // The first hospital registers all patients.
        let first = member_id(1);
        let mut says: Vec<_> = match what.subject.record() {
            Some(_) => judge.members().kept_by(what.member.as_str()).collect(),
            None => vec![first.as_str()],
        };
        // Of the log, whoever reads all of it.
        let part = what.subject.record().is_some();
        let reads = |accepted: &AcceptPatient| accepted.may_read && (part || accepted.scope.is_none());
        says.retain(|member| judge.speaks_to(member, &what.patient, by, effect.time, reads));
        let may = match by.role() {
            Role::Patient => !says.is_empty(),
            _ => *by.member() == what.member && what.document.is_some() && judge.knows(&what.patient),
        };
        let version = what.subject.record();
        let fits = version.is_none_or(|version| {
            judge.record(&version.record).is_some_and(|(_, wrote)| judge.members().keeps(what.member.as_str(), wrote))
        });
        let concerns = |logged: &Logged| logged.concerns(judge, &what.patient, &what.member);
        let entry = what.subject.entry();
        let fits = fits && entry.is_none_or(|entry| self.logged.get(&(entry, what.patient)).is_some_and(concerns));
        let asked = Asked { by: by.to_string(), what, answer: None };
        self.order.push(what.id);
        match may && fits && self.asked.insert(what.id, asked).is_none() {
            true => Ok(()),
            false => Err(format!("asks {} without a right to", what.member)),
        }
    }

    fn answer(&mut self, judge: &Judge, effect: &Effect, answer: &'a AnswerPetition) -> Check {
        let asked = self.asked.get_mut(&answer.id).ok_or("answers what nobody has asked")?;
        let (by, kind) = (&effect.author, asked.what.subject.kind());
        let about_people = matches!(kind, Kind::Complaint | Kind::Name);
        let wrote = asked.what.subject.record().and_then(|version| judge.record(&version.record));
        let writer = wrote.map(|(_, member)| member.to_owned()).and_then(|member| writer_of(&member));
        let refuses = matches!(answer.verdict, Answered::Refused(_)) && kind == Kind::Correction;
        let concerned = refuses && (asked.by == by.to_string() || writer == Some(by.to_string()));
        let may = judge.members().keeps(by.member().as_str(), asked.what.member.as_str())
            && kind != Kind::Disagreement
            && (!about_people || by.role() == Role::Auditor)
            && !concerned;
        match may && asked.answer.replace(answer).is_none() {
            true => Ok(()),
            false => Err(format!("answers what {} asked of {}", asked.by, asked.what.member)),
        }
    }

    fn check_rows(&self, ledger: &LedgerStore) -> Check {
        for (id, asked) in &self.asked {
            let row: PetitionState = ledger.message(&keys::petition(id)).ok_or("a petition has no row")?;
            if (row.answered_by.is_empty(), &row.author) != (asked.answer.is_none(), &asked.by) {
                return Err(format!("the row of a petition of {} says something else", asked.by));
            }
            let of_patient = keys::index_petitions_of(&asked.what.patient);
            let to_member = keys::index_petitions_to(asked.what.member.as_str());
            if !(is_listed(ledger, &of_patient, id) && is_listed(ledger, &to_member, id)) {
                return Err(format!("a petition of {} is in no list", asked.by));
            }
        }
        for (key, row) in ledger.rows(&[StateRow::PetitionsDue as u8]) {
            let row = PetitionsDueState::decode(row.clone()).map_err(|e| e.to_string())?;
            let owed = self.order.iter().filter_map(|id| self.asked.get(id)).filter(|asked| {
                let waits = asked.answer.is_none() && asked.what.subject.kind() != Kind::Disagreement;
                waits && keys::petitions_due(asked.what.member.as_str()) == key
            });
            let owed = owed.map(|asked| &asked.what.id.0[..]);
            if row.dropped != 0 || !owed.eq(row.petitions.iter().map(|due| &due.petition_id[..])) {
                return Err(format!("other answers are due than were asked for: {}", keys::describe(key)));
            }
        }
        Ok(())
    }
}

/// Records are written by the systems of members.
fn writer_of(member: &str) -> Option<String> {
    (1..=9).find(|number| member_id(*number) == member).map(|number| spiffe_id(number, "service", "x"))
}

fn is_listed(ledger: &LedgerStore, prefix: &[u8], id: &PetitionId) -> bool {
    let rows = ledger.table(Table::Index).filter(|(key, _)| key.starts_with(prefix));
    rows.map(|(_, listed)| listed).any(|listed| listed[..] == id.0)
}
