//! `consilium access holders`: whose keys open a patient's records. Who has opened one keeps it:
//! this shows who *can* open what nodes hold, now and without asking again.

pub(super) mod of_patient;

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use consilium_client::records::{AddedWrap, QueryFilter, RecordReader};
use consilium_client::{Client, pb};
use consilium_proto::ids::{KeyId, PatientPseudonym, RecordId};
use consilium_proto::names::{MemberId, Role, SpiffeId};
use consilium_proto::state::keys;
use futures::TryStreamExt;
use prost::Message;
use serde::Serialize;

use crate::text::table;
use crate::{CliError, Context};

/// Arguments of `access holders`.
#[derive(Debug, Args)]
pub(crate) struct HoldersArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    patient: PatientPseudonym,
    /// For patients: show readers' names, too: opaque, as the ledger has them
    #[arg(long)]
    names: bool,
}

/// Whose keys open what.
#[derive(Serialize)]
pub(super) struct HoldersView {
    pub(super) patient: String,
    pub(super) versions: Vec<VersionView>,
}

/// The keys of one version.
#[derive(Serialize)]
pub(super) struct VersionView {
    pub(super) record: String,
    pub(super) kind: String,
    pub(super) version: u32,
    pub(super) holders: Vec<HolderView>,
}

#[derive(Serialize)]
pub(super) struct HolderView {
    pub(super) key_id: String,
    /// SPIFFE id of who has enrolled the key; null: nobody.
    pub(super) identity: Option<String>,
    /// The custodian of the member that wrote the record.
    pub(super) custodian: bool,
    /// The custodian of another member: a deputy, or who keeps the records of a member that left;
    /// or was one.
    pub(super) deputy: bool,
    /// Its owner has another key now; this one opens the version all the same.
    pub(super) replaced: bool,
    /// Not by the author when it was written, but by the custodian afterwards.
    pub(super) added: bool,
}

/// Who has enrolled a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) identity: SpiffeId,
    /// It is the custodian of its member.
    pub(super) keeps: bool,
    /// It is not the owner's newest key.
    pub(super) replaced: bool,
}

/// Whose keys they are.
#[derive(Default)]
pub(super) struct Keys(pub(super) BTreeMap<KeyId, Option<Owner>>);

pub(super) async fn run(client: &Client, args: &HoldersArgs, ctx: &Context) -> Result<(), CliError> {
    match client.identity().spiffe_id().role() {
        Role::Auditor => {}
        Role::Patient => return of_patient::run(client, args, ctx).await,
        _ => {
            let why = "only patients and auditors are told who holds keys to records";
            return Err(CliError::usage(why).hint("use the identity of the privacy officer"));
        }
    }
    let reader = RecordReader::new(client.clone());
    let filter = QueryFilter { patient: Some(args.patient), ..QueryFilter::default() };
    let newest: Vec<_> = reader.query(filter).try_collect().await?;
    ctx.claims("completeness", "each record and each key is proven; that there are no others is the node's word");
    let mut known = Keys::default();
    let mut view = HoldersView { patient: args.patient.to_string(), versions: Vec::new() };
    for record in &newest {
        let id = RecordId::parse("record_id", &record.record_id)?;
        let added = reader.added_wraps(id).await?;
        for version in reader.history(id).await?.versions.iter().filter(|version| !version.retraction) {
            let wraps = Wraps::of(version, &added)?;
            known.learn(client, &wraps).await?;
            view.versions.push(VersionView::new(version, &wraps, &known)?);
        }
    }
    ctx.print(&view, HoldersView::text)
}

/// Keys for which a version is wrapped.
pub(super) struct Wraps {
    written: BTreeSet<KeyId>,
    added: BTreeSet<KeyId>,
}

impl Wraps {
    pub(super) fn of(version: &pb::RecordVersion, added: &[AddedWrap]) -> Result<Self, CliError> {
        let wrong = |_| CliError::failed("a wrap of the record names no key");
        let written = version.wraps.iter().map(|wrap| KeyId::try_from(&wrap.recipient_key_id[..]).map_err(wrong));
        let written = written.collect::<Result<BTreeSet<_>, _>>()?;
        let added = added.iter().filter(|wrap| wrap.version == version.version).map(|wrap| wrap.key);
        let added = added.filter(|key| !written.contains(key)).collect();
        Ok(Self { written, added })
    }
}

