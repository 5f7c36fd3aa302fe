//! Calls by path and bytes, as nobody's library makes them.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Messages as they are on the wire.
#[derive(Debug, Default, Clone, Copy)]
struct Bare;

impl Codec for Bare {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining())))
    }
}

/// Makes a call of any kind with one message, and hears what comes within a while: how many
/// messages there were.
///
/// # Errors
/// The status, if it is not OK.
pub async fn bare_call(channel: Channel, path: &str, message: Vec<u8>, within: Duration) -> Result<usize, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let path = path.parse().map_err(|_| Status::invalid_argument("the path is none"))?;
    let mut request = Request::new(futures::stream::iter([Bytes::from(message)]));
    request.set_timeout(within);
    let mut heard = 0;
    let listening = async {
        let mut answers = client.streaming(request, path, Bare).await?.into_inner();
        while answers.message().await?.is_some() {
            heard += 1;
        }
        Ok(())
    };
    // A stream without an end is left.
    match tokio::time::timeout(within, listening).await {
        Ok(Err(status)) => Err(status),
        Ok(Ok(())) | Err(_) => Ok(heard),
    }
}
