//! I32, G7: each request was decided as a second account of the rules ([`crate::judge`]) decides
//! it in the order of the ledger: a withdrawal closes from its place in the block on, an emergency
//! opens for whom it was declared and until it ends. No wrap is added but for who asked, was
//! permitted to read, and is so in the block of the wrap.

use std::collections::BTreeSet;

use consilium_ledger::{keys, log};
use consilium_proto::access::permits;
use consilium_proto::ids::{KeyId, RecordId};
use consilium_proto::pb::{AccessEvent, EncryptionKeyState, WrapState};
use consilium_proto::state::{StateKey, StateRow, WrapName};
use consilium_proto::transaction::{Action, AddWraps, RequestAccess};
use prost::Message;

use super::Check;
use crate::chronicle::Effect;
use crate::disk::LedgerStore;
use crate::judge::{Judge, Wish};

/// What a look at a ledger found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Records that were permitted to be read.
    pub permitted: u64,
    /// Records that were not.
    pub denied: u64,
    /// Of those that were permitted, in an emergency.
    pub in_emergency: u64,
    /// Wraps that were added.
    pub wraps: u64,
}

struct Audit<'a> {
    ledger: &'a LedgerStore,
    judge: Judge,
    /// What was asked for and permitted.
    permitted: BTreeSet<Wish>,
    wraps: BTreeSet<WrapName>,
    seen: Seen,
}

/// Judges all requests and wraps of a ledger again.
///
/// # Errors
/// What differs.
pub fn check(ledger: &LedgerStore, effects: &[Effect], emergency_ms: u64) -> Result<Seen, String> {
    let judge = Judge::new(emergency_ms);
    let mut audit = Audit { ledger, judge, permitted: BTreeSet::new(), wraps: BTreeSet::new(), seen: Seen::default() };
    for effect in effects {
        for action in &effect.transaction.actions {
            match action {
                Action::RequestAccess(request) => audit.request(effect, request)?,
                Action::AddWraps(add) => audit.add(effect, add)?,
                _ => {}
            }
            audit.judge.hear(effect, action);
        }
    }
    audit.check_rows()?;
    Ok(audit.seen)
}

impl Audit<'_> {
    fn request(&mut self, effect: &Effect, request: &RequestAccess) -> Check {
        let event = self.event(effect)?;
        let opened = event.decisions.iter().filter(|decision| permits(decision.ground()));
        let opened: BTreeSet<&[u8]> =
            opened.flat_map(|decision| &decision.records).map(|version| &version.record_id[..]).collect();
        for wish in Judge::wishes(&effect.author, request) {
            let (was, is) = (opened.contains(&wish.record.0[..]), self.judge.permits(&wish, effect.time));
            if was != is {
                let was = if was { "permitted" } else { "denied" };
                return Err(format!("{wish:?} was {was} in block {}", effect.height));
            }
            if !is {
                self.seen.denied += 1;
                continue;
            }
            self.seen.permitted += 1;
            self.seen.in_emergency += u64::from(wish.emergency.is_some());
            self.permitted.insert(wish);
        }
        Ok(())
    }

    fn event(&self, effect: &Effect) -> Result<AccessEvent, String> {
        let place = self.ledger.location(&effect.transaction.id).and_then(|location| location.log);
        let entry = place.and_then(|place| log::entry(self.ledger, &place.log, place.place).ok().flatten());
        let entry = entry.ok_or_else(|| format!("a request of block {} has no event", effect.height))?;
        AccessEvent::decode(entry).map_err(|e| e.to_string())
    }

    fn add(&mut self, effect: &Effect, add: &AddWraps) -> Check {
        for wrap in &add.wraps {
            let Some(reader) = self.owner(&wrap.recipient) else {
                return Err(format!("block {} holds a wrap for a key of nobody", effect.height));
            };
            let record = wrap.version.record;
            if !self.is_for(&reader, &record, effect) {
                return Err(format!("block {} holds a wrap of {record} for {reader}, who may not read", effect.height));
            }
            let (version, recipient) = (wrap.version.version, wrap.recipient);
            self.wraps.insert(WrapName { record, version, recipient });
            self.seen.wraps += 1;
        }
        Ok(())
    }

    /// Whether something that somebody was permitted to read is so still.
    fn is_for(&self, reader: &str, record: &RecordId, effect: &Effect) -> bool {
        let mut asked = self.permitted.iter().filter(|wish| wish.reader == reader && wish.record == *record);
        asked.any(|wish| self.judge.permits(wish, effect.time))
    }

    fn owner(&self, key: &KeyId) -> Option<String> {
        let row: Option<EncryptionKeyState> = self.ledger.message(&keys::encryption_key(key));
        row.map(|row| row.spiffe_id)
    }

    /// No wrap is in the state but those that the blocks add.
    fn check_rows(&self) -> Check {
        for (key, row) in self.ledger.rows(&[StateRow::Wrap as u8]) {
            let row = WrapState::decode(row.clone()).map_err(|e| e.to_string())?;
            let Some(StateKey::Wrap(name)) = StateKey::decode(key) else { continue };
            if !row.wrap_sha256.is_empty() && !self.wraps.contains(&name) {
                return Err(format!("no block adds the {}", keys::describe(key)));
            }
        }
        Ok(())
    }
}
