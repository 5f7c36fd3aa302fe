//! `consilium custodian`: the key for which all that a member's people write is sealed, too.

mod held;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, Subcommand};
use consilium_client::Client;
use consilium_client::custodian::{Custodian, OWED_EVERY_DEFAULT, OwedProgress, Progress, Round};
use consilium_client::identity::load_encryption_key;
use consilium_proto::ids::KeyId;
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb::{self, action::Action};
use serde::Serialize;

use super::context::escaped;
use super::governance::need_admin;
use super::named::ensure_member;
use super::text::counted;
use super::{CliError, Context, SubmittedView};
use held::{AffectedArgs, OwedView, ProgressView};

/// How often it is told how far the re-wrapping is.
const TELL_EVERY: Duration = Duration::from_secs(5);

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
    /// Wrap keys for readers to whom the network permits access, and between requests what is left
    /// for the newest custody key and what is owed to patients and authors with a newer key, until
    /// stopped. Several may run; nothing is kept here
    Run(RunArgs),
    /// Name the newest encryption key of a service of the own member (role admin). The key
    /// before it counts for another hour
    SetKey {
        /// SPIFFE id of the service
        custodian: SpiffeId,
    },
    /// Name another member's custodian as deputy, who can open what the own member keeps and answers
    /// requests of emergencies, and no others (role admin)
    NameDeputy {
        /// The member; none takes it back
        #[arg(required_unless_present = "none")]
        deputy: Option<MemberId>,
        /// Nobody any more
        #[arg(long, conflicts_with = "deputy")]
        none: bool,
    },
    /// Accept to keep the records of another member, for when it leaves: it cannot be removed before
    /// (role admin)
    Accept {
        /// The member
        member: MemberId,
        /// How many of its versions the own custodian may be unable to open
        #[arg(long, value_name = "N", default_value_t = 0)]
        missing_max: u64,
        /// Take it back
        #[arg(long)]
        withdraw: bool,
    },
    /// Show how many versions are in custody and how many of them are wrapped for the newest key
    /// (the custodian, or an auditor)
    Status,
    /// List the patients and records that whoever has a key can open, for a key that was stolen
    /// (the custodian, or an auditor)
    Affected(AffectedArgs),
}

/// Arguments of `custodian run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Beyond so many patients within an hour, ordinary requests wait for a person; emergencies
    /// never do
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) patients_per_hour: u32,
    /// How long to wait after an error, and where a node does not tell of requests by itself (an
    /// older one), milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(10..))]
    pub(crate) every: u64,
    /// Look for patients, and people who wrote themselves, who have another key than when a version
    /// was written, so often, minutes
    #[arg(long, value_name = "MINUTES", default_value_t = OWED_EVERY_DEFAULT.as_secs() / 60,
        value_parser = clap::value_parser!(u64).range(1..=525_600))]
    pub(crate) owed_every: u64,
    /// Answer what waits now, wrap what is left for the newest custody key and what is owed, and end
    #[arg(long)]
    pub(crate) once: bool,
    /// File of a custody key before the newest one, which opens what is not wrapped for that yet;
    /// may be given several times
    #[arg(long = "old-key", value_name = "FILE")]
    pub(crate) old_keys: Vec<PathBuf>,
}

/// What a custodian did since it was last told.
#[derive(Serialize)]
struct RoundView {
    answered: usize,
    dropped: usize,
    taken: usize,
    paused: usize,
    failed: usize,
    hidden: usize,
    refused: usize,
}

impl RoundView {
    fn new(round: Round) -> Self {
        let Round { answered, dropped, taken, paused, failed, hidden, refused } = round;
        Self { answered, dropped, taken, paused, failed, hidden, refused }
    }

    fn text(&self) -> String {
        let Self { answered, dropped, taken, paused, failed, hidden, refused } = self;
        let answered = counted(*answered as u64, "key", "keys");
        let dropped = counted(*dropped as u64, "request", "requests");
        let mut told = format!("{answered} wrapped, {dropped} dropped, {taken} answered by another custodian");
        if (*paused, *failed) != (0, 0) {
            told.push_str(&format!(
                "; {paused} WAIT FOR A PERSON (more patients within an hour than --patients-per-hour), \
                 {failed} cannot be answered with this key"
            ));
        }
        if (*hidden, *refused) != (0, 0) {
            told.push_str(&format!(
                "; A NODE IS FALSE: {hidden} requests were kept from the custodian, {refused} answers do not prove \
                 what they say"
            ));
        }
        told
    }
}

/// A member's custody key, proven.
#[derive(Serialize)]
struct CustodyView {
    member: String,
    /// Null if the member has named none.
    custodian: Option<String>,
    encryption_key_id: Option<String>,
    /// The member whose custodian answers in emergencies, too.
    deputy: Option<String>,
    /// The member that has accepted to keep its records when it leaves.
    successor: Option<String>,
    /// The member that keeps its records since it has left.
    keeper: Option<String>,
}

