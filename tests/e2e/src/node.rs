//! One node process: set up, started, killed, stopped, and asked from outside.

use std::fs::{self, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;

use crate::binaries::node_binary;
use crate::clock::WallClock;
use crate::condition::eventually;
use crate::disk_pace::DiskPace;
use crate::http::http_get;
use crate::power::{Journal, PowerDisk};

/// Longest time that a node may take to become ready: it has to find a leader
/// on a machine that runs other tests.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time for an orderly end.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Log lines shown when a test fails.
const LINES_SHOWN: usize = 40;

/// How a command of the node's binary ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; absent if it was killed.
    pub code: Option<i32>,
    /// Everything it printed, both streams.
    pub output: String,
}

/// From the port of a node's listener for peers to that of a proxy before it.
const PROXY_OFFSET: u16 = 50;

/// A node with its files; maybe running.
#[derive(Debug)]
pub struct Node {
    /// Position in the network, from 0.
    pub index: usize,
    /// Folder with its configuration, keys and data.
    pub dir: PathBuf,
    /// Listener for clients.
    pub client: SocketAddr,
    /// Listener for nodes.
    pub peer: SocketAddr,
    /// Plain HTTP listener.
    pub http: SocketAddr,
    /// Data directory.
    pub data_dir: PathBuf,
    /// Configuration file.
    pub config: PathBuf,
    /// Everything the process has printed, over all its runs.
    pub log: PathBuf,
    /// Given by the ledger; another one after the node was replaced.
    raft_id: u64,
    child: Option<Child>,
    /// Process id, 0 while it does not run: tells a proxy who is calling.
    pid: Arc<AtomicU32>,
    clock: Option<WallClock>,
    disk: Option<PowerDisk>,
    namespace: Option<String>,
    pace: Option<DiskPace>,
}

impl Node {
    /// A node that will listen at a loopback address, at ports that its index
    /// chooses; its files will be in a folder. Raft id 0 as long as the ledger
    /// has not said.
    #[must_use]
    pub fn new(index: usize, raft_id: u64, dir: &Path, ip: Ipv4Addr) -> Self {
        let port = |base: u16| SocketAddr::from((ip, base + u16::try_from(index).unwrap_or(u16::MAX)));
        Self {
            index,
            raft_id,
            pid: Arc::default(),
            dir: dir.to_owned(),
            client: port(7401),
            peer: port(7501),
            http: port(7601),
            data_dir: dir.join("data"),
            config: dir.join("node.toml"),
            log: dir.join("node.log"),
            child: None,
            clock: None,
            disk: None,
            namespace: None,
            pace: None,
        }
    }

    /// Where its peers reach it if there is a proxy before it.
    #[must_use]
    pub fn proxied(&self) -> SocketAddr {
        SocketAddr::new(self.peer.ip(), self.peer.port() + PROXY_OFFSET)
    }

    /// Its wall clock, if the network was built with clocks.
    ///
    /// # Errors
    /// If it was not.
    pub fn clock(&self) -> anyhow::Result<&WallClock> {
        self.clock.as_ref().context("the network has no clocks")
    }

    /// How long its disk takes, if the network was built with disks that can be slow.
    ///
    /// # Errors
    /// If not.
    pub fn pace(&self) -> anyhow::Result<&DiskPace> {
        self.pace.as_ref().context("the network has no disks that can be slow")
    }

    /// From the next start on its disk can be slow.
    pub(crate) fn add_pace(&mut self) -> anyhow::Result<()> {
        self.pace = Some(DiskPace::new(&self.dir)?);
        Ok(())
    }

    /// From the next start on it has a wall clock of its own.
    pub(crate) fn add_clock(&mut self) -> anyhow::Result<()> {
        self.clock = Some(WallClock::new(&self.dir)?);
        Ok(())
    }

    /// The disk that its data is on, if the network was built with such disks.
    ///
    /// # Errors
    /// If it was not.
    pub fn disk(&mut self) -> anyhow::Result<&mut PowerDisk> {
        self.disk.as_mut().context("the network has no disks of its own")
    }

