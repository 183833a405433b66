//! The page store: the site, a request's way through the cache, and the page that answers it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::generation;
use crate::glob::Globs;
use crate::lookup::{self as machine, Found, Response};
use crate::query::Rules;
use crate::recipe::{Cookies, Memory};
use crate::record::{Page, Slot};
use crate::request::{self, Headers, Method, Parts, Request};
use crate::scope;
use crate::slot;
use crate::vary::{self, Vary};

/// Seconds, as `time.time()` gives them, to the milliseconds of a record.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1000.0) as u64
}

/// A compiled list of patterns.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Names(Globs);

#[pymethods]
impl Names {
    #[new]
    fn new(patterns: Vec<String>) -> Self {
        Self(Globs::new(patterns))
    }

    /// Does any of the patterns match the whole name?
    fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }
}

/// What all keys of a site share, and what this process remembers of its recipes.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Site {
    site: Arc<request::Site>,
    memory: Arc<Memory>,
}

#[pymethods]
impl Site {
    #[new]
    #[pyo3(signature = (key_prefix, *, release, ignore_cookies, ignore_query, sort_query, memory_entries, memory_bytes))]
    fn new(
        key_prefix: &str,
        release: String,
        ignore_cookies: Vec<String>,
        ignore_query: Vec<String>,
        sort_query: bool,
        memory_entries: usize,
        memory_bytes: usize,
    ) -> Self {
        let query = Rules {
            ignored: Globs::new(ignore_query),
            sorted: sort_query,
        };
        let site = request::Site::new(key_prefix, release, Globs::new(ignore_cookies), query);
        Self {
            site: Arc::new(site),
            memory: Arc::new(Memory::new(memory_entries, memory_bytes)),
        }
    }

    /// Begins a look-up; `None` when the path is beyond the limits of what is cached.
    #[pyo3(signature = (meta, *, method, key_prefix, scheme, host, path, query, raw_query, only, language, zone))]
    #[allow(clippy::too_many_arguments)]
    fn look_up(
        &self,
        meta: Bound<'_, PyDict>,
        method: &str,
        key_prefix: &str,
        scheme: &str,
        host: &str,
        path: &str,
        query: &str,
        raw_query: bool,
        only: Option<&Names>,
        language: Option<String>,
        zone: Option<String>,
    ) -> PyResult<Option<LookUp>> {
        let only = only.map(|names| &names.0);
        let parts = Parts {
            key_prefix,
            scheme,
            host,
            path,
            query,
            only,
            raw_query,
        };
        let request = Request {
            url: parts.digest(&self.site),
            path: path.to_string(),
            method: if method == "HEAD" {
                Method::Head
            } else {
                Method::Get
            },
            language,
            zone,
            authorized: meta
                .get_item(pyo3::intern!(meta.py(), "HTTP_AUTHORIZATION"))?
                .is_some(),
        };
        let headers = Meta::new(&meta);
        let begun = machine::LookUp::begin(
            Arc::clone(&self.site),
            Arc::clone(&self.memory),
            request,
            &headers,
        );
        headers.check()?;
        let meta = meta.unbind();
        Ok(begun.map(|machine| {
            LookUp(Mutex::new(State {
                machine,
                meta,
                record: None,
            }))
        }))
    }

    /// The cache keys of these scopes' generations.
    fn generation_keys(&self, scopes: Vec<String>) -> Vec<String> {
        scopes
            .iter()
            .map(|scope| scope::key(&self.site.id, scope))
            .collect()
    }

    /// What to write to expire these scopes: their keys, each with a new generation.
    fn expiry<'py>(&self, py: Python<'py>, scopes: Vec<String>) -> PyResult<Bound<'py, PyDict>> {
        let entries = PyDict::new(py);
        for scope in scope::widest(scopes) {
            entries.set_item(scope::key(&self.site.id, &scope), generation::fresh()?)?;
        }
        Ok(entries)
    }

    /// How many recipes this process remembers.
    #[getter]
    fn remembered(&self) -> usize {
        self.memory.len()
    }
}

