//! `consilium identity`: enrolment, look-up, unit, revocation.

use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, Subcommand};
use consilium_client::Client;
use consilium_proto::keys::EncryptionPublicKey;
use consilium_proto::names::{SpiffeId, UnitCode};
use consilium_proto::pb;
use consilium_proto::signing::VerifyingKey;
use serde::Serialize;

use super::governance::need_admin;
use super::text::time_s;
use super::{CliError, Context, SubmittedView};

/// Identities on the ledger.
#[derive(Debug, Args)]
pub(crate) struct IdentityArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: IdentityCommand,
}

/// Identities on the ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Bind this profile's signing and encryption keys to its certificate
    Enroll,
    /// Show the newest enrolment of an identity, proven against a certified header
    Show {
        /// spiffe://<member>/<role>/<name>
        spiffe_id: SpiffeId,
    },
    /// Say of which unit of the own member an identity is: entries of access logs repeat it from then
    /// on (role admin)
    Unit {
        /// spiffe://<member>/<role>/<name>, of any role but patient
        spiffe_id: SpiffeId,
        /// Code of an organisational unit: 1 to 32 of A-Z, 0-9 and -. Everybody on the network can read
        /// it, and it stays for ever: never a person, never a diagnosis
        #[arg(required_unless_present = "none")]
        unit: Option<UnitCode>,
        /// Of none any more; what stands in logs stays
        #[arg(long, conflicts_with = "unit")]
        none: bool,
    },
    /// Publish the member's revocation list
    Revoke {
        /// Revocation list made by `certs crl`, DER or PEM
        #[arg(long, value_name = "FILE")]
        crl: PathBuf,
    },
}

#[derive(Serialize)]
struct IdentityView {
    spiffe_id: String,
    /// Of which unit of its member it is; null: its administrator has named none.
    unit: Option<String>,
    certificate_sha256: String,
    signing_key_id: String,
    signing_algorithm: Option<String>,
    encryption_key_id: Option<String>,
    kem: Option<String>,
    certificate_not_after: Option<String>,
    revoked_ms: Option<u64>,
}

/// Runs `consilium identity`.
pub(crate) async fn run(args: IdentityArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    match args.command {
        IdentityCommand::Enroll => {
            let done = client.enroll().await?.into_applied()?;
            let who = client.identity().spiffe_id();
            ctx.print(&SubmittedView::new(&done), |v| format!("enrolled {who}\n{}", v.text()))
        }
        IdentityCommand::Show { spiffe_id } => {
            let found = client.identity_of(&spiffe_id.to_string()).await?;
            ctx.print(&view(&spiffe_id, &found), describe)
        }
        IdentityCommand::Unit { spiffe_id, unit, none: _ } => assign_unit(&client, &spiffe_id, unit, ctx).await,
        IdentityCommand::Revoke { crl } => {
            let der = super::certs::crl_der(&crl)?;
            let publish = pb::PublishRevocations { crl: Bytes::from(der) };
            let action = pb::Action { action: Some(pb::action::Action::PublishRevocations(publish)) };
            let tx = client.sign(vec![action], Vec::new())?;
            let done = client.submit(tx, pb::WaitFor::Certified).await?.into_applied()?;
            ctx.print(&SubmittedView::new(&done), |v| format!("revocation list published\n{}", v.text()))
        }
    }
}

async fn assign_unit(
    client: &Client,
    spiffe_id: &SpiffeId,
    unit: Option<UnitCode>,
    ctx: &Context,
) -> Result<(), CliError> {
    need_admin(client)?;
    let own = client.identity().spiffe_id().member();
    if spiffe_id.member() != own {
        return Err(CliError::failed(format!("{spiffe_id} is not of {own}: its own administrators name its unit")));
    }
    let unit = unit.map(|unit| unit.to_string()).unwrap_or_default();
    let assign = pb::AssignUnit { spiffe_id: spiffe_id.to_string(), unit };
    let done = client.perform(pb::action::Action::AssignUnit(assign)).await?;
    ctx.print(&SubmittedView::new(&done), SubmittedView::text)
}

fn view(spiffe_id: &SpiffeId, found: &pb::GetIdentityResponse) -> IdentityView {
    let state = found.identity.clone().unwrap_or_default();
    let signer = found.signer.as_ref();
    let signing_key = signer.and_then(|s| VerifyingKey::from_bytes(&s.signing_key).ok());
    let encryption_key = EncryptionPublicKey::decode(&found.encryption_key).ok();
    IdentityView {
        spiffe_id: spiffe_id.to_string(),
        unit: Some(state.unit.clone()).filter(|unit| !unit.is_empty()),
        certificate_sha256: hex::encode(&state.certificate_sha256),
        signing_key_id: hex::encode(&state.signing_key_id),
        signing_algorithm: signing_key.map(|key| key.algorithm().to_string()),
        encryption_key_id: encryption_key.as_ref().map(|key| hex::encode(key.fingerprint())),
        kem: encryption_key.map(|key| key.kem().to_string()),
        certificate_not_after: signer.map(|s| time_s(i64::try_from(s.not_after_s).unwrap_or(i64::MAX))),
        revoked_ms: signer.map(|s| s.revoked_ms).filter(|ms| *ms != 0),
    }
}

fn describe(v: &IdentityView) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".into());
    let revoked = v.revoked_ms.map(|ms| format!("\nREVOKED since {}", super::text::time_ms(ms))).unwrap_or_default();
    let unit = v.unit.as_ref().map(|unit| format!("\nunit {}", super::context::escaped(unit))).unwrap_or_default();
    format!(
        "{}{unit}\ncertificate {} (valid until {})\nsigning key {} ({})\nencryption key {} ({}){revoked}",
        v.spiffe_id,
        v.certificate_sha256,
        or_none(&v.certificate_not_after),
        v.signing_key_id,
        or_none(&v.signing_algorithm),
        or_none(&v.encryption_key_id),
        or_none(&v.kem),
    )
}

#[cfg(test)]
mod tests;
