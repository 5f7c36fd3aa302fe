//! A leader's turns: what others wait for goes out first.

use consilium_kit::Identity;
use consilium_kit::replica::Replicas;
use consilium_replica::Output;
use consilium_replica::peer::PeerMessage;

#[test]
fn followers_hear_what_is_committed_before_the_leader_executes_it() {
    let members = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1)];
    let mut net = Replicas::new(&members, |_| {}, |_| {});
    net.elect(1);
    net.said(1);
    net.enroll(1, &Identity::new("a.example", "admin", "root"));
    let said = net.said(1);
    let executed = said.iter().position(|output| matches!(output, Output::Executed(_))).unwrap();
    let is_raft = |output: &Output| matches!(output, Output::Send { message: PeerMessage::Raft(_), .. });
    let told = said[..executed].iter().rposition(is_raft).unwrap();
    assert!(said[told..executed].contains(&Output::Continue), "the turn ends between them: {said:?}");
}
