//! What a gRPC status carries besides its code: reasons, fields, delays.

use std::time::Duration;

use tonic::Status;
use tonic_types::StatusExt;

/// Domain of every reason.
const DOMAIN: &str = "consilium.v1";

/// The reason in `google.rpc.ErrorInfo`; empty if there is none of our domain.
#[must_use]
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason).unwrap_or_default()
}

/// The fields in `google.rpc.BadRequest`.
#[must_use]
pub fn bad_fields(status: &Status) -> Vec<String> {
    let details = status.get_details_bad_request();
    details.map(|d| d.field_violations.into_iter().map(|v| v.field).collect()).unwrap_or_default()
}

/// The delay in `google.rpc.RetryInfo`.
#[must_use]
pub fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}
