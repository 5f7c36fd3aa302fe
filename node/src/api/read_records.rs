//! `RecordsService.ReadRecords`: a request for access goes through the ledger like every
//! transaction, and what the rules permitted is released once its event is certified here, and
//! never before (guarantee G6), but for what `late` is about. A node decides nothing of what is
//! read: of a query and a history, it leaves out by the very functions that the rules decide with.

use std::sync::Arc;
use std::time::Duration;

use consilium_ledger::keys;
use consilium_ledger::rights::{Claim, Withheld};
use consilium_proto::error::FieldError;
use consilium_proto::header::Header;
use consilium_proto::ids::{Fingerprint, Height, TransactionId};
use consilium_proto::limits::ACCESS_RECORDS_MAX;
use consilium_proto::pb::{self, AccessKind, Outcome, SignerState};
use consilium_proto::transaction::{RequestAccess, Transaction};
use consilium_replica::submission::WaitFor;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::errors::{Reason, refused_by_rules};
use super::query::Query;
use super::reading::in_lane;
use super::release::{Page, Place, Released, answer, answer_late, awaits_wrap};
use super::turns::Turn;
use super::{Api, Caller};
use crate::clock::now_ms;
use crate::contained::Held;
use crate::storage::snapshot::LedgerSnapshot;

const OTHERS_REQUEST: &str = "a request for access must be by the identity of its connection";
/// Whether there was nothing, or nothing for the reader, is not to be told by how long it took to
/// find out: longer than answers take, and short for who looks at a screen.
const EMPTY_ANSWER: Duration = Duration::from_millis(250);
const FALLEN: &str = "the identity certificate is not accepted any more";
const WAIT_FOR_KEY_MAX_MS: u32 = 30_000;

impl Api {
    pub(super) async fn read_permitted(
        &self,
        request: Request<pb::ReadRecordsRequest>,
    ) -> Result<Response<pb::ReadRecordsResponse>, Status> {
        let arrived = Instant::now();
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let mut request = request.into_inner();
        let transaction = self.parse(request.transaction.as_ref())?;
        // The request says all of what is asked for: of a query, it holds the hash.
        let (list, asked) = (("ReadRecords", &caller.id), transaction.id.to_bytes());
        let (pages, place) = self.shared.pages.open_bytes(list, &asked, &request.page_token)?;
        request.page_token = place;
        let (by, urgency) = (caller.id.clone(), transaction.urgency());
        let answer = self.answer_read((caller, request), transaction, (arrived, within));
        let mut response = in_lane(&by, urgency, answer).await?;
        let next = pages.next(&response.get_ref().next_page_token)?;
        response.get_mut().next_page_token = next;
        Ok(response)
    }

    async fn answer_read(
        &self,
        (caller, request): (Caller, pb::ReadRecordsRequest),
        transaction: Transaction,
        (arrived, within): (Instant, Duration),
    ) -> Result<Response<pb::ReadRecordsResponse>, Status> {
        let refused = |e| Reason::InvalidArgument.field(&e);
        let asked = transaction.access_request().cloned();
        let asked =
            asked.ok_or_else(|| refused(FieldError::malformed("transaction", "holds no request for access")))?;
        let query = Query::parse(&request, &asked).map_err(refused)?;
        // That of a query says something else.
        let from = if query.is_some() { Ok(Place::default()) } else { Place::parse(&request.page_token) };
        let from = from.map_err(refused)?;
        let patience = patience(&request).map_err(refused)?.min(within);
        self.check_author(&caller, &transaction).await?;
        let (id, author) = (transaction.id, transaction.head.author);
        let located = match request.without_quorum {
            false => self.execute(&caller, transaction, WaitFor::Certified, within).await?,
            true => match self.tried(&caller, &transaction, (within, from != Place::default())).await? {
                Some(located) => located,
                None => {
                    let signed = request.transaction.unwrap_or_default();
                    return self.read_late(caller, (transaction, signed), (asked, from), (arrived, within)).await;
                }
            },
        };
        if located.outcome != Outcome::Applied {
            return Err(refused_by_rules(located.outcome, &id, located.height));
        }
        let question = Arc::new(Question { caller, id, author, asked, query, from });
        let (released, header, turn) = self.released(question, Instant::now() + patience, within).await?;
        let Released { records, next_page_token, missing, .. } = released;
        if let Some(height) = missing {
            let _ = self.handle.attachment_missed(height).await;
            return Err(Reason::Behind.status("an attachment of a record is not on this node; another one has it"));
        }
        let header = Some((&self.prove_header(header, within).await?).into());
        let answer = pb::ReadRecordsResponse { height: located.height.0, records, header, next_page_token };
        Ok(sent(answer, turn, arrived).await)
    }

