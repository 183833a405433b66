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

/// What is forbidden, whether it is public, and the windows.
type Read = (
    Option<&'static str>,
    bool,
    Option<(Option<u32>, Option<u32>)>,
);

/// The first directive that forbids storing; whether the response is `public`; and for how many
/// seconds it may be served stale, while another request renders it and in place of an error, where
/// it says so. `None` where it must not be at all.
#[pyfunction]
pub fn read_cache_control(header: &str) -> Read {
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
        (!found.must_revalidate).then_some((found.stale_while_revalidate, found.stale_if_error)),
    )
}
