//! The bounded memory of analyses.

use std::sync::{Arc, Mutex};

use super::{Analysis, Refusal};
use crate::lock::lock;
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
        lock(&self.0).get(text).cloned()
    }

    pub(super) fn put(&self, text: &str, outcome: &Outcome) {
        let cost = text.len().saturating_add(match outcome {
            Ok(analysis) => analysis.weight(),
            Err(refusal) => refusal.weight(),
        });
        lock(&self.0).put(text.into(), outcome.clone(), cost);
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let recent = lock(&self.0);
        (recent.len(), recent.cost())
    }
}
