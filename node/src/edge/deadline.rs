//! How long a call may take: what its caller says in `grpc-timeout`, and never longer than the node
//! lets any call wait.

use std::time::Duration;

use consilium_proto::error::FieldError;
use tokio::time::Instant;
use tonic::codegen::http::HeaderMap;

const HEADER: &str = "grpc-timeout";
/// The node says that the time is over a moment before the caller's library, and before that of the
/// node, says less: with a code that is not that of a caller who has gone away.
const EARLIER: Duration = Duration::from_millis(5);
/// What a call is left to say why nothing came of it, which is more than that its time is over: a tenth
/// of its time, and no more than this.
const LAST_WORD_MAX: Duration = Duration::from_millis(250);
/// How much longer than the longest wait of a node a call may take that did not say how long.
const GRACE: Duration = Duration::from_secs(5);

/// Until when a call has to be answered; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// What waits for something gives up here, and says for what it has waited.
    pub(crate) waits_until: Instant,
    /// It ends here, whatever it does.
    pub(crate) ends: Instant,
}

impl Deadline {
    /// Of a call that arrives now, where no call waits longer than `longest`.
    ///
    /// # Errors
    /// If it says for how long in no way that there is.
    pub(crate) fn of(headers: &HeaderMap, longest: Duration) -> Result<Self, FieldError> {
        Self::from(Instant::now(), headers, longest)
    }

    fn from(now: Instant, headers: &HeaderMap, longest: Duration) -> Result<Self, FieldError> {
        let asked = match headers.get(HEADER) {
            Some(asked) => Some(asked.to_str().ok().and_then(parse).ok_or_else(malformed)?),
            None => None,
        };
        Ok(match asked {
            Some(asked) if asked <= longest + GRACE => {
                let waits = asked.saturating_sub((asked / 10).min(LAST_WORD_MAX).max(EARLIER)).min(longest);
                Self { waits_until: now + waits, ends: now + asked.saturating_sub(EARLIER) }
            }
            Some(_) | None => Self { waits_until: now + longest, ends: now + longest + GRACE },
        })
    }

    /// What is left to wait.
    pub(crate) fn left(&self) -> Duration {
        self.waits_until.saturating_duration_since(Instant::now())
    }
}

fn malformed() -> FieldError {
    FieldError::malformed(HEADER, "must be at most eight digits and one of H, M, S, m, u, n")
}

/// At most eight digits and a unit.
fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount.saturating_mul(3_600))),
        "M" => Some(Duration::from_secs(amount.saturating_mul(60))),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LONGEST: Duration = Duration::from_secs(60);

    #[test]
    fn timeouts_parse() {
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("1H"), Some(Duration::from_secs(3_600)));
        assert_eq!(parse("0n"), Some(Duration::ZERO));
        for bad in ["", "m", "123456789S", "1x", "-1S", "+1S", "é", " 1S"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    /// For how long a call waits, and when it ends.
    fn deadline(asked: Option<&str>) -> Result<(Duration, Duration), FieldError> {
        let (now, mut headers) = (Instant::now(), HeaderMap::new());
        if let Some(asked) = asked {
            headers.insert(HEADER, asked.parse().unwrap());
        }
        let deadline = Deadline::from(now, &headers, LONGEST)?;
        Ok((deadline.waits_until - now, deadline.ends - now))
    }

    #[test]
    fn a_call_ends_before_its_caller_gives_up_and_says_before_for_what_it_waited() {
        let ms = Duration::from_millis;
        assert_eq!(deadline(None).unwrap(), (LONGEST, LONGEST + GRACE));
        assert_eq!(deadline(Some("1S")).unwrap(), (ms(900), ms(995)));
        assert_eq!(deadline(Some("30S")).unwrap(), (ms(29_750), ms(29_995)));
        assert_eq!(deadline(Some("62S")).unwrap(), (LONGEST, ms(61_995)));
        assert_eq!(deadline(Some("99999999H")).unwrap(), (LONGEST, LONGEST + GRACE));
        for at_once in ["0n", "0S", "3m"] {
            assert_eq!(deadline(Some(at_once)).unwrap(), (Duration::ZERO, Duration::ZERO), "{at_once}");
        }
        assert_eq!(deadline(Some("soon")).unwrap_err().field, HEADER);
    }
}
