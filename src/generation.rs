//! Generations: the random tokens that scopes have, and the verdict over a stored page.
//!
//! Never a counter and never a clock: a counter that is lost begins again at a value that old
//! pages know. A token that is lost is replaced by one that no page knows.
//!
//! The low bits of a token count the **soft** expiries since the last hard one. A hard expiry writes
//! a new token without a look at the old one; a soft expiry adds one, with the cache's own atomic
//! increment. Whatever order the two reach the cache in, the rest of the token is the hard one's: a
//! soft expiry that read and wrote back could undo it. Both are in one value, so what is evicted is
//! gone for both, and the count begins again under a token that no page knows.

use crate::error::Error;

/// Bits of a token that count soft expiries. The one that overflows them is a hard one.
const SOFT_BITS: u32 = 8;

/// A new token, from the operating system, so that workers forked from one process never agree.
/// Without its highest bit, because Redis counts in signed numbers.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn fresh() -> Result<u64, Error> {
    loop {
        let random = getrandom::u64().map_err(|why| Error::NoRandomness(why.to_string()))?;
        let token = random >> 1 >> SOFT_BITS << SOFT_BITS;
        if is_token(token) {
            return Ok(token);
        }
    }
}

/// Is it a token? An increment of what is not there begins at nothing, and that is none.
#[must_use]
pub fn is_token(value: u64) -> bool {
    value >> SOFT_BITS != 0
}

/// Was nothing but softly expired in between?
fn is_softer(stored: u64, current: u64) -> bool {
    stored >> SOFT_BITS == current >> SOFT_BITS && stored < current
}

/// Where the moment is kept at which a generation became this one by a soft expiry.
#[must_use]
pub fn moment_key(key: &str, generation: u64) -> String {
    let key = key.strip_prefix("viewcache.g1.").unwrap_or(key);
    format!("viewcache.s1.{key}.{generation:x}")
}

/// What the generations say of a stored page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Each scope still has the generation that the page was stored with.
    Fresh,
    /// These scopes, with the generations of the page, were softly expired and nothing else was.
    Soft(Vec<(&'a str, u64)>),
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
    let mut softly = Vec::new();
    for (scope, generation) in stored {
        match current(scope) {
            Some(now) if now == generation => {}
            Some(now) if is_softer(generation, now) => softly.push((scope, generation)),
            Some(_) => return Verdict::Expired(scope),
            None => return Verdict::Absent(scope),
        }
    }
    if softly.is_empty() {
        Verdict::Fresh
    } else {
        Verdict::Soft(softly)
    }
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
            judge(|s| Some(if s == "tree:/" { 1 } else { 3 << 8 })),
            Verdict::Expired("path:/a")
        );
        assert_eq!(
            judge(|s| (s != "tree:/").then_some(2)),
            Verdict::Absent("tree:/")
        );
    }

    #[test]
    fn a_hard_expiry_beats_soft_ones_in_any_order() {
        let (old, new) = (fresh().unwrap(), fresh().unwrap());
        let judge = |now: [Option<u64>; 2]| {
            verdict([("a", old), ("b", old)].into_iter(), move |s| {
                now[usize::from(s == "b")]
            })
        };
        assert_eq!(
            judge([Some(old), Some(old + 1)]),
            Verdict::Soft(vec![("b", old)])
        );
        assert_eq!(
            judge([Some(old + 2), Some(old + 1)]),
            Verdict::Soft(vec![("a", old), ("b", old)])
        );
        assert_eq!(judge([Some(old + 1), Some(new)]), Verdict::Expired("b"));
        assert_eq!(judge([Some(new + 1), Some(old + 1)]), Verdict::Expired("a"));
        assert_eq!(judge([Some(old + 1), None]), Verdict::Absent("b"));
        // A count that went back (a failover), or over: no soft expiry.
        assert_eq!(judge([Some(old - 1), Some(old)]), Verdict::Expired("a"));
        assert_eq!(judge([Some(old + 256), Some(old)]), Verdict::Expired("a"));
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(fresh().unwrap(), fresh().unwrap());
        for _ in 0..1000 {
            let token = fresh().unwrap();
            assert!(is_token(token) && token < 1 << 63 && token.trailing_zeros() >= SOFT_BITS);
        }
        // What Redis makes of INCR where nothing is.
        assert!(!is_token(0) && !is_token(1) && !is_token(255));
    }
}
