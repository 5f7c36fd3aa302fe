//! I34, G6: what is handed to an authority stands in the patient's log by two persons of the member
//! whose records it is: one that disclosed, and an auditor who is another one. It names what was
//! disclosed, and is sealed as it was disclosed; an entry of a request is sealed by such a
//! disclosure of the same member and patient, for the same purpose and of the same records alone,
//! until the same time.

use std::collections::BTreeMap;

use consilium_ledger::log;
use consilium_proto::ids::{DisclosureId, PatientPseudonym, RecordId};
use consilium_proto::limits::DISCLOSURE_CONFIRM_MAX_MS;
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{self, AccessEvent, PurposeOfUse};
use consilium_proto::transaction::{Action, Disclose, DisclosureAction, RequestAccess, VersionRef};
use prost::Message;

use crate::chronicle::Effect;
use crate::disk::LedgerStore;
use crate::judge::Judge;

/// What a look at a ledger found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Disclosures that two persons made.
    pub confirmed: u64,
    /// Requests whose entries are sealed.
    pub sealed: u64,
}

struct Disclosed<'a> {
    by: &'a SpiffeId,
    opened_ms: u64,
    what: &'a Disclose,
    confirmed: bool,
}

struct Audit<'a> {
    ledger: &'a LedgerStore,
    judge: Judge,
    disclosed: BTreeMap<DisclosureId, Disclosed<'a>>,
    seen: Seen,
}

/// Compares a ledger's entries with its blocks.
///
/// # Errors
/// What differs.
pub fn check(ledger: &LedgerStore, effects: &[Effect]) -> Result<Seen, String> {
    let mut audit = Audit { ledger, judge: Judge::new(0), disclosed: BTreeMap::new(), seen: Seen::default() };
    for effect in effects {
        for action in &effect.transaction.actions {
            let checked = match action {
                Action::Disclosure(DisclosureAction::Disclose(what)) => audit.disclose(effect, what),
                Action::Disclosure(DisclosureAction::Confirm(id)) => audit.confirm(effect, id),
                Action::RequestAccess(request) => audit.request(effect, request),
                _ => Ok(()),
            };
            checked.map_err(|what| format!("{} in block {}: {what}", effect.author, effect.height))?;
            audit.judge.hear(effect, action);
        }
    }
    Ok(audit.seen)
}

impl<'a> Audit<'a> {
    fn disclose(&mut self, effect: &'a Effect, what: &'a Disclose) -> Result<(), String> {
        let member = effect.author.member().as_str();
        let own = |record: &RecordId| self.is_kept(record, &what.patient, member);
        if !what.records.iter().all(|version| own(&version.record)) {
            return Err("discloses what is another's".to_owned());
        }
        let disclosed = Disclosed { by: &effect.author, opened_ms: effect.time.0, what, confirmed: false };
        match self.judge.knows(&what.patient) && self.disclosed.insert(what.id, disclosed).is_none() {
            true => Ok(()),
            false => Err("discloses a second time, or of nobody".to_owned()),
        }
    }

    /// Whether a record is a patient's, and the member answers for it.
    fn is_kept(&self, record: &RecordId, patient: &PatientPseudonym, member: &str) -> bool {
        let record = self.judge.record(record).filter(|(of, _)| of == patient);
        record.is_some_and(|(_, wrote)| self.judge.members().keeps(member, wrote))
    }

    fn confirm(&mut self, effect: &Effect, id: &DisclosureId) -> Result<(), String> {
        let disclosed = self.disclosed.get_mut(id).ok_or("confirms what nobody disclosed")?;
        let by = &effect.author;
        if by == disclosed.by || by.member() != disclosed.by.member() || by.role() != Role::Auditor {
            return Err(format!("confirms what {} disclosed", disclosed.by));
        }
        let late = effect.time.0 - disclosed.opened_ms >= DISCLOSURE_CONFIRM_MAX_MS;
        if std::mem::replace(&mut disclosed.confirmed, true) || late {
            return Err("confirms a second time, or too late".to_owned());
        }
        let event = event(self.ledger, effect)?;
        let legal = event.legal.unwrap_or_default();
        let terms = legal.disclosure.unwrap_or_default();
        let records: Vec<_> = event.decisions.iter().flat_map(|decision| &decision.records).collect();
        let named = disclosed.what.records.iter().map(|version| &version.record.0[..]);
        let same = terms.disclosure_id == id.0[..]
            && terms.confirmed_by == by.to_string()
            && terms.order_sha256 == disclosed.what.order.to_bytes()
            && named.eq(records.iter().map(|version| &version.record_id[..]))
            && records.iter().all(|version| version.version > 0)
            && legal.seal == disclosed.what.seal.as_ref().map(pb::Seal::from);
        self.seen.confirmed += 1;
        if same { Ok(()) } else { Err(format!("the entry of what {} disclosed says something else", disclosed.by)) }
    }

    fn request(&mut self, effect: &Effect, request: &RequestAccess) -> Result<(), String> {
        let seal = event(self.ledger, effect)?.legal.and_then(|legal| legal.seal);
        let (Some(by), Some(seal)) = (&request.sealed_by, &seal) else {
            let neither = request.sealed_by.is_none() && seal.is_none();
            return if neither { Ok(()) } else { Err("an entry is sealed that nobody sealed, or is not".to_owned()) };
        };
        let disclosed = self.disclosed.get(&by.disclosure).ok_or("seals by what nobody disclosed")?;
        let member = effect.author.member();
        let own = |record: &RecordId| self.is_kept(record, &request.patient, member.as_str());
        let may = disclosed.confirmed
            && disclosed.by.member() == member
            && disclosed.what.patient == request.patient
            && disclosed.what.seal.is_some_and(|whole| whole.until.0 == seal.until_ms && effect.time < whole.until)
            // All that is disclosed here is by order of a court.
            && request.purpose == PurposeOfUse::Hlegal
            && request.records.iter().all(|version| own(&version.record) && names(disclosed.what, version));
        self.seen.sealed += 1;
        if may { Ok(()) } else { Err("seals an entry alone, or for too long".to_owned()) }
    }
}

/// Whether a disclosure is of a version: the simulator's records have one each.
fn names(what: &Disclose, version: &VersionRef) -> bool {
    what.records.is_empty() || what.records.iter().any(|named| named.record == version.record)
}

fn event(ledger: &LedgerStore, effect: &Effect) -> Result<AccessEvent, String> {
    let place = ledger.location(&effect.transaction.id).and_then(|location| location.log);
    let entry = place.and_then(|place| log::entry(ledger, &place.log, place.place).ok().flatten());
    AccessEvent::decode(entry.ok_or("it has no event")?).map_err(|e| e.to_string())
}
