use super::*;

#[test]
fn columns_are_aligned_and_cells_harmless() {
    let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long\n".to_owned(), "22".to_owned()]];
    assert_eq!(table(&["NAME", "N"], rows), "NAME       N\na          1\nlong\\u{a}  22\n");
}

#[test]
fn times_are_utc() {
    assert_eq!(time_ms(0), "1970-01-01T00:00:00Z");
    assert_eq!(time_ms(u64::MAX), format!("{} s since 1970", u64::MAX / 1000));
}