    /// What is released, with the header of the state that it was read in. A key that a custodian
    /// still has to wrap is waited for: at each block only that is looked for, and the answer is
    /// made anew once it is there.
    async fn released(
        &self,
        question: Arc<Question>,
        until: Instant,
        within: Duration,
    ) -> Result<(Released, Header, Turn), Status> {
        let mut applied = self.published.watch_applied();
        loop {
            applied.borrow_and_update();
            let turn = self.shared.turns.take(&question.caller.id, within).await?;
            let (released, header) = self.release_now(Arc::clone(&question)).await?;
            turn.charge(cost(&question.asked, &released));
            if !released.awaits_wrap || Instant::now() >= until {
                return Ok((released, header, turn));
            }
            // What waits takes no memory, and no turn.
            drop((released, turn));
            while let Ok(changed) = timeout_at(until, applied.changed()).await {
                changed.map_err(|_| Reason::NoLeader.status("this node is stopping"))?;
                let (question, certified) = (Arc::clone(&question), self.published.certified_height());
                let awaits = move |ledger: &LedgerSnapshot<'_>| {
                    awaits_wrap(ledger, &question.claim(certified, ledger), &question.asked)
                };
                if !self.read(awaits).await? {
                    break;
                }
            }
        }
    }

    async fn release_now(&self, question: Arc<Question>) -> Result<(Released, Header), Status> {
        if !question.caller.info.stands() {
            return Err(refuse(Withheld::NotStanding));
        }
        // Before the snapshot is taken: what it certifies is in it.
        let certified = self.published.certified_height();
        let work = move |ledger: &LedgerSnapshot<'_>| {
            let claim = question.claim(certified, ledger);
            let page = Page { query: question.query.as_ref(), from: question.from };
            Ok((answer(ledger, &claim, &question.asked, page)?, ledger.tip_header().clone()))
        };
        let (released, header) = self.read(work).await?;
        Ok((released.map_err(refuse)?, header))
    }

    /// What is read without a quorum. It leaves once the request is kept.
    async fn read_late(
        &self,
        caller: Caller,
        (transaction, signed): (Transaction, pb::SignedTransaction),
        (asked, from): (RequestAccess, Place),
        (arrived, within): (Instant, Duration),
    ) -> Result<Response<pb::ReadRecordsResponse>, Status> {
        let turn = self.shared.turns.take(&caller.id, within).await?;
        let certified = self.published.certified_height();
        let (id, author) = (transaction.id, transaction.head.author);
        let work = move |ledger: &LedgerSnapshot<'_>| {
            let tip = ledger.tip_header().clone();
            let time = tip.time.max(now_ms());
            let claim = Claim { transaction: id, author, reader: &caller.id, certified, time };
            let released = answer_late(ledger, &claim, &asked, from)?;
            Ok((released.map(|released| (cost(&asked, &released), released)), tip))
        };
        let (released, header) = self.read(work).await?;
        let (cost, released) = released.map_err(refuse)?;
        turn.charge(cost);
        // What is executed and not certified might still be nothing: it is not decided by.
        if header.height > certified {
            return Err(refuse(Withheld::NoEvent));
        }
        if released.missing.is_some() {
            return Err(Reason::Behind.status("an attachment of a record is not on this node; another one has it"));
        }
        let header = Some((&self.prove_header(header, within).await?).into());
        // Before anything leaves, and for what is denied, too: probing is in the log as ever.
        self.keep(id, signed).await?;
        let Released { records, next_page_token, .. } = released;
        Ok(sent(pb::ReadRecordsResponse { height: 0, records, header, next_page_token }, turn, arrived).await)
    }

    /// A request is made by the identity of its connection: nobody else gets the answer.
    async fn check_author(&self, caller: &Caller, transaction: &Transaction) -> Result<(), Status> {
        let (author, name): (Fingerprint, String) = (transaction.head.author, caller.id.to_string());
        let read = move |ledger: &LedgerSnapshot<'_>| ledger.state::<SignerState>(&keys::signer(&author));
        match self.read(read).await? {
            Some(signer) if signer.spiffe_id == name => Ok(()),
            Some(_) => Err(refuse(Withheld::NotTheReaders)),
            None => {
                Err(Reason::UnknownAuthor.status("nobody with the author's fingerprint is enrolled on this ledger"))
            }
        }
    }
}

