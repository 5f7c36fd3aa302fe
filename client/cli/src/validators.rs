//! `consilium validators`: who certifies, why, and who may not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, Subcommand};
use consilium_proto::hash::Hash;
use consilium_proto::limits::MAINTENANCE_MAX_MS;
use consilium_proto::pb;
use consilium_proto::validators::{Validator, ValidatorSet};
use consilium_proto::vote::Equivocation;
use prost::Message;
use serde::Serialize;

use super::governance::need_admin;
use super::governance::view::node_status;
use super::json::Many;
use super::text::{table, time_ms};
use super::when::{When, duration_ms, when};
use super::{CliError, Context, SubmittedView};
use consilium_client::Client;
use consilium_client::ClientError;
use consilium_client::clock::now_ms;
use consilium_client::files::{self, PUBLIC_MODE, SMALL_FILE_BYTES_MAX};
use consilium_client::jwk::{Jwk, JwkSet};
use consilium_client::membership::NodeRef;
use consilium_client::validators::Election;

/// Who certifies, why, and who may not
#[derive(Debug, Args)]
pub(crate) struct ValidatorsArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: ValidatorsCommand,
}

/// Who certifies, why, and who may not.
#[derive(Debug, Subcommand)]
pub(crate) enum ValidatorsCommand {
    /// Show all candidates, and what an election now would come to
    List,
    /// Show an election: who was seated, with what power, and why others were not
    Epoch {
        /// Its number [default: the current one]
        epoch: Option<u64>,
    },
    /// Show the vote keys of an epoch, proven, with the `kid` that COSE receipts name them by
    Keys {
        /// Its number [default: the current one]
        epoch: Option<u64>,
        /// New file for the keys as a JWK Set (RFC 7517)
        #[arg(long, value_name = "FILE")]
        jwk: Option<PathBuf>,
    },
    /// Show penalties for double signing, newest first
    Penalties,
    /// Ask for the release of an own node that was jailed for missed votes (role admin)
    Release {
        /// Raft id, SPIFFE id or MEMBER/NAME
        node: NodeRef,
    },
    /// Announce that an own node will be away: no misses are counted (role admin)
    Maintenance {
        /// Raft id, SPIFFE id or MEMBER/NAME
        node: NodeRef,
        /// Start: RFC 3339, or from now as +30m
        #[arg(long, value_name = "TIME", value_parser = when, default_value = "+1m")]
        from: When,
        /// How long, at most 7d
        #[arg(long = "for", value_name = "DURATION", value_parser = absence)]
        duration: u64,
    },
    /// Submit the proof that a validator signed two headers of one height, or a false root
    Evidence {
        /// An encoded Equivocation; with --leaf, a COSE receipt over a false root
        file: PathBuf,
        /// Hash of the leaf that the receipt was shown for, hexadecimal
        #[arg(long, value_name = "HASH", value_parser = leaf_hash)]
        leaf: Option<Hash>,
    },
}

#[derive(Debug, Serialize)]
struct CandidatesView {
    candidates: Vec<CandidateView>,
}

/// A candidate, now.
#[derive(Debug, Serialize)]
struct CandidateView {
    raft_id: u64,
    node: String,
    status: &'static str,
    stake: u64,
    self_delegation: u64,
    power: u64,
    jailed: Option<&'static str>,
    jailed_epoch: Option<u64>,
    maintenance: Option<[String; 2]>,
    missed_windows: u32,
    seen_in_epoch: bool,
    /// Power after an election now; 0 without a seat.
    next_power: u64,
    /// Why it would have no seat.
    not_seated: Option<String>,
}

#[derive(Debug, Serialize)]
struct EpochView {
    epoch: u64,
    first_height: u64,
    started: String,
    /// Of the current epoch only: the block time after which it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<String>,
    total_power: String,
    /// More than this share certifies.
    quorum: String,
    kept_previous: bool,
    candidates: Vec<EpochCandidateView>,
}

#[derive(Debug, Serialize)]
struct EpochCandidateView {
    raft_id: u64,
    node: String,
    stake: u64,
    self_delegation: u64,
    power: u64,
    not_seated: Option<String>,
}

