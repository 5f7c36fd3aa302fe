#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn golden_bytes() {
    let state = HardState { term: Term(1), vote: RaftId::new(2), commit: LogIndex(0x0304) };
    let mut expected = vec![1];
    expected.extend([0, 0, 0, 0, 0, 0, 0, 1]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 2]);
    expected.extend([0, 0, 0, 0, 0, 0, 3, 4]);
    assert_eq!(state.encode().to_vec(), expected);
    assert_eq!(HardState::decode(&expected), Ok(state));
    expected.push(0);
    assert_eq!(HardState::decode(&expected), Err(DecodeError::Trailing { extra: 1 }));
}

proptest! {
    #[test]
    fn decode_is_total_and_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
        if let Ok(state) = HardState::decode(&bytes) {
            prop_assert_eq!(state.encode().to_vec(), bytes);
        }
    }
}
