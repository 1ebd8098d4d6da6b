//! Chains of proxies, honest and forged.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn trusted() -> Vec<IpNet> {
    ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"]
        .map(|net| net.parse().unwrap())
        .to_vec()
}

fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    client_address(peer.parse().unwrap(), &headers, &trusted()).to_string()
}

#[test]
fn believes_nothing_from_an_untrusted_peer() {
    let lines = [
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1"),
    ];
    assert_eq!(client("203.0.113.9", &lines), "203.0.113.9");
}

#[test]
fn the_rightmost_untrusted_address_wins_over_what_a_client_wrote() {
    assert_eq!(
        client(
            "10.0.0.1",
            &[("x-forwarded-for", "1.1.1.1, 192.0.2.7, 10.0.0.2")]
        ),
        "192.0.2.7"
    );
    assert_eq!(
        client(
            "10.0.0.1",
            &[("forwarded", "for=1.1.1.1, for=192.0.2.7;proto=https")]
        ),
        "192.0.2.7"
    );
}

#[test]
fn several_lines_are_one_list() {
    let lines = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-for", "10.9.9.9"),
    ];
    assert_eq!(client("10.0.0.1", &lines), "192.0.2.7");
}

#[test]
fn a_chain_of_trusted_hops_alone_ends_at_its_first() {
    assert_eq!(
        client("10.0.0.1", &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")]),
        "10.0.0.3"
    );
    assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
}

#[test]
fn reads_ports_brackets_and_quotes() {
    for (value, expected) in [
        ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("for=\"[2001:db8::1]\"", "2001:db8::1"),
        ("proto=http;by=10.0.0.1;for=192.0.2.43", "192.0.2.43"),
        ("for=\"192.0.2.43:47011\"", "192.0.2.43"),
        ("host=\"a,b;c\";for=192.0.2.43", "192.0.2.43"),
        ("host=\"a\\\",for=6.6.6.6\";for=192.0.2.43", "192.0.2.43"),
    ] {
        assert_eq!(
            client("10.0.0.1", &[("forwarded", value)]),
            expected,
            "{value}"
        );
    }
    for (value, expected) in [
        ("192.0.2.43:47011", "192.0.2.43"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("::ffff:192.0.2.43", "192.0.2.43"),
    ] {
        assert_eq!(
            client("10.0.0.1", &[("x-forwarded-for", value)]),
            expected,
            "{value}"
        );
    }
}

#[test]
fn an_entry_that_is_no_address_ends_the_walk_at_the_hop_that_wrote_it() {
    for value in [
        "for=192.0.2.1, for=_hidden",
        "for=192.0.2.1, for=unknown",
        "for=192.0.2.1, proto=https",
        "for=192.0.2.1, for=1.1.1.1;for=2.2.2.2",
        "for=192.0.2.1, for=\"1.1.1.1",
        "for=192.0.2.1,",
        "for=192.0.2.1, nonsense",
    ] {
        assert_eq!(
            client("10.0.0.1", &[("forwarded", value)]),
            "10.0.0.1",
            "{value}"
        );
    }
    assert_eq!(
        client(
            "10.0.0.1",
            &[("x-forwarded-for", "192.0.2.1, unknown, 10.0.0.2")]
        ),
        "10.0.0.2"
    );
}

#[test]
fn a_quote_left_open_hides_the_client_behind_its_proxy_and_no_one_else() {
    for value in [
        "for=\"6.6.6.6, for=192.0.2.7",
        "for=6.6.6.6;a=\", for=192.0.2.7",
        "for=6.6.6.6;a=\"\\, for=192.0.2.7",
        "for=6.6.6.6;a=\", for=\"[2001:db8::7]\"",
    ] {
        assert_eq!(
            client("10.0.0.1", &[("forwarded", value)]),
            "10.0.0.1",
            "{value}"
        );
    }
    assert_eq!(
        client("10.0.0.1", &[("x-forwarded-for", "\"6.6.6.6, 192.0.2.7")]),
        "192.0.2.7"
    );
}

#[test]
fn two_headers_that_disagree_are_both_doubted() {
    let lines = [
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-for", "192.0.2.7"),
    ];
    assert_eq!(client("10.0.0.1", &lines), "10.0.0.1");
    let lines = [
        ("forwarded", "for=192.0.2.7"),
        ("x-forwarded-for", "6.6.6.6, 192.0.2.7"),
    ];
    assert_eq!(client("10.0.0.1", &lines), "192.0.2.7");
}

#[test]
fn a_mapped_address_of_the_peer_counts_as_ipv4() {
    assert_eq!(
        client("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.7")]),
        "192.0.2.7"
    );
    assert_eq!(client("::ffff:203.0.113.9", &[]), "203.0.113.9");
}

proptest! {
    #[test]
    fn garbage_never_panics(
        bytes in proptest::collection::vec(32_u8..=255, 0..200),
        standard: bool,
    ) {
        let mut headers = HeaderMap::new();
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        headers.insert(if standard { FORWARDED } else { X_FORWARDED_FOR }, value);
        let _ = client_address([10, 0, 0, 1].into(), &headers, &trusted());
    }

    #[test]
    fn what_a_client_prepends_changes_nothing(
        forged in "[ -~]{0,80}",
        client in any::<[u8; 4]>(),
        hops in 0_u8..5,
    ) {
        let client = IpAddr::from(client);
        prop_assume!(!is_trusted(client, &trusted()));
        let ours = (0..hops).fold(client.to_string(), |list, hop| format!("{list}, 10.0.1.{hop}"));
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, format!("{forged}, {ours}").parse().unwrap());
        let found = client_address([10, 0, 0, 1].into(), &headers, &trusted());
        prop_assert_eq!(found, client);
    }
}