/// Itself a JWK Set: verifiers pass over members that they do not know.
#[derive(Debug, Serialize)]
struct KeysView {
    epoch: u64,
    first_height: u64,
    keys: Vec<KeyView>,
}

#[derive(Debug, Serialize)]
struct KeyView {
    raft_id: u64,
    node: String,
    power: u64,
    #[serde(flatten)]
    jwk: Jwk,
}

/// Runs `consilium validators`.
pub(crate) async fn run(args: ValidatorsArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    match args.command {
        ValidatorsCommand::List => ctx.print(&candidates_view(&ctx.node_says(client.candidates().await?)), |view| {
            candidate_table(&view.candidates)
        }),
        ValidatorsCommand::Epoch { epoch } => {
            let election = client.election(epoch).await?;
            let names = names(&client.list_members(None).await?.into_claimed());
            ctx.print(&epoch_view(&election, &names), epoch_text)
        }
        ValidatorsCommand::Keys { epoch, jwk } => {
            let election = client.election(epoch).await?;
            let names = names(&client.list_members(None).await?.into_claimed());
            let view = keys_view(&election.state, &names)?;
            if let Some(file) = &jwk {
                let keys = view.keys.iter().map(|key| key.jwk.clone()).collect();
                let json = serde_json::to_vec(&JwkSet { keys }).map_err(|e| CliError::failed(e.to_string()))?;
                files::write_new(file, &json, PUBLIC_MODE)?;
            }
            ctx.print(&view, keys_text)
        }
        ValidatorsCommand::Penalties => {
            ctx.print(&Many(ctx.node_says(client.penalties().await?)), |penalties| penalty_table(&penalties.0))
        }
        ValidatorsCommand::Release { node } => {
            let raft_id = own_node(&client, &node).await?;
            let done = client.release_validator(raft_id).await?;
            ctx.print(&SubmittedView::new(&done), |v| {
                format!("node {node} is released: a candidate at the next election\n{}", v.text())
            })
        }
        ValidatorsCommand::Maintenance { node, from, duration } => {
            let raft_id = own_node(&client, &node).await?;
            let from_ms = from.resolve(now_ms());
            let until_ms = from_ms.saturating_add(duration);
            let done = client.announce_maintenance(raft_id, from_ms, until_ms).await?;
            ctx.print(&SubmittedView::new(&done), |v| {
                format!("node {node} is away from {} to {}\n{}", time_ms(from_ms), time_ms(until_ms), v.text())
            })
        }
        ValidatorsCommand::Evidence { file, leaf } => evidence(&file, leaf, &client, ctx).await,
    }
}

fn leaf_hash(text: &str) -> Result<Hash, String> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| "must be 64 hexadecimal digits")?;
    Ok(Hash::from_bytes(bytes))
}

async fn evidence(file: &std::path::Path, leaf: Option<Hash>, client: &Client, ctx: &Context) -> Result<(), CliError> {
    let bytes = Bytes::from(files::read(file, SMALL_FILE_BYTES_MAX)?);
    let message = match leaf {
        Some(leaf) => client.evidence_in(&bytes, &leaf).await?,
        None => pb::Equivocation::decode(bytes).map_err(|_| ClientError::file(file, "is no Equivocation"))?,
    };
    let parsed = Equivocation::try_from(&message).map_err(|e| ClientError::file(file, e))?;
    if parsed.ledger_id() != client.genesis().ledger_id {
        return Err(ClientError::file(file, "is about another ledger").into());
    }
    let (validator, height) = (parsed.validator(), parsed.height());
    let done = client.submit_evidence(message).await?;
    ctx.print(&SubmittedView::new(&done), |v| {
        format!("accepted: validator {validator} lied about height {height}; it is jailed\n{}", v.text())
    })
}

/// The raft id of a node, which must be one of the own member.
async fn own_node(client: &Client, node: &NodeRef) -> Result<u64, CliError> {
    need_admin(client)?;
    let members = client.list_members(None).await?.into_claimed();
    let found = node.find(&members)?;
    let own = client.identity().spiffe_id().member().as_str();
    if found.member == own {
        return Ok(found.raft_id);
    }
    Err(CliError::failed(format!("node {node} belongs to {}, not to {own}", found.member)))
}

