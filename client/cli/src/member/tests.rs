use super::*;
use crate::json::snapshot;

pub(crate) fn invitation() -> InvitationView {
    InvitationView {
        network: "demo".into(),
        ledger_id: "ab".repeat(32),
        node: "spiffe://a.example/node/n2".into(),
        raft_id: 5,
        height: 9,
        members: vec!["a.example".into()],
        serving_nodes: 4,
    }
}

pub(crate) fn folder() -> FolderView {
    FolderView {
        config: "n2/node.toml".into(),
        written: vec!["n2/genesis.pb".into()],
        missing: vec!["n2/node-n2.pem".into()],
    }
}

#[test]
fn scripts_get_parts_invitations_and_folders() {
    snapshot::check("part", &PartView { member: "a.example".into(), file: "a.part".into() });
    snapshot::check("invited", &InvitedView { invitation: invitation(), file: "n2.invitation".into() });
    snapshot::check("joined", &JoinedView { invitation: invitation(), folder: folder() });
}