impl Keys {
    /// Looks up whose keys they are.
    async fn learn(&mut self, client: &Client, wraps: &Wraps) -> Result<(), CliError> {
        for key in wraps.written.iter().chain(&wraps.added) {
            if !self.0.contains_key(key) {
                self.0.insert(*key, owner(client, key).await?);
            }
        }
        Ok(())
    }

    fn holder(&self, key: KeyId, writer: &MemberId, added: bool) -> HolderView {
        let owner = self.0.get(&key).and_then(Option::as_ref);
        let keeps = |own: bool| owner.is_some_and(|o| o.keeps && (o.identity.member() == writer) == own);
        HolderView {
            key_id: key.to_string(),
            identity: owner.map(|owner| owner.identity.to_string()),
            custodian: keeps(true),
            deputy: keeps(false),
            replaced: owner.is_some_and(|owner| owner.replaced),
            added,
        }
    }
}

/// Who has enrolled a key, as the state has it.
async fn owner(client: &Client, key: &KeyId) -> Result<Option<Owner>, CliError> {
    let Some(row) = client.proven_state(&keys::encryption_key(key)).await? else { return Ok(None) };
    let name = decode::<pb::EncryptionKeyState>(row, "a key")?.spiffe_id;
    let identity: SpiffeId = name.parse().map_err(|e| CliError::failed(format!("the owner of key {key}: {e}")))?;
    let newest = client.proven_state(&keys::identity(&name)).await?;
    let newest = newest.map(|row| decode::<pb::IdentityState>(row, "an identity")).transpose()?;
    let custody = client.custody_of(identity.member()).await?;
    Ok(Some(Owner {
        keeps: custody.is_some_and(|custody| custody.custodian == name),
        replaced: newest.is_none_or(|newest| newest.encryption_key_id != key.as_bytes()[..]),
        identity,
    }))
}

fn decode<M: Message + Default>(row: bytes::Bytes, of: &str) -> Result<M, CliError> {
    M::decode(row).map_err(|e| CliError::failed(format!("the row of {of}: {e}")))
}

impl VersionView {
    pub(super) fn new(version: &pb::RecordVersion, wraps: &Wraps, known: &Keys) -> Result<Self, CliError> {
        let author: Result<SpiffeId, _> = version.author.parse();
        let author = author.map_err(|e| CliError::failed(format!("the author of a version: {e}")))?;
        let holder = |key: &KeyId, added: bool| known.holder(*key, author.member(), added);
        let written = wraps.written.iter().map(|key| holder(key, false));
        let holders = written.chain(wraps.added.iter().map(|key| holder(key, true))).collect();
        let record = RecordId::parse("record_id", &version.record_id)?.to_string();
        Ok(Self { record, kind: version.kind.clone(), version: version.version, holders })
    }
}

impl HolderView {
    /// How it came to the key.
    fn how(&self) -> String {
        let how = match (self.custodian, self.deputy, self.added) {
            (true, _, _) => "custodian",
            (false, true, _) => "custodian of another member",
            (false, false, true) => "added by the custodian",
            (false, false, false) => "by the author",
        };
        if self.replaced { format!("{how}; a key that was replaced since") } else { how.to_owned() }
    }
}

impl HoldersView {
    pub(super) fn text(&self) -> String {
        let rows = self.versions.iter().flat_map(|version| {
            version.holders.iter().map(|holder| {
                let who = holder.identity.clone().unwrap_or_else(|| format!("unknown: key {}", holder.key_id));
                [version.record.clone(), version.version.to_string(), version.kind.clone(), who, holder.how()]
            })
        });
        match self.versions.is_empty() {
            true => "there are no records of this patient".to_owned(),
            false => table(&["RECORD", "VERSION", "KIND", "WHO", "HOW"], rows),
        }
    }
}

#[cfg(test)]
mod tests;
