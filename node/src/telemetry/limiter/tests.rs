use super::*;

fn line<'a>(place: u8, about: &'a str, text: &'a str) -> Line<'a, u8> {
    Line { place, target: "node", is_error: false, about, text }
}

fn passed(buckets: &mut Buckets<u8>, line: &Line<'_, u8>, times: u32, now: Instant) -> u32 {
    (0..times).map(|_| u32::from(buckets.admit(line, now))).sum()
}

#[test]
fn who_repeats_gets_few_lines_and_the_count() {
    let (mut buckets, start) = (Buckets::new(), Instant::now());
    let junk = line(1, "7", "vote refused");
    assert_eq!(passed(&mut buckets, &junk, 1_000_000, start), 20);
    // Others are heard as before.
    assert_eq!(passed(&mut buckets, &line(1, "8", "vote refused"), 3, start), 3);
    assert_eq!(passed(&mut buckets, &line(2, "7", "handshake refused"), 3, start), 3);
    let expected = LeftOut { lines: 999_980, target: "node", like: "vote refused".to_owned() };
    assert_eq!(buckets.left_out(), [expected]);
    assert_eq!(buckets.left_out(), []);
    // Ten more in a minute.
    assert_eq!(passed(&mut buckets, &junk, 1_000, start + Duration::from_secs(60)), 10);
    assert_eq!(buckets.left_out()[0].lines, 990);
    // After a pause as at first.
    assert_eq!(passed(&mut buckets, &junk, 1_000, start + Duration::from_secs(600)), 20);
}

#[test]
fn many_names_get_no_more_than_a_place_does() {
    let (mut buckets, now) = (Buckets::new(), Instant::now());
    let names: Vec<String> = (0..10_000).map(|n| format!("192.0.{}.{}", n / 250, n % 250)).collect();
    let written: u32 = names.iter().map(|name| passed(&mut buckets, &line(1, name, "refused"), 2, now)).sum();
    assert_eq!(written, OF_PLACE.at_once);
    assert!(buckets.alike.len() <= BUCKETS_MAX, "{}", buckets.alike.len());
    assert_eq!(buckets.left_out()[0].lines, 20_000 - u64::from(OF_PLACE.at_once));
    // Another place has lines of its own.
    assert_eq!(passed(&mut buckets, &line(2, "", "leads"), 5, now), 5);
}

#[test]
fn numbers_do_not_make_another_line_of_it_and_words_do() {
    let (mut buckets, now) = (Buckets::new(), Instant::now());
    let texts = (0..100).map(|n| format!("vote of node {n} for {n:064x} refused: bad signature"));
    let written: u32 = texts.map(|text| passed(&mut buckets, &line(1, "", &text), 1, now)).sum();
    assert_eq!(written, ALIKE.at_once);
    assert_eq!(passed(&mut buckets, &line(1, "", "leads in term 9"), 1, now), 1);
}

#[test]
fn errors_are_heard_longer() {
    let (mut buckets, now) = (Buckets::new(), Instant::now());
    let error = Line { is_error: true, ..line(1, "", "alarm raised") };
    assert_eq!(passed(&mut buckets, &error, 1_000, now), ALIKE_ERRORS.at_once);
}

#[test]
fn a_port_or_an_address_of_ones_own_network_is_no_other_name() {
    assert_eq!(without_port("192.0.2.7:40112".to_owned()), "192.0.2.7");
    assert_eq!(without_port("[::ffff:192.0.2.7]:40112".to_owned()), "192.0.2.7");
    let one = without_port("[2001:db8:0:1::1]:1".to_owned());
    assert_eq!(one, without_port("[2001:db8:0:1:ffff::9]:2".to_owned()));
    assert_ne!(one, without_port("[2001:db8:0:2::1]:1".to_owned()));
    assert_eq!(without_port("spiffe://a.example/node/n1".to_owned()), "spiffe://a.example/node/n1");
}

#[test]
fn no_more_of_a_text_is_kept_than_is_looked_at() {
    assert_eq!(bounded(&"x".repeat(10_000)).len(), LOOKED_AT);
    assert_eq!(bounded(&format_args!("short")), "short");
}