/// The request's headers, read from `META` when a recipe names them.
///
/// A value that cannot be read as text (a lone surrogate) is kept as an error, and the request
/// goes past the cache.
struct Meta<'a, 'py> {
    meta: &'a Bound<'py, PyDict>,
    error: std::cell::RefCell<Option<PyErr>>,
}

impl<'a, 'py> Meta<'a, 'py> {
    fn new(meta: &'a Bound<'py, PyDict>) -> Self {
        Self {
            meta,
            error: std::cell::RefCell::new(None),
        }
    }

    fn check(&self) -> PyResult<()> {
        self.error.borrow_mut().take().map_or(Ok(()), Err)
    }
}

impl Headers for Meta<'_, '_> {
    fn get(&self, name: &str) -> Option<String> {
        let mut key = String::with_capacity(name.len() + 5);
        key.push_str("HTTP_");
        key.extend(name.chars().map(|c| {
            if c == '-' {
                '_'
            } else {
                c.to_ascii_uppercase()
            }
        }));
        let value = self.meta.get_item(key).ok()??;
        match value.extract::<String>() {
            Ok(text) => Some(text),
            Err(error) => {
                self.error.borrow_mut().get_or_insert(error);
                None
            }
        }
    }
}

/// What a `get_many` found. The entries that hold bytes are held, so that they can be lent.
struct Answers<'a, 'py> {
    found: &'a Bound<'py, PyDict>,
    bytes: Vec<(String, Bound<'py, PyBytes>)>,
}

impl<'a, 'py> Answers<'a, 'py> {
    /// Anything that is not `bytes` under one of these keys is not ours, and absent.
    fn new(found: &'a Bound<'py, PyDict>, keys: &[&str]) -> Self {
        let held = |key: &&str| {
            let value = found.get_item(*key).ok()??.cast_into::<PyBytes>().ok()?;
            Some(((*key).to_string(), value))
        };
        Self {
            found,
            bytes: keys.iter().filter_map(held).collect(),
        }
    }

    fn get(&self, key: &str) -> Option<&Bound<'py, PyBytes>> {
        self.bytes
            .iter()
            .find(|(held, _)| held == key)
            .map(|(_, value)| value)
    }
}

impl Found for Answers<'_, '_> {
    fn generation(&self, key: &str) -> Option<u64> {
        self.found.get_item(key).ok()??.extract().ok()
    }

    fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.get(key).map(PyBytesMethods::as_bytes)
    }
}

/// One request's way through the cache; after a miss, the lease.
#[pyclass(frozen, module = "viewcache._core")]
pub struct LookUp(Mutex<State>);

struct State {
    machine: machine::LookUp,
    /// The request's; a copy of it once there is a lease, because the page is stored for the
    /// request that was looked up, whatever a middleware has made of it since.
    meta: Py<PyDict>,
    /// The record that answers.
    record: Option<Py<PyBytes>>,
}

impl LookUp {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `(entries, None)` or `(None, why there are none)`.
type Stored = (
    Option<Vec<(String, Py<PyBytes>, u64)>>,
    Option<&'static str>,
);

/// Header names, cookie names (`None`: all of them), tags.
type RecipeNames = (Vec<String>, Option<Vec<String>>, Vec<String>);

#[pymethods]
impl LookUp {
    /// The keys to fetch now: those of recipe and pages, and those of generations.
    fn wanted(&self) -> (Vec<String>, Vec<String>) {
        let state = self.state();
        let (pages, generations) = state.machine.wanted();
        let owned = |keys: Vec<&str>| keys.into_iter().map(String::from).collect();
        (owned(pages), owned(generations))
    }

    /// What was found under the wanted keys. True when there is more to fetch.
    fn receive(&self, found: &Bound<'_, PyDict>, now: f64) -> PyResult<bool> {
        let py = found.py();
        let mut state = self.state();
        let State {
            machine,
            meta,
            record,
        } = &mut *state;
        let bound = meta.bind(py).clone();
        let headers = Meta::new(&bound);
        // The keys are those wanted before the answer; the answer may want others.
        let keys: Vec<String> = machine.wanted().0.into_iter().map(String::from).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let answers = Answers::new(found, &keys);
        machine.receive(&answers, &headers, milliseconds(now));
        headers.check()?;
        if let Some(key) = machine.hit() {
            *record = answers.get(key).map(|bytes| bytes.clone().unbind());
        } else if machine.miss().is_some() {
            // Item by item: a watched META notes who copies it.
            let copy = PyDict::new(py);
            for (name, value) in &bound {
                copy.set_item(name, value)?;
            }
            *meta = copy.unbind();
        } else {
            return Ok(true);
        }
        Ok(false)
    }

