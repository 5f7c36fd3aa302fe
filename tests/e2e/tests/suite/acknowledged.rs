//! What a client was told is certified, everybody is told from then on.

use std::time::Duration;

use consilium_e2e::{Network, record};
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_proto::names::Role;
use consilium_proto::pb;

const WRITES: usize = 150;

/// A node that had executed a block and lacked its certificate once said that it was
/// pending, after another node had handed out the receipt.
#[test]
fn acknowledged_is_never_pending() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let mut readers = Vec::new();
        for node in &network.nodes {
            readers.push(LedgerServiceClient::new(user.channel(node)?));
        }
        for number in 0..WRITES {
            let sealed = record(&user.client, "patient", b"{}")?;
            let writer = user.at(&network.nodes[number % 4]).await?;
            let done = writer.submit(sealed.sign(&user.client)?, pb::WaitFor::Certified).await?;
            let asked = readers.iter_mut().map(|reader| {
                let transaction_id = done.transaction_id.to_bytes();
                let request = pb::GetTransactionRequest { transaction_id, ..Default::default() };
                let mut request = tonic::Request::new(request);
                request.set_timeout(Duration::from_secs(20));
                reader.get_transaction(request)
            });
            for answer in futures::future::join_all(asked).await {
                let answer = answer?.into_inner();
                assert_eq!(answer.status(), pb::TransactionStatus::Certified, "write {number}");
            }
        }
        Ok(())
    });
}
