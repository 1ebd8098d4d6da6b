//! Passwords that long lists, or a moment's thought, would find: common ones, and those made of
//! next to nothing. No rule asks for kinds of characters; those make passwords worse (NIST SP
//! 800-63B §5.1.1.2).

/// Common passwords of 12 characters and more, in lower case; `data/README.md` says whose list.
const COMMON: &str = include_str!("../../data/common-passwords.txt");
/// What fingers and children run through. The rows of digits and letters go on at their start.
const RUNS: [&str; 8] = [
    "01234567890123456789",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "qwertyuiop[]",
    "qwertzuiopü",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
    "qazwsxedcrfvtgbyhnujmikolp",
];
/// The shortest part of a run that counts as one.
const SHORTEST_RUN: usize = 4;
/// The longest unit whose repetition is refused.
const LONGEST_UNIT: usize = 11;
/// What has to be left once each run, and each mention of the user's name, counts as one character.
const LEAST_LEFT: usize = 6;
/// The shortest user name, or part of one, that is looked for.
const SHORTEST_NAME: usize = 3;

/// Why a password would be guessed, for its owner; `None` where nothing is known against it.
pub(super) fn reason(password: &str, username: &str) -> Option<&'static str> {
    let lower = password.to_lowercase();
    if COMMON.lines().any(|common| common == lower) {
        return Some("this password is commonly used: choose another");
    }
    let characters: Vec<char> = lower.chars().collect();
    if repeats(&characters) {
        return Some("this password repeats a few characters: choose another");
    }
    let (characters, mentions) = without_name(&characters, &username.to_lowercase());
    (mentions + left(&characters) < LEAST_LEFT).then_some(
        "this password is little more than a row of keys, or the user's name: choose another",
    )
}

/// Whether the whole is one short unit, again and again.
fn repeats(characters: &[char]) -> bool {
    (1..=LONGEST_UNIT.min(characters.len() / 2)).any(|unit| {
        let shifted = characters.iter().skip(unit);
        characters
            .iter()
            .zip(shifted)
            .all(|(one, other)| one == other)
    })
}

/// What is left without the user's name, and how often that was there. Of an address, the part
/// before the `@` counts as the name.
fn without_name(characters: &[char], username: &str) -> (Vec<char>, usize) {
    let mut text: String = characters.iter().collect();
    let mut mentions = 0;
    let local = username.split('@').next().unwrap_or_default();
    for name in [username, local] {
        if name.chars().count() >= SHORTEST_NAME {
            mentions += text.matches(name).count();
            text = text.replace(name, "");
        }
    }
    (text.chars().collect(), mentions)
}

/// The characters, each run counted as one.
fn left(characters: &[char]) -> usize {
    let mut rest = characters;
    let mut count = 0;
    while !rest.is_empty() {
        let run = RUNS.iter().map(|run| common_run(rest, run)).max();
        let step = run.filter(|length| *length >= SHORTEST_RUN).unwrap_or(1);
        rest = rest.get(step..).unwrap_or_default();
        count += 1;
    }
    count
}

/// How many characters at the start lie in a row of a run, forwards or backwards.
fn common_run(characters: &[char], run: &str) -> usize {
    let forwards: Vec<char> = run.chars().collect();
    let backwards: Vec<char> = run.chars().rev().collect();
    let along = |run: &[char]| {
        let starts = (0..run.len()).filter_map(|at| run.get(at..));
        let lengths = starts.map(|part| {
            let same = part
                .iter()
                .zip(characters)
                .take_while(|(one, other)| one == other);
            same.count()
        });
        lengths.max().unwrap_or(0)
    };
    along(&forwards).max(along(&backwards))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_passwords_are_refused_however_they_are_capitalised() {
        for common in [
            "motherfucker",
            "MotherFucker",
            "1q2w3e4r5t6y",
            "unbelievable",
        ] {
            let reason = reason(common, "alice").unwrap();
            assert!(reason.contains("commonly used"), "{common}: {reason}");
        }
    }

    #[test]
    fn the_list_is_sorted_lower_case_and_long_enough_to_matter() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert!(lines.len() > 10_000, "{}", lines.len());
        assert!(lines.is_sorted());
        for line in lines {
            assert!(
                line.chars().count() >= 12 && line == line.to_lowercase(),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_made_of_next_to_nothing_is_refused() {
        for weak in [
            "aaaaaaaaaaaa",
            "ää ää ää ää ää",
            "SunnySunnySunny",
            "secretworksecretwork",
            "abcdefghijkl",
            "zyxwvutsrqponm",
            "7890123456789",
            "qwertyuiopasdfgh",
            "QWERTZUIOPÜ!1",
            "1qaz2wsx3edc4r!",
            "poiuytrewqlkjh!!",
            "Alice1234567!",
            "alice-alice!!",
            "alice@example.org",
            "1234alice5678",
        ] {
            assert!(reason(weak, "alice@example.org").is_some(), "{weak}");
        }
    }

    #[test]
    fn what_only_holds_such_a_part_is_taken() {
        for good in [
            "correct horse battery staple",
            "a long enough secret",
            "not the password",
            "alice keeps seven cats",
            "qwerty and then some",
            "Tk7#1234-plum-Lake",
            "aabbccddeeff",
            "käse mit löchern",
        ] {
            assert_eq!(reason(good, "alice"), None, "{good}");
        }
        // A name of two letters is in too many words to be looked for.
        assert_eq!(reason("go to the river", "go"), None);
    }
}