    /// The page that answers, if one does.
    #[getter]
    fn hit(&self, py: Python<'_>) -> Option<Hit> {
        let record = self.state().record.as_ref()?.clone_ref(py);
        Some(Hit(record))
    }

    /// The key of the page that answers, or of the one that was looked for or stored.
    #[getter]
    fn key(&self) -> Option<String> {
        self.state().machine.key().map(String::from)
    }

    /// Why there is none: a code, and the scope that it is about.
    #[getter]
    fn miss(&self) -> Option<(&'static str, Option<String>)> {
        let state = self.state();
        let (code, scope) = state.machine.miss()?.parts();
        Some((code, scope.map(String::from)))
    }

    /// What the URL's responses vary on: header names, cookie names (`None` is all of them), tags.
    #[getter]
    fn recipe(&self) -> Option<RecipeNames> {
        let state = self.state();
        let recipe = state.machine.recipe()?;
        let cookies = match &recipe.cookies {
            Cookies::None => Some(Vec::new()),
            Cookies::Named(names) => Some(names.iter().cloned().collect()),
            Cookies::All => None,
        };
        Some((
            recipe.headers.iter().cloned().collect(),
            cookies,
            recipe.tags.iter().cloned().collect(),
        ))
    }

    /// The scopes that bind the page, and whether each had a generation.
    #[getter]
    fn scopes(&self) -> Vec<(String, bool)> {
        self.state()
            .machine
            .used_scopes()
            .map(|(text, there)| (text.to_string(), there))
            .collect()
    }

    /// The lease: the key of the turn to render this page.
    #[getter]
    fn turn_key(&self) -> String {
        self.state().machine.turn_key()
    }

    /// The cache key of the URL's recipe.
    #[getter]
    fn recipe_key(&self) -> String {
        self.state().machine.request().recipe_key()
    }

    /// The lease: scopes that are read from here on. The keys of those whose generations have to
    /// be fetched first.
    fn read(&self, scopes: Vec<String>) -> Vec<String> {
        let mut state = self.state();
        state.machine.read(scopes);
        state
            .machine
            .unclaimed()
            .into_iter()
            .map(String::from)
            .collect()
    }

    /// The lease: scopes that the page may come to read; they are fetched with those it does.
    #[pyo3(signature = (scopes, *, remember))]
    fn expect(&self, scopes: Vec<String>, remember: bool) {
        self.state().machine.expect(scopes, remember);
    }

    /// The lease: the entry that teaches the next render of this URL what this one has read.
    fn teach(&self, py: Python<'_>, now: f64) -> (String, Py<PyBytes>, u64) {
        let (key, value, seconds) = self.state().machine.teach(milliseconds(now));
        (key, PyBytes::new(py, &value).unbind(), seconds)
    }

    /// The lease: the keys of all generations that were not found, used or only expected.
    fn unknown<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let entries = PyDict::new(py);
        for key in self.state().machine.unread() {
            entries.set_item(key, generation::fresh()?)?;
        }
        Ok(entries)
    }

    /// The lease: those of the scopes whose generation has not been read.
    fn unread_of(&self, scopes: Vec<String>) -> Vec<String> {
        let state = self.state();
        scopes
            .into_iter()
            .filter(|scope| !state.machine.has_read(scope))
            .collect()
    }

