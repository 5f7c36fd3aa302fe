//! What has to be true before a node starts: a genesis document that every
//! member stands behind, an identity that it names, a disk that belongs to it.

mod folder;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use consilium_certs::{ReloadingResolver, contract, secret_file};
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::NodeId;
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::signing::SigningKey;
use consilium_replica::ports::GuardRecord;
use consilium_replica::start::{Recovered, recover, write_genesis};

use crate::config::Config;
use crate::fault::Fault;
use crate::identity::invitation::Invitation;
use crate::storage::guard::Guard;
use crate::storage::ledger_port::LedgerPort;
use crate::storage::ledger_store::LedgerStore;
use crate::storage::marker::{INIT_FILE, Marker};
use crate::storage::raft_log::RaftLog;
use crate::storage::{StorageError, open_within};

pub use self::folder::Begun;

/// Everything that is known before the disk is opened.
pub struct Prepared {
    /// The configuration.
    pub config: Config,
    /// The genesis document.
    pub genesis: Genesis,
    /// Its bytes.
    pub genesis_bytes: Bytes,
    /// The invitation, if the node joined later.
    pub invitation: Option<Invitation>,
    /// This node.
    pub me: NodeId,
    /// Its SPIFFE id.
    pub spiffe_id: String,
    /// Its certificate and key, reloading.
    pub resolver: Arc<ReloadingResolver>,
    /// Signs votes.
    pub vote_key: Arc<SigningKey>,
}

/// Paths inside the data directory.
#[derive(Debug, Clone)]
pub struct DataDir(pub PathBuf);

impl DataDir {
    /// The Raft log.
    #[must_use]
    pub fn raft(&self) -> PathBuf {
        self.0.join("raft")
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }

    /// The guard.
    #[must_use]
    pub fn guard(&self) -> PathBuf {
        self.0.join("GUARD")
    }

    /// Present while the folder is being set up.
    #[must_use]
    pub fn init(&self) -> PathBuf {
        self.0.join(INIT_FILE)
    }

    /// Present while the ledger is being rebuilt from peers.
    #[must_use]
    pub fn repair(&self) -> PathBuf {
        self.0.join("REPAIR")
    }

    /// A ledger that went astray, kept until its successor is compared with it.
    #[must_use]
    pub fn diverged_ledger(&self) -> PathBuf {
        self.0.join("ledger.diverged")
    }

    /// What such a ledger had wrong, until the operator removes it.
    #[must_use]
    pub fn diverged(&self) -> PathBuf {
        self.0.join("DIVERGED")
    }
}

impl Prepared {
    /// What is not wrong with the node's certificate, and yet keeps clients away.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        let has_host_name = self.resolver.current().identity().has_host_name();
        (!has_host_name).then_some(
            "the node's certificate has no DNS name or IP address: clients in other languages refuse it; issue it again \
             with --dns or --ip",
        )
    }
}

/// Checks genesis and identity. Reads files, opens no database.
///
/// # Errors
/// What an operator has to mend.
pub fn prepare(config: Config) -> Result<Prepared, Fault> {
    let bytes = std::fs::read(&config.genesis).map_err(StorageError::file(&config.genesis))?;
    let genesis = Genesis::parse(&bytes).map_err(|e| Fault::Setup(format!("genesis document: {e}")))?;
    contract::genesis::check(&genesis).map_err(|e| Fault::Setup(format!("genesis document: {e}")))?;
    let invitation = config.invitation.as_deref().map(Invitation::read).transpose()?;
    if invitation.as_ref().is_some_and(|i| i.genesis != bytes) {
        return Err(Fault::Setup(
            "configuration key `invitation`: is of another genesis document than `genesis`".into(),
        ));
    }
    let identity = &config.identity;
    let resolver = ReloadingResolver::open(&identity.certificate, &identity.key)
        .map_err(|e| Fault::Setup(format!("configuration key `identity.certificate`: {e}")))?;
    let own = resolver.current();
    let id = own.identity().spiffe_id().clone();
    if id.role() != Role::Node {
        return Err(Fault::Setup(format!("configuration key `identity.certificate`: {id} is not of role node")));
    }
    let vote_key = Arc::new(load_vote_key(&identity.vote_key)?);
    let me = own_raft_id(&genesis, invitation.as_ref(), &id, &vote_key)?;
    let (resolver, spiffe_id) = (Arc::new(resolver), id.to_string());
    Ok(Prepared { config, genesis, genesis_bytes: bytes.into(), invitation, me, spiffe_id, resolver, vote_key })
}

