//! Which generations this process has seen, and since when.
//!
//! A generation must be read before the data that it guards. A middleware reads data before the
//! look-up, where the generations are read; but one that was seen before the request began, and is
//! still the same at its look-up, was there all the time in between: it is random, so it does not
//! come back once it is gone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::recent::Recent;

/// About how many bytes an entry takes: a key, its generation, the moment, and the map's own.
const COST: usize = 128;

/// The generations that this process has seen lately, by their keys.
#[derive(Debug)]
pub struct Sightings {
    clock: AtomicU64,
    seen: Mutex<Recent<String, Sighting>>,
}

#[derive(Debug, Clone, Copy)]
struct Sighting {
    generation: u64,
    /// When it was first seen.
    moment: u64,
}

impl Sightings {
    /// At most so many.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        Self {
            clock: AtomicU64::new(0),
            seen: Mutex::new(Recent::new(entries, entries.saturating_mul(COST))),
        }
    }

    /// Now: what was noted before this call was seen before it.
    #[must_use]
    pub fn moment(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// These were just read from the cache, or written to it.
    pub fn note(&self, generations: &[(&str, u64)]) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        for &(key, generation) in generations {
            match seen.get(key) {
                Some(sighting) if sighting.generation == generation => {}
                Some(sighting) => *sighting = Sighting { generation, moment },
                None => seen.put(key.to_string(), Sighting { generation, moment }, COST),
            }
        }
    }

    /// Was this generation already there at that moment?
    #[must_use]
    pub fn is_older(&self, key: &str, generation: u64, moment: u64) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(key)
            .is_some_and(|sighting| sighting.generation == generation && sighting.moment <= moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_before_a_moment_and_is_the_same_is_older() {
        let sightings = Sightings::new(100);
        let before = sightings.moment();
        sightings.note(&[("a", 1)]);
        let after = sightings.moment();
        assert!(sightings.is_older("a", 1, after));
        assert!(!sightings.is_older("a", 1, before), "seen only later");
        assert!(!sightings.is_older("a", 2, after), "another by now");
        assert!(!sightings.is_older("b", 1, after), "never seen");
    }

    #[test]
    fn seeing_it_again_makes_it_no_younger_and_another_does() {
        let sightings = Sightings::new(100);
        sightings.note(&[("a", 1)]);
        let moment = sightings.moment();
        sightings.note(&[("a", 1), ("b", 1)]);
        assert!(sightings.is_older("a", 1, moment));
        sightings.note(&[("a", 2)]);
        assert!(!sightings.is_older("a", 2, moment));
        assert!(!sightings.is_older("a", 1, moment), "a reader who is late");
        assert!(sightings.is_older("a", 2, sightings.moment()));
    }
}