    /// The lease: the generations that are absent, each with a new one to add.
    fn unclaimed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let entries = PyDict::new(py);
        for key in self.state().machine.unclaimed() {
            entries.set_item(key, generation::fresh()?)?;
        }
        Ok(entries)
    }

    /// The lease: what was found under keys that `read` or `unclaimed` named.
    fn claim(&self, found: &Bound<'_, PyDict>) {
        self.state().machine.claim(&Answers::new(found, &[]));
    }

    /// The entries to set for a response that may be stored: key, record, seconds.
    #[pyo3(signature = (*, status, reason, headers, body, slots, public, vary, cookies, timeout, now))]
    #[allow(clippy::too_many_arguments)]
    fn store(
        &self,
        py: Python<'_>,
        status: u16,
        reason: Option<&str>,
        headers: Vec<(String, String)>,
        body: &[u8],
        slots: Vec<(u32, String)>,
        public: bool,
        vary: BTreeSet<String>,
        cookies: Option<BTreeSet<String>>,
        timeout: u64,
        now: f64,
    ) -> PyResult<Stored> {
        let mut state = self.state();
        let State { machine, meta, .. } = &mut *state;
        let bound = meta.bind(py);
        let from = Meta::new(bound);
        let response = Response {
            status,
            reason,
            headers: headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
            body,
            slots: slots
                .iter()
                .map(|(at, name)| Slot { at: *at, name })
                .collect(),
            public,
            vary,
            cookies: cookies.map_or(Cookies::All, Cookies::named),
            timeout,
        };
        let stored = machine.store(response, &from, milliseconds(now));
        from.check()?;
        Ok(match stored {
            Ok(entries) => {
                let entry = |(key, value, seconds): machine::Entry| {
                    (key, PyBytes::new(py, &value).unbind(), seconds)
                };
                (Some(entries.into_iter().map(entry).collect()), None)
            }
            Err(why) => (None, Some(why)),
        })
    }
}

/// A page that answers a request.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Hit(Py<PyBytes>);

impl Hit {
    /// The look-up has decoded and checked this record before.
    fn page<'a>(&'a self, py: Python<'_>) -> PyResult<Page<'a>> {
        Page::decode_again(self.0.as_bytes(py))
            .ok_or_else(|| pyo3::exceptions::PyValueError::new_err("The record is no page."))
    }
}

/// Status, reason phrase, headers, body without its slots, when it was stored and when it ends.
type Parts4<'py> = (
    u16,
    Option<String>,
    Vec<(String, String)>,
    Bound<'py, PyBytes>,
    f64,
    f64,
);

#[pymethods]
impl Hit {
    /// Status, reason phrase where it is not the status code's own, headers, body without its
    /// slots, and when the page was stored and ends (seconds since the epoch).
    #[allow(clippy::cast_precision_loss)]
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Parts4<'py>> {
        let page = self.page(py)?;
        let headers = page
            .headers
            .iter()
            .map(|(n, v)| ((*n).to_string(), (*v).to_string()))
            .collect();
        let body = PyBytes::new(py, page.body);
        let seconds = |time: u64| time as f64 / 1000.0;
        Ok((
            page.status,
            page.reason.map(String::from),
            headers,
            body,
            seconds(page.stored_at),
            seconds(page.expires_at),
        ))
    }

    /// The names of the body's slots, in their order; the CSRF token's is `""`.
    #[getter]
    fn slots(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self
            .page(py)?
            .slots
            .iter()
            .map(|slot| slot.name.to_string())
            .collect())
    }

    /// The scopes beyond those of the path.
    #[getter]
    fn tags(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self
            .page(py)?
            .tags
            .iter()
            .map(|(tag, _)| (*tag).to_string())
            .collect())
    }

    /// The body with its slots filled, one filling for each.
    fn fill<'py>(
        &self,
        py: Python<'py>,
        fillings: Vec<Bound<'py, PyBytes>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let page = self.page(py)?;
        let fillings: Vec<(usize, &[u8])> = page
            .slots
            .iter()
            .zip(&fillings)
            .map(|(slot, filling)| (slot.at as usize, filling.as_bytes()))
            .collect();
        PyBytes::new_with(py, slot::filled_length(page.body, &fillings), |out| {
            slot::fill(out, page.body, &fillings);
            Ok(())
        })
    }
}

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

/// The scope of a tag.
#[pyfunction]
pub fn scope_of_tag(tag: &str) -> PyResult<String> {
    Ok(scope::of_tag(tag)?)
}

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
