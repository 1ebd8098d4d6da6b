//! What each role may do, asked of the real server: the table here is written apart from
//! `roles.json`.

use std::collections::BTreeSet;

use mongodb::{
    Client,
    bson::{Document, doc},
};

use super::{super::*, UNAUTHORIZED, code};

/// Every collection, and what each role may do there: find, insert, update, remove. In the order of
/// [`roles`].
const MAY: [(&str, &str, [&str; 5]); 22] = [
    ("ems", "ledger", ["fi", "fi", "fi", "fi", "fi"]),
    ("ems", "journal", ["", "fi", "f", "fiur", "fiur"]),
    ("ems", "identity_journal", ["fi", "", "", "fiur", "fiur"]),
    ("ems", "control_journal", ["", "", "", "fiur", "fiur"]),
    ("ems", "users", ["f", "", "", "fiur", "fiur"]),
    ("ems", "keys", ["f", "", "", "fiur", "fiur"]),
    ("ems", "sessions", ["f", "", "", "fiur", "fiur"]),
    ("ems", "bans", ["f", "", "", "fiur", "fiur"]),
    ("ems", "meters", ["", "f", "f", "fiur", "fiur"]),
    ("ems", "answers", ["", "f", "", "fiur", "fiur"]),
    ("ems", "erasures", ["", "f", "", "fiur", "fiur"]),
    ("ems", "customers", ["", "", "", "fiur", "fiur"]),
    ("ems", "manifests", ["", "f", "f", "fiur", "fiur"]),
    ("ems", "segments", ["", "f", "f", "fiur", "fiur"]),
    ("ems", "young", ["", "f", "f", "fiur", "fiur"]),
    ("ems", "superseded", ["", "f", "f", "fiur", "fiur"]),
    ("ems", "heads", ["f", "f", "f", "fiur", "fiur"]),
    ("ems", "jobs", ["f", "f", "f", "fiur", "fiur"]),
    ("ems", "meta", ["f", "f", "f", "f", "fiu"]),
    ("ems_keys", "keyring", ["f", "fu", "f", "fiu", "fiu"]),
    ("ems_keys", "wrapped", ["f", "fi", "f", "fiur", "fiur"]),
    ("ems_keys", "pages", ["f", "fiu", "f", "fiur", "fiur"]),
];

/// What nobody may do to a collection, whoever they are.
const NEVER: [&str; 4] = ["drop", "rename", "to capped", "drop indexes"];

/// What nobody may do at all: users, roles, other databases, the server itself.
const NOWHERE: [&str; 11] = [
    "drop ems",
    "drop ems_keys",
    "create a user",
    "grant a role",
    "read another database",
    "write another database",
    "read users",
    "read the oplog",
    "read a collection of no name here",
    "set a parameter",
    "shut down",
];

fn roles(accounts: &Accounts) -> [&Account; 5] {
    [
        &accounts.identity,
        &accounts.ingestion,
        &accounts.analytics,
        &accounts.control,
        &accounts.owner,
    ]
}

/// A command on a collection.
fn on(what: &str, collection: &str) -> Document {
    let one = doc! { "q": { "_id": "none" } };
    match what {
        "f" => doc! { "find": collection, "limit": 1 },
        "i" => doc! { "insert": collection, "documents": [{ "by": "a test" }] },
        "u" => {
            let mut one = one;
            one.insert("u", doc! { "$set": { "by": "a test" } });
            doc! { "update": collection, "updates": [one] }
        }
        "r" => {
            let mut one = one;
            one.insert("limit", 0);
            doc! { "delete": collection, "deletes": [one] }
        }
        "index" => doc! {
            "createIndexes": collection,
            "indexes": [{ "key": { "by": 1 }, "name": "by" }],
        },
        "modify" => doc! { "collMod": collection, "validationLevel": "strict" },
        "indexes" => doc! { "listIndexes": collection },
        "script" => doc! { "find": collection, "filter": { "$where": "true" } },
        "drop" => doc! { "drop": collection },
        "drop indexes" => doc! { "dropIndexes": collection, "index": "*" },
        "to capped" => doc! { "convertToCapped": collection, "size": 4096 },
        "replace" => doc! {
            "aggregate": collection, "pipeline": [{ "$out": collection }], "cursor": {},
        },
        _ => unreachable!("{what}"),
    }
}

