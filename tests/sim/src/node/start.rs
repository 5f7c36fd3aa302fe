//! How a node starts: it has its disk checked. The checks are the product's.

use std::num::NonZeroU32;

use consilium_consensus::{Config, ElectionTicks, RaftId};
use consilium_kit::Rules;
use consilium_proto::ids::Height;
use consilium_proto::vote::CertifiedHeader;
use consilium_replica::start::{StartRefused, recover};
use consilium_replica::{AccessQuota, Fault, Replica, Settings, Start};

use super::state::State;
use super::{Node, SimReplica};
use crate::bugs::Bug;
use crate::env::{Env, Halt};
use crate::host::Host;

/// A start.
///
/// # Errors
/// What is wrong with the disk, although nothing was lost that was promised.
pub fn begin(host: &mut Host, env: &mut Env) -> Result<State, Halt> {
    host.incarnation += 1;
    if host.disk.owner != host.node || host.disk.guard.read().is_none() {
        return Ok(State::Out("the disk is not this node's"));
    }
    if host.disk.repair {
        return Ok(super::rebuild::begin(host, env));
    }
    let (log, ledger) = (host.disk.log_port(false), host.ledger(env));
    let stored = host.disk.log.borrow().hard_state();
    let recovered = match recover(&ledger, &log, &mut host.disk.guard_port(env.bug)) {
        Ok(recovered) => recovered,
        Err(StartRefused::LogLost { .. }) => return Ok(State::Out("the log has lost synced writes")),
        Err(StartRefused::Port(fault)) => return Err(host.failed(&fault)),
        Err(refused) => return Err(Halt::Fault(refused.to_string())),
    };
    for (doubtful, what) in
        [(recovered.doubt.log, "logs"), (recovered.doubt.guard > recovered.guard.vote.voted_height, "guards")]
    {
        if doubtful {
            env.stats.count(if what == "logs" { "starts with a damaged log" } else { "starts with a damaged guard" });
        }
    }
    env.oracle.log_begins(host.node, host.disk.log.borrow().durable_truncated().index);
    if host.honest() {
        let (last, applied) = (host.disk.log.borrow().last(), recovered.initial.applied);
        env.oracle.started(host.node, host.disk_number, stored, last, applied);
        env.oracle.resumed(host.node, applied, &recovered.initial.membership);
        tell_certified(host, env);
    }
    let start = Start {
        me: host.node,
        ledger_id: env.fixture.genesis.ledger_id,
        key: std::sync::Arc::clone(&host.key),
        introduction: Some(host.introduction.clone()),
        settings: settings(host, env),
        ledger,
        log,
        rules: Box::new(Rules),
        recovered,
        now: crate::byzantine::clock(host, env, false),
    };
    let replica: SimReplica = match Replica::new(start) {
        Ok(replica) => replica,
        Err(Fault::Retired(_)) => return Ok(State::Out("retired")),
        Err(fault) => return Err(Halt::Fault(fault.to_string())),
    };
    Ok(State::Up(Box::new(Node::new(host, env, replica)?)))
}

/// A crash may have come between the writing of a certificate and the telling of it.
fn tell_certified(host: &Host, env: &mut Env) {
    let ledger = host.disk.ledger.borrow();
    let newest = ledger.newest_certified().map_or(Height::GENESIS, |certified| certified.header.height);
    let mut height = env.oracle.highest().next();
    while height <= newest {
        if let (Some(header), Some(certificate)) = (ledger.header(height), ledger.certificate_at(height)) {
            let next = ledger.next_set_of(&header);
            let certified = CertifiedHeader { header, certificate: certificate.clone() };
            let now = env.true_time();
            env.oracle.certified(&certified, next.as_ref(), now);
        }
        height = height.next();
    }
}

/// Raft's settings have a one-value election timeout, distinct per node, so that
/// the library draws nothing.
fn settings(host: &Host, env: &Env) -> Settings {
    let id = RaftId::new(host.node.0).expect("the ledger gives raft ids from 1");
    let mut core = Config::new(id);
    let min = 8 + 2 * (host.node.0 as u32 % 16);
    core.election_ticks = ElectionTicks { min, max: min + 1 };
    core.heartbeat_ticks = 2;
    core.snapshot_ticks_max = 60;
    core.append_bytes_max = 64 << 10;
    // The bug: a queue without limits.
    let queued_max = if env.has(Bug::UnboundedQueue) { usize::MAX / 2 } else { env.swarm.queued_max };
    Settings {
        core,
        blocks_in_flight: 4,
        log_entries_max: env.swarm.log_entries_max,
        log_entries_kept: 4,
        certificate_timeout_ms: 3_000,
        rights_patience_ms: 2_000,
        fetch_timeout_ms: 600,
        audit_ms: 3_000,
        queued_transactions_max: queued_max,
        queued_bytes_max: 1 << 20,
        access_quota: AccessQuota { per_minute: NonZeroU32::MAX, burst: NonZeroU32::MAX },
    }
}
