//! Generations: the random 64-bit tokens that scopes have, and the verdict over a stored page.
//!
//! Never a counter and never a clock: a counter that is lost begins again at a value that old
//! pages know. A token that is lost is replaced by one that no page knows.

use crate::error::Error;

/// A new token, from the operating system, so that workers forked from one process never agree.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn fresh() -> Result<u64, Error> {
    getrandom::u64().map_err(|why| Error::NoRandomness(why.to_string()))
}

/// What the generations say of a stored page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Each scope still has the generation that the page was stored with.
    Fresh,
    /// This scope was expired after the page's lease was taken.
    Expired(&'a str),
    /// This scope has no generation (never written, evicted, flushed): absent is stale.
    Absent(&'a str),
}

/// Compares the generations that a page was stored with to those that were just read.
pub fn verdict<'a>(
    stored: impl Iterator<Item = (&'a str, u64)>,
    current: impl Fn(&str) -> Option<u64>,
) -> Verdict<'a> {
    for (scope, generation) in stored {
        match current(scope) {
            Some(now) if now == generation => {}
            Some(_) => return Verdict::Expired(scope),
            None => return Verdict::Absent(scope),
        }
    }
    Verdict::Fresh
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_and_present_is_fresh() {
        let page = [("tree:/", 1), ("path:/a", 2)];
        let judge = |current: fn(&str) -> Option<u64>| verdict(page.into_iter(), current);
        assert_eq!(
            judge(|s| Some(if s == "tree:/" { 1 } else { 2 })),
            Verdict::Fresh
        );
        assert_eq!(
            judge(|s| Some(if s == "tree:/" { 1 } else { 3 })),
            Verdict::Expired("path:/a")
        );
        assert_eq!(
            judge(|s| (s != "tree:/").then_some(2)),
            Verdict::Absent("tree:/")
        );
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(fresh().unwrap(), fresh().unwrap());
    }
}
