//! A lock that outlives a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Also after a panic under the lock: nothing that is kept under one here is ever half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
