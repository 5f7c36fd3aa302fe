//! A client follows the validators: asks nodes for the changes that it lacks,
//! and judges headers under the set of their height. What is believed, and why,
//! is decided in [`crate::light_client`].

use consilium_proto::header::Header;
use consilium_proto::ids::Height;
use consilium_proto::light_client::SetChange;
use consilium_proto::receipt::Receipt;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::CertifiedHeader;
use tonic::Response;

use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;
use crate::light_client::SetHistory;
use crate::transport::validators_service;

impl Client {
    /// The newest validators that were followed to. They certify blocks until
    /// their epoch has ended, which is noticed when a later header shows up.
    #[must_use]
    pub fn validators(&self) -> ValidatorSet {
        self.inner().validators.read().newest().set().clone()
    }

    /// The changes of the validators that lead from the genesis to the set
    /// which certifies a height, as far as they were followed.
    #[must_use]
    pub fn set_changes(&self, height: Height) -> Vec<SetChange> {
        self.inner().validators.read().below(height).to_vec()
    }

    /// The receipt with all that is needed to verify it from the genesis
    /// document alone. For a receipt that this client has verified.
    #[must_use]
    pub fn self_contained(&self, receipt: Receipt) -> Receipt {
        Receipt { set_changes: self.set_changes(receipt.head.header.height), ..receipt }
    }

    /// Checks that a header is final: certified by the validators of its
    /// height. Follows changes of the validators where needed.
    ///
    /// # Errors
    /// As [`Self::read`], or why the header is not believed.
    pub async fn verify_header(&self, header: &CertifiedHeader) -> Result<(), ClientError> {
        self.check_ledger(&header.header)?;
        self.follow_to(&header.header).await?;
        Ok(self.inner().validators.verify(header)?)
    }

    /// Follows changes until the header can be judged.
    pub(crate) async fn follow_to(&self, header: &Header) -> Result<(), ClientError> {
        if self.follow_until(|history| history.reaches(header)).await? {
            return Ok(());
        }
        let height = header.height;
        Err(ClientError::contradiction(format!("no node shows how the validators came to those of height {height}")))
    }

    /// The change of the validators at exactly this height, if nodes show one.
    pub(crate) async fn change_at(&self, height: Height) -> Result<Option<SetChange>, ClientError> {
        self.follow_until(|history| history.newest().above() >= height).await?;
        let history = self.inner().validators.read();
        Ok(history.below(height.next()).last().filter(|change| change.boundary.header.height == height).cloned())
    }

    /// Whether enough was followed, after asking each node at most once: one of
    /// them may be behind the one that sent what is to be judged.
    async fn follow_until(&self, enough: impl Fn(&SetHistory) -> bool) -> Result<bool, ClientError> {
        let validators = &self.inner().validators;
        if enough(&validators.read()) {
            return Ok(true);
        }
        let _one_at_a_time = validators.asking.lock().await;
        for _ in self.endpoints() {
            if enough(&validators.read()) {
                return Ok(true);
            }
            self.ask_for_changes().await?;
            if enough(&validators.read()) {
                return Ok(true);
            }
            self.inner().prefer_another();
        }
        Ok(false)
    }

    /// What was followed before a stream broke is kept, so that even a long
    /// chain over bad connections comes to its end.
    async fn ask_for_changes(&self) -> Result<(), ClientError> {
        let validators = &self.inner().validators;
        let (told, node) = self
            .read_from(|channel| async move {
                let request = validators.request();
                let above = Height(request.after_height);
                let mut answers = validators_service(channel).list_set_changes(request.clone()).await?.into_inner();
                while let Some(answer) = answers.message().await? {
                    if let Err(refused) = validators.take(&answer, above) {
                        return Ok(Response::new(Err((request, answer, refused))));
                    }
                }
                Ok(Response::new(Ok(())))
            })
            .await?;
        told.or_else(|(request, answer, refused)| {
            self.judged(&Answered::new("ListSetChanges", (answer, node), request), Err(refused))
        })
    }
}
