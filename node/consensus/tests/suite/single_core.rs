//! One core at its edges: start-up refusals, reports that cannot be true, bytes that are no
//! message.

use bytes::Bytes;
use consilium_consensus::{
    Config, ConfigError, Core, HardState, LogIndex, Membership, PersistError, PreflightError, Reject, StartError,
    StepError, Term, WireError,
};
use consilium_kit::LogHandle;

use crate::cluster::disk::Store;
use crate::cluster::{Cluster, Passes, id, signer};

fn start(store: &Store) -> Result<Core<LogHandle>, StartError> {
    Core::new(Config::new(id(1)), signer(id(1)), store.initial(), store.reader())
}

/// A clear refusal with a hint, not a panic.
#[test]
fn a_disk_that_lost_its_log_is_refused() {
    let mut store = Store::new(Membership::new([id(1)], []));
    store.lose_entries(HardState { term: Term(3), vote: None, commit: LogIndex(5) });
    let error = start(&store).err().unwrap();
    let StartError::Preflight(error) = error else { panic!("{error}") };
    assert_eq!(error, PreflightError::CommitOutside { commit: LogIndex(5), truncated: LogIndex(0), last: LogIndex(0) });
    assert!(error.repair().contains("new raft id"));
}

#[test]
fn unfit_settings_are_refused() {
    let mut config = Config::new(id(1));
    config.inflight_max = 0;
    let store = Store::new(Membership::new([id(1)], []));
    let result = Core::new(config, signer(id(1)), store.initial(), store.reader());
    assert_eq!(result.err(), Some(StartError::Config(ConfigError::Zero)));
}

/// A node that is not a member (yet) starts, waits, and never stands for election.
#[test]
fn a_stranger_stays_quiet() {
    let mut core = start(&Store::new(Membership::new([id(2), id(3)], []))).unwrap();
    (0..200).for_each(|_| core.tick());
    assert_eq!(core.take_output(), Ok(None));
}

#[test]
fn writes_that_were_never_issued_are_refused() {
    let mut cluster = Cluster::new(3, 1);
    let leader = cluster.elect();
    cluster.propose(leader, "x");
    let ahead = {
        let core = cluster.core(leader);
        core.propose("y".into()).unwrap();
        core.take_output().unwrap().unwrap().persist.unwrap().seq
    };
    assert_eq!(cluster.core(leader).persisted(ahead), Ok(()));
    assert!(matches!(cluster.core(id(2)).persisted(ahead), Ok(()) | Err(PersistError::NeverIssued { .. })));
    let mut fresh = start(&Store::new(Membership::new([id(1)], []))).unwrap();
    assert!(matches!(fresh.persisted(ahead), Err(PersistError::NeverIssued { .. })));
}

#[test]
fn bytes_that_are_no_message() {
    let mut core = start(&Store::new(Membership::new([id(1), id(2)], []))).unwrap();
    let garbage = core.step(id(2), Bytes::from_static(&[0xff; 20]), &Passes);
    assert_eq!(garbage, Err(StepError::Wire(WireError::Malformed)));
    let empty = core.step(id(2), Bytes::new(), &Passes);
    let reject = Reject::NotThePeer { claimed: 0, peer: id(2) };
    assert_eq!(empty, Err(StepError::Rejected { peer: id(2), reject }));
    let len = (8 << 20) + 1;
    let huge = core.step(id(2), vec![0; len].into(), &Passes);
    assert_eq!(huge, Err(StepError::Wire(WireError::TooLarge { len, max: 8 << 20 })));
}
