//! Keys of the authenticated state that this SDK asks proofs for; see
//! state.proto, validators.proto, governance.proto and genesis.proto. Numbers
//! are 8 bytes, big-endian.

fn numbered(prefix: u8, number: u64) -> Vec<u8> {
    [&[prefix][..], &number.to_be_bytes()].concat()
}

/// A member.
pub(crate) fn member(id: &str) -> Vec<u8> {
    [&[0x01], id.as_bytes()].concat()
}

/// A node.
pub(crate) fn node(raft_id: u64) -> Vec<u8> {
    numbered(0x02, raft_id)
}

/// The parameters in force.
pub(crate) fn parameters() -> Vec<u8> {
    vec![0x09]
}

/// The outcome of an election.
pub(crate) fn epoch(epoch: u64) -> Vec<u8> {
    numbered(0x0c, epoch)
}

/// A proposal.
pub(crate) fn proposal(number: u64) -> Vec<u8> {
    numbered(0x0f, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_rules() {
        assert_eq!(member("a.b"), b"\x01a.b");
        assert_eq!(node(258), [2, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(parameters(), [9]);
        assert_eq!(epoch(3), [12, 0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(proposal(256), [15, 0, 0, 0, 0, 0, 0, 1, 0]);
    }
}
