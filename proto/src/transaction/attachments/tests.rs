use super::*;

#[test]
fn contents_are_checked_and_only_stored_ones_may_be_gone() {
    let slot = Slot::Payload { record: RecordId([1; 16]), version: 1 };
    let named = |bytes: &[u8], size| Attachment {
        commitment: Commitment { slot, hash: Hash::of(&[bytes]), size },
        bytes: Bytes::new(),
    };
    let all = [named(b"ab", Size::Exactly(2)), named(b"c", Size::AtMost(1)), named(b"", Size::AtMost(1))];
    let fill = |contents: &[&'static str], erasure| {
        let mut attachments = all[..2].to_vec();
        let contents: Vec<_> = contents.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
        fill(&mut attachments, &contents, erasure)
            .map(|()| attachments.into_iter().map(|a| a.bytes).collect::<Vec<_>>())
    };
    for erasure in [Erasure::Impossible, Erasure::Possible] {
        assert_eq!(fill(&["ab", "c"], erasure), Ok(vec!["ab".into(), "c".into()]));
        for bad in [&["ab"][..], &["ab", "c", "c"], &["abc", "c"], &["ac", "c"], &["ab", "d"]] {
            assert!(fill(bad, erasure).is_err(), "{bad:?}");
        }
    }
    assert_eq!(fill(&["", "c"], Erasure::Possible), Ok(vec!["".into(), "c".into()]));
    assert!(fill(&["", "c"], Erasure::Impossible).is_err() && fill(&["ab", ""], Erasure::Impossible).is_err());
    // Nobody may commit to nothing: that could not be told from a loss.
    assert!(all[2].commitment.check(b"").is_err());
}

#[test]
fn a_descriptor_must_be_one_whatever_the_author_committed_to() {
    let slot = Slot::Descriptor { record: RecordId([1; 16]), version: 1 };
    let check = |bytes: &[u8]| {
        Commitment { slot, hash: Hash::of(&[bytes]), size: Size::AtMost(DESCRIPTOR_BYTES_MAX) }.check(bytes)
    };
    assert_eq!(check(&[[7; 16], [1; 16], [2; 16]].concat()), Ok(()));
    assert!(check(&[[7; 16], [2; 16], [1; 16]].concat()).is_err() && check(b"anything").is_err());
}
