//! A node's folder: the files that `consilium-node` starts from. Laying it out
//! can be repeated, never replaces what a person may have written, and never
//! destroys a key.

use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use consilium_certs::contract::invitation::Invitation;
use consilium_certs::{Purpose, RevocationPolicy, contract, load_identity, verify_chain};
use consilium_proto::genesis::{GENESIS_BYTES_MAX, Genesis};
use consilium_proto::pb;
use consilium_proto::signing::{SignatureAlgorithm, SigningKey};
use prost::Message;

use super::invitation;
use crate::clock::now_ms;
use crate::error::ClientError;
use crate::files::{self, PUBLIC_MODE, SECRET_MODE};
use crate::identity::load_signing_key;

const CONFIG: &str = "node.toml";
const GENESIS: &str = "genesis.pb";
const INVITATION: &str = "invitation.pb";
const VOTE_KEY: &str = "vote.key";
/// Keys lie in it.
const FOLDER_MODE: u32 = 0o700;
/// Where probes and metrics are served unless told otherwise.
pub const HTTP_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7403);

/// A new node's settings that nothing else says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Relative to the folder.
    pub data_dir: PathBuf,
    /// Listener for clients; absent: all interfaces, at the port of the node's address.
    pub client: Option<SocketAddr>,
    /// Listener for peers; absent: as for clients.
    pub peer: Option<SocketAddr>,
    /// Listener for probes and metrics.
    pub http: SocketAddr,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaidOut {
    /// The node's configuration.
    pub config: PathBuf,
    /// Files that were written or changed.
    pub written: Vec<PathBuf>,
    /// Identity certificate and key, if they are not there yet.
    pub missing: Vec<PathBuf>,
}

/// A node's vote key in its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteKey {
    /// The 65-byte point.
    pub public: Bytes,
    path: PathBuf,
    /// Made beside a key that is spent and put in its place by
    /// [`VoteKey::put_in_place`].
    staged: bool,
}

/// Makes a new vote key (PKCS#8 PEM), and FILE.pub with its point in
/// hexadecimal beside it.
///
/// # Errors
/// If one of the files exists or cannot be written.
pub fn make_vote_key(path: &Path) -> Result<Bytes, ClientError> {
    let public = public_path(path);
    if public.exists() {
        return Err(ClientError::file(public, "exists already and is not overwritten"));
    }
    let key = SigningKey::generate(SignatureAlgorithm::Es256)?;
    files::write_new(path, key.to_pem()?.as_bytes(), SECRET_MODE)?;
    let point = Bytes::copy_from_slice(key.verifying_key().raw());
    files::write_new(&public, format!("{}\n", hex::encode(&point)).as_bytes(), PUBLIC_MODE)?;
    sync_folder(path)?;
    Ok(point)
}

/// Where [`make_vote_key`] puts the public half.
#[must_use]
pub fn public_path(key: &Path) -> PathBuf {
    with_suffix(key, "pub")
}

impl VoteKey {
    /// The key in a folder, made if there is none. One that is `spent`, because
    /// the node that signed with it is to be replaced, stays where it is until
    /// [`VoteKey::put_in_place`]; the new one waits beside it.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn prepare(folder: &Path, spent: Option<&Bytes>) -> Result<Self, ClientError> {
        let made = fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
        made.map_err(|e| ClientError::file(folder, e))?;
        let path = vote_key_path(folder)?;
        let staging = with_suffix(&path, "new");
        let at = |path: &Path| if path.exists() { public_half(path) } else { make_vote_key(path) };
        // A new one without an old one: an earlier run stopped between the two renames.
        let interrupted = !path.exists() && staging.exists();
        let staged = interrupted || (path.exists() && spent == Some(&at(&path)?));
        Ok(Self { public: at(if staged { &staging } else { &path })?, path, staged })
    }

    /// The key with this public half, which an earlier run made.
    ///
    /// # Errors
    /// A file that cannot be used; if there is no such key.
    pub fn find(folder: &Path, public: &Bytes) -> Result<Self, ClientError> {
        let path = vote_key_path(folder)?;
        for (file, staged) in [(with_suffix(&path, "new"), true), (path.clone(), false)] {
            if file.exists() && public_half(&file)? == *public {
                return Ok(Self { public: public.clone(), path, staged });
            }
        }
        Err(ClientError::file(path, "is not the vote key that the ledger has for this node"))
    }

    /// Puts a waiting key in the place of the spent one, which is kept under
    /// the raft id that it voted for.
    ///
    /// # Errors
    /// If a file cannot be renamed.
    pub fn put_in_place(self, spent_raft_id: u64) -> Result<(), ClientError> {
        if !self.staged {
            return Ok(());
        }
        let rename = |from: &Path, to: &Path| match (from.exists(), to.exists()) {
            (false, _) => Ok(()),
            (true, true) => Err(ClientError::file(to, "exists already and is not overwritten")),
            (true, false) => fs::rename(from, to).map_err(|e| ClientError::file(from, e)),
        };
        let (kept, staging) =
            (with_suffix(&self.path, &format!("raft-{spent_raft_id}")), with_suffix(&self.path, "new"));
        // Keys move last: while the new one waits, a run that was interrupted
        // is seen and finished.
        rename(&public_path(&self.path), &public_path(&kept))?;
        rename(&public_path(&staging), &public_path(&self.path))?;
        rename(&self.path, &kept)?;
        rename(&staging, &self.path)?;
        sync_folder(&self.path)
    }
}

