//! Reading own records while the network certifies nothing. The request itself is the trial: it
//! is sent into the ledger as any other, and only if nothing becomes of it for a while is it
//! kept, durably, and answered by the state that is certified here, with what the reader's own
//! member wrote. What is kept is entered into the ledger by this node as soon as it can be,
//! also after a start, and marked late in the patient's log.

use std::io;
use std::time::Duration;

use consilium_ledger::keys;
use consilium_proto::error::FieldError;
use consilium_proto::ids::{TimeMs, TransactionId};
use consilium_proto::limits::LATE_VALIDITY_MIN_MS;
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{self, Outcome, SignerState};
use consilium_proto::signing::VerifyingKey;
use consilium_proto::transaction::Transaction;
use consilium_replica::submission::{Located, Refused, WaitFor};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::errors::Reason;
use super::{Api, Caller};
use crate::clock::now_ms;
use crate::contained;
use crate::storage::late_journal::LateJournal;
use crate::storage::snapshot::LedgerSnapshot;

/// How far the time that the reader names may be from this node's clock.
const CLOCKS_APART_MAX_MS: u64 = 5 * 60 * 1_000;
/// How often it is tried to enter what waits.
const PACE: Duration = Duration::from_secs(1);
/// Requests that are entered at once.
const AT_ONCE: usize = 64;
/// Looks into the journal, and writes that are waited for, at once.
pub(crate) const JOURNAL_AT_ONCE: usize = 8;
/// Raised while there are files of requests that the ledger does not take.
const REFUSED_ALARM: &str = "late_reads_refused";

impl Api {
    /// Tries to have a request decided as any other. `None`: nothing is certified, and it may be
    /// answered without. One that goes on with a page was tried before.
    pub(super) async fn tried(
        &self,
        caller: &Caller,
        transaction: &Transaction,
        (within, goes_on): (Duration, bool),
    ) -> Result<Option<Located>, Status> {
        self.check_late(caller, transaction)?;
        self.check_signature(transaction).await?;
        if self.published.is_quarantined() {
            return Err(Reason::Quarantined.status("this node has put itself aside; use another one"));
        }
        if goes_on && self.is_kept(transaction.id).await? {
            return Ok(None);
        }
        let patience =
            Some(self.limits.without_quorum_after).filter(|patience| !patience.is_zero() && *patience < within);
        let _place = self.admit(caller, transaction)?;
        let tried =
            self.handle.submit(&caller.id, transaction.clone(), WaitFor::Certified, patience.unwrap_or(within)).await;
        match tried {
            Ok(Ok(located)) => Ok(Some(located)),
            Ok(Err(Refused::TimedOut)) if patience.is_some() && caller.info.stands() => Ok(None),
            Ok(Err(refused)) => Err(self.refusal(&transaction.id, refused)),
            Err(stopping) => Err(Reason::NoLeader.status(stopping.to_string())),
        }
    }

    /// Whether a request is one that can be answered without a quorum.
    fn check_late(&self, caller: &Caller, transaction: &Transaction) -> Result<(), Status> {
        let own = self.node_name();
        let works = match caller.id.role() {
            Role::Service | Role::Clinician => true,
            Role::Node | Role::Admin | Role::Researcher | Role::Auditor | Role::Patient | Role::Device => false,
        };
        if !works || own.is_none_or(|own| own.member() != caller.id.member()) {
            let who = "without a quorum, nodes answer services and clinicians of their own member alone";
            return Err(Reason::PermissionDenied.status(who));
        }
        let refused =
            |field, problem: &'static str| Err(Reason::InvalidArgument.field(&FieldError::malformed(field, problem)));
        let now = now_ms().0;
        let late = transaction.access_request().and_then(|request| request.late);
        match late {
            Some(late) if transaction.actions.len() == 1 && late.0.abs_diff(now) <= CLOCKS_APART_MAX_MS => {}
            Some(_) | None => {
                return refused("transaction", "must hold one request for access with the present time as late_ms");
            }
        }
        if transaction.head.valid_until.0 < now.saturating_add(LATE_VALIDITY_MIN_MS) {
            return refused("transaction", "must be valid for twelve hours: it is entered into the ledger later");
        }
        Ok(())
    }

    fn node_name(&self) -> Option<SpiffeId> {
        self.published.topology().get().node(self.published.me()).map(|node| node.spiffe_id.clone())
    }

    /// Nobody else does it before the answer.
    async fn check_signature(&self, transaction: &Transaction) -> Result<(), Status> {
        let author = transaction.head.author;
        let read = move |ledger: &LedgerSnapshot<'_>| ledger.state::<SignerState>(&keys::signer(&author));
        let signer = self.read(read).await?;
        let key = signer.and_then(|signer| VerifyingKey::from_bytes(&signer.signing_key).ok());
        match key.is_some_and(|key| key.verify(&transaction.head.signing_bytes(), &transaction.signature).is_ok()) {
            true => Ok(()),
            false => Err(self.refusal(&transaction.id, Refused::BadSignature)),
        }
    }

