//! Disclosures of the caller's member: for its auditors, who confirm them, and for who made one.
//! What is not for the caller is passed over, and tells nothing of itself by a further page.

use bytes::Bytes;
use consilium_ledger::{Table, keys};
use consilium_proto::error::fixed;
use consilium_proto::ids::TimeMs;
use consilium_proto::limits::DISCLOSURE_CONFIRM_MAX_MS;
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{self, DisclosureState};
use tonic::{Request, Status};

use super::Api;
use super::access_log::{page_size, prove};
use super::errors::Reason;
use crate::access::{self, What, decide};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

const PAGE_DEFAULT: u32 = 64;
const PAGE_MAX: u32 = 256;
/// Time and id of the next one.
const TOKEN_LEN: usize = 8 + 16;

impl Api {
    pub(super) async fn disclosures(
        &self,
        request: Request<pb::ListDisclosuresRequest>,
    ) -> Result<pb::ListDisclosuresResponse, Status> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let mut request = request.into_inner();
        let token = std::mem::take(&mut request.page_token);
        let asked = pb::ListDisclosuresRequest { page_size: 0, read: None, ..request.clone() };
        let (pages, place) = self.shared.pages.open(("ListDisclosures", &caller.id), &asked, &token)?;
        let page = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        if !place.is_empty() {
            fixed::<TOKEN_LEN>("page_token", &place).map_err(|e| Reason::InvalidArgument.field(&e))?;
        }
        self.freshen(request.read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let answer = list(ledger, &caller.id, (request.waiting, &place), page)?;
            Ok((answer, ledger.tip_header().clone()))
        };
        let (answer, header) = self.read(read).await?;
        let header = Some((&self.prove_header(header, within).await?).into());
        let next_page_token = pages.next(&answer.next_page_token)?;
        Ok(pb::ListDisclosuresResponse { header, next_page_token, ..answer })
    }
}

/// What the reader may see of its member's, behind a place.
fn list(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    (waiting, token): (bool, &[u8]),
    page: usize,
) -> Result<pb::ListDisclosuresResponse, StorageError> {
    let mut answer = pb::ListDisclosuresResponse::default();
    let prefix = keys::index_disclosures(reader.member().as_str());
    let now = ledger.tip_header().time;
    let open_since = TimeMs(now.0.saturating_sub(DISCLOSURE_CONFIRM_MAX_MS));
    let first = match (token.is_empty(), waiting) {
        (false, _) => [&prefix[..], token].concat(),
        (true, true) => keys::index_entry(prefix.clone(), open_since.0),
        (true, false) => prefix.clone(),
    };
    for row in ledger.scan(Table::Index, &prefix, &first) {
        let (place, _) = row?;
        let entry = keys::disclosure_of_index(&place);
        let (opened, id) = entry.ok_or_else(|| StorageError::corrupt("index", "has no disclosure"))?;
        let state: Option<DisclosureState> = ledger.state(&keys::disclosure(&id))?;
        let state = state.ok_or_else(|| StorageError::corrupt("index", "names a disclosure that is absent"))?;
        let waits = state.confirmed_by.is_empty() && opened > open_since;
        if !may_see(reader, &state) || (waiting && !waits) {
            continue;
        }
        if answer.disclosures.len() >= page {
            answer.next_page_token = Bytes::copy_from_slice(place.get(prefix.len()..).unwrap_or_default());
            break;
        }
        answer.disclosures.push(prove(ledger, keys::disclosure(&id))?);
    }
    Ok(answer)
}

fn may_see(reader: &SpiffeId, state: &DisclosureState) -> bool {
    let what = What::Disclosure { member: &state.member, made_by: &state.author };
    decide(&access::Request { reader, what }).allows()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_ledger::Row;
    use consilium_proto::ids::DisclosureId;
    use prost::Message;

    use super::*;
    use crate::storage::snapshot::tests::{Chain, row};

    const CLERK: &str = "spiffe://a.example/clinician/clerk";
    const OFFICER: &str = "spiffe://a.example/auditor/privacy";

    fn disclosure(n: u8, member: &str, opened_ms: u64, confirmed: bool) -> [Row; 2] {
        let id = DisclosureId([n; 16]);
        let state = DisclosureState {
            member: member.into(),
            author: format!("spiffe://{member}/clinician/clerk"),
            opened_ms,
            confirmed_by: if confirmed { OFFICER.into() } else { String::new() },
            ..DisclosureState::default()
        };
        let entry = keys::index_disclosure(member, TimeMs(opened_ms), &id);
        [
            row(Table::State, keys::disclosure(&id), Some(state.encode_to_vec().into())),
            row(Table::Index, entry, Some(Bytes::new())),
        ]
    }

    /// Of each that is listed the first byte of its id.
    fn listed(chain: &Chain, reader: &str, waiting: bool, page: usize) -> Vec<Vec<u8>> {
        let ledger = chain.store.snapshot().unwrap();
        let (mut pages, mut token) = (Vec::new(), Bytes::new());
        loop {
            let answer = list(&ledger, &reader.parse().unwrap(), (waiting, &token), page).unwrap();
            pages.push(answer.disclosures.iter().map(|row| row.key[1]).collect());
            token = answer.next_page_token;
            if token.is_empty() {
                return pages;
            }
        }
    }

    #[test]
    fn officers_see_their_members_and_others_what_they_made() {
        let mut chain = Chain::start();
        let rows = [
            disclosure(3, "a.example", 1, true),
            disclosure(1, "a.example", 2, false),
            disclosure(2, "a.example", 2, false),
            disclosure(4, "b.example", 2, false),
        ];
        chain.write(rows.into_iter().flatten().collect());
        assert_eq!(listed(&chain, OFFICER, false, 64), [[3, 1, 2]]);
        assert_eq!(listed(&chain, OFFICER, false, 2), [vec![3, 1], vec![2]]);
        assert_eq!(listed(&chain, OFFICER, true, 64), [[1, 2]]);
        assert_eq!(listed(&chain, OFFICER, true, 1), [[1], [2]]);
        assert_eq!(listed(&chain, CLERK, false, 64), [[3, 1, 2]]);
        for nobody in ["spiffe://a.example/service/ehr", "spiffe://a.example/admin/x", "spiffe://c.example/auditor/x"] {
            assert_eq!(listed(&chain, nobody, false, 64), [[0; 0]], "{nobody}");
        }
        assert_eq!(listed(&chain, "spiffe://b.example/auditor/x", false, 64), [[4]]);
    }
}
