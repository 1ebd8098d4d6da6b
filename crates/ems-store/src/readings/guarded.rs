//! What reads the engine's file on a thread that must go on. redb panics on some damaged pages; a
//! thread that ended there would take every later write or fold with it, so it is damage as any other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Error, Result};

/// Does some work; a panic in it is an error.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let why = "a page of it is so damaged that it cannot be read";
        Err(Error::damaged("an engine's file", why))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_damage_and_the_thread_goes_on() {
        let done: Result<()> = guarded(|| panic!("as redb does"));
        assert!(matches!(done, Err(Error::Damaged { .. })), "{done:?}");
        assert!(matches!(guarded(|| Ok(7)), Ok(7)));
    }
}
