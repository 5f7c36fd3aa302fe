use super::*;
use crate::json;

#[test]
fn scripts_get_what_was_written() {
    let written = WrittenView {
        transaction_id: "ab".repeat(32),
        height: 9,
        certified: true,
        version: 1,
        record_ids: vec!["01".repeat(16)],
    };
    json::snapshot::check("record-written", &written);
}
