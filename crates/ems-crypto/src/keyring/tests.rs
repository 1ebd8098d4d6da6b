//! The keyring's sealed form, its rules, and root keys from every source.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn ring(root: &RootKey) -> Keyring {
    let mut ring = Keyring::new(root, 5);
    ring.add_pages(3);
    ring.remove_pages(&[1]);
    ring.add_journal_key(7);
    ring
}

fn reopened(ring: &Keyring, root: &RootKey) -> Keyring {
    Keyring::decode(&ring.encode(), root).unwrap()
}

#[test]
fn comes_back_under_its_root_key_alone() {
    let root = RootKey::generate();
    let mut ring = ring(&root);
    ring.retire_pages(&[2]);
    ring.begin_rotation();
    let destroyed = Destroyed {
        subject: [3; 16],
        data: [4; 16],
        at: 9,
    };
    ring.note_destroyed(destroyed);
    ring.note_destroyed(Destroyed {
        at: 10,
        ..destroyed
    });
    let back = reopened(&ring, &root);
    assert_eq!(
        (back.instance(), back.generation()),
        (ring.instance(), ring.generation())
    );
    assert!(back.page(0).is_some() && back.page(1).is_none());
    assert_eq!(back.journal_key(7), ring.journal_key(7));
    assert_eq!((back.retiring(), back.to_rotate()), (vec![2], vec![0, 2]));
    assert_eq!(back.destroyed(), [destroyed], "once");
    assert_eq!((back.root_changed(), back.pages_rotated()), (5, 5));
    let other = Keyring::decode(&ring.encode(), &RootKey::generate());
    assert!(matches!(other, Err(Error::Root)));
}

#[test]
fn either_root_key_opens_it_while_one_takes_the_others_place() {
    let (old, new) = (RootKey::generate(), RootKey::generate());
    let mut ring = ring(&old);
    assert_eq!(ring.root_change(), RootChange::Settled);
    assert!(ring.admit_root(&old).is_err(), "it is the one in use");
    ring.admit_root(&new).unwrap();
    // Changes in between keep both ways in, whoever makes them.
    let mut by_old = reopened(&ring, &old);
    assert_eq!(by_old.root_change(), RootChange::Pending);
    by_old.add_journal_key(8);
    let mut by_new = reopened(&by_old, &new);
    assert_eq!(by_new.root_change(), RootChange::Arrived);
    assert_eq!(by_new.journal_key(8), by_old.journal_key(8));
    assert!(Keyring::decode(&by_new.encode(), &old).is_ok());
    by_new.settle_root(&new, 70);
    assert!(Keyring::decode(&by_new.encode(), &old).is_err());
    let settled = reopened(&by_new, &new);
    assert_eq!(settled.root_change(), RootChange::Settled);
    assert_eq!(settled.root_changed(), 70);
    assert_ne!(settled.keys().last(), by_old.keys().last());
}

#[test]
fn another_new_root_key_takes_the_place_of_the_one_let_in_before() {
    let [old, first, second] = [(); 3].map(|()| RootKey::generate());
    let mut ring = ring(&old);
    ring.admit_root(&first).unwrap();
    ring.admit_root(&second).unwrap();
    let sealed = ring.encode();
    assert!(Keyring::decode(&sealed, &first).is_err());
    assert!(Keyring::decode(&sealed, &old).is_ok() && Keyring::decode(&sealed, &second).is_ok());
}

#[test]
fn a_page_that_retires_or_is_to_be_rotated_takes_no_more_keys() {
    let mut ring = ring(&RootKey::generate());
    ring.retire_pages(&[0]);
    assert_eq!(ring.open_pages(0).collect::<Vec<_>>(), [2]);
    ring.begin_rotation();
    assert_eq!(ring.open_pages(0).count(), 0);
    assert_eq!(ring.add_pages(2), [3, 4]);
    ring.begin_rotation();
    assert_eq!(ring.to_rotate(), [0, 2], "it is the same rotation");
    assert_eq!(ring.open_pages(4).collect::<Vec<_>>(), [4]);
    ring.remove_pages(&[0, 2]);
    ring.end_rotation(9);
    assert!(!ring.is_rotating() && ring.pages_rotated() == 9);
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
    let root = RootKey::generate();
    let mut ring = ring(&root);
    ring.remove_pages(&[2]);
    let mut ring = reopened(&ring, &root);
    ring.add_pages(1);
    assert!(ring.page(2).is_none() && ring.page(3).is_some());
}

#[test]
fn a_journals_key_is_not_replaced_and_is_gone_once_removed() {
    let mut ring = ring(&RootKey::generate());
    let key = ring.journal_key(7).cloned();
    ring.add_journal_key(7);
    assert_eq!(ring.journal_key(7).cloned(), key);
    assert_eq!(ring.journals().collect::<Vec<_>>(), [7]);
    ring.remove_journal_key(7);
    assert!(ring.journal_key(7).is_none());
}

#[test]
fn another_format_says_so() {
    let root = RootKey::generate();
    let mut sealed = ring(&root).encode();
    assert_eq!(&sealed[..10], b"EMSKEYRG\x02\x00");
    for format in [1, 3] {
        sealed[8] = format;
        let refused = Keyring::decode(&sealed, &root);
        assert!(matches!(refused, Err(Error::Version(found)) if found == u16::from(format)));
    }
}

#[test]
fn no_key_stands_in_the_sealed_form_or_is_printed() {
    let root = RootKey::generate();
    let ring = ring(&root);
    let sealed = ring.encode();
    for key in ring.keys().into_iter().chain([&root.0]) {
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
    let mut ring = ring(&root);
    ring.admit_root(&RootKey::generate()).unwrap();
    let sealed = ring.encode();
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
    let ring = ring(&RootKey::generate());
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
