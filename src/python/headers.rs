//! What `Vary` and `Cache-Control` say about storing.

use pyo3::prelude::*;

use crate::vary::{self, Vary};

/// The header names of `Vary`, lower case; or why it forbids storing.
#[pyfunction]
pub fn read_vary(header: &str) -> (Option<Vec<String>>, Option<String>) {
    match vary::vary(header) {
        Vary::Names(names) => (Some(names), None),
        Vary::Star => (None, Some("Vary: *".into())),
        Vary::Unusable(name) => (
            None,
            Some(format!("Vary names {name:?}, which is no header name")),
        ),
    }
}

/// The first directive that forbids storing, and whether the response is `public`.
#[pyfunction]
pub fn read_cache_control(header: &str) -> (Option<&'static str>, bool) {
    let found = vary::cache_control(header);
    let forbidding = [
        (found.no_store, "no-store"),
        (found.private, "private"),
        (found.no_cache, "no-cache"),
        (found.stale_at_once, "max-age=0"),
    ];
    (
        forbidding
            .into_iter()
            .find_map(|(set, name)| set.then_some(name)),
        found.public,
    )
}
