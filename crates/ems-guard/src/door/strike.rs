//! What follows from failures and attacks: an address is blocked or banned, by itself or by hand.

use std::{net::IpAddr, time::Duration};

use ems_store::shared::{Key, Step};

use super::{Asked, Decision, Door, Entry, live, mark, pattern::reached, window};
use crate::{
    Act, Error, Network, Result,
    bans::{self, Kind, LONGEST_BY_HAND, Reason, Sentence},
    door::Finding,
    journal::Violation,
    limit::Whom,
};

/// Accounts and addresses that fail together are counted in this time.
const TOGETHER: Duration = Duration::from_hours(1);
/// Scores add up in this time.
const SCORED: Duration = Duration::from_mins(10);
/// Networks of one /48 that are shut out within an hour before all of it is.
const SPREAD: u64 = 8;

/// A credential that was refused.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// Whether it is a failed attempt: something guessed or forged.
    pub attempt: bool,
    /// The account that was tried, if one was named.
    pub account: Option<&'a str>,
    /// Whether the request is still to be counted in its address's window.
    pub uncounted: bool,
}

impl Door {
    /// Decides of a request whose credential was refused, and counts that against its address.
    pub async fn refused(&self, address: IpAddr, failure: Failure<'_>, act: &Act) -> Decision {
        let mut asked = Asked::new(self, address, &[Kind::Ban, Kind::Block]);
        let counted = failure
            .uncounted
            .then(|| self.limiter.window(Whom::Address(address)));
        let rate = counted.flatten().map(|window| asked.take(window, 1));
        let failures = failure.attempt.then(|| self.failures(address)).flatten();
        let failures = failures.map(|window| asked.take(window, 1).0);
        let together = failure.account.filter(|_| failure.attempt);
        let together = together.map(|account| self.together(&mut asked, address, account));
        let told = asked.ask(act).await;
        let mut findings = Vec::new();
        for (step, key, violation, limit) in together.into_iter().flatten().flatten() {
            if told.answers.verdict(step).is_some_and(reached) {
                // What is told begins anew, so that it is told again once as much has come.
                self.shared.ask(&[Step::Clear { key }]).await;
                let score = if violation == Violation::ManyAccounts {
                    10
                } else {
                    0
                };
                findings.push(Finding::new(violation, score).with("count", limit));
            }
        }
        let verdict = failures.and_then(|step| told.answers.verdict(step));
        if verdict.is_some_and(reached) {
            let why = (Kind::Block, Reason::TooManyFailedAttempts);
            findings.extend(self.shut_out(Network::of(address), why, act).await);
        }
        let entry = match told.entry(rate) {
            // Others have failed as often as may be meanwhile.
            Entry::Open(_) if verdict.is_some_and(|verdict| !verdict.allowed) => Entry::Shut,
            entry => entry,
        };
        told.decide(entry, findings)
    }

    /// Counts an account that failed at an address, and the address that it failed from.
    fn together(
        &self,
        asked: &mut Asked<'_>,
        address: IpAddr,
        account: &str,
    ) -> [Option<(usize, Key, Violation, u64)>; 2] {
        let network = Network::of(address);
        let mut count = |what: String, once: String, (violation, limit)| {
            let key = Key::of_stranger(what);
            let window = window(key.clone(), limit, TOGETHER)?;
            Some((asked.count(window, once), key, violation, limit))
        };
        let thresholds = &self.options.thresholds;
        [
            count(
                format!("accounts:{network}"),
                format!("account:{network}:{account}"),
                (Violation::ManyAccounts, thresholds.many_accounts),
            ),
            count(
                format!("addresses:{account}"),
                format!("address:{account}:{network}"),
                (Violation::ManyAddresses, thresholds.many_addresses),
            ),
        ]
    }

    /// Adds to the score of an address that shows no valid credential; bans it when that is full.
    pub async fn offended(&self, address: IpAddr, score: u64, act: &Act) -> Vec<Finding> {
        let network = Network::of(address);
        let key = Key::of_stranger(format!("score:{network}"));
        let Some(window) = window(key.clone(), self.options.ban_score, SCORED) else {
            return Vec::new();
        };
        let cost = score.min(window.limit);
        let answers = self.shared.ask(&[Step::take(window, cost)]).await;
        let full = |verdict: ems_store::shared::Verdict| !verdict.allowed || verdict.remaining == 0;
        if cost == 0 || !answers.verdict(0).is_some_and(full) {
            return Vec::new();
        }
        self.shared.ask(&[Step::Clear { key }]).await;
        self.shut_out(network, (Kind::Ban, Reason::AttackScore), act)
            .await
    }

