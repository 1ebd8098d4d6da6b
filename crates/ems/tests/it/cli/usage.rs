//! What is said of a wrong command line, and the helps.

use super::binary;

#[test]
fn a_wrong_command_line_is_one_line_and_64() {
    let wrong: [&[&str]; 7] = [
        &["nonsense"],
        &["init"],
        &["import"],
        &["export", "m", "--start", "x"],
        &["serve", "--listen", "nowhere"],
        &["key", "create", "x", "--role", "king", "--meters", "*"],
        &["key", "create", "x", "--role", "viewer", "--meters", "a*b"],
    ];
    for args in wrong {
        let ran = binary().run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (64, ""), "{args:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{args:?}: {}", ran.stderr);
        assert!(
            ran.stderr.starts_with("ems: ") && ran.stderr.contains("--help`"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn without_an_instance_it_says_how_to_name_one() {
    let place = tempfile::tempdir().unwrap();
    for command in ["verify", "serve", "user list", "key list", "config show"] {
        let mut command = binary().command(command.split(' '));
        let output = command.current_dir(place.path()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{stderr}");
        assert!(stderr.contains("--config FILE or --dir DIR"), "{stderr}");
    }
}

#[test]
fn helps_and_version_go_to_stdout() {
    for args in [
        &["--help"][..],
        &["help"],
        &["import", "--help"],
        &["key", "rotate", "--help"],
    ] {
        let ran = binary().run(args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
        assert!(ran.stdout.contains("Example:"), "{args:?}");
    }
    assert_eq!(binary().run(["--version"]).code, 0);
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = binary().run(["completions", shell]);
        assert_eq!(ran.code, 0);
        for command in ["demo", "import", "passwd", "rotate"] {
            assert!(ran.stdout.contains(command), "{shell}: {command}");
        }
    }
    assert_eq!(binary().run(["completions", "tcsh"]).code, 64);
}
