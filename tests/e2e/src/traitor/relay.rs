//! Both ends of a connection between nodes: TLS and the peer protocol ended on one side, and
//! begun anew on the other.

use std::sync::Arc;

use consilium_certs::tls::{ConsiliumClientVerifier, StaticTrust, server_config};
use consilium_grpc::peer_service_client::PeerServiceClient;
use consilium_grpc::peer_service_server::{PeerService, PeerServiceServer};
use consilium_proto::limits::PEER_MESSAGE_BYTES_MAX;
use consilium_proto::names::Role;
use consilium_proto::pb;
use futures::StreamExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

use super::Traitor;
use crate::raw::{Dial, trust_of};

/// Says whose ledger it is about, and who calls.
const METADATA: [&str; 2] = ["consilium-ledger-id", "consilium-raft-id"];

/// Takes a connection in the name of the node that is called, and makes another one to that
/// node in the name of the caller.
pub(super) async fn serve(traitor: Arc<Traitor>, stream: TcpStream, link: (usize, usize)) -> anyhow::Result<()> {
    let (caller, called) = link;
    let genesis = traitor.genesis()?;
    let verifier = ConsiliumClientVerifier::new(Arc::new(StaticTrust::new(trust_of(&genesis)?)), [Role::Node]);
    let tls = server_config(Arc::new(verifier), Arc::new(traitor.identity(called)?))?;
    stream.set_nodelay(true)?;
    let stream = TlsAcceptor::from(Arc::new(tls)).accept(stream).await?;
    let channel =
        Dial::new(&genesis, &traitor.identity(caller)?)?.connect_for_long(traitor.parties[called].peer).await?;
    let onward = PeerServiceClient::new(channel)
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
    let service = PeerServiceServer::new(Relay { traitor, link, onward })
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
    let incoming = futures::stream::iter([Ok::<_, std::io::Error>(stream)]);
    Ok(Server::builder().add_service(service).serve_with_incoming(incoming).await?)
}

struct Relay {
    traitor: Arc<Traitor>,
    link: (usize, usize),
    onward: PeerServiceClient<Channel>,
}

/// The same request with another body.
fn onward<T, U>(request: Request<T>, body: impl FnOnce(T) -> U) -> Request<U> {
    let (metadata, _, message) = request.into_parts();
    let mut onward = Request::new(body(message));
    for key in METADATA {
        if let Some(value) = metadata.get(key) {
            onward.metadata_mut().insert(key, value.clone());
        }
    }
    onward
}

fn same<T>(message: T) -> T {
    message
}

#[tonic::async_trait]
impl PeerService for Relay {
    async fn exchange(
        &self,
        request: Request<Streaming<pb::ExchangeRequest>>,
    ) -> Result<Response<pb::ExchangeResponse>, Status> {
        let (traitor, link) = (Arc::clone(&self.traitor), self.link);
        let passed = move |batches: Streaming<pb::ExchangeRequest>| {
            let whole = batches.take_while(|batch| std::future::ready(batch.is_ok()));
            whole.filter_map(move |batch| std::future::ready(batch.ok().map(|batch| traitor.pass(link, batch))))
        };
        self.onward.clone().exchange(onward(request, passed)).await
    }

    async fn forward(&self, request: Request<pb::ForwardRequest>) -> Result<Response<pb::ForwardResponse>, Status> {
        self.onward.clone().forward(onward(request, same)).await
    }

    async fn request_time_block(
        &self,
        request: Request<pb::RequestTimeBlockRequest>,
    ) -> Result<Response<pb::RequestTimeBlockResponse>, Status> {
        self.onward.clone().request_time_block(onward(request, same)).await
    }

    type FetchBlocksStream = Streaming<pb::FetchBlocksResponse>;

    async fn fetch_blocks(
        &self,
        request: Request<pb::FetchBlocksRequest>,
    ) -> Result<Response<Self::FetchBlocksStream>, Status> {
        self.onward.clone().fetch_blocks(onward(request, same)).await
    }

    async fn fetch_attachments(
        &self,
        request: Request<pb::FetchAttachmentsRequest>,
    ) -> Result<Response<pb::FetchAttachmentsResponse>, Status> {
        self.onward.clone().fetch_attachments(onward(request, same)).await
    }

    async fn get_certified_head(
        &self,
        request: Request<pb::GetCertifiedHeadRequest>,
    ) -> Result<Response<pb::GetCertifiedHeadResponse>, Status> {
        self.onward.clone().get_certified_head(onward(request, same)).await
    }
}
