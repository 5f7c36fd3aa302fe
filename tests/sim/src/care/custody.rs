//! Custodians and their deputies, who answer what waits for them, and those who name them.

use bytes::Bytes;
use consilium_ledger::keys;
use consilium_proto::pb::{self, action::Action};
use consilium_proto::state::{StateKey, StateRow};
use prost::Message;

use super::{Care, Deed, hash_of};
use crate::disk::LedgerStore;
use crate::fixture::{ANEW, ANNA, CUSTODIANS, Fixture, HOSPITALS, member_id, spiffe_id};

impl Care {
    /// Somebody answers something that waits, whether or not it is permitted still, or drops it,
    /// whether or not it is permitted still: mostly the custodian, else the deputy's, or one that
    /// perhaps is custodian no more.
    pub(super) fn answer(&mut self, ledger: &LedgerStore) -> Deed {
        let prefix = [StateRow::WrapRequest as u8];
        let waiting = ledger.rows(&prefix).filter_map(|(key, value)| {
            let Some(StateKey::WrapRequest(name)) = StateKey::decode(key) else { return None };
            Some((name, pb::WrapRequestState::decode(value.clone()).ok()?))
        });
        let (urgent, usual): (Vec<_>, Vec<_>) = waiting.partition(|(_, request)| !request.emergency_id.is_empty());
        let first = if self.rng.chance(600) { [&urgent, &usual] } else { [&usual, &urgent] };
        let picked = first.into_iter().find_map(|waiting| self.rng.pick(waiting).cloned());
        let Some((name, request)) = picked else { return self.ask() };
        let urgent = !request.emergency_id.is_empty();
        let (by, member) = (self.answers_for(ledger, &name.member, urgent), name.member.clone());
        if self.rng.chance(150) {
            let drop = pb::AddWraps { dropped: vec![name.number], member, ..pb::AddWraps::default() };
            return Deed::new(&by, Action::AddWraps(drop));
        }
        let content = Bytes::from(format!("wrap {} of {}", name.number, name.member));
        let wrap = pb::AddedWrap {
            request: name.number,
            record_id: request.record_id,
            version: request.version,
            recipient_key_id: request.recipient_key_id,
            wrap_sha256: hash_of(&content),
        };
        let add = pb::AddWraps { wraps: vec![wrap], member, ..pb::AddWraps::default() };
        Deed { attachments: vec![content], ..Deed::new(&by, Action::AddWraps(add)) }
    }

    fn answers_for(&mut self, ledger: &LedgerStore, member: &str, urgent: bool) -> String {
        let custody = |member: &str| ledger.message::<pb::CustodyState>(&keys::custody(member)).unwrap_or_default();
        let own = custody(member);
        // Once a member has left, whoever keeps its records.
        let own = own.keepers.last().map(|keeper| custody(&keeper.member)).unwrap_or(own);
        match self.rng.below(100) {
            0..=49 if urgent && !own.deputy.is_empty() => custody(&own.deputy).custodian,
            0..=69 if !own.custodian.is_empty() => own.custodian,
            70..=89 if !own.deputy.is_empty() => custody(&own.deputy).custodian,
            _ => spiffe_id(self.any_hospital(), "service", self.one_of(&CUSTODIANS)),
        }
    }

    /// A version is wrapped for the custody key of its member or of the deputy, be it that it is
    /// so already, or that the key is none any more.
    pub(super) fn rewrap(&mut self, ledger: &LedgerStore) -> Deed {
        let Some(record) = self.rng.pick(&self.records).cloned() else { return self.ask() };
        let member = member_id(record.member);
        let custody = |member: &str| ledger.message::<pb::CustodyState>(&keys::custody(member));
        let own = custody(&member).unwrap_or_default();
        let own = own.keepers.last().and_then(|keeper| custody(&keeper.member)).unwrap_or(own);
        let deputy = custody(&own.deputy).unwrap_or_default();
        let wanted = if self.rng.chance(300) { own.encryption_key_id } else { deputy.encryption_key_id };
        let stale = wanted.is_empty() || self.rng.chance(150);
        let other = spiffe_id(self.any_hospital(), "service", self.one_of(&CUSTODIANS));
        let recipient_key_id = if stale { Fixture::key_id(&other).to_bytes() } else { wanted };
        let content = self.text();
        let counted = self.rng.chance(150);
        let wrap = pb::Rewrap {
            record_id: record.id,
            version: 1,
            recipient_key_id,
            wrap_sha256: if counted { Bytes::new() } else { hash_of(&content) },
        };
        let by = if self.rng.chance(800) { own.custodian } else { self.answers_for(ledger, &member, false) };
        let by = if by.is_empty() { other } else { by };
        let add = pb::AddWraps { rewraps: vec![wrap], member, ..pb::AddWraps::default() };
        let attachments = if counted { Vec::new() } else { vec![content] };
        Deed { attachments, ..Deed::new(&by, Action::AddWraps(add)) }
    }

    /// A custodian asks for what is owed to a patient, or to somebody to whom nothing is.
    pub(super) fn owe(&mut self, ledger: &LedgerStore) -> Deed {
        let Some(record) = self.rng.pick(&self.records).cloned() else { return self.ask() };
        let member = member_id(record.member);
        let persons = [(1, "patient", ANNA), (2, "patient", ANEW), (1, "clinician", "c"), (1, "service", "x")];
        let (of, role, name) =
            if self.rng.chance(800) { persons[self.rng.below(2) as usize] } else { self.one_of(&persons) };
        let recipient_key_id = Fixture::key_id(&spiffe_id(of, role, name)).to_bytes();
        let owed = vec![pb::OwedWrap { record_id: record.id, version: 1, recipient_key_id }];
        let by = self.answers_for(ledger, &member, false);
        Deed::new(&by, Action::AddWraps(pb::AddWraps { owed, member, ..pb::AddWraps::default() }))
    }

    /// Another service of a hospital is its custodian from now on, with a key of its own.
    pub(super) fn rotate(&mut self) -> Deed {
        let (member, name) = (self.any_hospital(), self.one_of(&CUSTODIANS));
        set_key(member, name)
    }

    /// A hospital names the other one as its deputy, or nobody any more.
    pub(super) fn name_deputy(&mut self) -> Deed {
        let member = self.any_hospital();
        let deputy = if self.rng.chance(850) { member_id(HOSPITALS + 1 - member) } else { String::new() };
        Deed::new(&spiffe_id(member, "admin", "x"), Action::NameDeputy(pb::NameDeputy { deputy }))
    }

    /// A hospital accepts what the other one keeps, for when that one leaves, or does so no more.
    pub(super) fn accept_custody(&mut self) -> Deed {
        let own = self.any_hospital();
        let member = member_id(HOSPITALS + 1 - own);
        let (missing_max, withdrawn) = (self.rng.below(3), self.rng.chance(300));
        let accept = pb::AcceptCustody { member, missing_max, withdrawn };
        Deed::new(&spiffe_id(own, "admin", "x"), Action::AcceptCustody(accept))
    }
}

/// An administrator names a custodian.
pub(super) fn set_key(member: u64, name: &str) -> Deed {
    let encryption_key_id = Fixture::key_id(&spiffe_id(member, "service", name)).to_bytes();
    let set = Action::SetCustodyKey(pb::SetCustodyKey { encryption_key_id });
    Deed::new(&spiffe_id(member, "admin", "x"), set)
}
