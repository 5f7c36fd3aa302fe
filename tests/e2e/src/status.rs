//! What a gRPC status carries besides its code: reasons, fields, delays; and what a node's
//! status says.

use std::time::Duration;

use consilium_proto::pb;
use tonic::Status;
use tonic_types::StatusExt;

/// Domain of every reason.
const DOMAIN: &str = "consilium.v1";

/// The reason in `google.rpc.ErrorInfo`; empty if there is none of our domain.
#[must_use]
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason).unwrap_or_default()
}

/// What a node's operator is alarmed of, but for a slow log and a disk that fills: how fast the
/// disk is, and what else lies on it, depends on the machine on which the tests run.
#[must_use]
pub fn alarms(status: &pb::GetStatusResponse) -> Vec<pb::Alarm> {
    let of_machine = |alarm: &&pb::Alarm| matches!(alarm.name.as_str(), "slow_log" | "disk_filling");
    status.alarms.iter().filter(|alarm| !of_machine(alarm)).cloned().collect()
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
