//! PostgreSQL: a primary and two standbys, of which one must have flushed a write before it is
//! acknowledged. That is what a hospital would take without a ledger. The load is `pgbench`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;

use crate::Load;
use crate::certificates::Certificates;
use crate::measure::{Figures, Observed, WARM_UP, quantile};
use crate::programs::{Server, descendants, find, free_port, name_of, run};

const STANDBYS: [&str; 2] = ["s1", "s2"];
const READY_WITHIN: Duration = Duration::from_secs(60);
/// As the generator's threads.
const THREADS: &str = "2";
const USER: &str = "postgres";

/// Where its programs are, and as whom they run: not as root.
#[derive(Debug)]
pub(crate) struct Installed {
    folder: PathBuf,
    as_user: bool,
}

impl Installed {
    pub(crate) fn find() -> anyhow::Result<Self> {
        let folder = match find("initdb") {
            Ok(initdb) => initdb.canonicalize()?.parent().context("it is in no folder")?.to_owned(),
            Err(_) => debian().context("neither initdb nor /usr/lib/postgresql is here")?,
        };
        for name in ["initdb", "postgres", "pg_basebackup", "pgbench", "psql"] {
            anyhow::ensure!(folder.join(name).is_file(), "{name} is not in {}", folder.display());
        }
        let as_user = run(id(["-u"]))?.trim() == "0";
        anyhow::ensure!(!as_user || run(id(["-u", USER])).is_ok(), "there is no user {USER}");
        Ok(Self { folder, as_user })
    }

    fn command(&self, name: &str) -> Command {
        let program = self.folder.join(name);
        if !self.as_user {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--init-groups"]).arg(program);
        command
    }
}

fn id<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new("id");
    command.args(arguments);
    command
}

/// The newest version of Debian's packages.
fn debian() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let versions = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Some(PathBuf::from(format!("/usr/lib/postgresql/{}/bin", versions.max()?)))
}

/// A primary with its standbys, and how clients reach it.
struct Cluster<'a> {
    installed: &'a Installed,
    folder: &'a Path,
    port: u16,
    tls: Vec<(&'static str, String)>,
}

pub(crate) async fn measure(folder: &Path, load: Load) -> anyhow::Result<Figures> {
    let installed = Installed::find()?;
    let certificates = Certificates::make(folder, USER)?;
    if installed.as_user {
        own(folder)?;
    }
    let path = |path: &Path| path.display().to_string();
    let tls = vec![
        ("sslmode", "verify-ca".to_owned()),
        ("sslrootcert", path(&certificates.ca)),
        ("sslcert", path(&certificates.load.certificate)),
        ("sslkey", path(&certificates.load.key)),
    ];
    let cluster = Cluster { installed: &installed, folder, port: free_port()?, tls };
    let mut servers = vec![cluster.primary(&certificates).await?];
    for standby in STANDBYS {
        servers.push(cluster.standby(standby)?);
    }
    cluster.replicates().await?;
    cluster.query(
        "create table record (id uuid primary key, patient uuid not null, at timestamptz not null default now(), \
         body bytea not null)",
    )?;
    cluster.load(&servers, load).await
}

/// All of it is the user's under whom the servers run, and so is the way to it.
fn own(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for above in folder.ancestors().take(2) {
        std::fs::set_permissions(above, std::fs::Permissions::from_mode(0o755))?;
    }
    let mut chown = Command::new("chown");
    chown.arg("-R").arg(USER).arg(folder);
    run(chown)?;
    let mut reach = Command::new("setpriv");
    reach.args(["--reuid", USER, "--regid", USER, "--init-groups", "test", "-w"]).arg(folder);
    run(reach).map(drop).with_context(|| format!("{USER}, as whom it runs, does not reach {}", folder.display()))
}

