//! The corpus of a target, kept as one file in the repository and laid out as many for the fuzzer. The
//! same form is read by `ems-fuzz`: an input a line in Base64 (RFC 4648 §5).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use data_encoding::BASE64URL_NOPAD;

use super::{BOUNDS, folder};
use crate::shell;

/// Inputs that are kept of a target.
pub(super) const KEPT: usize = 300;
/// Bytes that they have together at most.
const KEPT_BYTES: usize = 64 << 10;

/// Where a target's inputs are laid out.
pub(super) fn place(target: &str) -> PathBuf {
    folder().join("corpus").join(target)
}

/// The file that keeps a target's inputs.
fn kept(target: &str) -> PathBuf {
    shell::root().join("fuzz/corpus").join(target)
}

/// Lays out the inputs that are kept; how many there are.
pub(super) fn unpack(target: &str) -> Result<usize> {
    let Ok(text) = fs::read_to_string(kept(target)) else {
        return Ok(0);
    };
    let place = place(target);
    fs::create_dir_all(&place).context("cannot make the folder of a corpus")?;
    for (number, line) in (0..).zip(text.lines()) {
        let input = BASE64URL_NOPAD.decode(line.as_bytes());
        let input = input.with_context(|| format!("fuzz/corpus/{target}, line {}", number + 1))?;
        fs::write(place.join(format!("kept-{number:04}")), input)
            .context("cannot lay out a corpus")?;
    }
    Ok(text.lines().count())
}

/// Keeps a few inputs that reach all that was reached.
pub(super) fn keep(target: &str, program: &Path) -> Result<()> {
    let least = folder().join("least").join(target);
    if least.exists() {
        fs::remove_dir_all(&least).context("cannot remove an older minimum")?;
    }
    fs::create_dir_all(&least).context("cannot make the folder of a minimum")?;
    // Few inputs that together reach every edge; how often they pass it does not count.
    let few = ["-set_cover_merge=1", "-use_counters=0"];
    let mut merge = shell::command(program, few.iter().chain(&BOUNDS));
    merge.args([&least, &place(target)]);
    shell::run(merge.stderr(std::process::Stdio::null()))?;
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&least).context("cannot read a minimum")? {
        inputs.push(fs::read(entry?.path()).context("cannot read a minimum")?);
    }
    let text = packed(inputs);
    fs::write(kept(target), text).context("cannot write fuzz/corpus")
}

/// The form that is kept: shortest first, within the bounds.
fn packed(mut inputs: Vec<Vec<u8>>) -> String {
    inputs.retain(|input| !input.is_empty());
    inputs.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    inputs.dedup();
    let mut bytes = 0;
    let within = inputs.iter().take(KEPT).take_while(|input| {
        bytes += input.len();
        bytes <= KEPT_BYTES
    });
    let lines = within.map(|input| BASE64URL_NOPAD.encode(input) + "\n");
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_are_kept_each_once_up_to_a_bound() {
        let inputs = [&b"bb"[..], b"a", b"", b"bb"].map(<[u8]>::to_vec);
        assert_eq!(packed(inputs.to_vec()), "YQ\nYmI\n");
        let many = (0..1000_u32).map(|number| number.to_be_bytes().to_vec());
        assert_eq!(packed(many.collect()).lines().count(), KEPT);
        let long = vec![vec![1; KEPT_BYTES], vec![2; KEPT_BYTES]];
        assert_eq!(packed(long).lines().count(), 1);
    }
}
