//! `LedgerService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_grpc::ledger_service_server::LedgerService;
use consilium_ledger::tree::Tree;
use consilium_ledger::{Table, state_map};
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, TimeMs, TransactionId};
use consilium_proto::merkle::prove_consistency;
use consilium_proto::pb;
use consilium_proto::state_tree::{KeyHash, StateProof};
use consilium_proto::transaction;
use consilium_proto::vote::CertifiedHeader;
use consilium_replica::submission::WaitFor;
use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::blocks::Shown;
use super::errors::{self, Reason};
use super::reading::in_lane;
use super::streams::{self, Outlet};
use super::submit::{validators_of, wait_for};
use super::{Api, Caller};
use crate::access::{self, Decision, What};
use crate::clock::now_ms;
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

type Answer<T> = Result<Response<T>, Status>;
type Stream1<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Transactions of one stream under way at once.
const STREAM_IN_FLIGHT_MAX: usize = 256;

#[tonic::async_trait]
impl LedgerService for Api {
    async fn submit(&self, request: Request<pb::SubmitRequest>) -> Answer<pb::SubmitResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        self.submitted(&caller, &request.into_inner(), within).await.map(Response::new)
    }

    type SubmitStreamStream = Stream1<pb::SubmitStreamResponse>;

    async fn submit_stream(
        &self,
        request: Request<Streaming<pb::SubmitStreamRequest>>,
    ) -> Answer<Self::SubmitStreamStream> {
        let caller = Self::caller(&request)?;
        let api = self.clone();
        let answers = request
            .into_inner()
            .enumerate()
            .map(move |(sequence, item)| {
                let (api, caller) = (api.clone(), caller.clone());
                async move { api.submit_one(&caller, sequence as u64, item?).await }
            })
            .buffer_unordered(STREAM_IN_FLIGHT_MAX);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_transaction(&self, request: Request<pb::GetTransactionRequest>) -> Answer<pb::GetTransactionResponse> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let id = transaction_id(&request.transaction_id)?;
        self.freshen(request.read.as_ref(), within).await?;
        let valid_until = TimeMs(request.valid_until_ms);
        if request.read.as_ref().and_then(|read| read.consistency).is_none() {
            self.wait_certified(id, within / 2).await?;
        }
        let mut status = self.transaction_status(id, valid_until).await?;
        let past = valid_until.0 != 0 && now_ms() > valid_until;
        if status.status == pb::TransactionStatus::Pending as i32 && past {
            // Only a later certified block proves that it can never execute.
            self.advance_time(valid_until).await;
            let mut certified = self.published.watch_certified();
            let patience = within.min(Duration::from_secs(5));
            let passed = |c: &Option<Arc<CertifiedHeader>>| c.as_ref().is_some_and(|c| c.header.time > valid_until);
            let _ = tokio::time::timeout(patience, certified.wait_for(passed)).await;
            status = self.transaction_status(id, valid_until).await?;
        }
        Ok(Response::new(status))
    }

    async fn get_receipt(&self, request: Request<pb::GetReceiptRequest>) -> Answer<pb::GetReceiptResponse> {
        let caller = Self::caller(&request)?;
        let request = request.into_inner();
        let id = transaction_id(&request.transaction_id)?;
        let receipt = self.receipt(&caller, id).await?;
        let cose_receipts = match request.cose {
            true => {
                let epoch = receipt.head.header.epoch;
                let set = self.read(move |ledger| validators_of(ledger, epoch)).await?;
                receipt.cose_receipts(&set).into_iter().map(|(_, cose)| cose.into()).collect()
            }
            false => Vec::new(),
        };
        Ok(Response::new(pb::GetReceiptResponse { receipt: Some((&receipt).into()), cose_receipts }))
    }

    async fn get_head(&self, request: Request<pb::GetHeadRequest>) -> Answer<pb::GetHeadResponse> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        let height = self.freshen(request.into_inner().read.as_ref(), within).await?;
        let head = self.published.certified().as_ref().map(|c| c.as_ref().into());
        Ok(Response::new(pb::GetHeadResponse { head, applied_height: height.0 }))
    }

    type ListBlocksStream = Stream1<pb::ListBlocksResponse>;

    async fn list_blocks(&self, request: Request<pb::ListBlocksRequest>) -> Answer<Self::ListBlocksStream> {
        let caller = Self::caller(&request)?;
        let pb::ListBlocksRequest { from_height, to_height, headers_only } = request.into_inner();
        let shown = Shown::to(&caller, headers_only, self.ledger_id())?;
        let certified = self.published.certified_height().0;
        let last = if to_height == 0 { certified } else { to_height.min(certified) };
        let (api, heights) = (self.clone(), from_height..=last);
        let blocks = Outlet::open(caller, |outlet| streams::list(api, shown, heights, outlet));
        Ok(Response::new(Box::pin(blocks)))
    }

    type WatchStream = Stream1<pb::WatchResponse>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Answer<Self::WatchStream> {
        let caller = Self::caller(&request)?;
        let request = request.into_inner();
        let shown = Shown::to(&caller, request.headers_only, self.ledger_id())?;
        let (api, after) = (self.clone(), Height(request.after_height));
        let blocks = Outlet::open(caller, |outlet| streams::watch(api, shown, after, outlet));
        Ok(Response::new(Box::pin(blocks)))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<pb::GetConsistencyProofRequest>,
    ) -> Answer<pb::GetConsistencyProofResponse> {
        Self::caller(&request)?;
        let pb::GetConsistencyProofRequest { old_size, new_size } = request.into_inner();
        let head = self.published.certified();
        let head = head.ok_or_else(|| Reason::NotCertified.status("nothing is certified yet"))?;
        let size = if new_size == 0 { head.header.tree_size } else { new_size };
        if old_size == 0 || old_size > size {
            return Err(Reason::InvalidArgument.field(&FieldError::range("old_size", 1, size, old_size)));
        }
        if size > head.header.tree_size {
            return Err(Reason::NotCertified.status("no certified tree has as many leaves (yet)"));
        }
        let read = move |ledger: &LedgerSnapshot<'_>| {
            prove_consistency(&Tree::new(ledger), old_size, size).map_err(|e| StorageError::corrupt("tree", e))
        };
        let proof = self.read(read).await?;
        Ok(Response::new(pb::GetConsistencyProofResponse {
            path: proof.path().iter().map(consilium_proto::hash::Hash::to_bytes).collect(),
            new_size: size,
            head: (new_size == 0).then(|| head.as_ref().into()),
        }))
    }

    async fn get_state(&self, request: Request<pb::GetStateRequest>) -> Answer<pb::GetStateResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        self.freshen(request.read.as_ref(), within).await?;
        // Which kinds of rows there are is no secret: this says why.
        match access::decide(&access::Request { reader: &caller.id, what: What::StateRow { key: &request.key } }) {
            Decision::Deny(_) => return Err(Reason::PermissionDenied.status("this key is not for the caller")),
            Decision::Allow(_) => {}
        }
        let (value, proof, header) = self.read(move |ledger| prove_state(ledger, &request.key)).await?;
        let header = Some((&self.prove_header(header, within).await?).into());
        Ok(Response::new(pb::GetStateResponse { value, proof: proof.encode().into(), header }))
    }

    async fn get_genesis(&self, request: Request<pb::GetGenesisRequest>) -> Answer<pb::GetGenesisResponse> {
        Self::caller(&request)?;
        let genesis = prost::Message::decode(self.genesis_bytes.clone())
            .map_err(|e| errors::storage(&StorageError::corrupt("genesis", e)))?;
        Ok(Response::new(pb::GetGenesisResponse { genesis: Some(genesis) }))
    }
}

