//! `consilium custodian`: the key for which all that a member's people write is sealed, too.

use bytes::Bytes;
use clap::{Args, Subcommand};
use consilium_client::Client;
use consilium_client::records::{Recipient, custodian};
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb::{self, action::Action};
use serde::Serialize;

use super::context::escaped;
use super::governance::need_admin;
use super::{CliError, Context, SubmittedView};

/// A member's custody key
#[derive(Debug, Args)]
pub(crate) struct CustodianArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: CustodianCommand,
}

/// The key for which every version of a record that a member's people and systems write is
/// wrapped, too, so that it can be opened for those whom the patient lets read it.
#[derive(Debug, Subcommand)]
pub(crate) enum CustodianCommand {
    /// Show a member's custody key
    Show {
        /// Its id [default: the own member]
        member: Option<MemberId>,
    },
    /// Name the newest encryption key of a service of the own member (role admin). The key
    /// before it counts for another hour
    SetKey {
        /// SPIFFE id of the service
        custodian: SpiffeId,
    },
}

/// A member's custody key, proven.
#[derive(Serialize)]
struct CustodyView {
    member: String,
    /// Null if the member has named none.
    custodian: Option<String>,
    encryption_key_id: Option<String>,
}

/// Runs `consilium custodian`.
pub(crate) async fn run(args: CustodianArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    match args.command {
        CustodianCommand::Show { member } => {
            let member = member.unwrap_or_else(|| client.identity().spiffe_id().member().clone());
            let view = CustodyView::new(&member, custodian(&client, &member).await?);
            ctx.print(&view, CustodyView::text)
        }
        CustodianCommand::SetKey { custodian } => set_key(&client, &custodian, ctx).await,
    }
}

async fn set_key(client: &Client, custodian: &SpiffeId, ctx: &Context) -> Result<(), CliError> {
    need_admin(client)?;
    let found = consilium_client::records::recipient(client, &custodian.to_string()).await?;
    let set = pb::SetCustodyKey { encryption_key_id: Bytes::copy_from_slice(found.key_id().as_bytes()) };
    let done = client.perform(Action::SetCustodyKey(set)).await?;
    ctx.print(&SubmittedView::new(&done), SubmittedView::text)
}

impl CustodyView {
    fn new(member: &MemberId, found: Option<Recipient>) -> Self {
        let encryption_key_id = found.as_ref().map(|found| found.key_id().to_string());
        Self { member: member.to_string(), custodian: found.map(|found| found.name), encryption_key_id }
    }

    fn text(&self) -> String {
        match (&self.custodian, &self.encryption_key_id) {
            (Some(custodian), Some(key)) => format!("custodian of {}: {}\nkey {key}", self.member, escaped(custodian)),
            (None, _) | (_, None) => format!("{} has named no custody key", self.member),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn scripts_get_a_members_custody_key() {
        let view = CustodyView {
            member: "a.example".into(),
            custodian: Some("spiffe://a.example/service/custodian".into()),
            encryption_key_id: Some("0c".repeat(32)),
        };
        json::snapshot::check("custody", &view);
    }
}
