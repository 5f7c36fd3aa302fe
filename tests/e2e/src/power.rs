//! A disk whose power a test can cut: a file system in a file, mounted by a loop device. The
//! cut is the file system's own shutdown, which loses what a machine without power loses:
//! everything that was not written back, and the end of the journal.
//!
//! It needs root and loop devices. Whatever becomes of the test, the file system is unmounted,
//! and the device goes with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::compiled;
use crate::guarded::{Guard, run};

/// Sparse: it takes what is written.
const BYTES: u64 = 1 << 30;

/// How the file system treats data that its journal knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Journal {
    /// ext4's own choice: a file does not get longer before its data is there.
    Ordered,
    /// The journal waits for no data: the end of a file may be zeros after a cut.
    Writeback,
}

/// The mounted disk.
#[derive(Debug)]
pub struct PowerDisk {
    image: PathBuf,
    mount: PathBuf,
    options: &'static str,
    scatter: Option<Child>,
    /// Unmounts it.
    _guard: Guard,
}

impl PowerDisk {
    /// Why this machine cannot have such a disk, if it cannot.
    ///
    /// # Errors
    /// The reason.
    pub fn probe() -> anyhow::Result<()> {
        let folder = tempfile::Builder::new().prefix("consilium-e2e-").tempdir()?;
        let disk = Self::create(folder.path(), Journal::Ordered)?;
        disk.cut()
    }

    /// Makes and mounts one in a folder, at `disk`.
    pub(crate) fn create(folder: &Path, journal: Journal) -> anyhow::Result<Self> {
        let (image, mount) = (folder.join("disk.img"), folder.join("disk"));
        File::create(&image)?.set_len(BYTES)?;
        let lazy = "lazy_itable_init=1,lazy_journal_init=1";
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", lazy]).arg(&image))?;
        fs::create_dir(&mount)?;
        let options = match journal {
            Journal::Ordered => "loop,data=ordered",
            Journal::Writeback => "loop,data=writeback",
        };
        // Lazily: a node that the test did not end may still use it.
        let guard = Guard::new("umount -l \"$1\"", &[&mount.display().to_string()])?;
        mount_at(&image, &mount, options)?;
        Ok(Self { image, mount, options, scatter: None, _guard: guard })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// From now on the kernel writes pages of the databases' logs back in no order.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn scatter(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(program()?);
        // It ends by itself when the power is cut, and says so.
        command.arg("scatter").arg(&self.mount).stderr(Stdio::null());
        self.scatter = Some(command.spawn()?);
        Ok(())
    }

    /// Cuts the power: nothing more reaches the disk.
    ///
    /// # Errors
    /// If the file system does not do so.
    pub fn cut(&self) -> anyhow::Result<()> {
        run(Command::new(program()?).arg("cut").arg(&self.mount))?;
        let written = fs::write(self.mount.join("after-the-cut"), b"x");
        anyhow::ensure!(written.is_err(), "{} can still be written", self.mount.display());
        Ok(())
    }

    /// The power is back: mounts what reached the disk. Nobody may use it.
    ///
    /// # Errors
    /// If it is in use, or cannot be mounted.
    pub fn power_up(&mut self) -> anyhow::Result<()> {
        self.end_scatter();
        unmount(&self.mount)?;
        mount_at(&self.image, &self.mount, self.options)
    }

    fn end_scatter(&mut self) {
        if let Some(mut scatter) = self.scatter.take() {
            // It may have ended by itself.
            let _ = scatter.kill();
            let _ = scatter.wait();
        }
    }
}

impl Drop for PowerDisk {
    fn drop(&mut self) {
        self.end_scatter();
    }
}

fn mount_at(image: &Path, mount: &Path, options: &str) -> anyhow::Result<()> {
    run(Command::new("mount").args(["-t", "ext4", "-o", options]).arg(image).arg(mount))
}

fn unmount(mount: &Path) -> anyhow::Result<()> {
    run(Command::new("umount").arg(mount))
}

/// Built once by each test process.
fn program() -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| compiled::build("power.c", &[]).map_err(|e| format!("{e:#}")));
    built.clone().map_err(anyhow::Error::msg)
}
