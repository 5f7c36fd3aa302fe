//! Files that were cut, rearranged, flipped, or made up.

use proptest::prelude::*;

use super::*;

#[test]
fn incomplete_and_rearranged_archives_are_found() {
    let ledger = Ledger::usual();
    let whole = ledger.bytes();
    for cut in 0..whole.len() {
        assert!(verify(&whole[..cut], &ledger.genesis).failure.is_some(), "cut at {cut}");
    }
    let ledger = Ledger::across_epochs();
    let entries = ledger.entries();
    for i in 0..entries.len() {
        let mut without = entries.clone();
        without.remove(i);
        assert!(verify(&encode(without), &ledger.genesis).failure.is_some(), "without {i}");
        let mut doubled = entries.clone();
        doubled.insert(i, entries[i].clone());
        assert!(verify(&encode(doubled), &ledger.genesis).failure.is_some(), "doubled {i}");
        if i > 0 {
            let mut swapped = entries.clone();
            swapped.swap(i - 1, i);
            assert!(verify(&encode(swapped), &ledger.genesis).failure.is_some(), "swapped {i}");
        }
    }
    assert!(verify(&ledger.bytes(), &Ledger::new().genesis).failure.is_some(), "another ledger");
}

#[test]
fn hostile_lengths_reserve_nothing() {
    let after_magic = |bytes: &[u8]| {
        let file = [&MAGIC[..], bytes].concat();
        ArchiveReader::new(&file[..]).next_entry().unwrap_err()
    };
    assert_eq!(after_magic(&[0x80, 0x80, 0x80, 0x20]), ArchiveError::Truncated { entry: 0 });
    assert_eq!(after_magic(&[0x81, 0x80, 0x80, 0x20]), ArchiveError::Length { entry: 0 });
    assert_eq!(after_magic(&[0xff; 10]), ArchiveError::Length { entry: 0 });
    assert_eq!(after_magic(&[0x81, 0x00]), ArchiveError::Length { entry: 0 });
    assert_eq!(after_magic(&[0x00]), ArchiveError::Length { entry: 0 });
    assert_eq!(after_magic(&[0x80]), ArchiveError::Truncated { entry: 0 });
    assert_eq!(after_magic(&[0x02, 0x08, 0x01]), ArchiveError::Malformed { entry: 0 });
    assert_eq!(ArchiveReader::new(&b"CNSLARC2"[..]).next_entry(), Err(ArchiveError::NotAnArchive));
}

/// An archive without what is not part of the ledger: endorsements in its copy
/// of the genesis document; certificates (a flip can make one an unknown field,
/// which is to say, leave it out) and other observations; and who claims to have signed a transaction
/// that was refused before its signature mattered.
fn meaning(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = decode(bytes)?;
    for entry in &mut entries {
        match entry {
            Entry::Header(header) => header.genesis.as_mut()?.endorsements.clear(),
            Entry::Block(entry) => {
                entry.certificate = None;
                let block = entry.block.as_mut()?;
                block.observed_certificate = None;
                (block.observed_votes, block.observed_evidence) = Default::default();
            }
            Entry::Row(_) | Entry::End(_) => {}
        }
    }
    Some(entries)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Many flips per case: building a ledger is the slow part.
    #[test]
    fn no_flipped_bit_goes_unnoticed(seeds in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 40)) {
        let ledger = shared();
        let whole = &ledger.1;
        for (place, bit) in seeds {
            let mut changed = whole.clone();
            changed[place.index(whole.len())] ^= 1 << bit;
            let report = verify(&changed, &ledger.0);
            if report.failure.is_none() {
                // Then it was another spelling of the same messages.
                let differing = meaning(&changed).zip(meaning(whole)).and_then(|(a, b)| {
                    a.into_iter().zip(b).find(|(a, b)| a != b)
                });
                prop_assert_eq!(differing, None);
                prop_assert!(report.is_good());
            }
        }
    }

    #[test]
    fn hostile_archives_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let ledger = shared();
        let file = [&MAGIC[..], &bytes].concat();
        prop_assert!(verify(&file, &ledger.0).failure.is_some());
    }
}

/// A ledger and its archive, built once.
fn shared() -> &'static (Genesis, Vec<u8>) {
    static LEDGER: std::sync::OnceLock<(Genesis, Vec<u8>)> = std::sync::OnceLock::new();
    LEDGER.get_or_init(|| {
        let ledger = Ledger::across_epochs();
        (ledger.genesis.clone(), ledger.bytes())
    })
}
