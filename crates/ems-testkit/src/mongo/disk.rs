//! A small disk for one member, that a test can fill: a file system in memory.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::tool;

/// The disk of a member in its directory; a small one is mounted there.
pub(super) fn of(dir: &Path) -> PathBuf {
    dir.join("disk")
}

/// Unmounted when dropped.
#[derive(Debug)]
pub(super) struct Disk {
    member: usize,
    place: PathBuf,
}

impl Disk {
    /// Mounts one of so many bytes for a member of the set in `dir`, if it is to have one. The name
    /// tells later whose it was.
    pub(super) fn make(
        dir: &Path,
        name: &str,
        small: Option<(usize, u64)>,
    ) -> Result<Option<Self>> {
        let Some((member, bytes)) = small else {
            return Ok(None);
        };
        let place = of(&dir.join(member.to_string()));
        fs::create_dir_all(&place)?;
        let mut mount = tool::command("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), name]);
        tool::finish(mount.arg(&place))?;
        Ok(Some(Self { member, place }))
    }

    /// Writes until nothing is left.
    pub(super) fn fill(&self, member: usize) -> Result<()> {
        let mut filler = File::create(self.filler(member)?)?;
        match io::copy(&mut io::repeat(1), &mut filler) {
            Err(error) if error.kind() == ErrorKind::StorageFull => Ok(()),
            outcome => bail!("the disk did not fill up: {outcome:?}"),
        }
    }

    /// Makes the room again.
    pub(super) fn free(&self, member: usize) -> Result<()> {
        fs::remove_file(self.filler(member)?).context("the disk was not filled")
    }

    fn filler(&self, member: usize) -> Result<PathBuf> {
        if member != self.member {
            bail!("member {member} has no small disk");
        }
        Ok(self.place.join("filler"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is left is removed by whoever takes the name next.
        let _ = unmount(&self.place);
    }
}

/// Unmounts what a set of that name has left.
pub(super) fn clear(name: &str) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    for line in mounts.lines() {
        let mut parts = line.split(' ');
        if parts.next() == Some(name) {
            // The table writes a space as an octal number, as it does a tab or a newline.
            let place = parts.next().unwrap_or_default().replace("\\040", " ");
            unmount(Path::new(&place))?;
        }
    }
    Ok(())
}

fn unmount(place: &Path) -> Result<()> {
    tool::finish(tool::command("umount").arg("--lazy").arg(place)).map(drop)
}
