//! Versions with their contents, by one request: in as many pages as a node makes of them; and
//! where something is missing, compared with what another node releases.
//!
//! What is denied and what is not are left out alike, so that a node could leave out what is
//! permitted. But what is released of a request follows from its event on the ledger: every honest
//! node releases the same. What all nodes that are asked hold back, nobody sees.

use std::time::{Duration, Instant};

use consilium_proto::ids::PatientPseudonym;
use consilium_proto::pb;
use consilium_proto::transaction::VersionRef;

use super::reader::{Opened, RecordReader};
use crate::error::ClientError;
use crate::false_answer::Answered;
use crate::paging::{Pages, whole};

/// Longest wait for another node's answer.
const ELSEWHERE: Duration = Duration::from_secs(10);

/// What a node has released of a request.
struct Gathered {
    opened: Vec<Opened>,
    last: Answered<pb::ReadRecordsRequest, pb::ReadRecordsResponse>,
}

impl RecordReader {
    /// Versions of records of a patient with their contents: those that may be read, in the
    /// order in which they were asked for. Where the key is not wrapped for this identity yet,
    /// the custodian was asked for it, and is waited for. Where something is missing, another node
    /// is asked for the answer to the same request; what one of them has held back is among the
    /// [false answers](crate::Client::take_false_answers).
    ///
    /// # Errors
    /// A refused transaction; an answer that contradicts the question or its own commitments; a
    /// key that did not come in time.
    pub async fn read(&self, patient: PatientPseudonym, records: &[VersionRef]) -> Result<Vec<Opened>, ClientError> {
        let request = self.contents_request(patient, records)?;
        let first = self.gather(patient, records, &request).await?;
        if first.opened.len() == records.len() {
            return Ok(first.opened);
        }
        let Some(elsewhere) = self.elsewhere() else { return Ok(first.opened) };
        match tokio::time::timeout(ELSEWHERE, elsewhere.gather(patient, records, &request)).await {
            Ok(Ok(second)) => Ok(self.compare(records, first, second)),
            // Nobody else could be asked, or it lies.
            Ok(Err(_)) | Err(_) => Ok(first.opened),
        }
    }

    async fn gather(
        &self,
        patient: PatientPseudonym,
        records: &[VersionRef],
        request: &pb::ReadRecordsRequest,
    ) -> Result<Gathered, ClientError> {
        let until = Instant::now() + self.patience();
        whole(|| self.gather_until((patient, records), request, until)).await
    }

    async fn gather_until(
        &self,
        (patient, records): (PatientPseudonym, &[VersionRef]),
        request: &pb::ReadRecordsRequest,
        until: Instant,
    ) -> Result<Gathered, ClientError> {
        let (mut pages, mut left, mut opened) = (Pages::default(), records.iter(), Vec::new());
        loop {
            let request = pb::ReadRecordsRequest { page_token: pages.token(), ..request.clone() };
            let (last, header) = self.ask_with_keys(request, until).await?;
            let more = pages.follow(&last.answer.next_page_token, last.answer.records.len());
            let page = match more {
                Ok(more) => self.open_all(patient, &mut left, &last.answer, &header).await.map(|page| (page, more)),
                Err(error) => Err(error),
            };
            let (page, more) = self.client().judged(&last, page)?;
            opened.extend(page);
            if !more {
                return Ok(Gathered { opened, last });
            }
        }
    }

    /// All that either node has released.
    fn compare(&self, records: &[VersionRef], first: Gathered, second: Gathered) -> Vec<Opened> {
        let has = |opened: &[Opened], one: &Opened| {
            let version = |opened: &Opened| (opened.record.version.record_id.clone(), opened.record.version.version);
            opened.iter().any(|other| version(other) == version(one))
        };
        let held_back = |by: &Gathered, from: &Gathered| {
            if from.opened.iter().all(|one| has(&by.opened, one)) {
                return;
            }
            let why = ClientError::contradiction("the node holds back what another one releases of the same request");
            let _ = self.client().judged(&by.last, Err::<(), _>(why));
        };
        held_back(&first, &second);
        held_back(&second, &first);
        let mut all = first.opened;
        for one in second.opened {
            if !has(&all, &one) {
                all.push(one);
            }
        }
        let place = |one: &Opened| records.iter().position(|asked| one.record.version.record_id == asked.record.0[..]);
        all.sort_by_key(|one| (place(one), one.record.version.version));
        all
    }
}
