use super::*;

#[test]
fn scripts_get_a_registered_node() {
    let view = RegisteredView {
        raft_id: 5,
        node: "spiffe://a.example/node/n2".into(),
        transaction: Some(crate::tests::submitted()),
        invitation: crate::member::tests::invitation(),
        folder: Some(crate::member::tests::folder()),
        invitation_file: None,
    };
    crate::json::snapshot::check("node-registered", &view);
}
