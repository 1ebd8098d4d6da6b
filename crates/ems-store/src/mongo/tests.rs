//! The backend by the contract suite, on a real replica set of three, over TLS, as the user that a
//! server has.

mod damage;
mod faults;
mod history;
mod secrecy;
mod together;

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use ems_testkit::mongo::{Accounts, ReplicaSet};

use super::*;
use crate::contract::{self, Open, clock};

/// A replica set, and the accounts on it.
struct Home {
    set: ReplicaSet,
    accounts: Accounts,
    root: RootKey,
    databases: AtomicUsize,
    place: tempfile::TempDir,
}

impl Home {
    async fn on(set: ReplicaSet) -> Self {
        Self {
            accounts: set.with_roles().await,
            set,
            root: RootKey::generate(),
            databases: AtomicUsize::new(0),
            place: tempfile::tempdir().unwrap(),
        }
    }

    fn options(&self, database: &str, owner: bool) -> Options {
        let account = if owner {
            self.set.admin()
        } else {
            &self.accounts.ems
        };
        let account = if database == "ems" {
            account
        } else {
            self.set.admin()
        };
        let uri = self
            .set
            .uri(account)
            .replacen("/?", &format!("/{database}?"), 1);
        Options {
            uri: Address::new(uri),
            journal_bytes: 4 << 20,
            key_cache_bytes: 1 << 20,
        }
    }

    /// A new database, initialised.
    fn make(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::SeqCst);
        let name = if number == 0 {
            "ems".into()
        } else {
            format!("ems{number}")
        };
        init(&self.options(&name, true), self.root.clone(), &clock()).unwrap();
        name
    }

    fn open(&self, database: &str) -> Store {
        open(self.options(database, false), self.root.clone(), clock()).unwrap()
    }

    fn verify(&self, database: &str) -> Report {
        let options = self.options(database, false);
        verify(options, self.root.clone(), clock(), &|_| {}).unwrap()
    }
}

/// A test of the contract, by its name.
type Named = (&'static str, fn(Open<'_>) -> Tested<'_>);

type Tested<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs a test on a replica set of its own.
fn run(test: impl AsyncFnOnce(&Home)) {
    run_on(ReplicaSet::start(), test);
}

/// Runs a test on a replica set that is started for it.
fn run_on(set: impl Future<Output = ReplicaSet>, test: impl AsyncFnOnce(&Home)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let home = Home::on(set.await).await;
        test(&home).await;
    });
}

#[test]
fn keeps_the_contract() {
    run(async |home: &Home| {
        macro_rules! contract {
            ($($name:ident),*) => {
                [$((stringify!($name), |open| Box::pin(contract::$name(open)))),*]
            };
        }
        let all: [Named; 12] = contract!(
            counts_what_each_reading_was,
            a_reading_comes_back_whole_after_a_reopen,
            replaced_values_are_kept_with_their_time_out_of_the_way,
            deletes_count_and_hide_what_they_cover,
            records_change_only_at_the_revision_expected,
            a_refused_batch_changes_nothing,
            a_request_sent_again_is_answered_as_before,
            the_same_request_many_times_at_once_is_done_once,
            lists_by_prefix_in_order,
            a_pseudonym_is_its_subjects_and_stays,
            a_meter_may_be_described_before_its_first_reading,
            many_at_once_are_each_counted_once
        );
        for (name, test) in all {
            let began = std::time::Instant::now();
            let database = home.make();
            let made = began.elapsed();
            test(&|| home.open(&database)).await;
            println!("{name}: {:?}, {made:?} of it to make it", began.elapsed());
            assert_eq!(
                home.verify(&database).faults,
                Vec::<String>::new(),
                "{name}"
            );
        }
    });
}
