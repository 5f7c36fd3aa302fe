//! How messages are read from a connection: none is built that would take far more
//! memory than its bytes on the wire justify.

use std::marker::PhantomData;

use consilium_proto::wire_cost;
use prost::bytes::Buf;
use prost::{Message, Name};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

/// The codec of all services: protobuf, looked at before it is decoded.
#[derive(Debug, Clone)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder { name: U::full_name(), message: PhantomData }
    }
}

/// The reading half of [`BoundedCodec`].
#[derive(Debug, Clone)]
pub struct BoundedDecoder<U> {
    name: String,
    message: PhantomData<U>,
}

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // Shared with the connection's buffer, not copied.
        let bytes = source.copy_to_bytes(source.remaining());
        wire_cost::check(&self.name, &bytes).map_err(|why| Status::invalid_argument(format!("the message {why}")))?;
        U::decode(bytes).map(Some).map_err(|_| Status::invalid_argument("the message is not an encoded message"))
    }
}
