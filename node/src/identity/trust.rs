//! Trust for handshakes, taken from the ledger: replaced as a whole with every
//! block that changes a member, so that a revocation holds from the next
//! handshake on.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use consilium_certs::tls::{MemberTrust, TrustSource};
use consilium_certs::{CaBundle, Crl, TrustDomain};
use consilium_ledger::{Table, keys};
use consilium_proto::pb::{MemberState, MemberStatus};
use prost::Message;
use tokio::sync::watch;

use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;

/// Members as of the newest executed block.
#[derive(Debug, Default)]
pub struct LedgerTrust {
    members: ArcSwap<BTreeMap<TrustDomain, Arc<MemberTrust>>>,
    version: watch::Sender<u64>,
}

impl LedgerTrust {
    /// Reads all members from the ledger.
    ///
    /// # Errors
    /// If the disk fails or a member's row is damaged.
    pub fn load(store: &LedgerStore) -> Result<Self, StorageError> {
        let trust = Self::default();
        trust.reload(store)?;
        Ok(trust)
    }

    /// Reads them again, after a block that changed one.
    ///
    /// # Errors
    /// If the disk fails or a member's row is damaged.
    pub fn reload(&self, store: &LedgerStore) -> Result<(), StorageError> {
        let mut members = BTreeMap::new();
        let prefix = keys::members();
        for row in store.scan(Table::State, &prefix, &prefix) {
            let (_, value) = row?;
            let state = MemberState::decode(value.as_ref()).map_err(|e| StorageError::corrupt("member", e))?;
            let trust = member_trust(&state)?;
            members.insert(trust.bundle.trust_domain().clone(), Arc::new(trust));
        }
        self.members.store(Arc::new(members));
        self.version.send_modify(|version| *version += 1);
        Ok(())
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
    fn member(&self, trust_domain: &TrustDomain) -> Option<Arc<MemberTrust>> {
        self.members.load().get(trust_domain).cloned()
    }
}
