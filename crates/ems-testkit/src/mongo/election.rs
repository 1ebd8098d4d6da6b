//! Who is primary, as the members themselves say; and having them agree on another.

use anyhow::{Result, bail};
use mongodb::{
    Client,
    bson::{Document, doc},
};
use tokio::time::timeout;

use super::{Network, ReplicaSet, run};
use crate::attempt::{SOON, until};

impl ReplicaSet {
    /// The member that is primary, once there is one.
    pub(super) async fn elected(&self) -> Result<usize> {
        let clients = self.running().await?;
        until("a primary", async || {
            for (index, client) in &clients {
                let hello = hello(client).await;
                if hello.is_some_and(|hello| is(&hello, "isWritablePrimary")) {
                    return Ok(Some(*index));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Waits until every member that runs and reaches a majority follows the same primary.
    pub(super) async fn settled(&self) -> Result<()> {
        let clients = self.running().await?;
        if clients.is_empty() {
            bail!("no member runs");
        }
        until("a primary that all follow", async || {
            let mut primaries = Vec::new();
            for (_, client) in &clients {
                primaries.push(hello(client).await.and_then(|hello| followed(&hello)));
            }
            primaries.dedup();
            Ok(matches!(primaries.as_slice(), [Some(_)]).then_some(()))
        })
        .await
    }

    pub(super) async fn try_step_down(&self) -> Result<()> {
        let primary = self.elected().await?;
        let primary = self.direct(primary, Some(&self.admin)).await?;
        let command = doc! { "replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5 };
        run(&primary, command).await
    }

    pub(super) async fn try_restart(&self, index: usize) -> Result<()> {
        let member = self.member(index);
        member.kill()?;
        member.spawn(&self.files)?;
        member.listens().await?;
        let client = self.direct(index, None).await?;
        let following = async || Ok(hello(&client).await.and_then(|hello| followed(&hello)));
        until("a member that follows", following).await.map(drop)
    }

    /// What one member says of itself.
    pub(super) async fn said_by(&self, member: usize) -> Result<Option<bool>> {
        let hello = hello(&self.direct(member, None).await?).await;
        Ok(hello.map(|hello| is(&hello, "isWritablePrimary")))
    }

    /// Each member that runs and reaches a majority, and a client of it alone.
    async fn running(&self) -> Result<Vec<(usize, Client)>> {
        let mut clients = Vec::new();
        for (index, member) in self.members.iter().enumerate() {
            let reaches_most = |network: &Network| network.reaches_most(index);
            if member.runs()? && self.network.as_ref().is_none_or(reaches_most) {
                clients.push((index, self.direct(index, None).await?));
            }
        }
        Ok(clients)
    }
}

/// What a member says of its state; nothing where it does not answer soon.
async fn hello(client: &Client) -> Option<Document> {
    let admin = client.database("admin");
    let answer = admin.run_command(doc! { "hello": 1 });
    timeout(SOON, answer).await.ok()?.ok()
}

fn is(hello: &Document, state: &str) -> bool {
    hello.get_bool(state).unwrap_or(false)
}

/// The primary that a member follows, or that it is.
fn followed(hello: &Document) -> Option<String> {
    let ready = is(hello, "isWritablePrimary") || is(hello, "secondary");
    let primary = hello.get_str("primary").ok()?;
    ready.then(|| primary.to_owned())
}