/// `member/name` by raft id.
pub(crate) fn names(members: &[pb::MemberEntry]) -> BTreeMap<u64, String> {
    let nodes = members.iter().flat_map(|entry| &entry.nodes);
    nodes.map(|node| (node.raft_id, format!("{}/{}", node.member, node.name))).collect()
}

fn candidates_view(answer: &pb::ListCandidatesResponse) -> CandidatesView {
    let forecast = answer.forecast.as_ref().map(|f| f.candidates.as_slice()).unwrap_or_default();
    let forecast: BTreeMap<u64, &pb::CandidateState> = forecast.iter().map(|c| (c.node, c)).collect();
    let view = |c: &pb::Candidate| {
        let node = c.node.clone().unwrap_or_default();
        let standing = c.standing.unwrap_or_default();
        let presence = c.participation.unwrap_or_default();
        let next = forecast.get(&node.raft_id);
        let jailed = jail_text(standing.jailed());
        let maintenance = standing.maintenance_until_ms != 0;
        CandidateView {
            raft_id: node.raft_id,
            status: node_status(node.status()),
            node: format!("{}/{}", node.member, node.name),
            stake: c.stake,
            self_delegation: c.self_delegation,
            power: c.power,
            jailed,
            jailed_epoch: jailed.map(|_| standing.jailed_epoch),
            maintenance: maintenance
                .then(|| [standing.maintenance_from_ms, standing.maintenance_until_ms].map(time_ms)),
            missed_windows: presence.missed_windows,
            seen_in_epoch: presence.seen_in_epoch,
            next_power: next.map_or(0, |n| n.power),
            not_seated: next.and_then(|n| reason_text(n)),
        }
    };
    CandidatesView { candidates: answer.candidates.iter().map(view).collect() }
}

fn candidate_table(views: &[CandidateView]) -> String {
    let head = ["ID", "NODE", "STAKE", "OWN", "POWER", "MISSED", "STANDING", "AT AN ELECTION NOW"];
    let rows = views.iter().map(|v| {
        let next = v.not_seated.clone().unwrap_or_else(|| format!("seated, power {}", v.next_power));
        let numbers = [v.stake, v.self_delegation, v.power, v.missed_windows.into()].map(|n| n.to_string());
        let mut row = vec![v.raft_id.to_string(), v.node.clone()];
        row.extend(numbers);
        row.extend([standing_text(v), next]);
        row
    });
    table(&head, rows)
}

fn standing_text(v: &CandidateView) -> String {
    let mut words: Vec<String> = Vec::new();
    if v.status != "active" {
        words.push(v.status.into());
    }
    if let Some(reason) = v.jailed {
        words.push(format!("jailed in epoch {} for {reason}", v.jailed_epoch.unwrap_or_default()));
    }
    if let Some([from, until]) = &v.maintenance {
        words.push(format!("away {from} to {until}"));
    }
    if !v.seen_in_epoch {
        words.push("not seen yet in this epoch".into());
    }
    if words.is_empty() { "good".into() } else { words.join(", ") }
}

fn epoch_view(election: &Election, names: &BTreeMap<u64, String>) -> EpochView {
    let state = &election.state;
    let set = state.validators.clone().unwrap_or_default();
    let candidate = |c: &pb::CandidateState| EpochCandidateView {
        raft_id: c.node,
        // A retired node has no name any more; its member it keeps.
        node: names.get(&c.node).cloned().unwrap_or_else(|| c.member.clone()),
        stake: c.stake,
        self_delegation: c.self_delegation,
        power: c.power,
        not_seated: reason_text(c),
    };
    EpochView {
        epoch: state.epoch,
        first_height: state.first_height,
        started: time_ms(state.start_ms),
        ends: (state.epoch == *election.current.claimed()).then(|| time_ms(*election.ends_ms.claimed())),
        total_power: set.seats.iter().map(|seat| u128::from(seat.power)).sum::<u128>().to_string(),
        quorum: format!("{}/{}", set.quorum_numerator, set.quorum_denominator),
        kept_previous: state.kept_previous,
        candidates: state.candidates.iter().map(candidate).collect(),
    }
}

