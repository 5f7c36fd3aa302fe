//! `consilium access holders`: whose keys open a patient's records. Who has opened one keeps it:
//! this shows who *can* open what nodes hold, now and without asking again.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use consilium_client::access_log::{AccessEvent, KeptLog};
use consilium_client::records::{QueryFilter, RecordReader};
use consilium_client::{Client, pb};
use consilium_proto::ids::{KeyId, PatientPseudonym, RecordId};
use consilium_proto::names::SpiffeId;
use consilium_proto::state::{WrapName, keys};
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
    /// SPIFFE id; null: none of those who are known from the patient's rows has this key now.
    pub(super) identity: Option<String>,
    /// The member's custodian.
    pub(super) custodian: bool,
    /// Not by the author when it was written, but by the custodian afterwards.
    pub(super) added: bool,
}

/// Who has which key now.
#[derive(Default)]
pub(super) struct Keys {
    owners: BTreeMap<KeyId, String>,
    custodians: BTreeSet<KeyId>,
}

pub(super) async fn run(client: &Client, args: &HoldersArgs, ctx: &Context) -> Result<(), CliError> {
    let log = client.access_log(args.patient, KeptLog::nothing()).await?;
    let reader = RecordReader::new(client.clone());
    let filter = QueryFilter { patient: Some(args.patient), ..QueryFilter::default() };
    let newest: Vec<_> = reader.query(filter).try_collect().await?;
    ctx.claims("completeness", "each record is proven; that there are no others is the node's word");
    let mut versions = Vec::new();
    for record in &newest {
        let id = RecordId::parse("record_id", &record.record_id)?;
        versions.extend(reader.history(id).await?.versions.iter().filter(|version| !version.retraction).cloned());
    }
    let keys = known_keys(client, args.patient, &versions, &log.events).await?;
    let mut view = HoldersView { patient: args.patient.to_string(), versions: Vec::new() };
    for version in &versions {
        let added = added_wraps(client, version, &log.events, &keys).await?;
        view.versions.push(VersionView::new(version, &added, &keys)?);
    }
    ctx.print(&view, HoldersView::text)
}

/// Keys of custodians, authors, readers, and of those who are accepted for the patient.
async fn known_keys(
    client: &Client,
    patient: PatientPseudonym,
    versions: &[pb::RecordVersion],
    events: &[AccessEvent],
) -> Result<Keys, CliError> {
    let authors = versions.iter().map(|version| version.author.clone());
    let mut identities: BTreeSet<String> = events.iter().map(|event| event.reader.to_string()).chain(authors).collect();
    let rows = client.patient_rows(patient).await?;
    identities.extend(rows.state.iter().flat_map(|state| &state.acceptances).map(|a| a.identity.clone()));
    let members: BTreeSet<_> = versions.iter().filter_map(|v| v.author.parse::<SpiffeId>().ok()).collect();
    let mut found = Keys::default();
    for member in members.iter().map(|author| author.member().as_str()).collect::<BTreeSet<_>>() {
        let Some(row) = client.proven_state(&keys::custody(member)).await? else { continue };
        let state = pb::CustodyState::decode(row);
        let state = state.map_err(|e| CliError::failed(format!("the custody key of {member}: {e}")))?;
        for key in [&state.encryption_key_id, &state.previous_key_id] {
            if let Ok(key) = KeyId::try_from(&key[..]) {
                found.custodians.insert(key);
                found.owners.insert(key, state.custodian.clone());
            }
        }
    }
    for identity in identities {
        if let Some(key) = key_of(client, &identity).await? {
            found.owners.insert(key, identity);
        }
    }
    Ok(found)
}

/// The key of an identity that has enrolled one.
async fn key_of(client: &Client, identity: &str) -> Result<Option<KeyId>, CliError> {
    let Some(row) = client.proven_state(&keys::identity(identity)).await? else { return Ok(None) };
    let state = pb::IdentityState::decode(row);
    let state = state.map_err(|e| CliError::failed(format!("the enrolment of {identity}: {e}")))?;
    Ok(KeyId::try_from(&state.encryption_key_id[..]).ok())
}

/// Keys of readers to whom a version was permitted, and for which it is wrapped by now.
async fn added_wraps(
    client: &Client,
    version: &pb::RecordVersion,
    events: &[AccessEvent],
    known: &Keys,
) -> Result<Vec<KeyId>, CliError> {
    let record = RecordId::parse("record_id", &version.record_id)?;
    let permitted = |event: &&AccessEvent| {
        let mut records = event.decisions.iter().filter(|d| d.permits()).flat_map(|d| &d.records);
        records.any(|v| v.record == record && v.version == version.version)
    };
    let readers: BTreeSet<String> = events.iter().filter(permitted).map(|event| event.reader.to_string()).collect();
    let mut added = Vec::new();
    for key in known.owners.iter().filter(|(_, owner)| readers.contains(*owner)).map(|(key, _)| *key) {
        let name = WrapName { record, version: version.version, recipient: key };
        let Some(row) = client.proven_state(&keys::wrap_state(&name)).await? else { continue };
        let state = pb::WrapState::decode(row).map_err(|e| CliError::failed(format!("the row of a wrap: {e}")))?;
        if !state.wrap_sha256.is_empty() {
            added.push(key);
        }
    }
    Ok(added)
}

impl VersionView {
    pub(super) fn new(version: &pb::RecordVersion, added: &[KeyId], known: &Keys) -> Result<Self, CliError> {
        let wrong = |_| CliError::failed("a wrap of the record names no key");
        let written = version.wraps.iter().map(|wrap| KeyId::try_from(&wrap.recipient_key_id[..]).map_err(wrong));
        let written = written.collect::<Result<BTreeSet<_>, _>>()?;
        let added = added.iter().filter(|key| !written.contains(key)).map(|key| known.holder(*key, true));
        let holders = written.iter().map(|key| known.holder(*key, false)).chain(added).collect();
        let record = RecordId::parse("record_id", &version.record_id)?.to_string();
        Ok(Self { record, kind: version.kind.clone(), version: version.version, holders })
    }
}

impl Keys {
    #[cfg(test)]
    pub(super) fn of_tests(owners: &[(KeyId, &str)], custodian: KeyId) -> Self {
        let owners = owners.iter().map(|(key, owner)| (*key, (*owner).to_owned())).collect();
        Self { owners, custodians: BTreeSet::from([custodian]) }
    }

    fn holder(&self, key: KeyId, added: bool) -> HolderView {
        HolderView {
            key_id: key.to_string(),
            identity: self.owners.get(&key).cloned(),
            custodian: self.custodians.contains(&key),
            added,
        }
    }
}

impl HoldersView {
    pub(super) fn text(&self) -> String {
        let rows = self.versions.iter().flat_map(|version| {
            version.holders.iter().map(|holder| {
                let by = match (holder.custodian, holder.added) {
                    (true, _) => "custodian",
                    (false, true) => "added by the custodian",
                    (false, false) => "by the author",
                };
                let who = holder.identity.clone().unwrap_or_else(|| format!("unknown: key {}", holder.key_id));
                [version.record.clone(), version.version.to_string(), version.kind.clone(), who, by.to_owned()]
            })
        });
        match self.versions.is_empty() {
            true => "there are no records of this patient".to_owned(),
            false => table(&["RECORD", "VERSION", "KIND", "WHO", "HOW"], rows),
        }
    }
}