impl Api {
    /// Has a transaction executed, and answers with what became of it.
    async fn submitted(
        &self,
        caller: &Caller,
        request: &pb::SubmitRequest,
        within: Duration,
    ) -> Result<pb::SubmitResponse, Status> {
        let transaction = self.parse(request.transaction.as_ref())?;
        Self::check_enrollment(caller, &transaction)?;
        let (id, urgency) = (transaction.id, transaction.urgency());
        let wait = wait_for(request.wait_for)?;
        let wants_receipt = wait == WaitFor::Certified && !request.omit_receipt;
        let executed = async {
            let located = self.execute(caller, transaction, wait, within).await?;
            let receipt = match wants_receipt {
                true => Some((&self.unsigned_receipt(id).await?).into()),
                false => None,
            };
            Ok::<_, Status>((located, receipt))
        };
        let (located, receipt) = in_lane(&caller.id, urgency, executed).await?;
        let (height, outcome) = (located.height.0, located.outcome as i32);
        Ok(pb::SubmitResponse { transaction_id: id.to_bytes(), height, outcome, receipt })
    }

    async fn submit_one(
        &self,
        caller: &Caller,
        sequence: u64,
        item: pb::SubmitStreamRequest,
    ) -> Result<pb::SubmitStreamResponse, Status> {
        use pb::submit_stream_response::{Executed, Failure, Result as Outcome};
        if !caller.info.stands() {
            return Err(Caller::fallen());
        }
        let pb::SubmitStreamRequest { transaction, wait_for, with_receipt } = item;
        let request = pb::SubmitRequest { transaction, wait_for, omit_receipt: !with_receipt };
        let (transaction_id, result) = match self.submitted(caller, &request, self.limits.request_timeout).await {
            Ok(pb::SubmitResponse { transaction_id, height, outcome, receipt }) => {
                (transaction_id, Outcome::Executed(Executed { height, outcome, receipt }))
            }
            Err(status) => {
                let id = request.transaction.as_ref().and_then(|tx| transaction::transaction_id(tx).ok());
                let failure = Failure {
                    code: status.code() as i32,
                    reason: reason_of(&status),
                    message: status.message().to_owned(),
                    details: Bytes::copy_from_slice(status.details()),
                };
                (id.map(|id| id.to_bytes()).unwrap_or_default(), Outcome::Failure(failure))
            }
        };
        Ok(pb::SubmitStreamResponse { transaction_id, sequence, result: Some(result) })
    }

