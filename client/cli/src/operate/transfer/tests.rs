#![allow(clippy::unwrap_used)]
use super::*;

fn answer(raft_id: u64, (leader, term): (u64, u64)) -> StatusView {
    let peer = |id: u64, member: &str| pb::PeerStatus {
        raft_id: id,
        spiffe_id: format!("spiffe://{member}/node/n{id}"),
        client_address: format!("n{id}.{member}:7401"),
        voter: id != 4,
        ..pb::PeerStatus::default()
    };
    let peers = vec![peer(1, "a.example"), peer(2, "a.example"), peer(3, "b.example"), peer(4, "b.example")];
    let node = pb::GetStatusResponse { raft_id, leader, term, peers, ..pb::GetStatusResponse::default() };
    StatusView { endpoint: format!("e{raft_id}:1"), node: Some(node), error: None }
}

fn silent() -> StatusView {
    StatusView { endpoint: "e9:1".to_owned(), node: None, error: Some("e9:1: no answer in time".to_owned()) }
}

fn asked(views: &[StatusView], to: u64) -> Result<String, CliError> {
    leads_at(views, &"a.example".parse().unwrap(), to)
}

#[test]
fn the_leader_is_asked_wherever_it_stands_in_the_profile() {
    assert_eq!(asked(&[silent(), answer(2, (1, 5)), answer(1, (1, 5))], 2).as_deref(), Ok("e1:1"));
    assert_eq!(asked(&[answer(1, (1, 5)), answer(2, (2, 6))], 0).as_deref(), Ok("e2:1"), "the newer term counts");
    // It is in no profile, and of the own member all the same.
    assert_eq!(asked(&[answer(1, (2, 5))], 0).as_deref(), Ok("n2.a.example:7401"));
}

#[test]
fn who_has_to_do_it_instead_is_named() {
    let error = asked(&[answer(1, (3, 5))], 0).unwrap_err();
    let hint = "an administrator of b.example has to run this, with --endpoints n3.b.example:7401";
    assert_eq!(error, CliError::failed("node 3 of b.example leads").hint(hint));
}

#[test]
fn what_cannot_be_is_refused_at_once() {
    let views = [answer(1, (1, 5))];
    for (to, told) in [
        (9, "--to: node 9 has no vote now; leadership can go to one of 2, 3"),
        (4, "--to: node 4 has no vote now; leadership can go to one of 2, 3"),
        (1, "--to: node 1 leads already"),
    ] {
        assert_eq!(asked(&views, to), Err(CliError::usage(told)));
    }
    assert_eq!(
        asked(&[silent()], 0).unwrap_err().to_string(),
        "no node answers: e9:1: no answer in time (asked: e9:1)"
    );
    let leaderless = asked(&[silent(), answer(1, (0, 5))], 0).unwrap_err().to_string();
    assert_eq!(leaderless, "no node knows who leads (asked: e9:1, e1:1)");
}
