//! `PatientsService`: pseudonyms for those who write records.

use consilium_grpc::patients_service_server::PatientsService;
use consilium_ledger::lookup::resolve_patient;
use consilium_ledger::{Table, keys};
use consilium_proto::error::length_in;
use consilium_proto::ids::SearchTag;
use consilium_proto::limits::{RESOLVE_TAGS_MAX, RESOLVED_MAX};
use consilium_proto::pb;
use tonic::{Request, Response, Status};

use super::Api;
use super::errors::Reason;
use crate::access::{self, What, decide};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

#[tonic::async_trait]
impl PatientsService for Api {
    async fn resolve_patients(
        &self,
        request: Request<pb::ResolvePatientsRequest>,
    ) -> Result<Response<pb::ResolvePatientsResponse>, Status> {
        let caller = Self::caller(&request)?;
        if !decide(&access::Request { reader: &caller.id, what: What::Lookup }).allows() {
            let who = "only services, clinicians and devices may find patients by identifiers";
            return Err(Reason::PermissionDenied.status(who));
        }
        let within = self.time_left(&request);
        let request = request.into_inner();
        let refused = |e| Reason::InvalidArgument.field(&e);
        length_in("tags", request.tags.len(), 1, RESOLVE_TAGS_MAX).map_err(refused)?;
        let tags = request.tags.iter().map(|tag| SearchTag::parse("tags", tag));
        let tags = tags.collect::<Result<Vec<_>, _>>().map_err(refused)?;
        self.freshen(request.read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let mut found = Vec::new();
            for prefix in tags.iter().map(keys::index_lookup) {
                for row in ledger.scan(Table::Index, &prefix, &prefix).take(RESOLVED_MAX) {
                    let resolved = resolve_patient(ledger, &row?.0);
                    found.push(resolved.map_err(|e| StorageError::corrupt("patient", e))?);
                }
            }
            Ok((found, ledger.tip_header().clone()))
        };
        let (found, header) = self.read(read).await?;
        let header = Some((&self.prove_header(header, within).await?).into());
        Ok(Response::new(pb::ResolvePatientsResponse { found, header }))
    }
}
