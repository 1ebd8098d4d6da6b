//! The configuration as a whole: sources over one another, and every fault at once.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::*;

/// An instance's directory with all that a sound configuration needs.
struct Instance {
    dir: TempDir,
}

impl Instance {
    fn new() -> Self {
        let instance = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let made = ems_crypto::certificate::generate(&[], (2026, 1, 1)).unwrap();
        instance.write("cert.pem", &made.certificate, 0o644);
        instance.write("key.pem", &made.key, 0o600);
        instance.write("root.key", &"5a".repeat(32), 0o600);
        let base64_of_32_zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        instance.write("token.key", &format!("{base64_of_32_zeros}\n"), 0o600);
        instance.write("pepper", &format!("1:{base64_of_32_zeros}\n"), 0o600);
        instance.settings("");
        instance
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Writes `ems.toml`: what a sound one has, and more of `[limits]` and whatever follows.
    fn settings(&self, more: &str) {
        let text = format!(
            "[server]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[store]\nroot_key_file = \"root.key\"\n\
             [auth]\ntoken_key_file = \"token.key\"\npepper_file = \"pepper\"\n\
             api_keys_file = \"api_keys.json\"\n[limits]\n{more}"
        );
        self.write("ems.toml", &text, 0o644);
    }

    fn load(&self, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
        let env = env.iter().copied().collect();
        let flags: Vec<_> = flags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Settings::load(Some(&self.path("ems.toml")), &env, &flags)
    }

    /// The faults of a configuration, one a line.
    fn faults(&self, env: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
        self.load(env, flags).unwrap_err().to_string()
    }
}

#[test]
fn the_default_file_holds_exactly_the_settings_there_are() {
    let table: toml::Table = DEFAULT_FILE.parse().unwrap();
    let settings: Settings = table.clone().try_into().unwrap();
    let shown: toml::Table = settings.redacted_toml().parse().unwrap();
    let names = |table: &toml::Table| -> Vec<String> {
        let sections = table.iter().flat_map(|(section, keys)| {
            let keys = keys.as_table().unwrap().keys();
            keys.map(move |key| format!("{section}.{key}"))
        });
        sections.collect()
    };
    assert_eq!(names(&shown), names(&table));
    assert_eq!(shown.try_into::<Settings>().unwrap(), settings);
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let settings = Instance::new().load(&[], &[]).unwrap().settings;
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(settings.limits.key_per_hour.get(), Some(1_000));
    assert_eq!(settings.limits.address_per_hour.get(), Some(100));
    assert_eq!(settings.limits.user_per_hour.get(), Some(10_000));
    assert_eq!(settings.limits.readings_per_hour.get(), None);
    assert_eq!(settings.limits.body_bytes.get(), 16_777_216);
    assert_eq!(settings.limits.expanded_bytes.get(), 67_108_864);
    assert_eq!(settings.limits.anonymous_body_bytes.get(), 65_536);
    assert_eq!(settings.auth.algorithm, Algorithm::Hs256);
    assert_eq!(settings.auth.access_ttl.get().as_secs(), 3_600);
    assert_eq!(settings.guard.failed_logins.get(), Some(5));
    assert_eq!(settings.network.ssh_port, 22);
    assert!(settings.readings.auto_register && settings.network.restricted);
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let instance = Instance::new();
    instance.settings("key_per_hour = 2\nuser_per_hour = 2\nbatch_rows = 2\n");
    let env = [
        ("EMS_LIMITS__USER_PER_HOUR", "3"),
        ("EMS_LIMITS__BATCH_ROWS", "3"),
    ];
    let limits = instance
        .load(&env, &[("limits.batch_rows", "4")])
        .unwrap()
        .settings
        .limits;
    let got = [
        limits.address_per_hour,
        limits.key_per_hour,
        limits.user_per_hour,
        limits.batch_rows,
    ];
    assert_eq!(got.map(|limit| limit.get().unwrap()), [100, 2, 3, 4]);
}

#[test]
fn a_variable_is_a_plain_string_or_a_toml_value() {
    let env = [
        ("EMS_GUARD__BAN_ALLOW", r#"["10.0.0.0/8"]"#),
        ("EMS_SERVER__LISTEN", "127.0.0.1:1"),
        ("EMS_AUTH__ISSUER", r#""quoted""#),
        ("EMS_AUTH__AUDIENCE", "42"),
        ("EMS_READINGS__AUTO_REGISTER", "false"),
    ];
    let settings = Instance::new().load(&env, &[]).unwrap().settings;
    assert_eq!(settings.guard.ban_allow[0].to_string(), "10.0.0.0/8");
    assert_eq!(settings.server.listen.port(), 1);
    assert_eq!(
        (&*settings.auth.issuer, &*settings.auth.audience),
        ("quoted", "42")
    );
    assert!(!settings.readings.auto_register);
}

#[test]
fn relative_paths_are_relative_to_the_file_and_those_of_variables_are_not() {
    let instance = Instance::new();
    let env = [("EMS_LOG__DIR", "elsewhere")];
    let settings = instance.load(&env, &[]).unwrap().settings;
    assert_eq!(settings.store.dir, instance.path("data"));
    assert_eq!(settings.server.cert, Some(instance.path("cert.pem")));
    assert_eq!(settings.log.dir, Path::new("elsewhere"));
}

#[test]
fn every_fault_is_named_at_once() {
    let instance = Instance::new();
    instance.settings(
        "key_per_hour = \"many\"\nbody_bytes = \"16MB\"\nkeys_per_hour = 1\n[gaurd]\nthreshold = 1\n",
    );
    let env = [
        ("EMS_SERVER__TLS", "perhaps"),
        ("EMS_AUTH__ACCESS_TTL", "25h"),
        ("EMS_NOPE__X", "1"),
    ];
    let faults = instance.faults(&env, &[("server.listen", "nowhere")]);
    for expected in [
        "limits.key_per_hour: invalid type: string \"many\", expected u64",
        "limits.body_bytes: \"16MB\" is not a size",
        "limits.keys_per_hour: there is no such setting; [limits] has",
        "gaurd.threshold: there is no section [gaurd]",
        "nope.x: there is no section [nope]",
        "server.tls: unknown variant `perhaps`, expected `on` or `off` (in EMS_SERVER__TLS)",
        "auth.access_ttl: is 25h; 24h at most",
        "server.listen: invalid socket address syntax (in --server-listen)",
    ] {
        assert!(faults.contains(expected), "{expected}\nnot in\n{faults}");
    }
    assert_eq!(faults.lines().count(), 8, "{faults}");
}

#[test]
fn a_file_that_is_not_toml_is_named_with_its_line() {
    let instance = Instance::new();
    instance.write("ems.toml", "[server]\n\nlisten = \n", 0o644);
    assert!(
        instance
            .faults(&[], &[])
            .contains("ems.toml: line 3 is not TOML")
    );
}

#[test]
fn plain_http_needs_a_loopback_address_or_a_proxy() {
    let instance = Instance::new();
    let off = ("server.tls", "off");
    let open = ("server.listen", "0.0.0.0:80");
    assert!(instance.load(&[], &[off]).is_ok());
    assert!(
        instance
            .load(&[], &[off, ("server.listen", "[::1]:80")])
            .is_ok()
    );
    assert!(instance.load(&[], &[open]).is_ok());
    assert!(
        instance
            .faults(&[], &[off, open])
            .starts_with("server.tls: ")
    );
    assert!(
        instance
            .load(&[], &[off, open, ("server.behind_proxy", "true")])
            .is_ok()
    );
}

#[test]
fn proxies_cannot_be_trusted_in_a_range_that_strangers_live_in() {
    let instance = Instance::new();
    for network in [
        "0.0.0.0/0",
        "128.0.0.0/4",
        "104.16.0.0/13",
        "8.8.8.0/31",
        "::/0",
        "2400:cb00::/32",
    ] {
        let networks = format!("[\"10.0.0.0/8\", \"{network}\"]");
        let faults = instance.faults(&[], &[("server.trusted_proxies", &networks)]);
        assert!(
            faults.contains(&format!("server.trusted_proxies: {network}")),
            "{faults}"
        );
    }
    for network in [
        "10.0.0.0/8",
        "fd00::/8",
        "104.16.0.1/32",
        "2400:cb00::1/128",
        "198.51.100.0/24",
        "127.0.0.1/32",
    ] {
        let networks = format!("[\"{network}\"]");
        assert!(
            instance
                .load(&[], &[("server.trusted_proxies", &networks)])
                .is_ok(),
            "{network}"
        );
    }
}

#[test]
fn a_rule_or_route_that_is_not_there_cannot_be_allowed_nor_a_threshold_that_nothing_reaches() {
    let instance = Instance::new();
    for (rules, why) in [
        (r#"[{ rule = "sql-nothing" }]"#, "'sql-nothing' is no rule"),
        (
            r#"[{ rule = "sql-tokens", route = "/nowhere" }]"#,
            "'/nowhere' is no route",
        ),
        (r#"[{ rule = "sql-tokens", fild = "location" }]"#, "fild"),
    ] {
        let faults = instance.faults(&[("EMS_GUARD__ALLOW_RULES", rules)], &[]);
        assert!(faults.contains(why), "{faults}");
    }
    for threshold in ["0", "1000"] {
        let faults = instance.faults(&[("EMS_GUARD__THRESHOLD", threshold)], &[]);
        assert!(faults.contains("guard.threshold"), "{faults}");
    }
    let allowed = r#"[{ rule = "sql-tokens", route = "/api/v1/data", field = "location" }]"#;
    let settings = instance.load(&[("EMS_GUARD__ALLOW_RULES", allowed)], &[]);
    assert_eq!(settings.unwrap().settings.guard.allow_rules.len(), 1);
}

#[test]
fn an_address_of_redis_is_refused_where_it_cannot_be_one_and_never_shown() {
    let instance = Instance::new();
    for (url, key) in [
        ("redis:hunter2", "shared.redis_url"),
        ("http://ems:hunter2@cache", "shared.redis_url"),
        ("redis://ems:hunter2@cache/x", "shared.redis_url"),
        ("redis://ems:hunter2@cache", "shared.redis_url"),
        (
            "redis://ems:hunter2@127.0.0.1.example:6379",
            "shared.redis_url",
        ),
        ("rediss://ems:hunter2@cache", "shared.ca_file"),
    ] {
        let faults = instance.faults(&[], &[("shared.redis_url", url)]);
        assert!(faults.contains(&format!("{key}: ")), "{url}: {faults}");
        assert!(!faults.contains("hunter2"), "{faults}");
    }
    for url in ["redis://:hunter2@localhost", "redis://[::1]:6379/2"] {
        assert!(
            instance.load(&[], &[("shared.redis_url", url)]).is_ok(),
            "{url}"
        );
    }
    let flags = [
        ("shared.redis_url", "rediss://ems:hunter2@cache:6379/1"),
        ("shared.ca_file", "ca.pem"),
    ];
    let loaded = instance.load(&[], &flags).unwrap();
    assert!(!loaded.settings.redacted_toml().contains("hunter2"));
}

#[test]
fn keys_may_not_lie_beside_what_they_lock() {
    let instance = Instance::new();
    let within = [
        ("store.keyring_dir", "/d/data/keys"),
        ("store.dir", "/d/data"),
    ];
    assert!(
        instance
            .faults(&[], &within)
            .contains("store.keyring_dir: must be apart")
    );
    let beside = instance.path(".").display().to_string();
    assert!(
        instance
            .faults(&[], &[("store.dir", &beside)])
            .contains("store.root_key_file: lies within")
    );
}

#[test]
fn missing_secrets_and_certificates_are_all_named() {
    let instance = Instance::new();
    instance.write("ems.toml", "", 0o644);
    let faults = instance.faults(&[], &[]);
    for key in [
        "server.cert",
        "server.key",
        "store.root_key_file",
        "auth.token_key_file",
        "auth.pepper_file",
    ] {
        assert!(
            faults.contains(&format!("{key}: ")),
            "{key} not in\n{faults}"
        );
    }
    assert_eq!(faults.lines().count(), 5, "{faults}");
}

#[test]
fn secrets_that_others_may_read_are_refused() {
    let instance = Instance::new();
    for (name, key) in [
        ("key.pem", "server.key"),
        ("root.key", "store.root_key_file"),
        ("token.key", "auth.token_key_file"),
        ("pepper", "auth.pepper_file"),
    ] {
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(instance.path(name), fs::Permissions::from_mode(mode)).unwrap();
            let faults = instance.faults(&[], &[]);
            assert!(
                faults.starts_with(key) && faults.contains("chmod 600"),
                "{faults}"
            );
            assert_eq!(faults.lines().count(), 1);
        }
        fs::set_permissions(instance.path(name), fs::Permissions::from_mode(0o400)).unwrap();
        assert!(instance.load(&[], &[]).is_ok());
    }
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    let instance = Instance::new();
    let other = ems_crypto::certificate::generate(&[], (2026, 1, 1)).unwrap();
    instance.write("cert.pem", &other.certificate, 0o644);
    assert!(instance.faults(&[], &[]).starts_with("server.cert: "));
}

#[test]
fn the_guides_variables_give_the_token_key() {
    let instance = Instance::new();
    let long = "a-shared-secret-of-32-characters";
    let file = instance.write("jwt", &format!("{long}\n"), 0o600);
    let previous = [(
        "JWT_SECRET_KEY_PREVIOUS",
        "an-older-secret-of-32-characters",
    )];
    assert!(
        instance
            .load(&[("JWT_SECRET_KEY", long), previous[0]], &[])
            .is_ok()
    );
    assert!(
        instance
            .load(&[("JWT_SECRET_KEY_FILE", file.to_str().unwrap())], &[])
            .is_ok()
    );
    let short = instance.faults(&[("JWT_SECRET_KEY", &long[1..])], &[]);
    assert!(
        short.starts_with("JWT_SECRET_KEY: ") && !short.contains(&long[1..]),
        "{short}"
    );
    let both = [("JWT_SECRET_KEY", long), ("JWT_SECRET_KEY_FILE", "x")];
    assert!(instance.faults(&both, &[]).contains("unset one of them"));
}

#[test]
fn the_root_key_may_come_from_a_variable_or_a_systemd_credential() {
    let instance = Instance::new();
    let cleared = ("store.root_key_file", "");
    assert!(
        instance
            .load(&[("EMS_ROOT_KEY", &"a5".repeat(32))], &[cleared])
            .is_ok()
    );
    let wrong = instance.faults(&[("EMS_ROOT_KEY", "a5")], &[cleared]);
    assert!(wrong.starts_with("EMS_ROOT_KEY: "), "{wrong}");

    let flags = [cleared, ("store.root_key_credential", "root.key")];
    let directory = instance.dir.path().to_str().unwrap();
    assert!(
        instance
            .load(&[("CREDENTIALS_DIRECTORY", directory)], &flags)
            .is_ok()
    );
    assert!(
        instance
            .faults(&[], &flags)
            .contains("systemd passed no credentials")
    );
}

#[test]
fn the_key_file_is_read_where_it_exists_and_its_faults_are_named() {
    let instance = Instance::new();
    assert!(instance.load(&[], &[]).unwrap().secrets.api_keys.is_empty());
    let hash = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";
    let file = instance.write("keys.json", &format!(r#"{{"abcdefgh": "{hash}"}}"#), 0o600);
    let env = [("API_KEYS_FILE", file.to_str().unwrap())];
    let keys = instance.load(&env, &[]).unwrap().secrets.api_keys;
    assert_eq!((&*keys[0].prefix, &*keys[0].hash), ("abcdefgh", hash));
    instance.write("keys.json", "{}", 0o644);
    assert!(
        instance
            .faults(&env, &[])
            .starts_with("auth.api_keys_file: ")
    );
}

#[test]
fn nothing_that_is_shown_holds_a_secret() {
    let instance = Instance::new();
    let secret = "hunter2-hunter2-hunter2-hunter2-";
    let url = instance.write("mongo", "mongodb://ems:hunter2@db/ems", 0o600);
    let env = [
        ("JWT_SECRET_KEY", secret),
        ("MONGODB_PASSWORD", "hunter2"),
        ("EMS_STORE__MONGO_URI_FILE", url.to_str().unwrap()),
        ("EMS_STORE__BACKEND", "mongo"),
    ];
    let loaded = instance.load(&env, &[]).unwrap();
    let uri = loaded.settings.store.mongo_uri.as_ref().unwrap();
    assert_eq!(uri.expose(), "mongodb://ems:hunter2@db/ems");
    let toml = loaded.settings.redacted_toml();
    let json = serde_json::to_string(&loaded.settings).unwrap();
    let environment: Environment = env.into_iter().collect();
    let shown = format!("{toml}{json}{loaded:?}{environment:?}");
    assert!(shown.contains("mongodb://ems:***@db/ems"));
    assert!(!shown.contains("hunter2") && !shown.contains(&"5a".repeat(32)));
}

#[test]
fn a_database_needs_an_address_and_one_that_is_whole() {
    let instance = Instance::new();
    let mongo = ("store.backend", "mongo");
    let missing = instance.faults(&[], &[mongo]);
    assert!(
        missing.starts_with("store.mongo_uri: is missing"),
        "{missing}"
    );
    assert_eq!(missing.lines().count(), 1);
    for uri in ["mongodb://", "redis://hunter2", "mongodb://ems:hunter/2@db"] {
        let faults = instance.faults(&[], &[mongo, ("store.mongo_uri", uri)]);
        assert!(faults.starts_with("store.mongo_uri: "), "{faults}");
        assert!(
            faults.lines().count() == 1 && !faults.contains("hunter"),
            "{faults}"
        );
    }
    let embedded = instance.load(&[("MONGODB_PASSWORD", "p")], &[]).unwrap();
    assert!(embedded.secrets.database.is_none());
}

#[test]
fn the_guides_password_is_for_a_user_of_the_address() {
    let instance = Instance::new();
    let file = instance.write("password", "p\n", 0o600);
    let file = file.to_str().unwrap();
    let flags = |uri| [("store.backend", "mongo"), ("store.mongo_uri", uri)];
    for env in [("MONGODB_PASSWORD", "p"), ("MONGODB_PASSWORD_FILE", file)] {
        let loaded = instance.load(&[env], &flags("mongodb://ems@db/ems"));
        assert!(loaded.unwrap().secrets.database.is_some());
        let faults = instance.faults(&[env], &flags("mongodb://db/ems"));
        assert!(faults.starts_with("MONGODB_PASSWORD: is set"), "{faults}");
    }
    let both = [("MONGODB_PASSWORD", "p"), ("MONGODB_PASSWORD_FILE", file)];
    let faults = instance.faults(&both, &flags("mongodb://ems@db/ems"));
    assert!(faults.contains("unset one of them"), "{faults}");
    instance.write("password", "p\n", 0o644);
    let faults = instance.faults(&both[1..], &flags("mongodb://ems@db/ems"));
    assert!(faults.contains("chmod 600"), "{faults}");
}

#[test]
fn the_address_of_the_database_may_lie_in_a_file_that_the_settings_name() {
    let instance = Instance::new();
    instance.write("uri", "mongodb://ems:own@db/ems\n", 0o600);
    let store = "[store]\nroot_key_file = \"root.key\"\nbackend = \"mongo\"\n";
    let text = fs::read_to_string(instance.path("ems.toml")).unwrap();
    let whole = |more: &str| {
        let more = format!("{store}{more}");
        let text = text.replace("[store]\nroot_key_file = \"root.key\"\n", &more);
        instance.write("ems.toml", &text, 0o644);
    };
    let uri = |env: &[(&str, &str)]| {
        let settings = instance.load(env, &[]).unwrap().settings;
        settings.store.mongo_uri.unwrap().expose().to_owned()
    };
    whole("mongo_uri_file = \"uri\"\n");
    assert_eq!(uri(&[]), "mongodb://ems:own@db/ems");
    let other = "mongodb://other@db/ems";
    assert_eq!(uri(&[("EMS_STORE__MONGO_URI", other)]), other);
    whole("mongo_uri_file = \"uri\"\nmongo_uri = \"mongodb://db\"\n");
    assert!(instance.faults(&[], &[]).contains("keep one"));
    whole("mongo_uri_file = \"nowhere\"\n");
    assert!(instance.faults(&[], &[]).contains("store.mongo_uri_file: "));
    whole("mongo_uri_file = 1\n");
    assert!(instance.faults(&[], &[]).contains("names a file"));
}

#[test]
fn the_settings_alone_can_be_read_without_any_secret() {
    let settings = Settings::read(
        None,
        &Environment::default(),
        &[("server.tls".into(), "off".into())],
    );
    assert_eq!(settings.unwrap().store.dir, Path::new("data"));
}
