//! The number of a network: who holds one, and what is left under one that nobody holds.
//!
//! It is held by a lock on a file, which the kernel lets go of when a process ends, however it
//! ends. So two tests never have the same one, and what is found under a free one is removed.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::{NAMESPACES, ip};
use crate::mongo::{MEMBERS, disk};

/// The locks are here; it is emptied when the machine starts, as the networks are.
const LOCKS: &str = "/run/ems-testkit";

/// One of 256; all that has it in its name is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Number {
    value: u8,
    name: String,
    _lock: File,
}

impl Number {
    /// Takes a free one, and clears all that nobody holds.
    pub(super) fn claim() -> Result<Self> {
        let mut claimed = None;
        for number in 0..=u8::MAX {
            // One that never was in use has nothing to clear.
            if claimed.is_some() && !lock_file(number).exists() {
                continue;
            }
            let Some(lock) = lock(number)? else {
                continue;
            };
            clear(number)?;
            claimed.get_or_insert_with(|| Self {
                value: number,
                name: name(number),
                _lock: lock,
            });
        }
        claimed.context("no network is free")
    }

    /// The number itself.
    pub(super) fn get(&self) -> u8 {
        self.value
    }

    /// The name that it gives.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The name that it gives to what is a member's.
    pub(super) fn part(&self, member: usize) -> String {
        part(&self.name, member)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // What is left is removed by whoever takes the number next.
        let _ = clear(self.value);
    }
}

/// Holds a number; nothing where another does. The file stays: who removed it could remove it from
/// under the next one.
fn lock(number: u8) -> Result<Option<File>> {
    fs::create_dir_all(LOCKS)?;
    let mut options = File::options();
    let options = options.write(true).create(true).truncate(false);
    let file = options.open(lock_file(number))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).context("a network cannot be held"),
    }
}

fn lock_file(number: u8) -> PathBuf {
    Path::new(LOCKS).join(number.to_string())
}

/// Removes all that there is of a number: servers that outlived their test, disks, interfaces.
fn clear(number: u8) -> Result<()> {
    let name = name(number);
    for member in 0..MEMBERS {
        let own = part(&name, member);
        if Path::new(NAMESPACES).join(&own).exists() {
            kill_all(&ip(&format!("netns pids {own}"))?)?;
            ip(&format!("netns delete {own}"))?;
        }
        remove_link(&own)?;
    }
    disk::clear(&name)?;
    remove_link(&name)
}

/// The kernel removes a namespace, and the interface that led there, some time after it is told to.
fn remove_link(name: &str) -> Result<()> {
    let there = Path::new("/sys/class/net").join(name);
    match ip(&format!("link delete {name}")) {
        Err(error) if there.exists() => Err(error),
        _ => Ok(()),
    }
}

fn kill_all(ids: &str) -> Result<()> {
    for id in ids.split_whitespace() {
        let id = Pid::from_raw(id.parse()?).context("a process id")?;
        // Some end meanwhile.
        let _ = kill_process(id, Signal::KILL);
    }
    Ok(())
}

fn name(number: u8) -> String {
    format!("emstest{number}")
}

/// What of a network is a member's. The kernel takes 15 characters for an interface.
fn part(name: &str, member: usize) -> String {
    format!("{name}m{member}")
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, process::Stdio};

    use super::*;
    use crate::mongo::tool;

    /// Far above the numbers that tests take at the same time.
    const ABANDONED: u8 = 255;

    #[test]
    fn removes_what_a_process_left_that_is_no_more() {
        let held = lock(ABANDONED).unwrap();
        let (bridge, namespace) = (name(ABANDONED), part(&name(ABANDONED), 0));
        ip(&format!("link add {bridge} type bridge")).unwrap();
        ip(&format!("netns add {namespace}")).unwrap();
        let mut left = tool::command("ip");
        left.args(["netns", "exec", &namespace, "sh", "-c"]);
        left.arg("echo; exec sleep infinity").stdout(Stdio::piped());
        let mut left = left.spawn().unwrap();
        left.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        drop(held);

        let claimed = Number::claim().unwrap();
        assert_ne!(claimed.get(), ABANDONED);
        assert!(!left.wait().unwrap().success());
        // Another test may have been the first to find it: once it lets go, it is done.
        File::open(lock_file(ABANDONED)).unwrap().lock().unwrap();
        assert!(!Path::new(NAMESPACES).join(&namespace).exists());
        assert!(!Path::new("/sys/class/net").join(&bridge).exists());
    }
}