/// Which node this is: the one that the invitation is for, or the one of that
/// name in the genesis document. Its vote key must be the one named there.
fn own_raft_id(
    genesis: &Genesis,
    invitation: Option<&Invitation>,
    spiffe_id: &SpiffeId,
    vote_key: &SigningKey,
) -> Result<NodeId, Fault> {
    let founding = genesis
        .nodes()
        .map(|(member, node)| (SpiffeId::node(&member.id, &node.name), node.raft_id, node.vote_key.clone()));
    let invited = invitation.map(|i| (i.own.spiffe_id.clone(), i.own.id, i.own.vote_key.clone()));
    let place = if invited.is_some() { "invitation" } else { "genesis document" };
    let candidates: Vec<_> = match invited {
        Some(own) => vec![own],
        None => founding.collect(),
    };
    let Some((_, id, key)) = candidates.into_iter().find(|(name, ..)| *name == *spiffe_id) else {
        return Err(Fault::Setup(format!(
            "the {place} has no node {spiffe_id}: wrong certificate, or a node that joins and needs `invitation`"
        )));
    };
    if key != vote_key.verifying_key() {
        return Err(Fault::Setup(format!(
            "configuration key `identity.vote_key`: is not the key that the {place} names for this node"
        )));
    }
    Ok(id)
}

/// Largest file of a vote key, in bytes.
const VOTE_KEY_BYTES_MAX: u64 = 64 * 1024;

fn load_vote_key(path: &Path) -> Result<SigningKey, Fault> {
    let fault = |cause: &dyn std::fmt::Display| {
        Fault::Setup(format!("configuration key `identity.vote_key`: {}: {cause}", path.display()))
    };
    let text = secret_file::read(path, VOTE_KEY_BYTES_MAX).map_err(|e| fault(&e))?;
    let text = std::str::from_utf8(&text).map_err(|_| fault(&"is not PEM"))?;
    SigningKey::from_pem(text).map_err(|e| fault(&e))
}

/// Sets up a data directory, once.
///
/// # Errors
/// If it is not empty, or the disk fails.
pub fn initialize(prepared: &Prepared) -> Result<Begun, Fault> {
    let dir = DataDir(prepared.config.data_dir.clone());
    let begun = folder::begin(&dir)?;
    restrict(&dir.0)?;
    RaftLog::open(&dir.raft())?.initialize()?;
    let store = LedgerStore::open(&dir.ledger(), prepared.config.storage.cache_bytes.get())?;
    write_genesis(&LedgerPort(Arc::new(store)), &prepared.genesis)?;
    Guard::create(&dir.guard())?;
    Marker::new(prepared.genesis.ledger_id, &prepared.spiffe_id, prepared.me).create(&dir.0)?;
    folder::end(&dir)?;
    Ok(begun)
}

fn restrict(dir: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o700);
    Ok(std::fs::set_permissions(dir, mode).map_err(StorageError::file(dir))?)
}

/// Opens the Raft log's database.
///
/// # Errors
/// If it is damaged, or does not open in time.
pub(crate) fn open_log(prepared: &Prepared, guard: GuardRecord) -> Result<RaftLog, StorageError> {
    let path = DataDir(prepared.config.data_dir.clone()).raft();
    open_within(&path, prepared.config.storage.open_timeout, move |path| RaftLog::open_guarded(path, &guard))
}

/// Opens the ledger's database.
///
/// # Errors
/// If it is damaged, or does not open in time.
pub(crate) fn open_ledger(prepared: &Prepared) -> Result<LedgerStore, StorageError> {
    let path = DataDir(prepared.config.data_dir.clone()).ledger();
    let storage = &prepared.config.storage;
    let (cache_bytes, open_files_max) = (storage.cache_bytes.get(), storage.open_files_max.get());
    let open = move |path: &Path| LedgerStore::open_within(path, cache_bytes, open_files_max);
    open_within(&path, storage.open_timeout, open)
}

/// The disk of a node, opened and checked against itself.
pub struct Opened {
    /// The Raft log.
    pub log: RaftLog,
    /// The ledger.
    pub ledger: LedgerPort,
    /// The guard.
    pub guard: Guard,
    /// What a replica starts from.
    pub recovered: Recovered,
}

/// Opens the disk.
///
/// # Errors
/// If it belongs to someone else, is damaged, or has lost writes that a vote
/// of this node vouched for.
pub fn open(prepared: &Prepared) -> Result<Opened, Fault> {
    let dir = DataDir(prepared.config.data_dir.clone());
    Marker::new(prepared.genesis.ledger_id, &prepared.spiffe_id, prepared.me).check(&dir.0)?;
    folder::end(&dir)?;
    let mut guard = Guard::open(&dir.guard())?;
    let log = open_log(prepared, guard.state())?;
    let ledger = open_ledger(prepared).map_err(|error| match error.is_rotten_ledger() {
        true => Fault::Rotten(error.to_string()),
        false => error.into(),
    })?;
    let ledger = LedgerPort(Arc::new(ledger));
    let recovered = recover(&ledger, &log, &mut guard);
    let recovered = recovered.map_err(|error| Fault::rotten(ledger.0.rot()).unwrap_or_else(|| error.into()))?;
    Ok(Opened { log, ledger, guard, recovered })
}