/// A database and a command on it.
fn anywhere(what: &str) -> (&'static str, Document) {
    let find = |collection| doc! { "find": collection, "limit": 1 };
    match what {
        "drop ems" => ("ems", doc! { "dropDatabase": 1 }),
        "drop ems_keys" => ("ems_keys", doc! { "dropDatabase": 1 }),
        "create a user" => {
            let user = doc! { "createUser": "more", "pwd": "more", "roles": ["root"] };
            ("admin", user)
        }
        "grant a role" => {
            let grant = doc! { "grantRolesToUser": "analytics", "roles": ["emsControl"] };
            ("admin", grant)
        }
        "read another database" => ("other", find("things")),
        "write another database" => ("other", on("i", "things")),
        "read users" => ("admin", find("system.users")),
        "read the oplog" => ("local", find("oplog.rs")),
        "read a collection of no name here" => ("ems", find("system.profile")),
        "set a parameter" => ("admin", doc! { "setParameter": 1, "logLevel": 1 }),
        "shut down" => ("admin", doc! { "shutdown": 1, "force": true }),
        _ => unreachable!("{what}"),
    }
}

async fn asked(client: &Client, database: &str, command: Document) -> Result<(), Option<i32>> {
    let answer = client.database(database).run_command(command).await;
    match answer {
        // A write that is refused as a whole is an error of the command; of a part, of the answer.
        Ok(answer) if answer.contains_key("writeErrors") => Err(None),
        Ok(_) => Ok(()),
        Err(error) => Err(code(&error)),
    }
}

/// Asks all of one user, on one collection; `may` has the letters of [`MAY`]. What turned out
/// otherwise.
async fn judge(
    client: &Client,
    (database, collection): (&str, &str),
    may: &str,
    owns: bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut note = |what: &str, right: bool| {
        if !right {
            wrong.push(format!("{what} {database}.{collection}"));
        }
    };
    for what in ["f", "i", "u", "r", "replace", "index", "modify", "indexes"] {
        let allowed = match what {
            "replace" => ['f', 'i', 'r'].iter().all(|letter| may.contains(*letter)),
            "index" | "modify" | "indexes" => owns,
            letter => may.contains(letter),
        };
        let answer = asked(client, database, on(what, collection)).await;
        let expected = if allowed { Ok(()) } else { Err(UNAUTHORIZED) };
        note(what, answer == expected);
    }
    for what in NEVER {
        let (database, command) = if what == "rename" {
            let from = format!("{database}.{collection}");
            let to = format!("{database}.renamed");
            ("admin", doc! { "renameCollection": from, "to": to })
        } else {
            (database, on(what, collection))
        };
        let answer = asked(client, database, command).await;
        note(what, answer == Err(UNAUTHORIZED));
    }
    let answer = asked(client, database, on("script", collection)).await;
    // Who may read is refused for the script, not for the role.
    let for_the_role = answer == Err(UNAUTHORIZED);
    note(
        "script",
        answer.is_err() && for_the_role != may.contains('f'),
    );
    wrong
}

/// What all of these may do together.
fn together(may: &[&str]) -> String {
    let letters: BTreeSet<char> = may.iter().flat_map(|may| may.chars()).collect();
    letters.into_iter().collect()
}

/// Makes the collections, as their owner does.
async fn make_collections(owner: &Client) {
    for (database, collection, _) in MAY {
        let create = doc! { "create": collection };
        assert_eq!(asked(owner, database, create).await, Ok(()), "{collection}");
    }
}

#[tokio::test]
async fn each_role_may_do_what_it_is_for_and_nothing_else() {
    let set = ReplicaSet::start().await;
    let accounts = set.with_roles().await;
    make_collections(&set.client(&accounts.owner).await).await;
    let mut users: Vec<(&Account, Vec<usize>)> = roles(&accounts)
        .into_iter()
        .enumerate()
        .map(|(role, account)| (account, vec![role]))
        .collect();
    users.push((&accounts.ems, vec![0, 1, 2, 3]));
    for (account, held) in users {
        let client = set.client(account).await;
        let owns = account.name() == "owner";
        let mut wrong = Vec::new();
        for (database, collection, may) in MAY {
            let may: Vec<&str> = held.iter().map(|role| may[*role]).collect();
            let place = (database, collection);
            wrong.extend(judge(&client, place, &together(&may), owns).await);
        }
        let list = doc! { "listCollections": 1 };
        let listed = asked(&client, "ems", list).await;
        assert_eq!(listed, if owns { Ok(()) } else { Err(UNAUTHORIZED) });
        for what in NOWHERE {
            let (database, command) = anywhere(what);
            if asked(&client, database, command).await != Err(UNAUTHORIZED) {
                wrong.push(what.to_owned());
            }
        }
        assert_eq!(wrong, [""; 0], "{}", account.name());
    }
}

#[tokio::test]
async fn nobody_has_the_server_run_a_script() {
    let set = ReplicaSet::start().await;
    let accounts = set.with_roles().await;
    make_collections(&set.client(&accounts.owner).await).await;
    for account in [set.admin(), &accounts.ems, &accounts.owner] {
        let client = set.client(account).await;
        let answer = client
            .database("ems")
            .run_command(on("script", "meta"))
            .await;
        let said = answer.expect_err(account.name()).to_string();
        assert!(said.contains("$where"), "{said}");
    }
}