/// Runs `consilium custodian`.
pub(crate) async fn run(args: CustodianArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    match args.command {
        CustodianCommand::Show { member } => {
            let member = member.unwrap_or_else(|| client.identity().spiffe_id().member().clone());
            ensure_member(&client, &member).await?;
            let row = client.custody_of(&member).await?.unwrap_or_default();
            let view = CustodyView::new(&member, row);
            ctx.print(&view, CustodyView::text)
        }
        CustodianCommand::Run(args) => serve(client, &args, ctx).await,
        CustodianCommand::SetKey { custodian } => set_key(&client, &custodian, ctx).await,
        CustodianCommand::NameDeputy { deputy, none: _ } => {
            if let Some(member) = &deputy {
                ensure_member(&client, member).await?;
            }
            let deputy = deputy.map(|member| member.to_string()).unwrap_or_default();
            decide(&client, Action::NameDeputy(pb::NameDeputy { deputy }), ctx).await
        }
        CustodianCommand::Accept { member, missing_max, withdraw: withdrawn } => {
            ensure_member(&client, &member).await?;
            let accept = pb::AcceptCustody { member: member.to_string(), missing_max, withdrawn };
            decide(&client, Action::AcceptCustody(accept), ctx).await
        }
        CustodianCommand::Status => held::status(&client, ctx).await,
        CustodianCommand::Affected(args) => held::affected(&client, &args, ctx).await,
    }
}

/// Tells of every round in which something changed. A network that cannot be reached is waited for.
/// What is left for the newest key is done while no request waits.
async fn serve(client: Client, args: &RunArgs, ctx: &Context) -> Result<(), CliError> {
    let older = args.old_keys.iter().map(|file| load_encryption_key(file)).collect::<Result<Vec<_>, _>>()?;
    let every = Duration::from_secs(args.owed_every * 60);
    let mut custodian = Custodian::new(client, older, args.patients_per_hour as usize).looking_for_owed_every(every);
    let mut told = Told::default();
    loop {
        let busy = match turn(&mut custodian, &mut told, args.once, ctx).await {
            Ok(busy) => busy,
            Err(error) if args.once => return Err(error),
            Err(error) => {
                eprintln!("{}", escaped(&error.to_string()));
                false
            }
        };
        match (busy, args.once) {
            (true, true | false) => {}
            (false, true) => return Ok(()),
            (false, false) => {
                if let Err(error) = custodian.wait(Duration::from_millis(args.every)).await {
                    eprintln!("{}", escaped(&error.to_string()));
                }
            }
        }
    }
}

/// What was last told.
#[derive(Default)]
struct Told {
    round: Round,
    progress: Option<(Instant, Progress)>,
    /// When the way through for what is owed began, or was told of last.
    owed: Option<Instant>,
}

/// Answers what waits, or else wraps a batch of what is left. True: there was something.
async fn turn(custodian: &mut Custodian, told: &mut Told, once: bool, ctx: &Context) -> Result<bool, CliError> {
    let round = custodian.round().await?;
    let Round { answered, dropped, taken, paused, failed, hidden, refused } = round;
    let waits = (paused, failed) != (told.round.paused, told.round.failed);
    let is_first = once && told.progress.is_none();
    if is_first || waits || answered + dropped + hidden + refused > 0 {
        ctx.print(&RoundView::new(round), RoundView::text)?;
    }
    if refused > 0 {
        ctx.tell_of_false_answers();
    }
    told.round = round;
    if answered + dropped + taken > 0 {
        return Ok(true);
    }
    if let Some(progress) = custodian.carry_on().await? {
        tell(progress, told, ctx)?;
        // There may be another member's, or the deputy's key.
        return Ok(true);
    }
    let Some(progress) = custodian.ask_for_owed().await? else { return Ok(false) };
    tell_owed(progress, told, ctx)?;
    Ok(true)
}

/// Tells how far the way through is while it is long, and at its end if something was owed.
fn tell_owed(progress: OwedProgress, told: &mut Told, ctx: &Context) -> Result<(), CliError> {
    let since = *told.owed.get_or_insert_with(Instant::now);
    let ends = progress.finished || progress.paused;
    if progress.finished {
        told.owed = None;
    }
    if (ends && progress.asked + progress.refused > 0) || (!ends && since.elapsed() >= TELL_EVERY) {
        told.owed = (!progress.finished).then(Instant::now);
        ctx.print(&OwedView::new(&progress), OwedView::text)?;
    }
    Ok(())
}

/// Tells how far it is: at first, every few seconds, and at the end.
fn tell(progress: Progress, told: &mut Told, ctx: &Context) -> Result<(), CliError> {
    let same = |(_, before): &&(Instant, Progress)| {
        before.key == progress.key && before.member == progress.member && !before.finished
    };
    let before = told.progress.as_ref().filter(same);
    let since = before.map(|(when, _)| when.elapsed());
    if since.is_some_and(|since| since < TELL_EVERY) && !progress.finished {
        return Ok(());
    }
    let more = before.map_or(0, |(_, before)| progress.counts.wrapped.saturating_sub(before.counts.wrapped));
    let ms = since.map_or(0, |since| since.as_millis()).max(1);
    let per_second = u64::try_from(u128::from(more) * 1_000 / ms).unwrap_or(u64::MAX);
    let view = ProgressView::new(&progress, per_second);
    told.progress = Some((Instant::now(), progress));
    ctx.print(&view, ProgressView::text)
}

