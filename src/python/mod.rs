//! The boundary to Python: plain `str`, `bytes`, `int` and tuples in and out, one call per phase.
//! `python/viewcache/_core.pyi` documents it, and a test holds that against the real signatures.
//!
//! No state here needs the GIL: classes are frozen, and what changes sits behind a `Mutex`.
//! A class that keeps a container of Python's (`META`, a cursor) for a request has `__traverse__`, or
//! a circle through it is never freed.

mod answers;
mod backends;
mod django;
mod early;
mod fetched;
mod headers;
mod hit;
mod inventory;
mod keys;
mod lookup;
mod parameters;
mod proof;
mod queries;
mod scopes;
mod site;
mod slot;
mod stored;

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;

use crate::error::Error;

/// As the core's own, but whoever has to wait lets go of the interpreter meanwhile: the one who holds
/// the lock may be waiting for that. No Python runs under it, which might ask for it again.
fn lock<'a, T>(mutex: &'a Mutex<T>, py: Python<'_>) -> MutexGuard<'a, T> {
    let locked = mutex.lock_py_attached(py);
    locked.unwrap_or_else(PoisonError::into_inner)
}

/// The one place where our errors become Python's.
impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::NoRandomness(_) => PyOSError::new_err(error.to_string()),
            _ => PyValueError::new_err(error.to_string()),
        }
    }
}

#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::backends::{LocalMemory, read_redis};
    #[pymodule_export]
    use super::django::Django;
    #[pymodule_export]
    use super::early::Early;
    #[pymodule_export]
    use super::fetched::Fetched;
    #[pymodule_export]
    use super::headers::{read_cache_control, read_vary};
    #[pymodule_export]
    use super::hit::Hit;
    #[pymodule_export]
    use super::inventory::{Inventory, UrlPattern, inventory_entries};
    #[pymodule_export]
    use super::keys::{
        absolute_uri, canonical_cookies, detect_recipe, expire_view_cache, get_cache_key,
        get_cache_key_of, learn_cache_key, learn_cache_key_of, query_pairs, vary_list,
    };
    #[pymodule_export]
    use super::lookup::LookUp;
    #[pymodule_export]
    use super::proof::{Asked, Proof};
    #[pymodule_export]
    use super::queries::{Plain, Queries, new_rows, row_scope, table_name};
    #[pymodule_export]
    use super::scopes::{scope_of_session, scope_of_tag, scopes_of_path, scopes_of_tree};
    #[pymodule_export]
    use super::site::{Names, Site};
    #[pymodule_export]
    use super::slot::{cut, mask_token, slot_nonces, take_out};
}
