//! I32, G7: each request was decided as a second account of the rules ([`crate::judge`]) decides
//! it in the order of the ledger: a withdrawal closes from its place in the block on, an emergency
//! opens for whom it was declared and until it ends. No wrap is added but by who keeps the
//! member's keys, or its deputy in emergencies, for who asked, was permitted to read, and is so in
//! the block of the wrap. What waits for a custodian is what was asked and not answered, and no
//! count of a member's custody says that more is wrapped than is.

use std::collections::BTreeSet;

use consilium_ledger::{keys, log};
use consilium_proto::access::permits;
use consilium_proto::pb::{
    AccessEvent, AccessGround, AccessKind, CustodyCountState, CustodyWorkState, WrapRequestState, WrapState,
};
use consilium_proto::state::{StateKey, StateRow};
use consilium_proto::transaction::{Action, RequestAccess};
use prost::Message;

use super::Check;
use crate::chronicle::Effect;
use crate::disk::LedgerStore;
use crate::judge::Judge;
use crate::judge::custody::{Custody, Kept};

/// What a look at a ledger found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Records that were permitted to be read.
    pub permitted: u64,
    /// Records that were not.
    pub denied: u64,
    /// Of those that were permitted, in an emergency.
    pub in_emergency: u64,
    /// Of those that were permitted, by the patient.
    pub by_patients: u64,
    /// Records that were permitted, or denied, by rules that look at labels.
    pub by_label: (u64, u64),
    /// Queries.
    pub queries: u64,
    /// What custodians have done.
    pub kept: Kept,
}

struct Audit<'a> {
    ledger: &'a LedgerStore,
    judge: Judge,
    custody: Custody,
    seen: Seen,
}

/// Judges all requests and wraps of a ledger again.
///
/// # Errors
/// What differs.
pub fn check(ledger: &LedgerStore, effects: &[Effect], emergency_ms: u64) -> Result<Seen, String> {
    let (judge, custody) = (Judge::new(emergency_ms), Custody::default());
    let mut audit = Audit { ledger, judge, custody, seen: Seen::default() };
    for effect in effects {
        for action in &effect.transaction.actions {
            if let Action::RequestAccess(request) = action {
                audit.request(effect, request)?;
            }
            audit.custody.hear(&audit.judge, effect, action)?;
            audit.judge.hear(effect, action);
        }
    }
    audit.check_wraps()?;
    audit.check_waiting()?;
    audit.check_counts()?;
    Ok(Seen { kept: audit.custody.kept, ..audit.seen })
}

impl Audit<'_> {
    fn request(&mut self, effect: &Effect, request: &RequestAccess) -> Check {
        let event = self.event(effect)?;
        if request.kind == AccessKind::Query {
            self.seen.queries += 1;
            return self.query(effect, request, &event);
        }
        let opened = event.decisions.iter().filter(|decision| permits(decision.ground()));
        let opened: BTreeSet<&[u8]> =
            opened.flat_map(|decision| &decision.records).map(|version| &version.record_id[..]).collect();
        for (wish, asked) in Judge::wishes(&effect.author, request).zip(&request.records) {
            let (was, is) = (opened.contains(&wish.record.0[..]), self.judge.permits(&wish, effect.time));
            if was != is {
                let was = if was { "permitted" } else { "denied" };
                return Err(format!("{wish:?} was {was} in block {}", effect.height));
            }
            let by_label = u64::from(self.judge.decides_by_label(&wish, effect.time));
            if !is {
                self.seen.denied += 1;
                self.seen.by_label.1 += by_label;
                continue;
            }
            self.seen.permitted += 1;
            self.seen.by_label.0 += by_label;
            self.seen.in_emergency += u64::from(wish.emergency.is_some());
            self.seen.by_patients += u64::from(wish.reader.contains("/patient/"));
            self.custody.ask(&self.judge, (&wish, effect.time), asked.version);
        }
        Ok(())
    }

    /// A query decides no record: each is decided as it is shown.
    fn query(&self, effect: &Effect, request: &RequestAccess, event: &AccessEvent) -> Check {
        let answers = self.judge.answers(&effect.author, request);
        let [decision] = &event.decisions[..] else { return Err("a query was not decided once".to_owned()) };
        match decision.records.is_empty() && answers == (decision.ground() == AccessGround::Each) {
            true => Ok(()),
            false => Err(format!("a query was decided as {:?} in block {}", decision.ground(), effect.height)),
        }
    }

    fn event(&self, effect: &Effect) -> Result<AccessEvent, String> {
        let place = self.ledger.location(&effect.transaction.id).and_then(|location| location.log);
        let entry = place.and_then(|place| log::entry(self.ledger, &place.log, place.place).ok().flatten());
        let entry = entry.ok_or_else(|| format!("a request of block {} has no event", effect.height))?;
        AccessEvent::decode(entry).map_err(|e| e.to_string())
    }

    /// No wrap is in the state but those that the blocks add.
    fn check_wraps(&self) -> Check {
        for (key, row) in self.ledger.rows(&[StateRow::Wrap as u8]) {
            let row = WrapState::decode(row.clone()).map_err(|e| e.to_string())?;
            let Some(StateKey::Wrap(name)) = StateKey::decode(key) else { continue };
            if !row.wrap_sha256.is_empty() && !self.custody.has(&name) {
                return Err(format!("no block adds the {}", keys::describe(key)));
            }
        }
        Ok(())
    }

    /// What waits in the state is what waits by the second account.
    fn check_waiting(&self) -> Check {
        let mut waiting = self.custody.open().iter();
        for (key, row) in self.ledger.rows(&[StateRow::WrapRequest as u8]) {
            let row = WrapRequestState::decode(row.clone()).map_err(|e| e.to_string())?;
            let same = |((member, number), asked): (&(String, u64), &crate::judge::custody::Asked)| {
                matches!(StateKey::decode(key), Some(StateKey::WrapRequest(name))
                    if (&name.member, &name.number) == (member, number))
                    && (&row.record_id[..], row.version) == (&asked.name.record.0[..], asked.name.version)
                    && row.recipient_key_id == asked.name.recipient.as_bytes()[..]
            };
            if !waiting.next().is_some_and(same) {
                return Err(format!("nobody waits for the {}", keys::describe(key)));
            }
        }
        match waiting.next() {
            Some(((member, number), _)) => Err(format!("request {number} is not on the list of {member}")),
            None => Ok(()),
        }
    }

    /// By the counts a member may leave: what is in custody is counted, and nothing counts as
    /// wrapped for a key that is not.
    fn check_counts(&self) -> Check {
        for (key, row) in self.ledger.rows(&[StateRow::CustodyWork as u8]) {
            let row = CustodyWorkState::decode(row.clone()).map_err(|e| e.to_string())?;
            let Some(StateKey::CustodyWork(member)) = StateKey::decode(key) else { continue };
            let open = self.custody.open().keys().filter(|(of, _)| *of == member).count() as u64;
            if (row.versions, row.open) != (self.custody.kept_by(&member), open) {
                return Err(format!("{} counts otherwise than the blocks", keys::describe(key)));
            }
        }
        for (key, row) in self.ledger.rows(&[StateRow::CustodyCount as u8]) {
            let row = CustodyCountState::decode(row.clone()).map_err(|e| e.to_string())?;
            let Some(StateKey::CustodyCount(name)) = StateKey::decode(key) else { continue };
            if row.versions > self.custody.wrapped_for(&name.member, &name.key) {
                return Err(format!("{} counts more than is wrapped", keys::describe(key)));
            }
        }
        Ok(())
    }
}
