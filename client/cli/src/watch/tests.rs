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

#[test]
fn a_height_that_is_not_there_is_told_with_the_one_that_is() {
    let error = ahead(Height(500), Height(42)).to_string();
    assert_eq!(error, "height 500 is ahead of the ledger, which is at 42");
}
