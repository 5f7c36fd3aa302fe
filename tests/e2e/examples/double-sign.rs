//! Signs two headers of one height with a validator's vote key, which is what
//! no honest node ever does, and writes the proof as an encoded Equivocation.
//! For the demonstration: `consilium validators evidence` submits it.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use anyhow::Context;
use consilium_e2e::two_votes;
use consilium_proto::genesis::Genesis;
use consilium_proto::pb;
use consilium_proto::signing::SigningKey;
use prost::Message;

fn main() -> anyhow::Result<()> {
    let usage = "double-sign GENESIS VOTE_KEY RAFT_ID HEIGHT OUT";
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [genesis, key, raft_id, height, out] = &arguments[..] else { anyhow::bail!(usage) };
    let number = |path: &Path| path.to_str().and_then(|text| text.parse::<u64>().ok()).context(usage);
    let genesis = Genesis::parse(&std::fs::read(genesis)?)?;
    let key = SigningKey::from_pem(&std::fs::read_to_string(key)?)?;
    let lie = two_votes(genesis.ledger_id, number(raft_id)?, number(height)?, &key)?;
    std::fs::write(out, pb::Equivocation::from(&lie).encode_to_vec())?;
    Ok(())
}
