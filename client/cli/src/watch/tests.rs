use super::*;

#[test]
fn scripts_get_a_line_for_each_block() {
    let view = BlockView {
        height: 7,
        hash: "ab".repeat(32),
        time_ms: 1_000,
        transactions: Some(3),
        tree_size: 9,
        state_root: "cd".repeat(32),
        proposer: 1,
        contents_proven: true,
    };
    crate::json::snapshot::check("watch", &view);
}
