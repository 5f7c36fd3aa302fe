#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn entries_of_a_faulty_leader_are_refused() {
    let encode = |transition, change_type| {
        let changes = vec![ConfChangeSingle { change_type, node_id: 1 }];
        ConfChangeV2 { transition, changes, context: Vec::new() }.encode_to_vec()
    };
    assert!(decode_change(&encode(0, 2)).is_ok());
    assert!(decode_change(&[]).is_ok(), "leaves a joint configuration");
    assert_eq!(decode_change(&encode(2, 0)), Err("transition 2 is not used".to_owned()));
    assert_eq!(decode_change(&encode(3, 0)), Err("transition 3 is not used".to_owned()));
    assert_eq!(decode_change(&encode(0, 3)), Err("change type 3 is not known".to_owned()));
    assert!(decode_change(&[0xff]).is_err());
}
