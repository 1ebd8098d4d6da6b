//! A log file is private, rotated and opened anew.

use super::*;

fn open(dir: &Path, rotate_bytes: u64, keep: u32) -> LogFile {
    let options = Options {
        dir: dir.to_owned(),
        rotate_bytes,
        keep,
        form: crate::journal::Form::Guide,
    };
    LogFile::open(&options, "a.log", Arc::default()).unwrap()
}

fn text(dir: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(dir.join(name)).ok()
}

fn write(file: &mut LogFile, lines: &[&str]) {
    for line in lines {
        file.append(line.as_bytes()).unwrap();
    }
    file.flush().unwrap();
}

#[test]
fn sets_aside_by_size_and_keeps_as_many_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(dir.path(), 10, 2);
    // Ten bytes fit exactly; a longer line has a file of its own.
    write(
        &mut file,
        &["aaaa\n", "bbbb\n", "c\n", "dddddddddddd\n", "e\n"],
    );
    let found = ["a.log", "a.log.1", "a.log.2", "a.log.3"].map(|name| text(dir.path(), name));
    let expected = [Some("e\n"), Some("dddddddddddd\n"), Some("c\n"), None];
    assert_eq!(
        found.map(Option::unwrap_or_default),
        expected.map(Option::unwrap_or_default)
    );
}

#[test]
fn without_a_bound_nothing_is_set_aside_and_without_a_keep_nothing_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(dir.path(), 0, 3);
    write(&mut file, &["a\n"; 1000]);
    assert_eq!(text(dir.path(), "a.log").unwrap().len(), 2000);
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(dir.path(), 4, 0);
    write(&mut file, &["aaa\n", "bbb\n"]);
    assert_eq!(text(dir.path(), "a.log").unwrap(), "bbb\n");
    assert_eq!(text(dir.path(), "a.log.1"), None);
}

#[test]
fn a_line_cut_by_a_crash_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    for (before, after) in [
        ("", ""),
        ("torn", ""),
        ("whole\n", "whole\n"),
        ("whole\ntorn", "whole\n"),
    ] {
        std::fs::write(dir.path().join("a.log"), before).unwrap();
        let mut file = open(dir.path(), 0, 1);
        write(&mut file, &["next\n"]);
        assert_eq!(text(dir.path(), "a.log").unwrap(), format!("{after}next\n"));
    }
}

#[test]
fn finds_the_last_line_however_long_and_looks_into_the_newest_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(dir.path(), 0, 2);
    assert_eq!(file.last_line().unwrap(), None);
    let long = format!("{}\n", "x".repeat(200_000));
    write(&mut file, &["a\n", &long]);
    assert_eq!(file.last_line().unwrap().unwrap(), long.as_bytes());
    file.set_aside().unwrap();
    assert_eq!(file.last_line().unwrap().unwrap(), long.as_bytes());
    write(&mut file, &["b\n"]);
    assert_eq!(file.last_line().unwrap().unwrap(), b"b\n");
}

#[test]
fn goes_on_after_a_failure_when_the_cause_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(dir.path(), 0, 1);
    let wishes = Arc::clone(&file.wishes);
    std::fs::remove_file(dir.path().join("a.log")).unwrap();
    std::fs::create_dir(dir.path().join("a.log")).unwrap();
    wishes.fetch_add(1, Ordering::SeqCst);
    assert!(file.append(b"a\n").is_err());
    std::fs::remove_dir(dir.path().join("a.log")).unwrap();
    write(&mut file, &["b\n"]);
    assert_eq!(text(dir.path(), "a.log").unwrap(), "b\n");
}