impl Cluster<'_> {
    async fn primary(&self, certificates: &Certificates) -> anyhow::Result<Server> {
        let data = self.folder.join("primary");
        let mut initdb = self.installed.command("initdb");
        initdb.arg("-D").arg(&data).args(["-A", "trust", "-U", USER]);
        run(initdb)?;
        let settings = [
            ("max_connections", "1200".to_owned()),
            ("shared_buffers", "256MB".to_owned()),
            ("max_wal_size", "4GB".to_owned()),
            ("synchronous_commit", "on".to_owned()),
            ("synchronous_standby_names", format!("ANY 1 ({})", STANDBYS.join(", "))),
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("unix_socket_directories", self.folder.display().to_string()),
            ("ssl", "on".to_owned()),
            ("ssl_ca_file", certificates.ca.display().to_string()),
            ("ssl_cert_file", certificates.server.certificate.display().to_string()),
            ("ssl_key_file", certificates.server.key.display().to_string()),
        ];
        let text: String = settings.iter().map(|(name, value)| format!("{name} = '{value}'\n")).collect();
        append(&data.join("postgresql.conf"), &text)?;
        let access =
            "local all all trust\nhostssl all all 127.0.0.1/32 cert\nhostssl replication all 127.0.0.1/32 cert\n";
        std::fs::write(data.join("pg_hba.conf"), access)?;
        let server = self.start("primary", self.port)?;
        self.until("the primary does not answer", || self.query("select 1").is_ok()).await?;
        Ok(server)
    }

    fn standby(&self, name: &str) -> anyhow::Result<Server> {
        let data = self.folder.join(name);
        let mut copy = self.installed.command("pg_basebackup");
        copy.args(["-d", &self.address(), "-R", "-X", "stream", "-D"]).arg(&data);
        run(copy)?;
        let address = format!("{} application_name={name}", self.address());
        let settings = format!("primary_conninfo = '{address}'\nsynchronous_standby_names = ''\n");
        append(&data.join("postgresql.auto.conf"), &settings)?;
        self.start(name, free_port()?)
    }

    fn start(&self, name: &str, port: u16) -> anyhow::Result<Server> {
        let mut command = self.installed.command("postgres");
        command.arg("-D").arg(self.folder.join(name)).args(["-p", &port.to_string()]);
        Server::start(command, &self.folder.join(format!("{name}.log")))
    }

    /// As libpq takes it.
    fn address(&self) -> String {
        let tls: String = self.tls.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!("host=127.0.0.1 port={} user={USER} dbname={USER}{tls}", self.port)
    }

    fn query(&self, statement: &str) -> anyhow::Result<String> {
        let mut psql = self.installed.command("psql");
        psql.args(["-d", &self.address(), "-qAt", "-c", statement]);
        run(psql)
    }

    async fn replicates(&self) -> anyhow::Result<()> {
        let count = "select count(*) from pg_stat_replication where state = 'streaming'";
        let all = || self.query(count).is_ok_and(|told| told.trim() == STANDBYS.len().to_string());
        self.until("the standbys do not follow", all).await
    }

    async fn until(&self, otherwise: &str, done: impl Fn() -> bool) -> anyhow::Result<()> {
        let until = std::time::Instant::now() + READY_WITHIN;
        while !done() {
            anyhow::ensure!(std::time::Instant::now() < until, "{otherwise}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn load(&self, servers: &[Server], load: Load) -> anyhow::Result<Figures> {
        let script = self.folder.join("insert.sql");
        std::fs::write(
            &script,
            format!(
                "insert into record (id, patient, body) values (gen_random_uuid(), gen_random_uuid(), \
                 decode(repeat('a5', {}), 'hex'));\n",
                load.bytes
            ),
        )?;
        let log = self.folder.join("load");
        let seconds = (WARM_UP + load.seconds).as_secs() + 2;
        let mut pgbench = self.installed.command("pgbench");
        pgbench.args(["-n", "-M", "prepared", "-j", THREADS, "-l", "--log-prefix"]).arg(&log);
        pgbench.args(["-c", &load.clients.to_string(), "-T", &seconds.to_string(), "-f"]).arg(&script);
        pgbench.arg(self.address());
        let bench = tokio::task::spawn_blocking(move || run(pgbench));
        tokio::time::sleep(WARM_UP).await;
        let of_servers = servers.iter().flat_map(|server| descendants(server.pid()));
        let pids: Vec<u32> = of_servers.filter(|pid| name_of(*pid).is_some_and(|name| name == "postgres")).collect();
        let from = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let observed = tokio::task::spawn_blocking(move || Observed::of(&pids, load.seconds)).await??;
        let to = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        bench.await??;
        let mut all = latencies(self.folder, (from, to))?;
        all.sort_by(f64::total_cmp);
        let per_second = all.len() as f64 / (to - from);
        let each = observed.each(per_second);
        Ok(Figures { per_second, p50_ms: quantile(&all, 0.5), p99_ms: quantile(&all, 0.99), each })
    }
}

/// Milliseconds of all transactions that ended within a time, from the logs of pgbench.
fn latencies(folder: &Path, within: (f64, f64)) -> anyhow::Result<Vec<f64>> {
    let mut all = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with("load.") {
            all.extend(std::fs::read_to_string(file.path())?.lines().filter_map(|line| latency(line, within)));
        }
    }
    Ok(all)
}

/// Of a line: client, number, microseconds, script, seconds and microseconds of its end.
fn latency(line: &str, (from, to): (f64, f64)) -> Option<f64> {
    let mut fields = line.split_ascii_whitespace().skip(2);
    let us: f64 = fields.next()?.parse().ok()?;
    let (seconds, rest): (f64, f64) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    let end = seconds + rest / 1e6;
    (from..to).contains(&end).then_some(us / 1e3)
}

fn append(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    Ok(std::fs::OpenOptions::new().append(true).open(file)?.write_all(text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ended_within_the_time_is_counted() {
        let line = "3 17 4500 0 1764300000 250000";
        assert_eq!(latency(line, (1_764_300_000.0, 1_764_300_001.0)), Some(4.5));
        assert_eq!(latency(line, (1_764_300_000.25, 1_764_300_001.0)), Some(4.5));
        assert_eq!(latency(line, (1_764_299_999.0, 1_764_300_000.25)), None);
        assert_eq!(latency("3 17 failed 0 1764300000 250000", (0.0, f64::MAX)), None);
        assert_eq!(latency("", (0.0, f64::MAX)), None);
    }
}