/// The node that an earlier run registered in another's place and did not lay
/// out in this folder: its vote key is here, its invitation is not.
///
/// # Errors
/// A key or configuration that cannot be used.
pub fn unfinished<'a>(folder: &Path, members: &'a [pb::MemberEntry]) -> Result<Option<&'a pb::NodeState>, ClientError> {
    let config = read_config(folder)?;
    let path = folder.join(setting(config.as_ref(), "invitation").unwrap_or(INVITATION));
    let invited = invitation::read(&path).map_or(0, |invitation| invitation.node.raft_id);
    let in_place = vote_key_path(folder)?;
    for key in [with_suffix(&in_place, "new"), in_place] {
        if !key.exists() {
            continue;
        }
        let public = public_half(&key)?;
        let is_it = |node: &&pb::NodeState| {
            let came_for_another = node.status() == pb::NodeStatus::Active && node.replaces != 0;
            came_for_another && node.vote_key == public && node.raft_id != invited
        };
        if let Some(node) = members.iter().flat_map(|entry| &entry.nodes).find(is_it) {
            return Ok(Some(node));
        }
    }
    Ok(None)
}

fn public_half(key: &Path) -> Result<Bytes, ClientError> {
    Ok(Bytes::copy_from_slice(load_signing_key(key)?.verifying_key().raw()))
}

/// Writes what a node needs to join: genesis, invitation, configuration. A
/// configuration that exists only gets the line that names the invitation.
///
/// # Errors
/// A vote key or certificate that is not the one that the ledger expects; a
/// genesis document or configuration for something else; a file that cannot be
/// written.
pub fn lay_out(folder: &Path, invitation: &Invitation, settings: &Settings) -> Result<LaidOut, ClientError> {
    let config_path = folder.join(CONFIG);
    let config = read_config(folder)?;
    check_vote_key(&vote_key_path(folder)?, invitation)?;
    let identity = identity_paths(folder, config.as_ref(), &invitation.node.name);
    let missing: Vec<PathBuf> = identity.iter().filter(|path| !path.exists()).cloned().collect();
    if missing.is_empty() {
        check_identity(&identity, invitation)?;
    }
    let mut written = Vec::new();
    let mut message = invitation.message.clone();
    let genesis = folder.join(setting(config.as_ref(), "genesis").unwrap_or(GENESIS));
    if genesis.exists() {
        // The node wants both files to hold the same bytes.
        message.genesis = read_genesis(&genesis, invitation)?;
    } else {
        files::write_new(&genesis, &message.genesis, PUBLIC_MODE)?;
        written.push(genesis);
    }
    let named = setting(config.as_ref(), "invitation");
    let invitation_path = folder.join(named.unwrap_or(INVITATION));
    replace(&invitation_path, &message.encode_to_vec())?;
    written.push(invitation_path);
    match (config.is_some(), named) {
        (false, _) => files::write_new(&config_path, new_config(invitation, settings).as_bytes(), PUBLIC_MODE)?,
        (true, None) => name_invitation(&config_path)?,
        (true, Some(_)) => {}
    }
    if named.is_none() {
        written.push(config_path.clone());
    }
    sync_folder(&config_path)?;
    Ok(LaidOut { config: config_path, written, missing })
}

fn read_config(folder: &Path) -> Result<Option<toml::Table>, ClientError> {
    let path = folder.join(CONFIG);
    if !path.exists() {
        return Ok(None);
    }
    let table = files::read_text(&path)?.parse::<toml::Table>();
    table.map(Some).map_err(|e| ClientError::file(&path, e.message()))
}

fn setting<'a>(config: Option<&'a toml::Table>, key: &str) -> Option<&'a str> {
    config?.get(key)?.as_str()
}

fn identity_setting<'a>(config: Option<&'a toml::Table>, key: &str) -> Option<&'a str> {
    config?.get("identity")?.as_table()?.get(key)?.as_str()
}

fn vote_key_path(folder: &Path) -> Result<PathBuf, ClientError> {
    let config = read_config(folder)?;
    Ok(folder.join(identity_setting(config.as_ref(), "vote_key").unwrap_or(VOTE_KEY)))
}