fn keys_view(state: &pb::EpochState, names: &BTreeMap<u64, String>) -> Result<KeysView, ClientError> {
    let set = ValidatorSet::try_from(&state.validators.clone().unwrap_or_default())?;
    let member = |id| state.candidates.iter().find(|c| c.node == id).map(|c| c.member.clone());
    let key = |seat: &Validator| KeyView {
        raft_id: seat.id.0,
        // A retired node has no name any more; its member it keeps.
        node: names.get(&seat.id.0).cloned().or_else(|| member(seat.id.0)).unwrap_or_default(),
        power: seat.power.0,
        jwk: Jwk::from(&seat.key),
    };
    let keys = set.seats().iter().map(key).collect();
    Ok(KeysView { epoch: state.epoch, first_height: state.first_height, keys })
}

fn keys_text(view: &KeysView) -> String {
    let rows =
        view.keys.iter().map(|k| [k.raft_id.to_string(), k.node.clone(), k.power.to_string(), k.jwk.kid.clone()]);
    let table = table(&["ID", "NODE", "POWER", "KID"], rows.map(Vec::from));
    format!("epoch {}, from height {}\n\n{table}", view.epoch, view.first_height)
}

fn epoch_text(view: &EpochView) -> String {
    let mut text = format!("epoch {}, from height {}, since {}", view.epoch, view.first_height, view.started);
    if let Some(ends) = &view.ends {
        text += &format!(", until {ends} at the latest");
    }
    text += &format!("\ncertified by more than {} of power {}\n", view.quorum, view.total_power);
    if view.kept_previous {
        text += "nobody was eligible, so the validators of the epoch before stayed\n";
    }
    let rows = view.candidates.iter().map(|c| {
        let outcome = c.not_seated.clone().unwrap_or_else(|| "seated".into());
        let numbers = [c.power, c.stake, c.self_delegation].map(|n| n.to_string());
        let mut row = vec![c.raft_id.to_string(), c.node.clone()];
        row.extend(numbers);
        row.push(outcome);
        row
    });
    text + "\n" + &table(&["ID", "NODE", "POWER", "STAKE", "OWN", "OUTCOME"], rows)
}

/// Why a candidate has no seat; `None` if it has one.
fn reason_text(candidate: &pb::CandidateState) -> Option<String> {
    use pb::NotSeatedReason as Reason;
    let text = match candidate.reason() {
        Reason::Unspecified if candidate.power > 0 => return None,
        Reason::Unspecified => "no reason given".into(),
        Reason::MemberNotActive => "its member is not active".into(),
        Reason::Retiring => "it retires".into(),
        Reason::Jailed => "it is jailed".into(),
        Reason::NotCaughtUp => "it was not seen in the epoch".into(),
        Reason::BelowMinSelfDelegation => format!("its member delegates only {} to it", candidate.self_delegation),
        Reason::NoStake => "nobody delegates to it".into(),
        Reason::MemberHasAllItsSeats => "its member has as many seats as it may have".into(),
        Reason::Outranked => {
            format!("others have more stake: {} would be needed, it has {}", candidate.stake_needed, candidate.stake)
        }
    };
    Some(text)
}

pub(super) fn jail_text(reason: pb::JailReason) -> Option<&'static str> {
    match reason {
        pb::JailReason::Unspecified => None,
        pb::JailReason::MissedVotes => Some("missed votes"),
        pb::JailReason::Equivocation => Some("double signing"),
    }
}

fn penalty_table(penalties: &[pb::PenaltyState]) -> String {
    if penalties.is_empty() {
        return "no penalties\n".into();
    }
    let rows = penalties.iter().map(|p| {
        let status = if p.lifted_height == 0 { "in force".into() } else { format!("lifted at {}", p.lifted_height) };
        let numbers = [p.number, p.node].map(|n| n.to_string());
        let facts = [p.evidence_height, p.cut, p.height].map(|n| n.to_string());
        [&numbers[..], std::slice::from_ref(&p.member), &facts[..], &[status]].concat()
    });
    table(&["NUMBER", "NODE", "MEMBER", "SIGNED TWICE", "STAKE CUT", "SINCE HEIGHT", "STATUS"], rows)
}

fn absence(text: &str) -> Result<u64, String> {
    let ms = duration_ms(text)?;
    if ms <= MAINTENANCE_MAX_MS { Ok(ms) } else { Err("must be at most 7d".into()) }
}

#[cfg(test)]
mod tests;