    /// It runs in a network namespace.
    pub(crate) fn set_namespace(&mut self, namespace: String) {
        self.namespace = Some(namespace);
    }

    /// Its data will be on a disk whose power can be cut.
    pub(crate) fn add_disk(&mut self) -> anyhow::Result<()> {
        let journal = if self.index.is_multiple_of(2) { Journal::Ordered } else { Journal::Writeback };
        let disk = PowerDisk::create(&self.dir, journal)?;
        self.data_dir = disk.path().join("data");
        self.disk = Some(disk);
        Ok(())
    }

    /// Its Raft id.
    #[must_use]
    pub fn raft_id(&self) -> u64 {
        self.raft_id
    }

    pub(crate) fn set_raft_id(&mut self, raft_id: u64) {
        self.raft_id = raft_id;
    }

    /// The address that it listens at.
    pub(crate) fn ip(&self) -> anyhow::Result<Ipv4Addr> {
        match self.client.ip() {
            IpAddr::V4(ip) => Ok(ip),
            IpAddr::V6(ip) => anyhow::bail!("a node of the harness at {ip}"),
        }
    }

    pub(crate) fn pid_cell(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.pid)
    }

    /// Address for clients, as text.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.client.to_string()
    }

    /// Whether a process was started and not ended by this harness.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Its process id.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.child.as_ref().context("the node does not run")?.id())
    }

    /// Runs `consilium-node init`.
    ///
    /// # Errors
    /// If it refuses.
    pub fn init(&self) -> anyhow::Result<()> {
        let exit = self.command(&["init"])?;
        anyhow::ensure!(exit.code == Some(0), "init of node {}: {:?}\n{}", self.raft_id(), exit.code, exit.output);
        Ok(())
    }

    /// Runs a subcommand with this node's configuration, to its end.
    ///
    /// # Errors
    /// If the binary is missing, or takes longer than a refusal may.
    pub fn command(&self, arguments: &[&str]) -> anyhow::Result<Exit> {
        run_to_end(Command::new(node_binary()?).args(arguments).arg("--config").arg(&self.config), &self.config)
    }

    /// Starts the daemon.
    ///
    /// # Errors
    /// If it runs already or the binary is missing.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let mut command = self.run_command()?;
        self.spawn(&mut command)
    }

    /// The same in a process group of its own, which Ctrl-C does not reach.
    pub(crate) fn start_apart(&mut self) -> anyhow::Result<()> {
        let mut command = self.run_command()?;
        self.spawn(command.process_group(0))
    }

    fn run_command(&self) -> anyhow::Result<Command> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = match &self.namespace {
            None => Command::new(node_binary()?),
            Some(namespace) => {
                let mut command = Command::new("ip");
                // The process becomes the node's own.
                command.args(["netns", "exec", namespace]).arg(node_binary()?);
                command
            }
        };
        command.args(["run", "--config"]).arg(&self.config);
        if let Some(clock) = &self.clock {
            clock.apply(&mut command);
        }
        if let Some(pace) = &self.pace {
            pace.apply(&mut command);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).env("RUST_BACKTRACE", "1");
        Ok(command)
    }

    fn spawn(&mut self, command: &mut Command) -> anyhow::Result<()> {
        anyhow::ensure!(self.child.is_none(), "node {} runs already", self.raft_id());
        let child = command.spawn()?;
        self.pid.store(child.id(), Ordering::Relaxed);
        self.child = Some(child);
        Ok(())
    }

    /// Forgets its process, which goes on. Answers with the process id.
    pub(crate) fn release(&mut self) -> anyhow::Result<u32> {
        let pid = self.pid()?;
        self.child = None;
        Ok(pid)
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// If it does not in time, or the process has ended.
    pub fn wait_ready(&mut self) -> anyhow::Result<()> {
        let (http, raft_id) = (self.http, self.raft_id());
        let child = self.child.as_mut().context("the node does not run")?;
        eventually(&format!("node {raft_id} ready"), READY_TIMEOUT, || -> anyhow::Result<Result<(), String>> {
            if let Some(status) = child.try_wait()? {
                return Ok(Err(format!("node {raft_id} has ended: {status}")));
            }
            let answer = http_get(http, "/readyz")?;
            anyhow::ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
            Ok(Ok(()))
        })?
        .map_err(|ended| anyhow::anyhow!("{ended}\n{}", self.log_tail()))
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill9(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the node does not run")?;
        self.pid.store(0, Ordering::Relaxed);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for an orderly end with exit code 0.
    ///
    /// # Errors
    /// If it does not end in time, or badly.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.terminate()?;
        let status = self.wait_end()?;
        anyhow::ensure!(status.success(), "node {} ended with {status}\n{}", self.raft_id(), self.log_tail());
        Ok(())
    }

    /// SIGTERM, without waiting.
    ///
    /// # Errors
    /// If it does not run.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal("-TERM")
    }

    /// SIGSTOP: it neither runs nor ends, and its connections stay open.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal("-STOP")
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// If it does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").args([signal, &self.pid()?.to_string()]).status()?;
        anyhow::ensure!(status.success(), "kill {signal}: {status}");
        Ok(())
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// If it does not in time.
    pub fn wait_end(&mut self) -> anyhow::Result<ExitStatus> {
        let raft_id = self.raft_id();
        let child = self.child.as_mut().context("the node does not run")?;
        let status = eventually(&format!("end of node {raft_id}"), STOP_TIMEOUT, || {
            child.try_wait().map_err(|e| e.to_string())?.ok_or_else(|| "it still runs".to_owned())
        })?;
        self.child = None;
        self.pid.store(0, Ordering::Relaxed);
        Ok(status)
    }

    /// Starts it again and waits until it is ready.
    ///
    /// # Errors
    /// As [`Self::start`] and [`Self::wait_ready`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.start()?;
        self.wait_ready()
    }

    /// Everything the process has printed.
    #[must_use]
    pub fn log_text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Whether a line of the log holds all of these texts.
    #[must_use]
    pub fn log_contains(&self, texts: &[&str]) -> bool {
        self.log_text().lines().any(|line| texts.iter().all(|text| line.contains(text)))
    }

    /// Waits for a line of the log that holds all of these texts.
    ///
    /// # Errors
    /// If none comes within ten seconds.
    pub fn wait_log(&self, texts: &[&str]) -> anyhow::Result<()> {
        let what = format!("log of node {} with {texts:?}", self.raft_id());
        eventually(&what, Duration::from_secs(10), || match self.log_contains(texts) {
            true => Ok(()),
            false => Err(format!("absent; the log ends with\n{}", self.log_tail())),
        })
    }

    /// A value of `/metrics` by the name of its series (with labels, if any).
    ///
    /// # Errors
    /// If it is not there.
    pub fn metric(&self, series: &str) -> anyhow::Result<f64> {
        let answer = http_get(self.http, "/metrics")?;
        let line = answer.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no metric {series}"))?.trim().parse()?)
    }

    /// The end of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
    }
}

/// Runs a command that must end by itself; `near` is a file whose folder may
/// hold its output meanwhile.
///
/// # Errors
/// If it cannot be started or does not end in time.
pub fn run_to_end(command: &mut Command, near: &Path) -> anyhow::Result<Exit> {
    let folder = near.parent().context("a file has a folder")?;
    let output = tempfile::NamedTempFile::new_in(folder)?;
    let mut child =
        command.stdin(Stdio::null()).stdout(append(output.path())?).stderr(append(output.path())?).spawn()?;
    let ended = eventually("end of the command", STOP_TIMEOUT, || {
        child.try_wait().map_err(|e| e.to_string())?.ok_or_else(|| "it still runs".to_owned())
    });
    if ended.is_err() {
        child.kill()?;
        child.wait()?;
    }
    let text = String::from_utf8_lossy(&fs::read(output.path())?).into_owned();
    let status = ended.with_context(|| text.clone())?;
    Ok(Exit { code: status.code(), output: text })
}

/// Both streams of a process go into one file, in the order of its writes.
fn append(path: &Path) -> std::io::Result<fs::File> {
    OpenOptions::new().append(true).open(path)
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Nothing can be done about a process that is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