/// Certificate and key.
fn identity_paths(folder: &Path, config: Option<&toml::Table>, name: &str) -> [PathBuf; 2] {
    let at = |key: &str, extension: &str| {
        let default = format!("node-{name}.{extension}");
        folder.join(identity_setting(config, key).unwrap_or(&default))
    };
    [at("certificate", "pem"), at("key", "key")]
}

fn check_vote_key(path: &Path, invitation: &Invitation) -> Result<(), ClientError> {
    let key = load_signing_key(path)?;
    if key.verifying_key().raw() == invitation.node.vote_key {
        return Ok(());
    }
    let node = &invitation.spiffe_id;
    Err(ClientError::file(path, format!("is not the vote key that the ledger has for {node}")))
}

fn check_identity([certificate, key]: &[PathBuf; 2], invitation: &Invitation) -> Result<(), ClientError> {
    let loaded = load_identity(certificate, key).map_err(|e| ClientError::file(certificate, e))?;
    let (expected, found) = (&invitation.spiffe_id, loaded.identity().spiffe_id());
    if found != expected {
        return Err(ClientError::file(certificate, format!("is of {found}, not of {expected}")));
    }
    let now = i64::try_from(now_ms() / 1_000).unwrap_or(i64::MAX);
    let chain = loaded.certified_key().cert.clone();
    verify_chain(&chain, &invitation.own_bundle, &[], RevocationPolicy::default(), now, Purpose::Server)
        .map_err(|e| ClientError::file(certificate, format!("under the member's CA on the ledger: {e}")))?;
    Ok(())
}

/// A genesis document that is there already; it must be of the same ledger and
/// as good as the invitation's.
fn read_genesis(path: &Path, invitation: &Invitation) -> Result<Bytes, ClientError> {
    let bytes = files::read(path, GENESIS_BYTES_MAX as u64)?;
    let genesis = Genesis::parse(&bytes).map_err(|e| ClientError::file(path, e))?;
    if genesis.ledger_id != invitation.genesis.ledger_id {
        return Err(ClientError::file(path, format!("is of ledger {}, not of the invitation's", genesis.ledger_id)));
    }
    contract::genesis::check(&genesis).map_err(|e| ClientError::file(path, e))?;
    Ok(bytes.into())
}

fn new_config(invitation: &Invitation, settings: &Settings) -> String {
    let node = &invitation.node;
    let client = settings.client.unwrap_or_else(|| listener(&node.client_address));
    let peer = settings.peer.unwrap_or_else(|| listener(&node.peer_address));
    let data_dir = toml::Value::String(settings.data_dir.display().to_string());
    format!(
        "# Node {name} of {member}, raft id {raft_id}, ledger {ledger}.\n\
         data_dir = {data_dir}\ngenesis = \"{GENESIS}\"\ninvitation = \"{INVITATION}\"\n\n\
         [identity]\ncertificate = \"node-{name}.pem\"\nkey = \"node-{name}.key\"\nvote_key = \"{VOTE_KEY}\"\n\n\
         [listen]\nclient = \"{client}\"\npeer = \"{peer}\"\nhttp = \"{http}\"\n",
        name = node.name,
        member = node.member,
        raft_id = node.raft_id,
        ledger = invitation.genesis.ledger_id,
        http = settings.http,
    )
}

/// Where to listen to be reached at an address: a loopback address itself,
/// otherwise its port on all interfaces.
fn listener(address: &str) -> SocketAddr {
    match address.parse::<SocketAddr>() {
        Ok(loopback) if loopback.ip().is_loopback() => loopback,
        Ok(_) | Err(_) => {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port.unwrap_or_default())
        }
    }
}

/// The line goes on top: below a table's head it would belong to that table.
fn name_invitation(path: &Path) -> Result<(), ClientError> {
    let text = files::read_text(path)?;
    replace(path, format!("invitation = \"{INVITATION}\"\n{text}").as_bytes())
}

/// Writes a file that is public and may exist, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), ClientError> {
    let staging = with_suffix(path, "tmp");
    let failed = |e: std::io::Error| ClientError::file(path, e);
    let mut file = File::create(&staging).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&staging, path).map_err(failed)
}

fn sync_folder(file: &Path) -> Result<(), ClientError> {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|dir| dir.sync_all()).map_err(|e| ClientError::file(folder, e))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// The lost node's description with what is to differ.
#[must_use]
pub fn successor(
    lost: &pb::NodeState,
    name: Option<String>,
    peer: Option<String>,
    client: Option<String>,
    vote_key: Bytes,
) -> pb::NodeDescription {
    pb::NodeDescription {
        name: name.unwrap_or_else(|| lost.name.clone()),
        peer_address: peer.unwrap_or_else(|| lost.peer_address.clone()),
        client_address: client.unwrap_or_else(|| lost.client_address.clone()),
        vote_key,
    }
}
