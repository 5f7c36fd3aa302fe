#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn nodes_have_three_names() {
    let by_name = NodeRef::Name { member: "a.example".into(), name: "n1".into() };
    assert_eq!("7".parse(), Ok(NodeRef::RaftId(7)));
    assert_eq!("a.example/n1".parse(), Ok(by_name.clone()));
    assert_eq!("spiffe://a.example/node/n1".parse(), Ok(by_name));
    for bad in ["0", "", "n1", "a.example/", "/n1", "spiffe://a.example/admin/n1", "A/n1", "a.example/n1/x"] {
        assert!(bad.parse::<NodeRef>().is_err(), "{bad}");
    }
}

#[test]
fn of_two_nodes_with_one_name_the_active_one_is_meant() {
    let node = |raft_id, status: pb::NodeStatus| pb::NodeState {
        raft_id,
        member: "a.example".into(),
        name: "n1".into(),
        status: status.into(),
        ..Default::default()
    };
    let nodes = vec![node(2, pb::NodeStatus::Active), node(5, pb::NodeStatus::Retiring)];
    let members = [pb::MemberEntry { member: None, nodes }];
    let find = |text: &str| text.parse::<NodeRef>().unwrap().find(&members).map(|n| n.raft_id);
    assert_eq!(find("a.example/n1"), Ok(2));
    assert_eq!(find("5"), Ok(5));
    assert!(find("a.example/n2").is_err());
    assert!(find("9").is_err());
}
