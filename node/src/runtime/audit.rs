//! Looks at the attachments of blocks when the replica asks for it, away from its thread.

use consilium_proto::ids::LedgerId;
use consilium_replica::Input;
use consilium_replica::catch_up::{Audited, Run, audit};

use crate::handle::Handle;
use crate::storage::ledger_port::LedgerPort;

/// See the module.
#[derive(Clone)]
pub(super) struct Audits {
    ledger: LedgerPort,
    ledger_id: LedgerId,
    handle: Handle,
    runtime: tokio::runtime::Handle,
}

impl Audits {
    /// Of a ledger.
    pub(super) fn new(ledger: LedgerPort, ledger_id: LedgerId, handle: Handle) -> Self {
        Self { ledger, ledger_id, handle, runtime: tokio::runtime::Handle::current() }
    }

    /// Looks at blocks.
    pub(super) fn look(&self, run: Run) {
        let this = self.clone();
        self.runtime.spawn_blocking(move || {
            let audited = audit(&this.ledger, this.ledger_id, run).unwrap_or_else(|error| {
                // If it has rotten, whoever watches for that knows by now.
                tracing::error!(height = run.first.0, %error, "a stored block cannot be looked at");
                Audited::passed_over(run.first)
            });
            let _ = this.handle.report(Input::Audited { run, audited });
        });
    }
}
