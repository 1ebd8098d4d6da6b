//! A clerk: makes, changes and removes users, keys and descriptions of meters, and rotates the pages
//! of data keys, beside the writers; after a restart each is as it was last acknowledged.

use std::collections::BTreeMap;

use ems_api::{
    SecretText,
    account::{NewUser, User, UserPatch},
    client::{Client, Error},
    domain::{Pattern, Role},
    key::{Key, NewKey},
    meter::{Meter, MeterProfile},
};

use super::{
    change::name,
    dice::Dice,
    found::{Figures, compare, either},
    writer::{Link, wide},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Key,
    User,
    Meter,
}

/// What each record says: whether a key or user is let in, where a meter is.
type Records = BTreeMap<(Kind, String), String>;

/// A record and what it says after it was changed; nothing where it is gone.
type Change = ((Kind, String), Option<String>);

pub(super) struct Clerk {
    number: u64,
    dice: Dice,
    /// How many things were made; part of their names and places.
    made: u64,
    records: Records,
    /// The ids of keys by their names.
    keys: BTreeMap<String, String>,
    doubt: Option<Change>,
    pub(super) figures: Figures,
}

impl Clerk {
    pub(super) fn new(number: u64, seed: u64) -> Self {
        Self {
            number,
            dice: Dice::new(seed),
            made: 0,
            records: Records::new(),
            keys: BTreeMap::new(),
            doubt: None,
            figures: Figures::default(),
        }
    }

    /// Sends until the server is gone.
    pub(super) async fn run(mut self, link: Link) -> Self {
        loop {
            let answered = if self.number == 0 && self.dice.once_in(20) {
                self.rotate(&link).await
            } else {
                self.change(&link).await
            };
            if answered.is_none() {
                return self;
            }
            self.figures.acknowledged += 1;
        }
    }

    async fn rotate(&mut self, link: &Link) -> Option<()> {
        link.answer("a rotation", link.owner.rotate_pages().await)?;
        Some(())
    }

    async fn change(&mut self, link: &Link) -> Option<()> {
        let change = self.choose();
        let what = format!("{change:?}");
        let answer = self.send(&link.client, &change).await;
        self.doubt = Some(change);
        if let Some(id) = link.answer(&what, answer)? {
            let ((_, name), _) = self.doubt.as_ref()?;
            self.keys.insert(name.clone(), id);
        }
        let change = self.doubt.take()?;
        apply(change, &mut self.records);
        Some(())
    }

    fn choose(&mut self) -> Change {
        self.made += 1;
        let (number, made) = (self.number, self.made);
        match self.dice.below(9) {
            0 => {
                let user = (Kind::User, format!("user-{number}-{}", self.dice.below(5)));
                let says = match (self.records.get(&user), self.dice.below(3)) {
                    (None, _) => Some("in"),
                    (_, 0) => None,
                    (Some(now), _) if now == "in" => Some("out"),
                    _ => Some("in"),
                };
                (user, says.map(str::to_owned))
            }
            1 => (
                (Kind::Key, format!("key-{number}-{made}")),
                Some("in".into()),
            ),
            2 if self.live().next().is_some() => {
                let at = self.dice.below(wide(self.live().count()));
                let key = self.live().nth(usize::try_from(at).unwrap()).unwrap();
                (key.clone(), Some("out".into()))
            }
            3 => {
                let known = format!("place-{number}-{}", self.dice.below(5));
                let known = (Kind::Meter, known);
                let there = self.records.contains_key(&known);
                (known, (!there).then(|| format!("site-{made}")))
            }
            // One that readings come for at the same time.
            _ => ((Kind::Meter, name(0, number)), Some(format!("site-{made}"))),
        }
    }

    /// Keys that are not revoked.
    fn live(&self) -> impl Iterator<Item = &(Kind, String)> {
        let records = self.records.iter();
        let live = records.filter(|((kind, _), says)| *kind == Kind::Key && *says == "in");
        live.map(|(key, _)| key)
    }