async fn set_key(client: &Client, custodian: &SpiffeId, ctx: &Context) -> Result<(), CliError> {
    need_admin(client)?;
    let found = consilium_client::records::recipient(client, &custodian.to_string()).await?;
    let set = pb::SetCustodyKey { encryption_key_id: Bytes::copy_from_slice(found.key_id().as_bytes()) };
    decide(client, Action::SetCustodyKey(set), ctx).await
}

async fn decide(client: &Client, action: Action, ctx: &Context) -> Result<(), CliError> {
    need_admin(client)?;
    let done = client.perform(action).await?;
    ctx.print(&SubmittedView::new(&done), SubmittedView::text)
}

impl CustodyView {
    /// As the ledger has it: of a member that was removed, too, for whose key nobody writes.
    fn new(member: &MemberId, row: pb::CustodyState) -> Self {
        let named = |member: String| (!member.is_empty()).then_some(member);
        Self {
            member: member.to_string(),
            encryption_key_id: KeyId::try_from(row.encryption_key_id.as_ref()).ok().map(|key| key.to_string()),
            custodian: named(row.custodian),
            deputy: named(row.deputy),
            successor: named(row.successor),
            keeper: row.keepers.last().map(|keeper| keeper.member.clone()),
        }
    }

    fn text(&self) -> String {
        match (&self.custodian, &self.encryption_key_id) {
            (Some(custodian), Some(key)) => {
                let mut told = format!("custodian of {}: {}\nkey {key}", self.member, escaped(custodian));
                let others = [("deputy", &self.deputy), ("successor", &self.successor), ("keeper", &self.keeper)];
                for (what, member) in others {
                    if let Some(member) = member {
                        told.push_str(&format!("\n{what}: {}", escaped(member)));
                    }
                }
                told
            }
            (None, _) | (_, None) => format!("{} has named no custody key", self.member),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use clap::Parser;

    use super::*;
    use crate::{Cli, Command, config_file, json};

    fn deployed(file: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file)
    }

    fn text(file: &str) -> String {
        std::fs::read_to_string(deployed(file)).unwrap()
    }

    /// What follows on the only line that begins so.
    fn line<'a>(text: &'a str, begins: &str) -> &'a str {
        let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix(begins));
        let line = lines.next().unwrap_or_else(|| panic!("no line begins with {begins:?}"));
        assert_eq!(lines.next(), None, "{begins}");
        line
    }

    fn runs(arguments: &[&str]) -> RunArgs {
        match Cli::try_parse_from(arguments).unwrap_or_else(|e| panic!("{arguments:?}: {e}")).command {
            Command::Custodian(CustodianArgs { command: CustodianCommand::Run(args) }) => args,
            other => panic!("{arguments:?} is {other:?}"),
        }
    }

    #[test]
    fn what_is_deployed_runs_a_custodian() {
        let unit = text("systemd/consilium-custodian.service");
        let unit: Vec<_> = line(&unit, "ExecStart=").split_whitespace().collect();
        let pod = text("kubernetes/custodian/deployment.yaml");
        let pod = line(&pod, "args: [").strip_suffix(']').unwrap();
        let pod: Vec<_> = std::iter::once("consilium").chain(pod.split(", ")).collect();
        for arguments in [&unit, &pod] {
            let args = runs(arguments);
            assert!(!args.once && args.old_keys.is_empty());
        }
        // As the overlay says for the time after a change of the key.
        let old = ["--old-key", "/run/keys/encryption.old.key"];
        assert_eq!(runs(&[&pod[..], &old[..]].concat()).old_keys, [PathBuf::from(old[1])]);
    }

    #[test]
    fn the_profile_that_is_deployed_names_the_files_that_come_with_it() {
        let overlay = "kubernetes/overlays/st-mary-custodian";
        let profile = config_file::load(&deployed(overlay).join("custodian.toml"), None).unwrap();
        let with_it = text(&format!("{overlay}/kustomization.yaml"));
        let comes = |file: &str| with_it.lines().any(|line| line.trim() == format!("- secrets/{file}"));
        for path in [profile.certificate, profile.key, profile.signing_key, profile.encryption_key] {
            let path = path.unwrap();
            let file = path.strip_prefix("/run/keys").unwrap().to_str().unwrap();
            assert!(comes(file), "{file}");
        }
        assert!(with_it.contains("files: [custodian.toml, genesis.pb]"));
        assert_eq!(profile.genesis, Some(PathBuf::from("/etc/consilium/genesis.pb")));
        assert!(profile.endpoints.len() > 1 && profile.nodes_of.is_some(), "one node may hide what waits");
    }

    #[test]
    fn scripts_get_a_members_custody_key() {
        let view = CustodyView {
            member: "a.example".into(),
            custodian: Some("spiffe://a.example/service/custodian".into()),
            encryption_key_id: Some("0c".repeat(32)),
            deputy: Some("b.example".into()),
            successor: None,
            keeper: None,
        };
        json::snapshot::check("custody", &view);
    }
}
