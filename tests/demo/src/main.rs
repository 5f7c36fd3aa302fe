//! The demonstrations: networks of real processes on this machine, with mTLS,
//! keys and disks, told step by step to a person. Nodes and their state are the
//! end-to-end harness's business; everything that people would do is done, and
//! shown, with the shipped command line.

#![forbid(unsafe_code)]

mod audit;
mod cli;
mod folder;
mod founding;
mod governance;
mod hospitals;
mod input;
mod kept;
mod leader_killed;
mod load;
mod misconduct;
mod rights;
mod scene;
mod tell;
mod traitor;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::folder::StoryFolder;
use crate::tell::Tell;

const USAGE: &str = "\
usage: consilium-demo hospitals | governance | traitor | consent | bench [ARGS of `consilium bench`] | clean

  hospitals   four hospitals, from ceremony to audit (make demo)
  governance  five hospitals: stake, elections, joining, suspension, evidence (make demo-governance)
  traitor     what one member can do to the others, and what it cannot (make demo-traitor)
  consent     a patient shares, withdraws, and sees who has read (make demo-consent)
  bench       load on a network of three nodes (make bench-net); with --first-reads among ARGS a
              custodian runs, and wraps the key of every record that is read; with --listing an
              auditor lists a patient's records after the load; with --authors N so many services
              sign in turn; with --through leader (or follower) all clients go to that node; with
              --round-trip-ms N nodes are so far from each other, by proxies between them
  clean       stops and removes the network that KEEP=1 left running (make clean-demo)

KEEP=1               leaves the network of `hospitals` running and says how to talk to it
DEMO_DIR=DIR         uses that (new or empty) folder instead of a temporary one
CONSILIUM_SHARED=DIR where data/fhir with sample records is looked for
BENCH_DIR=DIR        where `bench` keeps the nodes' data; it must be on a real disk
MEMBERS_N=4          number of members of `bench`, 1 to 7 (default 3)";
/// As a shell reports an end by SIGINT.
const INTERRUPTED: u8 = 130;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Story {
    Hospitals,
    Governance,
    Traitor,
    Consent,
    Bench(Vec<String>),
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let tell = Rc::new(Tell::new());
    let story = match arguments.next().as_deref() {
        Some("hospitals") => Story::Hospitals,
        Some("governance") => Story::Governance,
        Some("traitor") => Story::Traitor,
        Some("consent") => Story::Consent,
        Some("bench") => Story::Bench(arguments.collect()),
        Some("clean") => return ended(&tell, kept::clean()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return ended(&tell, Err(e.into())),
    };
    runtime.block_on(Box::pin(perform(story, tell)))
}

fn ended(tell: &Tell, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tell.error(&e);
            ExitCode::FAILURE
        }
    }
}

/// Runs a story in a folder of its own, which is removed in the end, unless the
/// story failed or was told to leave the network running.
async fn perform(story: Story, tell: Rc<Tell>) -> ExitCode {
    let started = Instant::now();
    let mut stop = match interruption() {
        Ok(stop) => stop,
        Err(e) => return ended(&tell, Err(e)),
    };
    // Whatever makes it senseless is found before there is a folder.
    let folder = match possible(&story).and_then(|()| StoryFolder::make(&story)) {
        Ok(folder) => folder,
        Err(e) => return ended(&tell, Err(e)),
    };
    // Dropping the story ends its processes.
    let result = tokio::select! {
        biased;
        _ = stop.wait_for(|stopped| *stopped) => Ok(()),
        result = Box::pin(tell_story(&story, &folder, &tell)) => result,
    };
    let interrupted = *stop.borrow();
    match result {
        Err(e) if !interrupted => {
            tell.error(&e);
            folder.leave();
            return ExitCode::FAILURE;
        }
        Ok(()) | Err(_) => {}
    }
    let removed = folder.remove_unless_kept();
    if interrupted {
        return ExitCode::from(INTERRUPTED);
    }
    match story {
        Story::Hospitals | Story::Governance | Story::Traitor | Story::Consent => {
            tell.done(&format!("Done in {} seconds.", started.elapsed().as_secs()));
        }
        Story::Bench(_) => {}
    }
    ended(&tell, removed)
}

fn possible(story: &Story) -> anyhow::Result<()> {
    match (story, kept::noted()?) {
        (Story::Hospitals, Some(other)) => {
            anyhow::bail!("a demo network is still there, in {}; stop it with: make clean-demo", other.display())
        }
        (Story::Hospitals, None) | (Story::Governance | Story::Traitor | Story::Consent, _) => Ok(()),
        (Story::Bench(_), _) => load::members().map(|_| ()),
    }
}

async fn tell_story(story: &Story, folder: &StoryFolder, tell: &Rc<Tell>) -> anyhow::Result<()> {
    match story {
        Story::Hospitals => hospitals::tell(folder, tell).await,
        Story::Governance => governance::tell(folder, tell).await,
        Story::Traitor => traitor::tell(tell).await,
        Story::Consent => rights::tell(tell).await,
        Story::Bench(arguments) => load::measure(folder, tell, arguments).await,
    }
}

/// Becomes true on Ctrl-C or SIGTERM.
fn interruption() -> anyhow::Result<watch::Receiver<bool>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        // Nobody listens any more when the story has ended.
        let _ = stop.send(true);
        // The sender stays, so that the receiver sees a value and no end.
        std::future::pending::<()>().await;
    });
    Ok(stopped)
}
