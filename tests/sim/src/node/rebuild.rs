//! A node whose state is not what is certified drops its ledger and rebuilds it:
//! the product's [`Rebuild`] over the virtual network.

use consilium_kit::Rules;
use consilium_replica::catch_up::rebuild::{Rebuild, RebuildInput, RebuildOutput, finish};

use super::state::{Rebuilding, State};
use crate::bugs::Bug;
use crate::disk::OwnLog;
use crate::env::{Env, Halt};
use crate::event::{Packet, Timer};
use crate::host::Host;

/// How often it looks at the time.
const TICK_MS: u64 = 100;

/// Drops the ledger and starts.
pub fn begin(host: &mut Host, env: &mut Env) -> State {
    env.stats.count("ledgers rebuilt");
    *host.disk.ledger.borrow_mut() = Default::default();
    host.disk.write_genesis(&env.fixture.genesis);
    let rebuild = Rebuild::new(
        (host.node, env.fixture.genesis.ledger_id),
        Some(host.introduction.clone()),
        (host.ledger(env), Box::new(Rules)),
        OwnLog::new(host.disk.log_port(false), env.has(Bug::RepairWaitsForItself)),
        600,
    );
    match rebuild {
        Ok(rebuild) => {
            host.timer(env, TICK_MS, Timer::Rebuild);
            State::Rebuilding(Box::new(rebuild))
        }
        Err(fault) => {
            env.oracle.fail("no fault", format!("rebuilding: {fault}"));
            State::Down
        }
    }
}

/// Gives it an input. Returns whether the ledger is rebuilt.
///
/// # Errors
/// Why the node goes down.
pub fn input(rebuild: &mut Rebuilding, host: &mut Host, env: &mut Env, input: RebuildInput) -> Result<bool, Halt> {
    let mut next = Some(input);
    let mut done = false;
    while let Some(input) = next.take() {
        for output in rebuild.handle(env.now, input).map_err(|fault| host.stopped(fault))? {
            match output {
                RebuildOutput::Fetch { call, from, first } => {
                    host.send(env, from, Packet::FetchBlocks { first, call });
                }
                RebuildOutput::RequestTimeBlock { to, after } => {
                    host.send(env, to, Packet::RequestTimeBlock(after));
                }
                RebuildOutput::Continue => next = Some(RebuildInput::Tick),
                RebuildOutput::Done => done = true,
                RebuildOutput::PeerFailed { .. } => env.stats.count("bad blocks refused"),
                RebuildOutput::StopFetch(_) | RebuildOutput::Executed { .. } | RebuildOutput::Topology(_) => {}
            }
        }
    }
    if done {
        finish(&host.disk.ledger_port(), &host.disk.log_port(false)).map_err(|e| host.failed(&e))?;
        host.disk.repair = false;
    }
    Ok(done)
}

/// Time passes.
///
/// # Errors
/// Why the node goes down.
pub fn tick(rebuild: &mut Rebuilding, host: &mut Host, env: &mut Env) -> Result<bool, Halt> {
    host.timer(env, TICK_MS, Timer::Rebuild);
    input(rebuild, host, env, RebuildInput::Tick)
}
