//! The bounded memory of analyses.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Analysis, Refusal};
use crate::recent::Recent;

/// What an analysis came to; shared, since the same statement comes back.
pub(super) type Outcome = Result<Arc<Analysis>, Arc<Refusal>>;

/// A Django project has some hundreds of statements; the rest are `IN` lists of other lengths.
pub(super) const ENTRIES: usize = 4_096;
/// The texts, and what the analyses of them take, roughly.
pub(super) const BYTES: usize = 8 * 1024 * 1024;

/// A bounded map from a statement's text to its outcome; one per dialect.
pub(super) struct Memo(Mutex<Recent<Box<str>, Outcome>>);

impl Default for Memo {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(ENTRIES, BYTES)))
    }
}

impl Memo {
    pub(super) fn get(&self, text: &str) -> Option<Outcome> {
        // A panic cannot leave the map half changed in a way that matters: at worst an entry is missing.
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.get(text).cloned()
    }

    pub(super) fn put(&self, text: &str, outcome: &Outcome) {
        let cost = text.len().saturating_add(match outcome {
            Ok(analysis) => analysis.weight(),
            Err(refusal) => refusal.weight(),
        });
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.put(text.into(), outcome.clone(), cost);
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (recent.len(), recent.cost())
    }
}
