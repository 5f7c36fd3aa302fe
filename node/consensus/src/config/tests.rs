#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn defaults_are_valid_and_safe() {
    let config = Config::new(RaftId::new(1).unwrap());
    assert_eq!(config.validate(), Ok(()));
    let raft = config.to_raft(0);
    assert!(raft.pre_vote && raft.check_quorum);
    assert_eq!(raft.read_only_option, raft::ReadOnlyOption::Safe);
    assert_eq!(raft.max_size_per_msg, 1 << 20);
    assert!(raft.max_uncommitted_size < u64::MAX);
    assert!(raft.max_committed_size_per_ready < u64::MAX);
    assert_eq!(raft.max_inflight_msgs, 256);
    assert!(raft.validate().is_ok());
}

#[test]
fn misfits_are_named() {
    let base = Config::new(RaftId::new(1).unwrap());
    let mut config = base.clone();
    config.election_ticks = ElectionTicks { min: 5, max: 5 };
    assert_eq!(config.validate(), Err(ConfigError::ElectionRange { min: 5, max: 5 }));
    let mut config = base.clone();
    config.heartbeat_ticks = 20;
    assert_eq!(config.validate(), Err(ConfigError::Heartbeat { heartbeat: 20, min: 20 }));
    let mut config = base;
    config.message_bytes_max = 1 << 20;
    assert_eq!(config.validate(), Err(ConfigError::MessageTooSmall { max: 1 << 20, needed: (6 << 20) + (64 << 10) }));
}
