//! Trust for handshakes, taken from the ledger: replaced as a whole with every
//! block that changes a member, so that a revocation holds from the next
//! handshake on.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use consilium_certs::tls::{MemberTrust, TrustSource};
use consilium_certs::{CaBundle, Crl};
use consilium_ledger::{Table, keys};
use consilium_proto::ids::Height;
use consilium_proto::names::MemberId;
use consilium_proto::pb::{MemberState, MemberStatus};
use prost::Message;
use tokio::sync::watch;

use super::invitation::Invitation;
use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;

/// Members as of the newest executed block.
#[derive(Debug, Default)]
pub struct LedgerTrust {
    members: ArcSwap<BTreeMap<MemberId, Arc<MemberTrust>>>,
    version: watch::Sender<u64>,
    invitation: Option<Invitation>,
}

impl LedgerTrust {
    /// Reads all members from the ledger.
    ///
    /// # Errors
    /// If the disk fails or a member's row is damaged.
    pub fn load(store: &LedgerStore, at: Height, invitation: Option<Invitation>) -> Result<Self, StorageError> {
        let trust = Self { invitation, ..Self::default() };
        trust.reload(store, at)?;
        Ok(trust)
    }

    /// Reads them again, after a block that changed one.
    ///
    /// # Errors
    /// If the disk fails or a member's row is damaged.
    pub fn reload(&self, store: &LedgerStore, at: Height) -> Result<(), StorageError> {
        let mut members = BTreeMap::new();
        let mut insert = |state: &MemberState| -> Result<(), StorageError> {
            let trust = member_trust(state)?;
            members.insert(trust.bundle.member().clone(), Arc::new(trust));
            Ok(())
        };
        let prefix = keys::members();
        for row in store.scan(Table::State, &prefix, &prefix) {
            let (_, value) = row?;
            let state = MemberState::decode(value.as_ref()).map_err(|e| StorageError::corrupt("member", e))?;
            insert(&state)?;
        }
        // Until the ledger here has come to where the invitation was written.
        if let Some(invitation) = self.invitation.as_ref().filter(|i| i.height > at) {
            invitation.members.iter().try_for_each(insert)?;
        }
        self.members.store(Arc::new(members));
        self.version.send_modify(|version| *version += 1);
        Ok(())
    }

    /// All members as of the last reload.
    #[must_use]
    pub fn members(&self) -> Arc<BTreeMap<MemberId, Arc<MemberTrust>>> {
        self.members.load_full()
    }

    /// Whether a member had its rights at the last reload.
    #[must_use]
    pub fn is_active(&self, member: &str) -> bool {
        let domain: Option<MemberId> = member.parse().ok();
        domain.is_some_and(|domain| self.members.load().get(&domain).is_some_and(|m| !m.suspended))
    }

    /// Tells of every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

fn member_trust(state: &MemberState) -> Result<MemberTrust, StorageError> {
    let bundle = CaBundle::from_ders(&state.ca_bundle).map_err(|e| StorageError::corrupt("member's bundle", e))?;
    let crls = state.crls.iter().filter_map(|der| Crl::parse(der, &bundle).ok()).collect();
    Ok(MemberTrust { bundle, crls, suspended: state.status != MemberStatus::Active as i32 })
}

impl TrustSource for LedgerTrust {
    fn member(&self, member: &MemberId) -> Option<Arc<MemberTrust>> {
        self.members.load().get(member).cloned()
    }
}
