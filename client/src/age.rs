//! How old a certified head may be under which something is proven. A proof
//! shows that something was so, never that it still is: without a bound a node
//! could show a client the past for ever, in which a revoked identity still has
//! its rights.
//!
//! The bound is held against this machine's clock, since a node's word about
//! the time is worth no more than its word about the head. An idle ledger makes
//! no blocks by itself: a node that is asked for a younger head has one made.

use std::time::Duration;

use consilium_proto::error::FieldError;
use consilium_proto::header::Header;
use consilium_proto::ids::TimeMs;
use consilium_proto::pb;
use consilium_proto::pb::read_options::Consistency;
use consilium_proto::vote::CertifiedHeader;

use crate::client::Client;
use crate::clock::now_ms;
use crate::error::ClientError;
use crate::transport::ledger_service;

/// Long enough that the clocks of people's machines do not get in the way, and
/// that clients of an idle ledger have it make few blocks.
pub const HEAD_AGE_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// The setting `max_head_age_s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadAge {
    /// At most this, and as much ahead of this machine's clock.
    Within(Duration),
    /// Any age. For those who look after a network that has come to a halt, or
    /// look at one of the past; nothing is as recent as it seems then.
    Any,
}

impl Default for HeadAge {
    fn default() -> Self {
        Self::Within(HEAD_AGE_DEFAULT)
    }
}

impl HeadAge {
    /// Holds a ledger's time against a clock.
    ///
    /// # Errors
    /// [`ClientError::StaleHead`] or [`ClientError::ClockBehind`].
    pub fn check(self, time: TimeMs, now: TimeMs) -> Result<(), ClientError> {
        let Self::Within(bound) = self else { return Ok(()) };
        let bound_ms = millis(bound);
        let (age_ms, ahead_ms) = (now.0.saturating_sub(time.0), time.0.saturating_sub(now.0));
        if ahead_ms > bound_ms {
            return Err(ClientError::ClockBehind { by_ms: ahead_ms });
        }
        if age_ms > bound_ms { Err(ClientError::StaleHead { age_ms, bound_ms }) } else { Ok(()) }
    }

    /// What a node is asked for: younger than needed, since its clock may differ.
    fn asked(bound: Duration) -> pb::ReadOptions {
        pb::ReadOptions { consistency: Some(Consistency::MaxStalenessMs(millis(bound) / 2)) }
    }
}

impl Client {
    /// Whether what a header proves is recent enough to be acted on. The header
    /// must have been verified: an invented one is of any age.
    ///
    /// # Errors
    /// [`ClientError::StaleHead`] or [`ClientError::ClockBehind`].
    pub fn check_age(&self, header: &Header) -> Result<(), ClientError> {
        self.head_age().check(header.time, TimeMs(now_ms()))
    }

    /// A certified head that is recent enough; where a node has none, the
    /// others are asked.
    ///
    /// # Errors
    /// As [`Self::certified_head`]; [`ClientError::StaleHead`] with the youngest
    /// that was found, [`ClientError::ClockBehind`].
    pub async fn recent_head(&self) -> Result<CertifiedHeader, ClientError> {
        let HeadAge::Within(bound) = self.head_age() else { return self.certified_head().await };
        let any = pb::ReadOptions { consistency: Some(Consistency::MinHeight(0)) };
        let mut stale = None;
        for _ in self.endpoints() {
            let told = self.told_head(any).await?;
            let too_old = match told.as_ref().map(|head| self.check_age(&head.header)) {
                Some(Ok(())) => return told.ok_or_else(|| FieldError::missing("head").into()),
                Some(Err(error)) => error,
                None => self.nothing_certified(bound),
            };
            if matches!(too_old, ClientError::ClockBehind { .. }) {
                return Err(too_old);
            }
            // One try at this node: it may be held up, or be one that holds up.
            if let Ok(Some(head)) = self.one_try_for_head(HeadAge::asked(bound)).await
                && self.check_age(&head.header).is_ok()
            {
                return Ok(head);
            }
            stale = Some(younger(stale, too_old));
            self.inner().prefer_another();
        }
        Err(stale.unwrap_or_else(|| self.nothing_certified(bound)))
    }

    /// The genesis is as old as a ledger's newest block can be.
    fn nothing_certified(&self, bound: Duration) -> ClientError {
        let age_ms = now_ms().saturating_sub(self.genesis().time.0);
        ClientError::StaleHead { age_ms, bound_ms: millis(bound) }
    }

    async fn told_head(&self, read: pb::ReadOptions) -> Result<Option<CertifiedHeader>, ClientError> {
        let request = pb::GetHeadRequest { read: Some(read) };
        let ask = |channel, request| async move { ledger_service(channel).get_head(request).await };
        let answered = self.ask("GetHead", request, ask).await?;
        let head = self.verified_head(&answered.answer).await;
        self.judged(&answered, head)
    }

    async fn one_try_for_head(&self, read: pb::ReadOptions) -> Result<Option<CertifiedHeader>, ClientError> {
        let request = pb::GetHeadRequest { read: Some(read) };
        let answer = self.once(|channel| async move { ledger_service(channel).get_head(request).await }).await?;
        self.verified_head(&answer).await
    }

    async fn verified_head(&self, answer: &pb::GetHeadResponse) -> Result<Option<CertifiedHeader>, ClientError> {
        let Some(head) = &answer.head else { return Ok(None) };
        let head = CertifiedHeader::try_from(head)?;
        self.verify_header(&head).await?;
        Ok(Some(head))
    }
}

fn younger(one: Option<ClientError>, other: ClientError) -> ClientError {
    match (one, other) {
        (Some(ClientError::StaleHead { age_ms: one, .. }), ClientError::StaleHead { age_ms, bound_ms }) => {
            ClientError::StaleHead { age_ms: age_ms.min(one), bound_ms }
        }
        (_, other) => other,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_and_a_wrong_clock_are_told_apart() {
        let age = HeadAge::Within(Duration::from_secs(10));
        let at = |time| age.check(TimeMs(time), TimeMs(1_000_000));
        assert_eq!(at(990_000), Ok(()));
        assert_eq!(at(989_999), Err(ClientError::StaleHead { age_ms: 10_001, bound_ms: 10_000 }));
        assert_eq!(at(1_010_000), Ok(()));
        assert_eq!(at(1_010_001), Err(ClientError::ClockBehind { by_ms: 10_001 }));
        assert_eq!(HeadAge::Any.check(TimeMs(1), TimeMs(u64::MAX)), Ok(()));
    }
}
