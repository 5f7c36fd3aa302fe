//! What all nodes must decide alike is part of the protocol, whose version they agree on.

use consilium_ledger::PROTOCOL_VERSION;
use consilium_policy::ENGINE_VERSION;

/// Which engine decides under which version of the protocol. One that decides otherwise needs a
/// version of its own: a line is added, and none is changed, once blocks were made under it.
const ENGINES: [(u32, &str); 1] = [(1, "cedar-policy 4.14.1")];

#[test]
fn another_engine_needs_another_version_of_the_protocol() {
    assert_eq!(ENGINES.last(), Some(&(PROTOCOL_VERSION, ENGINE_VERSION)));
    assert!(ENGINES.is_sorted_by(|a, b| a.0 < b.0));
}
