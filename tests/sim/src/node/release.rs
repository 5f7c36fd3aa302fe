//! What a node hands out for a request for access, as the daemon's `ReadRecords` does once the
//! request has its outcome. What may leave is decided by the product ([`open`]).

use consilium_ledger::keys;
use consilium_ledger::rights::{Claim, open};
use consilium_proto::ids::{Fingerprint, Height, TransactionId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{AccessEvent, MemberState, MemberStatus, Outcome, RecordState, SignerState};
use consilium_proto::transaction::Transaction;

use super::Node;
use crate::bugs::Bug;
use crate::env::{Env, Halt};
use crate::host::Host;
use crate::invariants::i30_released::Release;

impl Node {
    /// A request for access has its outcome: whoever made it is given what it permits.
    pub(super) fn release(
        &self,
        host: &Host,
        env: &mut Env,
        (transaction, author): (TransactionId, Fingerprint),
        outcome: Outcome,
    ) -> Result<(), Halt> {
        let Some(reader) = name_of(host, &author).filter(|_| outcome == Outcome::Applied) else { return Ok(()) };
        // The bug: what is executed counts as certified.
        let certified = if env.has(Bug::ReleaseAtOrdered) { self.height() } else { self.certified() };
        let Some(time) = host.disk.ledger.borrow().tip().map(|(_, tip)| tip.header.time) else { return Ok(()) };
        let claim = Claim { transaction, author, reader: &reader, certified, time };
        let opened = open(&host.disk.ledger_port(), &claim).map_err(|fault| Halt::Fault(fault.to_string()))?;
        match opened {
            Ok(opened) if opened.permits() => hand_out(host, env, transaction, &reader, Some(opened.event)),
            Ok(_) => env.stats.count("requests that opened nothing"),
            Err(_) => env.stats.count("requests not answered any more"),
        }
        Ok(())
    }

    /// The bug: staff of the member that wrote the record is given it without being logged.
    pub(super) fn release_to_own_staff(&self, host: &Host, env: &mut Env, transaction: &Transaction) -> bool {
        let Some(asked) = transaction.access_request().filter(|_| env.has(Bug::OwnStaffUnlogged)) else { return false };
        let Some(reader) = name_of(host, &transaction.head.author) else { return false };
        let record = asked.records.first().map(|version| version.record);
        let record = record.and_then(|id| host.disk.ledger.borrow().message::<RecordState>(&keys::record(&id)));
        let own = record.is_some_and(|record| record.member == reader.member().as_str());
        if own {
            hand_out(host, env, transaction.id, &reader, None);
        }
        own
    }
}

/// Contents leave the node.
fn hand_out(host: &Host, env: &mut Env, id: TransactionId, reader: &SpiffeId, event: Option<AccessEvent>) {
    env.stats.count("contents handed out");
    if !host.honest() {
        return;
    }
    let ledger = host.disk.ledger.borrow();
    let member: Option<MemberState> = ledger.message(&keys::member(reader.member().as_str()));
    let time = ledger.tip().map(|(_, tip)| tip.header.time).unwrap_or_default();
    env.oracle.released(Release {
        node: host.node,
        transaction: id,
        reader: reader.to_string(),
        event,
        certified: ledger.newest_certified().map_or(Height::GENESIS, |certified| certified.header.height),
        time,
        is_active: member.is_some_and(|member| member.status == MemberStatus::Active as i32),
    });
}

/// Whose key it is, as far as this node knows.
fn name_of(host: &Host, author: &Fingerprint) -> Option<SpiffeId> {
    let signer: Option<SignerState> = host.disk.ledger.borrow().message(&keys::signer(author));
    signer?.spiffe_id.parse().ok()
}
