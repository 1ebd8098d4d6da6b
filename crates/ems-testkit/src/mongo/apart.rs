//! Members apart: faults of the network and of the disk.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{MEMBERS, ReplicaSet, network::Network};
use crate::attempt::or_panic;

/// How members apart are to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Apart {
    /// A member with a disk of its own, and its size in bytes: 400 MiB is a good one, as the server
    /// takes 300 MiB for its journal before anything is written.
    pub small_disk: Option<(usize, u64)>,
}

impl ReplicaSet {
    /// Starts one as [`ReplicaSet::start`] does, each member in a network namespace of its own on
    /// an address of its own, which only this machine reaches.
    ///
    /// # Panics
    /// Where that fails: it takes root, and Debian's `iproute2`.
    pub async fn start_apart(apart: Apart) -> Self {
        let started = Self::try_start(Some(apart), false).await;
        or_panic(started.context("MongoDB did not start apart"))
    }

    /// Takes a member off the network: nobody reaches it, this process included, and no connection
    /// is closed.
    pub fn cut(&self, member: usize) {
        or_panic(self.network().and_then(|network| network.cut(member)));
    }

    /// Cuts members off from those that are not among them. They reach one another, and this
    /// process reaches all.
    pub fn cut_with(&self, members: &[usize]) {
        or_panic(self.try_cut_with(members));
    }

    fn try_cut_with(&self, members: &[usize]) -> Result<()> {
        let network = self.network()?;
        let others = (0..MEMBERS).filter(|other| !members.contains(other));
        for other in others {
            for member in members {
                network.sever(*member, other)?;
            }
        }
        Ok(())
    }

    /// Undoes every cut of a member.
    pub fn heal(&self, member: usize) {
        or_panic(self.network().and_then(|network| network.heal(member)));
    }

    /// Undoes every cut.
    pub fn heal_all(&self) {
        (0..MEMBERS).for_each(|member| self.heal(member));
    }

    /// Makes a member slow, until [`ReplicaSet::unslow`]: whatever it sends is this late. On a
    /// kernel without `sch_netem` it is the member that is slow: stopped for that long, again and
    /// again, with a tenth of that between (5 ms at least), so that an answer is late by anything
    /// up to that, and work takes eleven times as long.
    pub fn slow(&self, member: usize, millis: u32) {
        or_panic(self.try_slow(member, millis));
    }

    fn try_slow(&self, member: usize, millis: u32) -> Result<()> {
        if !self.network()?.delay(member, millis)? {
            let still = Duration::from_millis(millis.into());
            self.member(member).stutter(still);
        }
        Ok(())
    }

    /// Makes a member as quick as it was.
    pub fn unslow(&self, member: usize) {
        self.member(member).run_smoothly();
        or_panic(self.network().and_then(|network| network.undelay(member)));
    }

    /// Leaves nothing of the small disk of a member, which ends it once it has something to write.
    pub fn fill_disk(&self, member: usize) {
        let disk = self.disk.as_ref().context(NO_DISK);
        or_panic(disk.and_then(|disk| disk.fill(member)));
    }

    /// Makes room on the small disk of a member again; where it has ended, it stays so until
    /// [`ReplicaSet::restart`].
    pub fn free_disk(&self, member: usize) {
        let disk = self.disk.as_ref().context(NO_DISK);
        or_panic(disk.and_then(|disk| disk.free(member)));
    }

    /// Whether a member takes itself for the primary; nothing where it does not answer within a
    /// second.
    pub async fn is_primary(&self, member: usize) -> Option<bool> {
        or_panic(self.said_by(member).await)
    }

    /// Whether the process of a member is no more: killed, or ended by itself.
    pub fn has_ended(&self, member: usize) -> bool {
        or_panic(self.member(member).has_ended())
    }

    fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("the members are not apart")
    }
}

const NO_DISK: &str = "no member has a small disk";
