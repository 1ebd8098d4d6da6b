//! The corpus of a target: the inputs that led somewhere new, in `fuzz/corpus/TARGET`, shortest
//! first, and those that led to a fault, in `fuzz/found/TARGET`. One file, an input a line in Base64
//! (RFC 4648 §5): small in the history, and what changed can be seen.

use std::{env, fs, io, panic, path::Path};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

/// Where the corpora are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz");
/// Names the folder into which seeds are written.
const SEEDS: &str = "EMS_FUZZ_SEEDS";

/// Plays a target's corpus through it.
///
/// # Panics
/// Where the target finds a fault, and where there is nothing to play: a corpus that is lost must not
/// look like one that passes.
pub fn replay(target: &str, play: fn(&[u8])) {
    let inputs = load("corpus", target);
    assert!(
        inputs.as_ref().is_ok_and(|inputs| !inputs.is_empty()),
        "fuzz/corpus/{target} is to hold inputs: {:?}",
        inputs.err()
    );
    let found = match load("found", target) {
        Err(none) if none.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => found,
    };
    assert!(found.is_ok(), "fuzz/found/{target}: {:?}", found.err());
    for input in inputs.into_iter().chain(found).flatten() {
        show(target, play, &input);
    }
}

/// Plays seeds through a target: real things, from which the fuzzer sets out. Where a variable names
/// a folder, they are written there for it.
///
/// # Panics
/// Where the target finds a fault, or a seed cannot be written.
pub fn seeds(target: &str, play: fn(&[u8]), seeds: impl IntoIterator<Item = Vec<u8>>) {
    let folder = env::var_os(SEEDS).map(|folder| Path::new(&folder).join(target));
    for seed in seeds {
        show(target, play, &seed);
        let written = folder.as_ref().map(|folder| {
            let name = HEXLOWER.encode(&crc32fast::hash(&seed).to_be_bytes());
            fs::create_dir_all(folder).and_then(|()| fs::write(folder.join(name), &seed))
        });
        assert!(!matches!(written, Some(Err(_))), "{written:?}");
    }
}

/// Plays an input, and names it where the target falls.
fn show(target: &str, play: fn(&[u8]), input: &[u8]) {
    let fell = panic::catch_unwind(|| play(input)).is_err();
    let shown = BASE64URL_NOPAD.encode(input);
    assert!(!fell, "the target {target} falls at the input {shown}");
}

fn load(folder: &str, target: &str) -> io::Result<Vec<Vec<u8>>> {
    let text = fs::read_to_string(Path::new(FOLDER).join(folder).join(target))?;
    let decode = |line: &str| BASE64URL_NOPAD.decode(line.as_bytes());
    let inputs = text.lines().map(decode).collect::<Result<_, _>>();
    inputs.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "is to hold inputs")]
    fn a_corpus_that_is_not_there_fails() {
        replay("no-such-target", |_| ());
    }

    #[test]
    #[should_panic(expected = "the target some falls at the input YWI")]
    fn an_input_at_which_a_target_falls_is_named() {
        seeds(
            "some",
            |data| assert!(data != b"ab"),
            [b"a".to_vec(), b"ab".to_vec()],
        );
    }
}
