//! I19: no block time before its parent's, and no certified block further ahead
//! of true time than the validators' tolerance and the clocks' error allow.

use consilium_proto::header::Header;

use super::Check;

/// Checks an executed block against its parent.
///
/// # Errors
/// If time goes back.
pub fn monotone(parent: &Header, header: &Header) -> Check {
    if header.time < parent.time {
        return Err(format!("time goes back at height {}", header.height));
    }
    Ok(())
}

/// Checks a certified block against true time.
///
/// # Errors
/// If it is too far ahead.
pub fn tolerable(header: &Header, true_ms: u64, tolerance_ms: u64) -> Check {
    let ahead = header.time.0.saturating_sub(true_ms);
    if ahead > tolerance_ms {
        return Err(format!("height {} is certified {ahead} ms ahead of time", header.height));
    }
    Ok(())
}
