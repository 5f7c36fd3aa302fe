use super::*;
use crate::json::snapshot;

#[test]
fn scripts_get_a_genesis_document_as_it_is_inspected() {
    let document = DocumentView { ledger_id: "ab".repeat(32), file: "genesis.pb".into() };
    snapshot::check("network-document", &document);
    let assembled = AssembledView { file: "genesis.pb".into(), missing_endorsements: vec!["b.example".into()] };
    snapshot::check("network-assembled", &assembled);
    let node = NodeView {
        raft_id: 1,
        name: "n1".into(),
        spiffe_id: "spiffe://a.example/node/n1".into(),
        peer_address: "a.example:1".into(),
        client_address: "a.example:2".into(),
        power: 100,
        power_percent: 100.0,
    };
    let member = MemberView {
        id: "a.example".into(),
        display_name: "A".into(),
        stake: 100,
        ca_not_after: Some(time_s(0)),
        endorsed_by: None,
        nodes: vec![node],
    };
    let view = GenesisView {
        network: "demo".into(),
        ledger_id: "ab".repeat(32),
        time: time_s(0),
        parameters: ParametersView { values: BTreeMap::from([("epoch_ms", 5)]), quorum: "67 of 100".into() },
        members: vec![member],
        total_power: "100".into(),
        missing_endorsements: vec!["a.example".into()],
        problems: vec![],
    };
    snapshot::check("genesis", &view);
}
