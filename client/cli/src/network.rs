//! `consilium network`: the members' common steps in founding a network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use consilium_certs::{contract, pem};
use consilium_proto::genesis::{GENESIS_BYTES_MAX, Genesis};
use consilium_proto::names::SpiffeId;
use consilium_proto::parameters::values;
use prost::Message;
use serde::Serialize;

use super::context::escaped;
use super::text::{table, time_ms, time_s};
use super::{CliError, Context};
use consilium_client::ClientError;
use consilium_client::ceremony::{self, PART_BYTES_MAX};
use consilium_client::clock::now_ms;
use consilium_client::files::{self, PUBLIC_MODE, SMALL_FILE_BYTES_MAX};
use consilium_client::{identity, parameters};

/// The members' common steps.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: NetworkCommand,
}

/// The members' common steps.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Put the members' parts together
    Init {
        /// Name of the network, [a-z0-9-]{1,64}
        #[arg(long)]
        name: String,
        /// A member's part; repeat for each
        #[arg(long = "part", value_name = "FILE", required = true)]
        parts: Vec<PathBuf>,
        /// A parameter of genesis.proto, or quorum=2/3; repeat for each
        #[arg(long = "parameter", value_name = "KEY=VALUE")]
        parameters: Vec<String>,
        /// Genesis time, milliseconds since 1970 [default: now]
        #[arg(long, value_name = "MS")]
        time_ms: Option<u64>,
        /// New file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show a genesis document in plain words, and check everything in it
    Inspect {
        /// Genesis document
        file: PathBuf,
    },
    /// Endorse --genesis with --certificate and --key of an administrator
    Endorse {
        /// New file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Add endorsements to --genesis, each one verified
    Assemble {
        /// An endorsement; repeat for each
        #[arg(long = "endorsement", value_name = "FILE", required = true)]
        endorsements: Vec<PathBuf>,
        /// New file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// A document that was made for a ledger.
#[derive(Serialize)]
struct DocumentView {
    ledger_id: String,
    file: PathBuf,
}

#[derive(Serialize)]
struct AssembledView {
    file: PathBuf,
    missing_endorsements: Vec<String>,
}

#[derive(Serialize)]
struct GenesisView {
    network: String,
    ledger_id: String,
    time: String,
    parameters: ParametersView,
    members: Vec<MemberView>,
    total_power: String,
    missing_endorsements: Vec<String>,
    /// What keeps the document from being used; empty if nothing does.
    problems: Vec<String>,
}

#[derive(Serialize)]
struct ParametersView {
    /// All of them, by name.
    #[serde(flatten)]
    values: BTreeMap<&'static str, u64>,
    quorum: String,
}

#[derive(Serialize)]
struct MemberView {
    id: String,
    display_name: String,
    stake: u64,
    ca_not_after: Option<String>,
    endorsed_by: Option<String>,
    nodes: Vec<NodeView>,
}

#[derive(Serialize)]
struct NodeView {
    raft_id: u64,
    name: String,
    #[serde(skip)]
    spiffe_id: String,
    peer_address: String,
    client_address: String,
    power: u64,
    power_percent: f64,
}

/// Runs `consilium network`.
pub(crate) fn run(args: NetworkArgs, ctx: &Context) -> Result<(), CliError> {
    match args.command {
        NetworkCommand::Init { name, parts, parameters, time_ms, out } => {
            init(&name, &parts, &parameters, time_ms.unwrap_or_else(now_ms), &out, ctx)
        }
        NetworkCommand::Inspect { file } => inspect(&file, ctx),
        NetworkCommand::Endorse { out } => endorse(&out, ctx),
        NetworkCommand::Assemble { endorsements, out } => assemble(&endorsements, &out, ctx),
    }
}

fn init(
    name: &str,
    parts: &[PathBuf],
    parameters: &[String],
    time_ms: u64,
    out: &Path,
    ctx: &Context,
) -> Result<(), CliError> {
    let mut chosen = ceremony::recommended_parameters();
    parameters::set_all(&mut chosen, parameters)?;
    let mut members = Vec::with_capacity(parts.len());
    for path in parts {
        let part = ceremony::parse_part(&files::read(path, PART_BYTES_MAX)?);
        members.push(part.map_err(|e| ClientError::file(path, e))?);
    }
    let document = ceremony::assemble(name, time_ms, members, chosen)?.encode_to_vec();
    files::write_new(out, &document, PUBLIC_MODE)?;
    let genesis = Genesis::parse(&document)?;
    let view = DocumentView { ledger_id: genesis.ledger_id.to_string(), file: out.to_owned() };
    ctx.print(&view, |v| {
        format!("ledger id: {}\ngenesis: {}\nnext: each member inspects and endorses it", v.ledger_id, v.file.display())
    })
}

fn endorse(out: &Path, ctx: &Context) -> Result<(), CliError> {
    let genesis = Genesis::parse(&read_genesis(&ctx.genesis_path()?)?)?;
    let profile = ctx.profile()?;
    let certificate = profile.certificate.ok_or(ClientError::Setting { setting: "certificate" })?;
    let key_path = profile.key.ok_or(ClientError::Setting { setting: "key" })?;
    let chain = read_chain(&certificate)?;
    let key = identity::load_signing_key(&key_path)?;
    let endorsement = ceremony::endorse(&genesis, chain, &key)?;
    files::write_new(out, &endorsement.encode_to_vec(), PUBLIC_MODE)?;
    let view = DocumentView { ledger_id: genesis.ledger_id.to_string(), file: out.to_owned() };
    ctx.print(&view, |v| format!("{} endorses ledger {}: {}", endorsement.member, v.ledger_id, v.file.display()))
}

fn assemble(endorsements: &[PathBuf], out: &Path, ctx: &Context) -> Result<(), CliError> {
    let document = read_genesis(&ctx.genesis_path()?)?;
    let mut read = Vec::with_capacity(endorsements.len());
    for path in endorsements {
        let bytes = files::read(path, SMALL_FILE_BYTES_MAX)?;
        read.push(ceremony::parse_endorsement(&bytes).map_err(|e| ClientError::file(path, e))?);
    }
    let document = ceremony::add_endorsements(&document, read)?.encode_to_vec();
    files::write_new(out, &document, PUBLIC_MODE)?;
    let missing_endorsements =
        Genesis::parse(&document)?.missing_endorsements().iter().map(ToString::to_string).collect();
    let view = AssembledView { file: out.to_owned(), missing_endorsements };
    ctx.print(&view, |v| match v.missing_endorsements.as_slice() {
        [] => format!("genesis endorsed by all members: {}", v.file.display()),
        some => format!("genesis: {}\nstill not endorsed by {}", v.file.display(), some.join(", ")),
    })
}

fn inspect(file: &Path, ctx: &Context) -> Result<(), CliError> {
    let genesis = Genesis::parse(&read_genesis(file)?)?;
    let view = view(&genesis)?;
    ctx.print(&view, describe)?;
    match view.problems.as_slice() {
        [] => Ok(()),
        problems => Err(CliError::failed(format!("the document must not be used: {}", problems.join("; ")))),
    }
}

fn view(genesis: &Genesis) -> Result<GenesisView, ClientError> {
    let set = genesis.validators()?;
    let total = set.total_power();
    let members = genesis.members.iter().map(|member| {
        let nodes = member.nodes.iter().map(|node| {
            let power = set.seat(node.raft_id).map_or(0, |seat| seat.power.0);
            NodeView {
                raft_id: node.raft_id.0,
                name: node.name.to_string(),
                spiffe_id: SpiffeId::node(&member.id, &node.name).to_string(),
                peer_address: node.peer_address.clone(),
                client_address: node.client_address.clone(),
                power,
                power_percent: 100.0 * power as f64 / total as f64,
            }
        });
        let endorsement = genesis.endorsements.iter().find(|e| e.member == member.id.as_str());
        let endorser = endorsement.and_then(|e| contract::genesis::verify_endorsement(genesis, e).ok());
        MemberView {
            id: member.id.to_string(),
            display_name: member.display_name.clone(),
            stake: member.stake,
            ca_not_after: consilium_certs::CaBundle::from_ders(&member.ca_bundle).ok().map(|b| time_s(b.not_after())),
            endorsed_by: endorser.map(|e| e.administrator.to_string()),
            nodes: nodes.collect(),
        }
    });
    let members_problem = contract::genesis::check_members(genesis).err();
    let endorsement_problem = contract::genesis::verify_endorsements(genesis).err();
    Ok(GenesisView {
        network: genesis.network.clone(),
        ledger_id: genesis.ledger_id.to_string(),
        time: time_ms(genesis.time.0),
        parameters: ParametersView {
            values: values(&(&genesis.parameters).into()).into_iter().collect(),
            quorum: quorum_text(genesis, total),
        },
        members: members.collect(),
        total_power: total.to_string(),
        missing_endorsements: genesis.missing_endorsements().iter().map(ToString::to_string).collect(),
        problems: [members_problem, endorsement_problem].into_iter().flatten().map(|e| e.to_string()).collect(),
    })
}

/// The least power that certifies, found by bisection: `reached` is monotonic.
fn quorum_text(genesis: &Genesis, total: u128) -> String {
    let (mut below, mut enough) = (0, total);
    while enough - below > 1 {
        let middle = below + (enough - below) / 2;
        if genesis.parameters.quorum.reached(middle, total) { enough = middle } else { below = middle }
    }
    format!("{enough} of {total}")
}

fn describe(view: &GenesisView) -> String {
    let mut text = format!(
        "network {}\nledger id {}\ngenesis time {}\nmembers {}, total voting power {}, a block certificate needs {}\n\n",
        view.network,
        view.ledger_id,
        view.time,
        view.members.len(),
        view.total_power,
        view.parameters.quorum,
    );
    for member in &view.members {
        text += &format!(
            "{} ({}), stake {}, CA valid until {}, {}\n",
            member.id,
            escaped(&member.display_name),
            member.stake,
            member.ca_not_after.as_deref().unwrap_or("-"),
            member.endorsed_by.as_ref().map_or("NOT ENDORSED".into(), |by| format!("endorsed by {by}")),
        );
    }
    let nodes = view.members.iter().flat_map(|member| {
        member.nodes.iter().map(|node| {
            vec![
                node.raft_id.to_string(),
                node.spiffe_id.clone(),
                format!("{} ({:.1} %)", node.power, node.power_percent),
                node.peer_address.clone(),
                node.client_address.clone(),
            ]
        })
    });
    text += &format!("\n{}\n", table(&["ID", "VALIDATOR", "POWER", "PEERS", "CLIENTS"], nodes));
    let parameters = view.parameters.values.iter().map(|(name, value)| vec![(*name).to_owned(), value.to_string()]);
    text + &table(&["PARAMETER", "VALUE"], parameters)
}

fn read_genesis(path: &Path) -> Result<Vec<u8>, ClientError> {
    files::read(path, GENESIS_BYTES_MAX as u64)
}

fn read_chain(path: &Path) -> Result<Vec<Bytes>, ClientError> {
    let certificates = pem::certificates(&files::read(path, SMALL_FILE_BYTES_MAX)?);
    let certificates = certificates.map_err(|e| ClientError::file(path, e))?;
    Ok(certificates.iter().map(|der| Bytes::copy_from_slice(der)).collect())
}

#[cfg(test)]
mod tests;
