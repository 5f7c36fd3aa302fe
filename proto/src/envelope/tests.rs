//! Contexts for the tests of this folder.

use super::*;

pub(super) fn example_context() -> EnvelopeContext {
    EnvelopeContext { ledger_id: [0x11; 32], record_id: [0x22; 16], version: 3 }
}

/// Every context that differs from `context` in one thing.
pub(super) fn other_contexts(context: EnvelopeContext) -> [EnvelopeContext; 3] {
    let mut others = [context; 3];
    others[0].ledger_id[31] ^= 1;
    others[1].record_id[0] ^= 1;
    others[2].version += 1;
    others
}