    /// Shuts a network out, unless it is spared. Where somebody with a valid credential lives in
    /// it, it is blocked and not banned. It holds at once; its record is durable when this returns,
    /// or an error is logged.
    async fn shut_out(
        &self,
        network: Network,
        (kind, reason): (Kind, Reason),
        act: &Act,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut next = Some((network, (kind, reason)));
        while let Some((network, (kind, reason))) = next.take() {
            let key = live(network);
            let lives = kind == Kind::Ban && {
                let answers = self.shared.ask(&[Step::Look { key, stop: false }]).await;
                answers.marked(0).is_some()
            };
            let kind = if lives { Kind::Block } else { kind };
            let Some(sentence) = self.bans.next(network, (kind, reason), act.at) else {
                break;
            };
            let finding = Finding::of_sentence(&sentence);
            findings.push(if lives {
                finding.with("spared", "a principal lives there")
            } else {
                finding
            });
            if self.enforce(sentence, act).await
                && let Some(wider) = network.wider()
            {
                next = Some((wider, (kind, Reason::Spread)));
            }
        }
        findings
    }

    /// Puts a sentence where it holds, then into the store. Whether it was one of so many in its
    /// /48 that all of that is to be shut out.
    async fn enforce(&self, sentence: Sentence, act: &Act) -> bool {
        let network = sentence.network;
        let gone = self.bans.put(sentence.clone(), act.at);
        let left = self.bans.get(network).map_or(0, |(_, left)| left);
        let mut steps = vec![
            Step::Mark {
                key: mark(network, sentence.kind),
                for_micros: left,
            },
            Step::Clear {
                key: Key::of_stranger(format!("fail:{network}")),
            },
        ];
        if let Some(wider) = network.wider() {
            let key = Key::of_stranger(format!("spread:{wider}"));
            steps.extend(window(key, SPREAD, TOGETHER).map(|window| Step::take(window, 1)));
        }
        let answers = self.shared.ask(&steps).await;
        let act = Act {
            user: sentence.by.clone(),
            ..act.clone()
        };
        let done = bans::commit(&self.store, &act, (network, Some(&sentence)), &gone).await;
        if let Err(error) = done {
            tracing::error!(%error, "an address is shut out, and no record of it could be made");
        }
        answers.verdict(2).is_some_and(reached)
    }

    /// Shuts a network out by hand.
    ///
    /// # Errors
    /// [`Error::Spared`] for one that is never shut out; [`Error::Store`].
    pub async fn ban(
        &self,
        (network, kind): (Network, Kind),
        lasting: Duration,
        act: &Act,
    ) -> Result<Sentence> {
        if self.bans.is_spared(network) {
            return Err(Error::Spared);
        }
        let lasting = bans::micros(lasting.min(LONGEST_BY_HAND));
        let level = self
            .bans
            .remembered(network)
            .map_or(1, |before| before.level);
        let sentence = Sentence {
            network,
            kind,
            reason: Reason::Manual,
            since: act.at,
            until: act.at.saturating_add_micros(lasting),
            level,
            by: act.user.clone(),
        };
        let gone = self.bans.put(sentence.clone(), act.at);
        let other = if kind == Kind::Ban {
            Kind::Block
        } else {
            Kind::Ban
        };
        let steps = [
            Step::Clear {
                key: mark(network, other),
            },
            Step::Mark {
                key: mark(network, kind),
                for_micros: lasting,
            },
        ];
        self.shared.ask(&steps).await;
        bans::commit(&self.store, act, (network, Some(&sentence)), &gone).await?;
        Ok(sentence)
    }

    /// Lets a network in again and forgets what was counted against it. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] for one that is not shut out; [`Error::Store`].
    pub async fn lift(&self, network: Network, act: &Act) -> Result<()> {
        if self.bans.get(network).is_none() {
            return Err(Error::NotFound);
        }
        bans::commit(&self.store, act, (network, None), &[]).await?;
        self.bans.remove(network);
        let counted = ["fail", "score", "accounts", "spread"]
            .map(|what| Key::of_stranger(format!("{what}:{network}")));
        let marks = [Kind::Block, Kind::Ban].map(|kind| mark(network, kind));
        let clear = |key| Step::Clear { key };
        let steps: Vec<Step> = marks.into_iter().chain(counted).map(clear).collect();
        self.shared.ask(&steps).await;
        Ok(())
    }
}