fn refuse(withheld: Withheld) -> Status {
    match withheld {
        Withheld::NoEvent => Reason::NotCertified.status("the event of the request is not certified here (yet)"),
        Withheld::NotTheReaders => Reason::PermissionDenied.status(OTHERS_REQUEST),
        Withheld::NotStanding => Reason::IdentityRefused.status(FALLEN),
        Withheld::Ended => Reason::ReleaseEnded.status("the request is too old to be answered; make a new one"),
    }
}

/// How long the caller waits for a key.
fn patience(request: &pb::ReadRecordsRequest) -> Result<Duration, FieldError> {
    match request.wait_for_key_ms {
        ms if ms > WAIT_FOR_KEY_MAX_MS => {
            Err(FieldError::range("wait_for_key_ms", 0, WAIT_FOR_KEY_MAX_MS.into(), ms.into()))
        }
        ms => Ok(Duration::from_millis(ms.into())),
    }
}

/// What an answer costs whoever has it made, in records: nothing that tells how much was hidden.
fn cost(asked: &RequestAccess, released: &Released) -> usize {
    match asked.kind {
        AccessKind::Query | AccessKind::History => ACCESS_RECORDS_MAX,
        AccessKind::Read
        | AccessKind::Export
        | AccessKind::Disclosure
        | AccessKind::Change
        | AccessKind::Unspecified => released.records.len(),
    }
}

/// An answer with records holds its turn until its reader has it.
async fn sent(answer: pb::ReadRecordsResponse, turn: Turn, arrived: Instant) -> Response<pb::ReadRecordsResponse> {
    let is_empty = answer.records.is_empty();
    let mut response = Response::new(answer);
    match is_empty {
        true => {
            drop(turn);
            tokio::time::sleep(until_empty_answer(arrived.elapsed())).await;
        }
        false => drop(response.extensions_mut().insert(Held::new(turn))),
    }
    response
}

/// An answer without a record goes out at a multiple of [`EMPTY_ANSWER`] after its request came.
fn until_empty_answer(taken: Duration) -> Duration {
    let begun = taken.as_nanos() % EMPTY_ANSWER.as_nanos();
    EMPTY_ANSWER - Duration::from_nanos(u64::try_from(begun).unwrap_or_default())
}

/// What a caller asks for, once its request is certified.
struct Question {
    caller: Caller,
    id: TransactionId,
    author: Fingerprint,
    asked: RequestAccess,
    query: Option<Query>,
    /// Where the page begins, if it is none of a query.
    from: Place,
}

impl Question {
    fn claim(&self, certified: Height, ledger: &LedgerSnapshot<'_>) -> Claim<'_> {
        let Self { caller, id, author, .. } = self;
        Claim { transaction: *id, author: *author, reader: &caller.id, certified, time: ledger.tip_header().time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_answer_goes_out_at_a_multiple_of_its_time() {
        let until = |ms| until_empty_answer(Duration::from_millis(ms)).as_millis();
        assert_eq!([0, 1, 249, 250, 251, 700].map(until), [250, 249, 1, 250, 249, 50]);
    }
}