    /// Keeps a request, durably.
    pub(super) async fn keep(&self, id: TransactionId, signed: pb::SignedTransaction) -> Result<(), Status> {
        let kept = self.journal(move |late| late.keep(&id, &signed)).await;
        kept.map_err(|error| {
            tracing::error!(error, "a request cannot be kept: it is not answered");
            Reason::Internal.status("the request could not be kept, so that nothing is handed out for it")
        })?;
        tracing::warn!(transaction = %id, "own records are read without a quorum; the request is kept for the ledger");
        Ok(())
    }

    /// Whether a request was kept, and is not on the ledger yet.
    async fn is_kept(&self, id: TransactionId) -> Result<bool, Status> {
        let kept = self.journal(move |late| Ok(late.has(&id))).await;
        kept.map_err(|error| Reason::Internal.status(error))
    }

    /// Enters what was kept into the ledger.
    async fn enter(&self) -> Result<(), String> {
        let waiting = self.journal(LateJournal::waiting).await?;
        metrics::gauge!("consilium_late_reads_waiting").set(waiting.len() as f64);
        for some in waiting.chunks(AT_ONCE) {
            let ids = some.to_vec();
            let read = move |late: &LateJournal| {
                let read = ids.into_iter().map(|id| Ok(late.read(&id)?.map(|signed| (id, signed))));
                read.filter_map(io::Result::transpose).collect::<io::Result<Vec<_>>>()
            };
            let requests = self.journal(read).await?;
            let entered = join_all(requests.iter().map(|(_, signed)| self.enter_one(signed))).await;
            let none = !entered.is_empty() && entered.iter().all(|entered| *entered == Entered::NoAnswer);
            for ((id, _), entered) in requests.into_iter().zip(entered) {
                self.settle(id, entered).await?;
            }
            // As long as there is no quorum, none of the others comes in, either.
            if none {
                break;
            }
        }
        let aside = self.journal(LateJournal::aside).await?;
        match aside {
            0 => self.alarms.clear(REFUSED_ALARM),
            files => self.alarms.raise(
                REFUSED_ALARM,
                format!("{files} reads without a quorum are in no patient's log: see data_dir/late, tell the privacy officer"),
            ),
        }
        Ok(())
    }

    async fn settle(&self, id: TransactionId, entered: Entered) -> Result<(), String> {
        let why = match entered {
            Entered::NotYet | Entered::NoAnswer => return Ok(()),
            Entered::Applied => {
                self.journal(move |late| late.forget(&id)).await?;
                tracing::info!(transaction = %id, "a read without a quorum is on the ledger now");
                return Ok(());
            }
            Entered::Never(why) => why,
        };
        let file = self.journal(move |late| late.set_aside(&id)).await?;
        metrics::counter!("consilium_late_reads_refused_total").increment(1);
        tracing::error!(transaction = %id, why, file = %file.display(),
            "a read without a quorum cannot be entered into the ledger: tell the privacy officer");
        Ok(())
    }

    /// Does something with the journal, away from the workers of the runtime.
    async fn journal<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LateJournal) -> io::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let late = self.late.clone();
        let done = contained::blocking_in(&self.shared.journal, move || work(&late)).await;
        done.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    /// By the ledger's own time and rules alone: this node's clock may have been mended since.
    async fn enter_one(&self, signed: &pb::SignedTransaction) -> Entered {
        let transaction = match Transaction::parse(signed, self.ledger_id()) {
            Ok(transaction) => transaction,
            Err(error) => return Entered::Never(error.to_string()),
        };
        let (Some(node), None) = (self.node_name(), self.published.status().skew) else { return Entered::NotYet };
        let until = transaction.head.valid_until;
        match self.handle.submit(&node, transaction, WaitFor::Certified, self.limits.request_timeout).await {
            Ok(Ok(located)) if located.outcome == Outcome::Applied => Entered::Applied,
            Ok(Ok(located)) => Entered::Never(located.outcome.as_str_name().to_owned()),
            Ok(Err(refused)) if refused == Refused::BadSignature || self.is_past(until) => {
                Entered::Never(format!("{refused:?}"))
            }
            Ok(Err(Refused::TimedOut)) | Err(_) => Entered::NoAnswer,
            Ok(Err(_)) => Entered::NotYet,
        }
    }

    /// Whether the certified ledger has passed a validity.
    fn is_past(&self, until: TimeMs) -> bool {
        self.published.certified().is_some_and(|certified| certified.header.time > until)
    }
}

/// What became of a request that was kept.
#[derive(Debug, PartialEq, Eq)]
enum Entered {
    /// It is in the log.
    Applied,
    /// The ledger will never take it.
    Never(String),
    /// To be tried again: the node has no room, or its author has asked too often. Others come in.
    NotYet,
    /// To be tried again: nothing was certified.
    NoAnswer,
}

/// Enters what was kept, from the start on, until the node ends.
pub(crate) async fn enter_all(api: Api, stopping: CancellationToken) {
    loop {
        if let Err(error) = api.enter().await {
            tracing::error!(error, "reads without a quorum cannot be entered into the ledger");
        }
        tokio::select! {
            () = tokio::time::sleep(PACE) => {}
            () = stopping.cancelled() => return,
        }
    }
}
