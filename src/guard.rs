//! Guards: scopes, as pages are checked against them. A guard has the key of its scope's generation, and
//! what this process has seen of that generation.
//!
//! The key is a digest, and many pages share a scope, so guards are kept and shared, too.
//!
//! A generation must be read before the data that it guards. A middleware reads data before the
//! look-up, where the generations are read; but one that was seen before the request began, and is
//! still the same at its look-up, was there all the time in between: it is random, so it does not
//! come back once it is gone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::lock::lock;
use crate::recent::Recent;
use crate::scope;

/// About how many bytes a guard takes beyond its text, which is there twice: its key, what was seen,
/// and the map's own.
const COST: usize = 160;
/// What a text costs on average, more or less.
const TEXT: usize = 32;

/// A scope, and the key of its generation.
#[derive(Debug)]
pub struct Guard {
    text: String,
    key: String,
    seen: Mutex<Option<Sighting>>,
}

/// A generation that was seen.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    generation: u64,
    /// When it was first seen.
    moment: u64,
}

impl Guard {
    fn new(site: &[u8; 32], text: &str) -> Self {
        Self {
            text: text.to_string(),
            key: scope::key(site, text),
            seen: Mutex::new(None),
        }
    }

    /// The scope: `path:/blog/`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The cache key of its generation.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Was this generation already there at that moment?
    #[must_use]
    pub fn is_older(&self, generation: u64, moment: u64) -> bool {
        self.seen()
            .is_some_and(|sighting| sighting.generation == generation && sighting.moment <= moment)
    }

    fn seen(&self) -> MutexGuard<'_, Option<Sighting>> {
        lock(&self.seen)
    }
}

/// The guards that this process has used lately. One that was forgotten is made again, and has seen nothing.
#[derive(Debug)]
pub struct Guards {
    site: [u8; 32],
    clock: AtomicU64,
    known: Mutex<Recent<String, Arc<Guard>>>,
}

impl Guards {
    /// At most so many, of the site with this digest.
    #[must_use]
    pub fn new(site: [u8; 32], entries: usize) -> Self {
        Self {
            site,
            clock: AtomicU64::new(0),
            known: Mutex::new(Recent::new(
                entries,
                entries.saturating_mul(COST + 2 * TEXT),
            )),
        }
    }

    /// The guard of a scope.
    #[must_use]
    pub fn of(&self, text: &str) -> Arc<Guard> {
        if let Some(guard) = self.known().get(text) {
            return Arc::clone(guard);
        }
        let guard = Arc::new(Guard::new(&self.site, text));
        let cost = COST + 2 * text.len();
        self.known().put(text.to_string(), Arc::clone(&guard), cost);
        guard
    }

    /// Now: what was noted before this call was seen before it.
    #[must_use]
    pub fn moment(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// These generations were just read from the cache.
    pub fn note<'a>(&self, generations: impl Iterator<Item = (&'a Guard, u64)>) {
        let mut moment = None;
        for (guard, generation) in generations {
            let mut seen = guard.seen();
            if seen.is_none_or(|before| before.generation != generation) {
                let moment =
                    *moment.get_or_insert_with(|| self.clock.fetch_add(1, Ordering::SeqCst) + 1);
                *seen = Some(Sighting { generation, moment });
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Recent<String, Arc<Guard>>> {
        lock(&self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(guards: &Guards, generations: &[(&Guard, u64)]) {
        guards.note(generations.iter().copied());
    }

    #[test]
    fn what_was_seen_before_a_moment_and_is_the_same_is_older() {
        let guards = Guards::new([1; 32], 100);
        let [a, b] = ["a", "b"].map(|text| guards.of(text));
        let before = guards.moment();
        note(&guards, &[(&a, 1)]);
        let after = guards.moment();
        assert!(a.is_older(1, after));
        assert!(!a.is_older(1, before), "seen only later");
        assert!(!a.is_older(2, after), "another by now");
        assert!(!b.is_older(1, after), "never seen");
    }

    #[test]
    fn seeing_it_again_makes_it_no_younger_and_another_does() {
        let guards = Guards::new([1; 32], 100);
        let [a, b] = ["a", "b"].map(|text| guards.of(text));
        note(&guards, &[(&a, 1)]);
        let moment = guards.moment();
        note(&guards, &[(&a, 1), (&b, 1)]);
        assert!(guards.of("a").is_older(1, moment));
        note(&guards, &[(&a, 2)]);
        assert!(!a.is_older(2, moment));
        assert!(!a.is_older(1, moment), "a reader who is late");
        assert!(a.is_older(2, guards.moment()));
    }

    #[test]
    fn they_are_shared_as_long_as_they_are_in_use() {
        let guards = Guards::new([1; 32], 100);
        let first = guards.of("path:/");
        assert_eq!(first.key(), scope::key(&[1; 32], "path:/"));
        assert_eq!(first.text(), "path:/");
        for n in 0..1000 {
            let _ = guards.of(&format!("path:/{n}/"));
            assert!(
                Arc::ptr_eq(&first, &guards.of("path:/")),
                "forgotten at {n}"
            );
            assert!(guards.known().len() <= 100);
        }
        let again = guards.of("path:/1/");
        assert!(Arc::ptr_eq(&again, &guards.of("path:/1/")));

        let none = Guards::new([1; 32], 0);
        note(&none, &[(&none.of("a"), 1)]);
        assert!(!none.of("a").is_older(1, none.moment()));
        assert_eq!(none.known().len(), 0);
    }

    #[test]
    fn long_scopes_are_counted_by_their_length() {
        let guards = Guards::new([1; 32], 20);
        for n in 0..10 {
            let _ = guards.of(&format!("path:/{n}/{}", "x".repeat(900)));
        }
        assert_eq!(guards.known().len(), 2);
    }
}
