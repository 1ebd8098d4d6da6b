//! What is wrong at a start is said in one line, without the password.

use std::time::Duration;

use super::*;

async fn refused(redis: &Redis, url: &str, ca: bool) -> String {
    let options = RedisOptions {
        url: url.to_owned(),
        ca_file: redis.ca_file().filter(|_| ca),
        key: key_of_names(),
        figures: Arc::<Tally>::default(),
    };
    let connect = move || RedisShared::connect_within(options, Duration::from_secs(2), RELAXED);
    let connected = tokio::task::spawn_blocking(connect).await.unwrap();
    let said = connected.unwrap_err().to_string();
    assert!(!said.contains('\n') && !said.contains("hunter2"), "{said}");
    assert!(!said.contains(redis.password()), "{said}");
    said
}

#[tokio::test]
async fn says_in_one_line_what_is_wrong_and_never_the_password() {
    let redis = Redis::start_as_deployed().await;
    let address = redis.address();
    let good = redis.url();
    let nobody = "127.0.0.1:1";
    for (url, said) in [
        (
            good.replace(redis.password(), "hunter2"),
            "user or the password",
        ),
        (good.replace("rediss://", "redis://"), "rediss://"),
        (
            good.replace(&address.to_string(), nobody),
            "cannot be reached",
        ),
        (format!("rediss://{address}"), "user or the password"),
    ] {
        let found = refused(&redis, &url, true).await;
        assert!(found.starts_with("shared.redis_url"), "{found}");
        assert!(found.contains(said), "{url}: {found}");
    }
    let found = refused(&redis, &good, false).await;
    assert!(found.starts_with("shared.ca_file"), "{found}");
    for url in [
        "hunter2",
        "http://hunter2",
        "redis://:hunter2@",
        "redis+unix:///hunter2",
    ] {
        let found = refused(&redis, url, true).await;
        assert!(found.starts_with("shared.redis_url"), "{found}");
    }
    let plain = Redis::start().await;
    let tls = plain.url().replace("redis://", "rediss://");
    let with = RedisOptions {
        url: tls,
        ca_file: redis.ca_file(),
        key: key_of_names(),
        figures: Arc::<Tally>::default(),
    };
    let found = tokio::task::spawn_blocking(|| RedisShared::connect_within(with, START, RELAXED))
        .await
        .unwrap();
    let found = found.unwrap_err().to_string();
    assert!(found.contains("no TLS"), "{found}");
}

#[tokio::test]
async fn refuses_a_server_whose_certificate_is_of_another_authority() {
    let (redis, other) = (
        Redis::start_as_deployed().await,
        Redis::start_as_deployed().await,
    );
    let found = refused(&other, &redis.url(), true).await;
    assert!(found.contains("no TLS"), "{found}");
}

/// Each command that the script needs, taken away one by one.
#[tokio::test]
async fn refuses_a_user_who_may_not_do_all_that_is_needed() {
    let redis = Redis::start_as_deployed().await;
    for command in NEEDED {
        let (without, with) = (format!("-{command}"), format!("+{command}"));
        redis.run(&["ACL", "SETUSER", "ems", &without]).await;
        let found = refused(&redis, &redis.url(), true).await;
        assert!(
            found.contains("deploy/redis/users.acl"),
            "{command}: {found}"
        );
        redis.run(&["ACL", "SETUSER", "ems", &with]).await;
    }
    redis.run(&["ACL", "SETUSER", "ems", "resetkeys"]).await;
    let found = refused(&redis, &redis.url(), true).await;
    assert!(found.contains("deploy/redis/users.acl"), "{found}");
}

#[tokio::test]
async fn the_user_of_the_service_may_do_what_is_needed_and_nothing_else() {
    let redis = Redis::start_as_deployed().await;
    connect(&redis, &redis.url(), &Arc::default())
        .await
        .unwrap();
    let said = redis.run(&["ACL", "GETUSER", "ems"]).await;
    let lines: Vec<&str> = said.lines().collect();
    let rule = |name| lines[1 + lines.iter().position(|line| *line == name).unwrap()];
    let mut may: Vec<&str> = rule("commands").split(' ').collect();
    let mut expected: Vec<String> = NEEDED.iter().map(|needed| format!("+{needed}")).collect();
    expected.push("-@all".into());
    may.sort_unstable();
    expected.sort_unstable();
    assert_eq!(may, expected);
    assert_eq!((rule("keys"), rule("channels")), ("~ems:*", ""));
    for (words, allowed) in [
        (&["GET", "ems:{x}:w:1"][..], true),
        (&["GET", "other"], false),
        (&["SET", "ems", "1"], false),
        (&["SCRIPT", "FLUSH"], false),
        (&["FLUSHALL"], false),
        (&["KEYS", "*"], false),
        (&["CONFIG", "GET", "*"], false),
        (&["ACL", "LIST"], false),
        (&["PUBLISH", "x", "y"], false),
    ] {
        let asked = redis.try_run_as_service(words).await;
        assert_eq!(asked.is_ok(), allowed, "{words:?}: {asked:?}");
    }
}

const NEEDED: [&str; 9] = [
    "evalsha",
    "script|load",
    "time",
    "get",
    "set",
    "getrange",
    "setrange",
    "pexpire",
    "del",
];
