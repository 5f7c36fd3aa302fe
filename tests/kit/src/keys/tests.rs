use super::*;

#[test]
fn keys_follow_from_their_labels_alone() {
    let one = es256("a");
    // Another thread has made no keys yet.
    let two = std::thread::spawn(|| es256("a")).join().unwrap();
    assert_eq!(one.verifying_key(), two.verifying_key());
    assert_ne!(one.verifying_key(), es256("b").verifying_key());
    let signature = one.sign(b"x").unwrap();
    assert!(two.verifying_key().verify(b"x", &signature).is_ok());
}
