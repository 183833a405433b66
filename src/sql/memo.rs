//! The bounded memory of analyses.
//!
//! Two segments: a look-up moves an entry to the young one, and when the young one is full it becomes the old one and the
//! old one is dropped. So an entry in use stays, one that is not used is gone after at most two turns, and there is no
//! list to keep in order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Analysis, Refusal};

/// What an analysis came to; shared, since the same statement comes back.
pub(super) type Outcome = Result<Arc<Analysis>, Arc<Refusal>>;

/// Entries of one segment. A Django project has some hundreds of statements; the rest are `IN` lists of other lengths.
pub(super) const SEGMENT_ENTRIES: usize = 2_048;
/// Bytes of one segment: the texts, and what the analyses of them take, roughly.
pub(super) const SEGMENT_BYTES: usize = 4 * 1024 * 1024;

#[derive(Default)]
struct Segment {
    entries: HashMap<Box<str>, (Outcome, usize)>,
    bytes: usize,
}

impl Segment {
    fn insert(&mut self, key: Box<str>, outcome: Outcome, cost: usize) {
        if let Some((_, old)) = self.entries.insert(key, (outcome, cost)) {
            self.bytes = self.bytes.saturating_sub(old);
        }
        self.bytes = self.bytes.saturating_add(cost);
    }
}

#[derive(Default)]
struct Segments {
    young: Segment,
    old: Segment,
}

/// A bounded map from a statement's text to its outcome; one per dialect.
#[derive(Default)]
pub(super) struct Memo(Mutex<Segments>);

impl Memo {
    pub(super) fn get(&self, text: &str) -> Option<Outcome> {
        // A panic cannot leave the map half changed in a way that matters: at worst an entry is missing.
        let mut segments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((outcome, _)) = segments.young.entries.get(text) {
            return Some(outcome.clone());
        }
        let (key, (outcome, cost)) = segments.old.entries.remove_entry(text)?;
        segments.old.bytes = segments.old.bytes.saturating_sub(cost);
        segments.insert(key, outcome.clone(), cost);
        Some(outcome)
    }

    pub(super) fn put(&self, text: &str, outcome: &Outcome) {
        let cost = text.len().saturating_add(match outcome {
            Ok(analysis) => analysis.weight(),
            Err(refusal) => refusal.weight(),
        });
        let mut segments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        segments.insert(text.into(), outcome.clone(), cost);
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let segments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (
            segments.young.entries.len() + segments.old.entries.len(),
            segments.young.bytes + segments.old.bytes,
        )
    }
}

impl Segments {
    fn insert(&mut self, key: Box<str>, outcome: Outcome, cost: usize) {
        self.young.insert(key, outcome, cost);
        if self.young.entries.len() >= SEGMENT_ENTRIES || self.young.bytes >= SEGMENT_BYTES {
            self.old = std::mem::take(&mut self.young);
        }
    }
}
