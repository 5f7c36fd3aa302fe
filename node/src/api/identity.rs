//! `IdentityService`.

use consilium_grpc::identity_service_server::IdentityService;
use consilium_ledger::lookup;
use consilium_proto::error::FieldError;
use consilium_proto::pb;
use tonic::{Request, Response, Status};

use super::Api;
use super::errors::Reason;
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;
use consilium_replica::submission::WaitFor;

#[tonic::async_trait]
impl IdentityService for Api {
    async fn enroll(&self, request: Request<pb::EnrollRequest>) -> Result<Response<pb::EnrollResponse>, Status> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let transaction = self.parse(request.get_ref().transaction.as_ref())?;
        if transaction.enrollment().is_none() {
            let error = FieldError::malformed("transaction.body.actions", "must be one enroll_identity action");
            return Err(Reason::InvalidArgument.field(&error));
        }
        Self::check_enrollment(&caller, &transaction)?;
        let id = transaction.id;
        let located = self.execute(&caller, transaction, WaitFor::Certified, within).await?;
        Ok(Response::new(pb::EnrollResponse {
            transaction_id: id.to_bytes(),
            height: located.height.0,
            outcome: located.outcome as i32,
        }))
    }

    async fn get_identity(
        &self,
        request: Request<pb::GetIdentityRequest>,
    ) -> Result<Response<pb::GetIdentityResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        if request.spiffe_id.parse::<consilium_proto::names::SpiffeId>().is_err() {
            let error = FieldError::malformed("spiffe_id", "is not spiffe://<member>/<role>/<name>");
            return Err(Reason::InvalidArgument.field(&error));
        }
        self.freshen(request.read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            lookup::identity(ledger, &request.spiffe_id).map_err(|e| StorageError::corrupt("state", e))
        };
        let found = self.read(read).await?;
        found.map(Response::new).ok_or_else(|| Reason::NotFound.status("this identity is not enrolled"))
    }
}