    /// Sends a change; the id of a key that it made.
    async fn send(&self, client: &Client, change: &Change) -> Result<Option<String>, Error> {
        let ((kind, name), says) = change;
        let there = self.records.contains_key(&(*kind, name.clone()));
        match (kind, says) {
            (Kind::Key, _) if there => client.revoke_key(&self.keys[name]).await?,
            (Kind::Key, _) => {
                let made = client.create_key(&new_key(name)).await?;
                return Ok(Some(made.about.id));
            }
            (Kind::User, None) => client.delete_user(name).await?,
            (Kind::User, Some(says)) if there => {
                let patch = UserPatch {
                    disabled: Some(says == "out"),
                    ..UserPatch::default()
                };
                drop(client.change_user(name, &patch).await?);
            }
            (Kind::User, Some(_)) => drop(client.create_user(&new_user(name)).await?),
            (Kind::Meter, None) => client.delete_meter(name).await?,
            (Kind::Meter, Some(site)) => {
                let profile = MeterProfile {
                    site: Some(site.clone()),
                    ..MeterProfile::default()
                };
                drop(client.put_meter(name, &profile).await?);
            }
        }
        Ok(None)
    }

    /// Holds the records that there are against those that were acknowledged.
    pub(super) fn settle(&mut self, lists: &Lists) {
        let found = self.found(lists);
        let same = |found: &String, expected: &String| found == expected;
        let mut faults = compare(&found, &self.records, same);
        if let Some(doubt) = self.doubt.take() {
            let mut records = self.records.clone();
            apply(doubt, &mut records);
            let (there, nearer) = either(faults, compare(&found, &records, same));
            faults = nearer;
            if there {
                self.records = records;
            }
            self.figures.doubtful += 1;
            self.figures.there += u64::from(there);
        }
        self.figures.records += wide(self.records.len());
        self.figures.faults += &faults;
    }

    /// What is there of its own, and by which ids.
    fn found(&mut self, lists: &Lists) -> Vec<((Kind, String), String)> {
        let says = |out: bool| if out { "out" } else { "in" }.to_owned();
        let own = |what: &str, name: &str| name.starts_with(&format!("{what}-{}-", self.number));
        let keys = lists.keys.iter().filter(|key| own("key", &key.name));
        self.keys = keys
            .clone()
            .map(|key| (key.name.clone(), key.id.clone()))
            .collect();
        let keys = keys.map(|key| ((Kind::Key, key.name.clone()), says(key.revoked)));
        let users = lists
            .users
            .iter()
            .filter(|user| own("user", &user.username));
        let users = users.map(|user| ((Kind::User, user.username.clone()), says(user.disabled)));
        let shared = name(0, self.number);
        let meters = lists.meters.iter().filter_map(|meter| {
            let id = meter.meter_id.as_str();
            let mine = id == shared || own("place", id);
            let site = meter.site.clone().filter(|_| mine)?;
            Some(((Kind::Meter, id.to_owned()), site))
        });
        keys.chain(users).chain(meters).collect()
    }
}

fn apply((record, says): Change, records: &mut Records) {
    match says {
        Some(says) => drop(records.insert(record, says)),
        None => drop(records.remove(&record)),
    }
}

/// All users, keys and meters of a server.
pub(super) struct Lists {
    users: Vec<User>,
    keys: Vec<Key>,
    pub(super) meters: Vec<Meter>,
}

impl Lists {
    pub(super) async fn of(client: &Client) -> Self {
        Self {
            users: client.users().await.unwrap(),
            keys: client.keys().await.unwrap(),
            meters: client.meters("").await.unwrap(),
        }
    }
}

fn new_key(name: &str) -> NewKey {
    NewKey {
        name: name.to_owned(),
        role: Role::Viewer,
        meters: vec![Pattern::All],
        expires_at: None,
    }
}

fn new_user(name: &str) -> NewUser {
    NewUser {
        username: name.to_owned(),
        password: SecretText::new("correct horse battery staple".into()),
        role: Role::Viewer,
        meters: Some(vec![Pattern::All]),
        customer_id: None,
        grants: Vec::new(),
        disabled: false,
    }
}
