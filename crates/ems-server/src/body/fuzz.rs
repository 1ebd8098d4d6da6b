//! A fuzz target: compressed bodies. What was compressed comes back, and nothing gets past its bound.

use std::{io::Write as _, sync::LazyLock};

use ems_fuzz::{Input, linear};
use flate2::{Compression, write::GzEncoder};
use tokio::runtime::{Builder, Runtime};

use super::{Budget, Charge, Coding, expand as expand_within};

/// The most that a body may take once decompressed; a zstd window may be as large.
const MOST: usize = 64 << 10;

/// The first byte says the coding, and whether the rest is a compressed body or is to be compressed.
///
/// # Panics
/// Where a body does not come back, or is longer than it may be.
pub fn expand(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let coding = if kind & 1 == 0 {
        Coding::Gzip
    } else {
        Coding::Zstd
    };
    if kind & 2 == 0 {
        // A few bytes stand for many, so the bound is on time as a whole.
        linear(&vec![0; MOST], |_| {
            let expanded = expanded(input.rest(), coding);
            assert!(expanded.is_none_or(|bytes| bytes.len() <= MOST));
        });
        return;
    }
    let packed = match coding {
        Coding::Gzip => {
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer
                .write_all(input.rest())
                .and_then(|()| packer.finish())
                .ok()
        }
        Coding::Zstd => zstd::encode_all(input.rest(), 1).ok(),
    };
    let back = packed.and_then(|packed| expanded(&packed, coding));
    assert_eq!(back.as_deref(), Some(input.rest()));
}

fn expanded(body: &[u8], coding: Coding) -> Option<Vec<u8>> {
    static RUNTIME: LazyLock<Option<Runtime>> =
        LazyLock::new(|| Builder::new_current_thread().enable_time().build().ok());
    let _entered = RUNTIME.as_ref()?.enter();
    let budget = Budget::new(0);
    let expanded = expand_within(&budget, body, coding, (MOST, Charge::default()));
    expanded.ok().map(|(bytes, _)| bytes.to_vec())
}
