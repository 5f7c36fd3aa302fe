//! Custodians and their deputies, who answer what waits for them, and those who name them.

use bytes::Bytes;
use consilium_ledger::keys;
use consilium_proto::pb::{self, action::Action};
use consilium_proto::state::{StateKey, StateRow};
use prost::Message;

use super::{Care, Deed, hash_of};
use crate::disk::LedgerStore;
use crate::fixture::{CUSTODIANS, Fixture, HOSPITALS, member_id, spiffe_id};

impl Care {
    /// Somebody answers something that waits, whether or not it is permitted still, or drops it,
    /// whether or not it is permitted still: mostly the custodian, else the deputy's, or one that
    /// perhaps is custodian no more.
    pub(super) fn answer(&mut self, ledger: &LedgerStore) -> Deed {
        let prefix = [StateRow::WrapRequest as u8];
        let waiting: Vec<_> = ledger.rows(&prefix).collect();
        let Some((key, value)) = self.rng.pick(&waiting).copied() else { return self.ask() };
        let Some(StateKey::WrapRequest(name)) = StateKey::decode(key) else { return self.ask() };
        let Ok(request) = pb::WrapRequestState::decode(value.clone()) else { return self.ask() };
        let (by, member) = (self.answers_for(ledger, &name.member), name.member.clone());
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

    fn answers_for(&mut self, ledger: &LedgerStore, member: &str) -> String {
        let custody = |member: &str| ledger.message::<pb::CustodyState>(&keys::custody(member)).unwrap_or_default();
        let own = custody(member);
        match self.rng.below(100) {
            0..=69 if !own.custodian.is_empty() => own.custodian,
            70..=89 if !own.deputy.is_empty() => custody(&own.deputy).custodian,
            _ => spiffe_id(self.any_hospital(), "service", self.one_of(&CUSTODIANS)),
        }
    }

    /// A version is wrapped for the custody key of its member or of the deputy, be it that it is
    /// so already, or that the key is none any more.
    pub(super) fn rewrap(&mut self, ledger: &LedgerStore) -> Deed {
        let Some(record) = self.rng.pick(&self.records).cloned() else { return self.ask() };
        let keeper = if self.rng.chance(600) { record.member } else { self.any_hospital() };
        let holder = spiffe_id(keeper, "service", self.one_of(&CUSTODIANS));
        let content = self.text();
        let counted = self.rng.chance(150);
        let wrap = pb::Rewrap {
            record_id: record.id,
            version: 1,
            recipient_key_id: Fixture::key_id(&holder).to_bytes(),
            wrap_sha256: if counted { Bytes::new() } else { hash_of(&content) },
        };
        let member = member_id(record.member);
        let by = self.answers_for(ledger, &member);
        let add = pb::AddWraps { rewraps: vec![wrap], member, ..pb::AddWraps::default() };
        let attachments = if counted { Vec::new() } else { vec![content] };
        Deed { attachments, ..Deed::new(&by, Action::AddWraps(add)) }
    }

    /// Another service of a hospital is its custodian from now on, with a key of its own.
    pub(super) fn rotate(&mut self) -> Deed {
        let (member, name) = (self.any_hospital(), self.one_of(&CUSTODIANS));
        set_key(member, name)
    }

    /// A hospital names the other one as its deputy, or nobody any more.
    pub(super) fn name_deputy(&mut self) -> Deed {
        let member = self.any_hospital();
        let deputy = if self.rng.chance(750) { member_id(HOSPITALS + 1 - member) } else { String::new() };
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
