use super::*;

#[test]
fn keys_are_golden() {
    assert_eq!(version(&RecordId([1; 16]), 2), [&[1; 16][..], &[0, 0, 0, 2]].concat());
    assert_eq!(tree_tile(4, 1), [4, 0, 0, 0, 0, 0, 0, 0, 1]);
    let entry = index_entry(index_tag("a.example", &SearchTag([1; 16])), 5);
    assert_eq!((entry.len(), entry[0], entry[17], entry[40]), (41, b't', 1, 5));
    assert_ne!(entry, index_entry(index_tag("b.example", &SearchTag([1; 16])), 5));
}
