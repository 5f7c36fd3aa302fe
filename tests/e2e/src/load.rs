//! Writers that run beside a fault and remember what was acknowledged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use consilium_client::Client;
use consilium_proto::ids::{RecordId, TransactionId};
use consilium_proto::pb;
use tokio::task::JoinHandle;

use crate::condition::eventually_async;
use crate::records::record;

/// An acknowledged write: certified, with a receipt that the SDK verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The transaction.
    pub id: TransactionId,
    /// Its block.
    pub height: u64,
    /// The record that it created.
    pub record_id: RecordId,
    /// When the answer came.
    pub at: Instant,
}

/// The longest time without an answer between the first and the last.
#[must_use]
pub fn longest_pause(acks: &[Ack]) -> Duration {
    let mut times: Vec<Instant> = acks.iter().map(|ack| ack.at).collect();
    times.sort();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// Writers, each with one transaction under way.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    book: Arc<Mutex<Book>>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Book {
    acks: Vec<Ack>,
    failures: Vec<String>,
}

impl Load {
    /// Starts one writer per client.
    #[must_use]
    pub fn start(clients: Vec<Client>) -> Self {
        let (stop, book) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Book::default())));
        let spawn = |client: Client| {
            let (stop, book) = (Arc::clone(&stop), Arc::clone(&book));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let result = write_one(&client).await;
                    let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(ack) => book.acks.push(ack),
                        Err(e) => book.failures.push(format!("{e:#}")),
                    }
                }
            })
        };
        let tasks = clients.into_iter().map(spawn).collect();
        Self { stop, book, tasks }
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for so many acknowledgements more than there are now.
    ///
    /// # Errors
    /// If they do not come in time.
    pub async fn more(&self, count: usize) -> anyhow::Result<()> {
        let target = self.book().acks.len() + count;
        eventually_async("acknowledged writes", Duration::from_secs(60), || async {
            let book = self.book();
            let (now, failures) = (book.acks.len(), &book.failures);
            anyhow::ensure!(now >= target, "{now} of {target}; failures: {failures:?}");
            Ok(())
        })
        .await
    }

    /// Lets each writer end its write, and answers with what was acknowledged
    /// and what failed for good.
    ///
    /// # Errors
    /// If a writer panicked.
    pub async fn finish(mut self) -> anyhow::Result<(Vec<Ack>, Vec<String>)> {
        self.stop.store(true, Ordering::Relaxed);
        for task in std::mem::take(&mut self.tasks) {
            task.await?;
        }
        let book = std::mem::take(&mut *self.book());
        Ok((book.acks, book.failures))
    }
}

async fn write_one(client: &Client) -> anyhow::Result<Ack> {
    let sealed = record(client, "patient-under-load", b"{\"resourceType\":\"Observation\"}")?;
    let done = client.submit(sealed.sign(client)?, pb::WaitFor::Certified).await?.into_applied()?;
    let at = Instant::now();
    Ok(Ack { id: done.transaction_id, height: done.height.0, record_id: sealed.record_id, at })
}
