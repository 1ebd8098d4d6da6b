//! A network of its own for each member, so that a test can take one off it.
//!
//! A member is in a network namespace with an address there; a pair of interfaces leads from it to
//! a bridge, by which the test's process reaches the members and they one another. Nothing leads
//! further. Each network has a number, which names all that it consists of.

mod number;

use std::{collections::BTreeSet, fs::File, net::Ipv4Addr, path::Path, thread};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use rustix::{
    fd::AsFd as _,
    process::geteuid,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use tokio::{runtime, sync::oneshot};

use super::{MEMBERS, tool};
use number::Number;

/// Where `ip` has the namespaces.
const NAMESPACES: &str = "/run/netns";

/// The network of a replica set; removed when dropped, as its number is.
#[derive(Debug)]
pub(super) struct Network {
    number: Number,
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    /// Who has no network.
    cut: BTreeSet<usize>,
    /// Who does not reach whom; the lower number first.
    severed: BTreeSet<(usize, usize)>,
}

impl Network {
    /// Makes one, after removing what others have left.
    pub(super) fn make() -> Result<Self> {
        if !geteuid().is_root() {
            bail!("members apart need networks of their own: run this test as root");
        }
        let network = Self {
            number: Number::claim()?,
            faults: Mutex::default(),
        };
        network.lay()?;
        Ok(network)
    }

    fn lay(&self) -> Result<()> {
        let (number, name) = (self.number.get(), self.name());
        ip(&format!("link add {name} type bridge"))?;
        ip(&format!("address add 10.213.{number}.1/24 dev {name}"))?;
        ip(&format!("link set {name} up"))?;
        for member in 0..MEMBERS {
            let (own, address) = (self.namespace(member), self.address(member)?);
            ip(&format!("netns add {own}"))?;
            ip(&format!(
                "link add {own} type veth peer name eth0 netns {own}"
            ))?;
            ip(&format!("link set {own} master {name} up"))?;
            ip(&format!("-n {own} address add {address}/24 dev eth0"))?;
            ip(&format!("-n {own} link set eth0 up"))?;
            ip(&format!("-n {own} link set lo up"))?;
        }
        Ok(())
    }

    /// The name of its bridge.
    pub(super) fn name(&self) -> &str {
        self.number.name()
    }

    /// The namespace of a member, and its interface on the bridge.
    pub(super) fn namespace(&self, member: usize) -> String {
        self.number.part(member)
    }

    /// The address of a member.
    pub(super) fn address(&self, member: usize) -> Result<Ipv4Addr> {
        let host = u8::try_from(member + 2).context("too many members")?;
        Ok(Ipv4Addr::new(10, 213, self.number.get(), host))
    }

    /// The addresses of all members.
    pub(super) fn addresses(&self) -> Result<Vec<Ipv4Addr>> {
        (0..MEMBERS).map(|member| self.address(member)).collect()
    }

    /// Takes a member off the network.
    pub(super) fn cut(&self, member: usize) -> Result<()> {
        ip(&format!("link set {} down", self.namespace(member)))?;
        self.faults.lock().cut.insert(member);
        Ok(())
    }

    /// Takes two members from one another, in both directions: else what was sent on connections
    /// that are open would still arrive in one.
    pub(super) fn sever(&self, one: usize, other: usize) -> Result<()> {
        self.route("replace", one, other)?;
        self.faults.lock().severed.insert(pair(one, other));
        Ok(())
    }

    /// Gives a member back all that it was taken from.
    pub(super) fn heal(&self, member: usize) -> Result<()> {
        let mut faults = self.faults.lock();
        if faults.cut.remove(&member) {
            ip(&format!("link set {} up", self.namespace(member)))?;
        }
        for other in 0..MEMBERS {
            if faults.severed.remove(&pair(member, other)) {
                self.route("delete", member, other)?;
            }
        }
        Ok(())
    }

    fn route(&self, change: &str, one: usize, other: usize) -> Result<()> {
        for (from, to) in [(one, other), (other, one)] {
            let (own, address) = (self.namespace(from), self.address(to)?);
            ip(&format!("-n {own} route {change} blackhole {address}"))?;
        }
        Ok(())
    }

    /// Whether a member reaches more than half of the members, itself among them.
    pub(super) fn reaches_most(&self, member: usize) -> bool {
        let faults = self.faults.lock();
        let reached = (0..MEMBERS).filter(|&other| {
            let parted = faults.cut.contains(&member) || faults.cut.contains(&other);
            other == member || !parted && !faults.severed.contains(&pair(member, other))
        });
        2 * reached.count() > MEMBERS
    }

    /// Delays all that a member sends. False where this kernel cannot.
    pub(super) fn delay(&self, member: usize, millis: u32) -> Result<bool> {
        let own = self.namespace(member);
        let delay = format!("-n {own} qdisc replace dev eth0 root netem delay {millis}ms");
        match tool::run("tc", &delay) {
            Err(error) if error.to_string().contains("qdisc kind is unknown") => Ok(false),
            outcome => outcome.map(|_| true),
        }
    }

    /// Delays it no more; nothing where it was not.
    pub(super) fn undelay(&self, member: usize) -> Result<()> {
        let own = self.namespace(member);
        if tool::run("tc", &format!("-n {own} qdisc show dev eth0"))?.contains("netem") {
            tool::run("tc", &format!("-n {own} qdisc delete dev eth0 root"))?;
        }
        Ok(())
    }

    /// Runs something in the namespace of a member, on a thread of its own.
    pub(super) async fn within<W>(&self, member: usize, work: W) -> Result<()>
    where
        W: AsyncFnOnce() -> Result<()> + Send + 'static,
    {
        let namespace = File::open(Path::new(NAMESPACES).join(self.namespace(member)))?;
        let (tell, told) = oneshot::channel();
        thread::spawn(move || {
            let outcome = run_in(&namespace, work);
            // Nobody listens where the test was given up.
            let _ = tell.send(outcome);
        });
        told.await?
    }
}

fn run_in(namespace: &File, work: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work())
}

fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

fn ip(arguments: &str) -> Result<String> {
    tool::run("ip", arguments)
}
