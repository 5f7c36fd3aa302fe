//! The records that a query finds, page by page as they are consumed.

use std::collections::BTreeSet;

use consilium_proto::header::Header;
use consilium_proto::ids::{PatientPseudonym, RecordId};
use consilium_proto::pb;
use consilium_proto::record::GoodSignatures;
use futures::stream::{self, Stream};

use super::{QueryFilter, RecordReader, Shown, tags_of};
use crate::answer::Proven;
use crate::error::ClientError;
use crate::paging::Pages;

pub(super) fn pages(first: Page) -> impl Stream<Item = Result<Proven<pb::RecordVersion>, ClientError>> + Send {
    stream::try_unfold(first, |mut page| async move {
        loop {
            if let Some(record) = page.left.next() {
                return Ok(Some((record, page)));
            }
            if !page.more {
                return Ok(None);
            }
            Box::pin(page.load()).await?;
        }
    })
}

/// A page of records, as far as they are not handed out.
pub(super) struct Page {
    reader: RecordReader,
    filter: QueryFilter,
    /// Of a patient's records: the request for access, which every page goes on from.
    access: Option<(PatientPseudonym, pb::ReadRecordsRequest)>,
    pages: Pages,
    /// Whether there is a page that was not loaded.
    more: bool,
    left: std::vec::IntoIter<Proven<pb::RecordVersion>>,
    /// On the pages since the first.
    seen: BTreeSet<RecordId>,
    /// On pages before the list was begun again.
    passed: BTreeSet<RecordId>,
}

impl Page {
    pub(super) fn new(
        reader: &RecordReader,
        filter: QueryFilter,
        access: Option<(PatientPseudonym, pb::ReadRecordsRequest)>,
    ) -> Self {
        let left = Vec::new().into_iter();
        let (reader, pages) = (reader.clone(), Pages::default());
        Self { reader, filter, access, pages, more: true, left, seen: BTreeSet::new(), passed: BTreeSet::new() }
    }

    async fn load(&mut self) -> Result<(), ClientError> {
        // What fails is not asked for again.
        self.more = false;
        let loaded = match self.load_next().await {
            Err(error) if self.pages.begin_anew(&error) => {
                // What was handed out is passed over now.
                self.passed.append(&mut self.seen);
                self.load_next().await
            }
            loaded => loaded,
        };
        let (mut records, more) = loaded?;
        records.retain(|record| {
            RecordId::parse("record_id", &record.record_id).map_or(true, |id| !self.passed.contains(&id))
        });
        (self.left, self.more) = (records.into_iter(), more);
        Ok(())
    }

    async fn load_next(&mut self) -> Result<(Vec<Proven<pb::RecordVersion>>, bool), ClientError> {
        match self.access.clone() {
            Some((patient, request)) => {
                let request = pb::ReadRecordsRequest { page_token: self.pages.token(), ..request };
                self.load_permitted(patient, request).await
            }
            None => self.load_own().await,
        }
    }

    async fn load_own(&mut self) -> Result<(Vec<Proven<pb::RecordVersion>>, bool), ClientError> {
        let request = self.filter.request(self.pages.token());
        let client = self.reader.client.clone();
        let (answered, header) = client.recent(|| self.reader.fetch_page(&request)).await?;
        let answer = &answered.answer;
        let more = self.pages.follow(&answer.next_page_token, answer.records.len());
        let records = match more {
            Ok(more) => self.prove(answer, &header).await.map(|records| (records, more)),
            Err(error) => Err(error),
        };
        client.judged(&answered, records)
    }

    async fn load_permitted(
        &mut self,
        patient: PatientPseudonym,
        request: pb::ReadRecordsRequest,
    ) -> Result<(Vec<Proven<pb::RecordVersion>>, bool), ClientError> {
        let client = self.reader.client.clone();
        let (answered, header) = client.recent(|| self.reader.ask_access(&request)).await?;
        let more = self.pages.follow(&answered.answer.next_page_token, answered.answer.records.len());
        let mut records = more.as_ref().map(|_| Vec::new()).map_err(Clone::clone);
        let mut good = GoodSignatures::default();
        for released in &answered.answer.records {
            let shown = match self.reader.check_released(patient, released, (&header, &mut good)).await {
                Ok(shown) => self.accept(&shown, &released.descriptor).map(|()| Proven::under(&header, shown.version)),
                Err(error) => Err(error),
            };
            records = records.and_then(|mut records: Vec<_>| {
                records.push(shown?);
                Ok(records)
            });
        }
        Ok((client.judged(&answered, records)?, more?))
    }

    /// A record that was answered must be what was asked for, the newest version, and new.
    fn accept(&mut self, shown: &Shown, descriptor: &[u8]) -> Result<(), ClientError> {
        let id = RecordId::parse("record_id", &shown.version.record_id)?;
        let tags = match self.filter.tag {
            Some(_) => tags_of(&shown.version, descriptor)?,
            None => Vec::new(),
        };
        if shown.version.version != shown.newest || !self.filter.matches(shown, &tags) {
            return Err(ClientError::contradiction("the list holds what was not asked for, or is not the newest"));
        }
        match self.seen.insert(id) {
            true => Ok(()),
            false => Err(ClientError::contradiction("the list holds a record twice")),
        }
    }

    async fn prove(
        &mut self,
        answer: &pb::QueryRecordsResponse,
        header: &Header,
    ) -> Result<Vec<Proven<pb::RecordVersion>>, ClientError> {
        let tagged = self.filter.tag.is_none() || answer.records.len() == answer.descriptors.len();
        if answer.records.len() != answer.proofs.len() || !tagged {
            return Err(ClientError::contradiction("the list has not as many proofs as records"));
        }
        let (mut records, mut good) = (Vec::with_capacity(answer.records.len()), GoodSignatures::default());
        for (i, (record, proof)) in answer.records.iter().zip(&answer.proofs).enumerate() {
            let id = RecordId::parse("record_id", &record.record_id)?;
            let shown = std::slice::from_ref(record);
            let shown = self.reader.prove_among(id, shown, Some(proof), (header, &mut good)).await?;
            let descriptor = answer.descriptors.get(i).cloned().unwrap_or_default();
            self.accept(&Shown::of(record, shown), &descriptor)?;
            records.push(Proven::under(header, record.clone()));
        }
        Ok(records)
    }
}
