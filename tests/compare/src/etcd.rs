//! Three nodes of etcd with its defaults, and puts of new keys over gRPC.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_prost::ProstCodec;

use crate::Load;
use crate::certificates::Certificates;
use crate::measure::{Figures, Observed, WARM_UP, quantile};
use crate::programs::{Server, find, free_port};

const NODES: usize = 3;
/// As many as `consilium bench` has with 64 clients.
const CONNECTIONS: usize = 8;
const READY_WITHIN: Duration = Duration::from_secs(30);
const KEY_BYTES: usize = 16;

/// etcdserverpb.PutRequest, as far as it is needed.
#[derive(Clone, PartialEq, prost::Message)]
struct Put {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// etcdserverpb.PutResponse, of which nothing is needed.
#[derive(Clone, PartialEq, prost::Message)]
struct Done {}

pub(crate) async fn measure(folder: &Path, load: Load) -> anyhow::Result<Figures> {
    let certificates = Certificates::make(folder, "load")?;
    let ports: Vec<[u16; 2]> = (0..NODES).map(|_| Ok([free_port()?, free_port()?])).collect::<anyhow::Result<_>>()?;
    let servers = ports.iter().enumerate().map(|(node, _)| start(folder, &certificates, &ports, node));
    let servers = servers.collect::<anyhow::Result<Vec<_>>>()?;
    let channels = (0..CONNECTIONS).map(|n| channel(&certificates, ports[n % NODES][0]));
    let channels = channels.collect::<anyhow::Result<Vec<_>>>()?;
    ready(&channels).await?;
    let pids: Vec<u32> = servers.iter().map(Server::pid).collect();
    run(&channels, &pids, load).await
}

fn start(folder: &Path, certificates: &Certificates, ports: &[[u16; 2]], node: usize) -> anyhow::Result<Server> {
    let url = |port: u16| format!("https://127.0.0.1:{port}");
    let cluster = ports.iter().enumerate().map(|(n, [_, peers])| format!("n{n}={}", url(*peers)));
    let cluster = cluster.collect::<Vec<_>>().join(",");
    let [clients, peers] = ports[node].map(url);
    let name = format!("n{node}");
    let mut command = Command::new(find("etcd")?);
    command.arg("--data-dir").arg(folder.join(&name)).args(["--name", &name]);
    command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &cluster, "--initial-cluster-state", "new", "--log-level", "error"]);
    for of in ["", "peer-"] {
        command.arg(format!("--{of}client-cert-auth"));
        command.arg(format!("--{of}trusted-ca-file")).arg(&certificates.ca);
        command.arg(format!("--{of}cert-file")).arg(&certificates.server.certificate);
        command.arg(format!("--{of}key-file")).arg(&certificates.server.key);
    }
    Server::start(command, &folder.join(format!("{name}.log")))
}

fn channel(certificates: &Certificates, port: u16) -> anyhow::Result<Channel> {
    let read = |path| std::fs::read(path);
    let identity = Identity::from_pem(read(&certificates.load.certificate)?, read(&certificates.load.key)?);
    let ca = Certificate::from_pem(read(&certificates.ca)?);
    let tls = ClientTlsConfig::new().ca_certificate(ca).identity(identity).domain_name("localhost");
    Ok(Endpoint::from_shared(format!("https://127.0.0.1:{port}"))?.tls_config(tls)?.connect_lazy())
}

async fn put(channel: &Channel, value: &Bytes) -> Result<(), tonic::Status> {
    let key: [u8; KEY_BYTES] = rand::random();
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(|e| tonic::Status::unavailable(e.to_string()))?;
    let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
    let message = Put { key: Bytes::copy_from_slice(&key), value: value.clone() };
    let codec = ProstCodec::<Put, Done>::default();
    client.unary(tonic::Request::new(message), path, codec).await.map(|_| ())
}

/// Waits until every node takes writes.
async fn ready(channels: &[Channel]) -> anyhow::Result<()> {
    let until = Instant::now() + READY_WITHIN;
    for channel in channels {
        while let Err(status) = put(channel, &Bytes::from_static(b"ready")).await {
            anyhow::ensure!(Instant::now() < until, "etcd takes no writes: {status}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

async fn run(channels: &[Channel], pids: &[u32], load: Load) -> anyhow::Result<Figures> {
    let value: Bytes = (0..load.bytes).map(|_| rand::random::<u8>()).collect::<Vec<_>>().into();
    let [measured, over] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let mut tasks = JoinSet::new();
    for number in 0..load.clients as usize {
        let channel = channels[number % channels.len()].clone();
        let (value, measured, over) = (value.clone(), Arc::clone(&measured), Arc::clone(&over));
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                put(&channel, &value).await?;
                if measured.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
                    latencies.push(begun.elapsed().as_secs_f64() * 1e3);
                }
            }
            Ok::<_, tonic::Status>(latencies)
        });
    }
    tokio::time::sleep(WARM_UP).await;
    measured.store(true, Ordering::Relaxed);
    let (begun, pids) = (Instant::now(), pids.to_vec());
    let observed = tokio::task::spawn_blocking(move || Observed::of(&pids, load.seconds)).await??;
    let seconds = begun.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    while let Some(latencies) = tasks.join_next().await {
        all.extend(latencies?.context("a put failed")?);
    }
    all.sort_by(f64::total_cmp);
    let per_second = all.len() as f64 / seconds;
    let each = observed.each(per_second);
    Ok(Figures { per_second, p50_ms: quantile(&all, 0.5), p99_ms: quantile(&all, 0.99), each })
}
