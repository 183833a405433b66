//! The boundary to Python: plain `str`, `bytes`, `int` and tuples in and out, one call per phase.
//! `python/viewcache/_core.pyi` documents it, and a test holds that against the real signatures.
//!
//! No state here needs the GIL: classes are frozen, and what changes sits behind a `Mutex`.

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

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::error::Error;

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
    use super::scopes::{scope_of_tag, scopes_of_path, scopes_of_tree};
    #[pymodule_export]
    use super::site::{Names, Site};
    #[pymodule_export]
    use super::slot::{cut, mask_token, take_out};
}
