//! What a path, a tree and a tag are called as scopes.

use pyo3::prelude::*;

use crate::scope;

/// The scopes to write to expire one path.
#[pyfunction]
pub fn scopes_of_path(path: &str) -> PyResult<Vec<String>> {
    Ok(scope::of_path(path)?)
}

/// The scopes to write to expire a path and all that is below it.
#[pyfunction]
pub fn scopes_of_tree(path: &str) -> PyResult<Vec<String>> {
    Ok(scope::of_tree(path)?)
}

/// The scope of the session with this key.
#[pyfunction]
pub fn scope_of_session(key: &str) -> String {
    scope::of_session(key)
}

/// The scope of a tag.
#[pyfunction]
pub fn scope_of_tag(tag: &str) -> PyResult<String> {
    Ok(scope::of_tag(tag)?)
}
