//! Statuses that nobody of ours has made: of the gRPC library, of its services for health and
//! reflection, of a message that does not decode. Each gets a reason, and words that say what to do.

use tonic::codegen::http::HeaderMap;
use tonic::{Code, Status};

use super::rpcs::Rpc;
use crate::api::errors::Reason;

/// Makes a status whole that stands in headers or trailers without a reason.
pub(super) fn complete(headers: &mut HeaderMap, rpc: &Rpc) {
    let Some(status) = Status::from_header_map(headers) else { return };
    if status.code() == Code::Ok || !status.details().is_empty() {
        return;
    }
    let whole = explained(&status, rpc);
    if whole.add_header(headers).is_err() {
        tracing::debug!(path = rpc.path, "a refusal cannot be put into words");
    }
}

/// There is no such call.
pub(super) fn unknown(path: &str) -> Status {
    let path: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
    let version = env!("CARGO_PKG_VERSION");
    Reason::UnknownMethod
        .status(format!("there is no {path} here; this is Consilium {version}, reflection lists what is"))
}

fn explained(status: &Status, rpc: &Rpc) -> Status {
    let said = status.message();
    let reason = match status.code() {
        // The library's word for a message that is too long; nobody else's here.
        Code::OutOfRange => {
            let most = rpc.message_bytes_max;
            return Reason::TooLarge.status(format!("a message of {} has at most {most} bytes; {said}", rpc.path));
        }
        Code::Unimplemented => return unknown(rpc.path),
        // What does not decode; ours have a reason.
        Code::Internal => {
            return Reason::InvalidArgument.status(format!("this is no request of {}: {said}", rpc.path));
        }
        Code::InvalidArgument => Reason::InvalidArgument,
        Code::NotFound => Reason::NotFound,
        Code::PermissionDenied => Reason::PermissionDenied,
        Code::Unauthenticated => Reason::IdentityRefused,
        Code::ResourceExhausted => Reason::Overloaded,
        Code::Unavailable => Reason::Behind,
        Code::DeadlineExceeded | Code::Cancelled => Reason::Deadline,
        Code::Ok | Code::Unknown | Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted | Code::DataLoss => {
            Reason::Internal
        }
    };
    reason.status(said)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tonic_types::StatusExt;

    use super::super::rpcs::of_clients;
    use super::*;

    fn completed(status: &Status) -> Status {
        let rpc = of_clients()["/consilium.v1.OperatorService/GetStatus"];
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/grpc".parse().unwrap());
        status.add_header(&mut headers).unwrap();
        complete(&mut headers, &rpc);
        assert!(headers.contains_key("content-type"));
        Status::from_header_map(&headers).unwrap()
    }

    #[test]
    fn every_status_has_a_reason() {
        let codes = (1..=16).map(Code::from_i32);
        for code in codes {
            let whole = completed(&Status::new(code, "because"));
            let info = whole.get_details_error_info().unwrap();
            assert_eq!(info.domain, "consilium.v1", "{code:?}");
            assert!(!info.reason.is_empty() && !whole.message().is_empty() && whole.code() != Code::Ok, "{code:?}");
        }
    }

    #[test]
    fn what_a_caller_did_wrong_is_not_said_to_be_the_nodes_fault() {
        let reason = |status: Status| {
            let whole = completed(&status);
            (whole.code(), whole.get_details_error_info().unwrap().reason)
        };
        let undecodable = reason(Status::internal("failed to decode Protobuf message"));
        assert_eq!(undecodable, (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned()));
        let long = reason(Status::out_of_range("found 70000 bytes"));
        assert_eq!(long, (Code::InvalidArgument, "TOO_LARGE".to_owned()));
        let ours = reason(Reason::Quarantined.status("aside"));
        assert_eq!(ours, (Code::Unavailable, "QUARANTINED".to_owned()));
    }

    #[test]
    fn what_is_well_stays_so() {
        let rpc = of_clients()["/consilium.v1.OperatorService/GetStatus"];
        let mut headers = HeaderMap::new();
        complete(&mut headers, &rpc);
        assert!(headers.is_empty());
        Status::new(Code::Ok, "").add_header(&mut headers).unwrap();
        complete(&mut headers, &rpc);
        assert_eq!(headers.len(), 1);
    }
}
