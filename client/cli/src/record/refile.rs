//! `consilium record move`: a record that was filed under the wrong patient. It is retracted there
//! and written anew, in one transaction, by whoever may read it.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use consilium_client::patients::Patients;
use consilium_client::records::{Described, RecordDraft, RecordWriter};
use consilium_client::{Client, fhir};
use consilium_proto::ids::{PatientPseudonym, RecordId};

use super::access::AccessArgs;
use super::labels::LabelArgs;
use super::{Wait, document, judged, print_written, search_key, tell_recipients};
use crate::{CliError, Context};

/// Arguments of `record move`.
#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    /// The record, of your own member
    pub(crate) id: RecordId,
    /// Whose it is (pseudonym)
    #[arg(long, value_name = "HEX")]
    pub(crate) to: PatientPseudonym,
    /// The corrected document; needed for one that names its patient [default: as it is]
    #[arg(long, value_name = "FILE")]
    pub(crate) document: Option<PathBuf>,
    /// Labels, beside those of the record as it is, which are blinded anew.
    #[command(flatten)]
    pub(crate) labels: LabelArgs,
    /// What to wait for
    #[arg(long, value_enum, default_value_t = Wait::Certified)]
    pub(crate) wait: Wait,
    /// What it is read for, to be moved.
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

pub(super) async fn run(client: &Client, args: MoveArgs, ctx: &Context) -> Result<(), CliError> {
    let labels = args.labels.read()?;
    let draft = labels.put_on(draft(client, &args, ctx).await?);
    let writer = RecordWriter::new(client.clone()).await?;
    tell_recipients(writer.recipients());
    tell_recipients(writer.keys_of([&draft]).await?.recipients());
    let (submitted, filed) = writer.refile(args.id, draft, args.wait.into()).await?;
    print_written(ctx, &submitted, &[filed], 1)
}

/// The document as it is, or its correction, under the other patient.
async fn draft(client: &Client, args: &MoveArgs, ctx: &Context) -> Result<RecordDraft, CliError> {
    let reader = args.access.reader(client)?;
    let Described { version, tags } = reader.described(args.id).await?.into_value();
    let plaintext: Bytes = match &args.document {
        Some(file) => document(file)?,
        None => {
            let opened = reader.get(args.id, None).await?.plaintext;
            let opened = opened.ok_or_else(|| CliError::failed("the record is retracted already"))?;
            opened.to_vec().into()
        }
    };
    // It is on the ledger already: what is found in it is told, and moves with it.
    let validator = ctx.profile()?.validator().lenient();
    if let Ok(split) = judged(&validator, &plaintext, client)
        && let (fhir::Content::Resource, [resource]) = (split.content, split.resources.as_slice())
    {
        ensure_of(client, resource, args.to).await?;
        return Ok(RecordDraft::from_resource(resource, args.to, search_key(client)?));
    }
    let (kind, confidentiality) = (version.kind.clone(), version.confidentiality());
    Ok(RecordDraft { kind, patient: args.to, confidentiality, tags, labels: LabelArgs::none(), plaintext })
}

/// A document that names another patient would stay wrong wherever it is filed.
async fn ensure_of(client: &Client, resource: &fhir::Resource, patient: PatientPseudonym) -> Result<(), CliError> {
    let Some(subject) = resource.subject.patient() else { return Ok(()) };
    match Patients::new(client.clone())?.find_named(subject).await? {
        Some(found) if found == patient => Ok(()),
        Some(_) | None => Err(CliError::failed("the document names another patient than the one it is moved to")
            .hint("give the corrected document with --document")),
    }
}
