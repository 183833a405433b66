//! The inventory: what is cached, for people and for patterns.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::answers::generation_in;
use super::lookup::{LookUp, milliseconds};
use super::site::{Names, Site};
use crate::inventory::{self, Entry};
use crate::lookup::Miss;
use crate::query;
use crate::record::Page;
use crate::request::{self, Method, canonical_host};

/// A regular expression that is searched for in URLs.
#[pyclass(frozen, module = "viewcache._core")]
pub struct UrlPattern(inventory::UrlPattern);

#[pymethods]
impl UrlPattern {
    #[new]
    fn new(pattern: &str) -> PyResult<Self> {
        Ok(Self(inventory::UrlPattern::new(pattern)?))
    }
}

/// The table of a site's pages, and which of them this process knows to be in it.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Inventory {
    site: Arc<request::Site>,
    table: inventory::Inventory,
}

/// Why the page is not served (a code, and the scope that it is about), its status, when it was
/// stored and when it ends, its scopes beyond those of its path.
type Inspected = (
    Option<(&'static str, Option<String>)>,
    u16,
    f64,
    f64,
    Vec<String>,
);

#[pymethods]
impl Inventory {
    #[new]
    #[pyo3(signature = (site, *, places, remembered))]
    fn new(site: &Site, places: usize, remembered: usize) -> Self {
        let site = site.shared();
        Self {
            table: inventory::Inventory::new(&site, places, remembered),
            site,
        }
    }

    /// How many places there are.
    #[getter]
    fn places(&self) -> usize {
        self.table.places()
    }

    /// The cache keys of these places.
    fn keys(&self, start: usize, stop: usize) -> Vec<String> {
        (start..stop.min(self.table.places()))
            .map(|place| self.table.key(place))
            .collect()
    }

    /// The page that was stored: is its entry there until then, as far as is known? A URL of which
    /// the cache knew nothing may have lost its entry, too.
    fn is_listed(&self, py: Python<'_>, lease: &LookUp, until: f64) -> bool {
        let until = milliseconds(until);
        self.table.places() == 0
            || lease.with(py, |machine| {
                machine.miss() != Some(&Miss::UnknownUrl)
                    && [machine.digest(), Some(&machine.request().url.digest)]
                        .into_iter()
                        .flatten()
                        .any(|known| self.table.knows(known, until))
            })
    }

    /// The page that was stored: the keys that its entry may have, and the entry.
    #[pyo3(signature = (lease, *, scheme, host, query, charset, only, key_prefix, alias))]
    #[allow(clippy::too_many_arguments)]
    fn listing(
        &self,
        py: Python<'_>,
        lease: &LookUp,
        scheme: &str,
        host: &str,
        query: &str,
        charset: Option<&str>,
        only: Option<&Names>,
        key_prefix: String,
        alias: Option<String>,
    ) -> (Vec<String>, Py<PyBytes>) {
        let pairs = query::canonical(query, &self.site.query, only.map(Names::globs));
        lease.with(py, |machine| {
            let request = machine.request();
            let page = machine.digest().copied().unwrap_or_default();
            let keys = self.table.keys_of(&request.url.digest, &page);
            let entry = Entry {
                page,
                method: request.method,
                alias,
                key_prefix,
                language: request.language.clone(),
                zone: request.zone.clone(),
                origin: format!("{scheme}://{}", canonical_host(host, scheme)),
                path: request.url.path.clone(),
                query: if charset.is_some() {
                    query.to_string()
                } else {
                    inventory::shown_query(&pairs)
                },
            };
            (keys, PyBytes::new(py, &entry.encode()).unbind())
        })
    }

    /// The page that was stored: its entry is there until then; or, where all its places were
    /// taken, no page of its URL need ask again until then.
    fn listed(&self, py: Python<'_>, lease: &LookUp, until: f64, has_place: bool) {
        lease.with(py, |machine| {
            let known = machine.digest().filter(|_| has_place);
            let known = known.unwrap_or(&machine.request().url.digest);
            self.table.learn(*known, milliseconds(until));
        });
    }

    /// The keys of the generations that the page at this path, stored under this key, is checked
    /// against.
    fn generation_keys(&self, path: &str, key: &str, record: &[u8]) -> Option<Vec<String>> {
        let record = self.site.signer.unsign(key, record)?;
        inventory::generation_keys(&self.site, path, record)
    }

    /// What is said of the page at this path; `None` when the record is none, is another page's, or
    /// was not signed by this site that signs.
    fn inspect(
        &self,
        path: &str,
        key: &str,
        record: &[u8],
        found: &Bound<'_, PyDict>,
        now: f64,
    ) -> Option<Inspected> {
        let page = Page::decode(self.site.signer.unsign(key, record)?)?;
        if request::page_key(&page.fingerprint) != key {
            return None;
        }
        let generation = |key: &str| generation_in(found, key);
        let miss = inventory::check(&self.site, path, &page, milliseconds(now), generation).err();
        let why = miss.as_ref().map(|miss| {
            let (code, scope) = miss.parts();
            (code, scope.map(String::from))
        });
        let tags = page.tags.iter().map(|(tag, _)| (*tag).to_string());
        Some((
            why,
            page.status,
            seconds(page.stored_at),
            seconds(page.expires_at),
            tags.collect(),
        ))
    }
}

/// The milliseconds of a record, as `time.time()` has them.
#[allow(clippy::cast_precision_loss)]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// Key of the page, origin, URL from its path on, path, method, alias, key prefix, language, zone.
type Listed = (
    String,
    String,
    String,
    String,
    &'static str,
    Option<String>,
    String,
    Option<String>,
    Option<String>,
);

/// The entries among what was found, those whose URL matches one of the patterns if there are any.
#[pyfunction]
pub fn inventory_entries(
    found: &Bound<'_, PyDict>,
    patterns: Vec<PyRef<'_, UrlPattern>>,
) -> Vec<Listed> {
    found
        .iter()
        .filter_map(|(_, value)| Entry::decode(value.cast::<PyBytes>().ok()?.as_bytes()))
        .filter(|entry| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.0.matches(entry))
        })
        .map(|entry| {
            let method = match entry.method {
                Method::Get => "GET",
                Method::Head => "HEAD",
            };
            let (key, local) = (entry.key(), entry.local());
            (
                key,
                entry.origin,
                local,
                entry.path,
                method,
                entry.alias,
                entry.key_prefix,
                entry.language,
                entry.zone,
            )
        })
        .collect()
}
