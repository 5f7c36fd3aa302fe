//! `consilium custodian`: the key for which all that a member's people write is sealed, too.

use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use consilium_client::Client;
use consilium_client::custodian::{Custodian, Round};
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
    /// Wrap keys for readers to whom the network permits access, until stopped. Several may run;
    /// nothing is kept here
    Run(RunArgs),
    /// Name the newest encryption key of a service of the own member (role admin). The key
    /// before it counts for another hour
    SetKey {
        /// SPIFFE id of the service
        custodian: SpiffeId,
    },
}

/// Arguments of `custodian run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Beyond so many patients within an hour, ordinary requests wait for a person; emergencies
    /// never do
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) patients_per_hour: u32,
    /// How often to look for work, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(10..))]
    pub(crate) every: u64,
    /// Answer what waits now, and end
    #[arg(long)]
    pub(crate) once: bool,
}

/// What a custodian did since it was last told.
#[derive(Serialize)]
struct RoundView {
    answered: usize,
    dropped: usize,
    taken: usize,
    paused: usize,
    failed: usize,
}

impl RoundView {
    fn text(&self) -> String {
        let Self { answered, dropped, taken, paused, failed } = self;
        let told =
            format!("{answered} keys wrapped, {dropped} requests dropped, {taken} answered by another custodian");
        match (paused, failed) {
            (0, 0) => told,
            _ => format!(
                "{told}; {paused} WAIT FOR A PERSON (more patients within an hour than --patients-per-hour), \
                 {failed} cannot be answered with this key"
            ),
        }
    }
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
        CustodianCommand::Run(args) => serve(client, &args, ctx).await,
        CustodianCommand::SetKey { custodian } => set_key(&client, &custodian, ctx).await,
    }
}

/// Tells of every round in which something changed. A network that cannot be reached is waited for.
async fn serve(client: Client, args: &RunArgs, ctx: &Context) -> Result<(), CliError> {
    let mut custodian = Custodian::new(client, args.patients_per_hour as usize);
    let mut told = Round::default();
    loop {
        match custodian.round().await {
            Ok(round) => {
                let waits = (round.paused, round.failed) != (told.paused, told.failed);
                if args.once || waits || round.answered + round.dropped > 0 {
                    let Round { answered, dropped, taken, paused, failed } = round;
                    let view = RoundView { answered, dropped, taken, paused, failed };
                    ctx.print(&view, RoundView::text)?;
                }
                told = round;
            }
            Err(error) if args.once => return Err(error.into()),
            Err(error) => eprintln!("{}", escaped(&error.to_string())),
        }
        if args.once {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(args.every)).await;
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
