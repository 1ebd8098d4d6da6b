//! The keyring's sealed form, its rules, and root keys from every source.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn ring() -> Keyring {
    let mut ring = Keyring::new();
    ring.add_pages(3);
    ring.remove_page(1);
    ring.add_journal_key(7);
    ring
}

#[test]
fn comes_back_under_its_root_key_alone() {
    let (root, ring) = (RootKey::generate(), ring());
    let sealed = ring.encode(&root);
    let back = Keyring::decode(&sealed, &root).unwrap();
    assert_eq!(
        (back.instance(), back.generation(), back.next_page),
        (ring.instance(), 3, 3)
    );
    assert!(back.page(0).is_some() && back.page(1).is_none());
    assert_eq!(back.journal_key(7), ring.journal_key(7));
    assert!(matches!(
        Keyring::decode(&sealed, &RootKey::generate()),
        Err(Error::Root)
    ));
}

#[test]
fn a_root_key_is_read_from_hex_and_base64_and_nothing_else() {
    let (hex, base64) = (
        "5a".repeat(32),
        "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=",
    );
    let expected = DataKey::from_bytes([0x5a; 32]);
    for text in [&hex, &hex.to_uppercase(), base64, &format!(" {hex}\n")] {
        assert_eq!(RootKey::parse(text).unwrap().0, expected, "{text}");
    }
    for text in [
        "",
        "5a",
        &hex[2..],
        &hex.replace('a', "g"),
        &base64[..43],
        &format!("{hex}00"),
    ] {
        let error = RootKey::parse(text).unwrap_err().to_string();
        assert!(text.is_empty() || !error.contains(text), "{error}");
    }
}

#[test]
fn a_page_number_never_comes_back() {
    let mut ring = ring();
    ring.remove_page(2);
    let back = Keyring::decode(
        &ring.encode(&RootKey(DataKey::from_bytes([1; 32]))),
        &RootKey(DataKey::from_bytes([1; 32])),
    );
    let mut ring = back.unwrap();
    ring.add_pages(1);
    assert!(ring.page(2).is_none() && ring.page(3).is_some());
}

#[test]
fn a_journals_key_is_not_replaced_and_is_gone_once_removed() {
    let mut ring = ring();
    let key = ring.journal_key(7).cloned();
    ring.add_journal_key(7);
    assert_eq!(ring.journal_key(7).cloned(), key);
    assert_eq!(ring.journals().collect::<Vec<_>>(), [7]);
    ring.remove_journal_key(7);
    assert!(ring.journal_key(7).is_none());
}

#[test]
fn a_newer_format_says_so() {
    let root = RootKey::generate();
    let mut sealed = ring().encode(&root);
    assert_eq!(&sealed[..10], b"EMSKEYRG\x01\x00");
    sealed[8] = 2;
    assert!(matches!(
        Keyring::decode(&sealed, &root),
        Err(Error::Version(2))
    ));
}

#[test]
fn no_key_stands_in_the_sealed_form_or_is_printed() {
    let (root, ring) = (RootKey::generate(), ring());
    let sealed = ring.encode(&root);
    let keys = ring
        .pages
        .values()
        .map(|kek| &kek.0)
        .chain(ring.journals.values());
    for key in keys.chain([&root.0]) {
        assert!(!sealed.windows(32).any(|window| window == key.expose()));
    }
    let printed = format!("{ring:?} {root:?}");
    assert!(
        printed.contains("Kek(…)") && printed.contains("RootKey(…)"),
        "{printed}"
    );
}

#[test]
fn a_credential_may_show_its_access_list_but_not_the_world() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root");
    RootKey::generate().write_new(&path).unwrap();
    let set = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
    set(0o440).unwrap();
    assert!(RootKey::from_credential(dir.path(), "root").is_ok());
    assert!(RootKey::from_credential(dir.path(), "../root").is_err());
    set(0o444).unwrap();
    assert!(matches!(
        RootKey::from_credential(dir.path(), "root"),
        Err(Error::Mode { mode: 0o444, .. })
    ));
}

#[test]
fn every_flipped_and_every_missing_byte_is_seen() {
    let root = RootKey::generate();
    let sealed = ring().encode(&root);
    for length in 0..sealed.len() {
        assert!(
            Keyring::decode(&sealed[..length], &root).is_err(),
            "{length}"
        );
    }
    for at in 0..sealed.len() {
        let mut damaged = sealed.clone();
        damaged[at] ^= 4;
        assert!(Keyring::decode(&damaged, &root).is_err(), "byte {at}");
    }
}

#[test]
fn a_wrapped_key_opens_in_its_place_alone() {
    let ring = ring();
    let key = DataKey::generate();
    let wrapped = ring.page(0).unwrap().wrap(b"here", &key);
    assert_eq!(
        ring.page(0).unwrap().unwrap(b"here", &wrapped).unwrap(),
        key
    );
    assert!(ring.page(0).unwrap().unwrap(b"there", &wrapped).is_err());
    assert!(ring.page(2).unwrap().unwrap(b"here", &wrapped).is_err());
}

#[test]
fn a_root_key_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    RootKey::generate().write_new(&path).unwrap();
    assert!(RootKey::from_file(&path).is_ok());
    assert!(
        RootKey::generate().write_new(&path).is_err(),
        "never over an old one"
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        RootKey::from_file(&path),
        Err(Error::Mode { mode: 0o640, .. })
    ));
}