    /// What is executed here may have been acknowledged elsewhere, by who has the
    /// certificate already: to whoever reads after that, it is not pending.
    async fn wait_certified(&self, id: TransactionId, within: Duration) -> Result<(), Status> {
        if let Some(located) = self.locate(id).await? {
            let mut certified = self.published.watch_certified();
            let covers =
                |c: &Option<Arc<CertifiedHeader>>| c.as_ref().is_some_and(|c| c.header.height >= located.height);
            // In vain where nothing is certified any more; it is pending then.
            let _ = tokio::time::timeout(within, certified.wait_for(covers)).await;
        }
        Ok(())
    }

    async fn transaction_status(
        &self,
        id: TransactionId,
        valid_until: TimeMs,
    ) -> Result<pb::GetTransactionResponse, Status> {
        let answer = |status: pb::TransactionStatus, height: u64, outcome: i32| pb::GetTransactionResponse {
            status: status as i32,
            height,
            outcome,
        };
        let certified = self.published.certified();
        let located = self.locate(id).await?;
        let (height, time) = certified.map_or((Height::GENESIS, TimeMs(0)), |c| (c.header.height, c.header.time));
        Ok(match located {
            Some(l) if l.height <= height => answer(pb::TransactionStatus::Certified, l.height.0, l.outcome as i32),
            // The certified chain has passed its validity without it.
            None if valid_until.0 != 0 && time > valid_until => answer(pb::TransactionStatus::Expired, 0, 0),
            Some(_) | None => answer(pb::TransactionStatus::Pending, 0, 0),
        })
    }
}

fn reason_of(status: &Status) -> String {
    use tonic_types::StatusExt;
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn transaction_id(bytes: &[u8]) -> Result<TransactionId, Status> {
    fixed("transaction_id", bytes).map(TransactionId::from_bytes).map_err(|e| Reason::InvalidArgument.field(&e))
}

/// A row with its proof against the header of the snapshot.
pub(super) fn prove_state(
    ledger: &LedgerSnapshot<'_>,
    key: &[u8],
) -> Result<(Option<Bytes>, StateProof, Header), StorageError> {
    let proof = state_map::prove(ledger, &KeyHash::of(key)).map_err(|e| StorageError::corrupt("state tree", e))?;
    Ok((ledger.read(Table::State, key)?, proof, ledger.tip_header().clone()))
}
