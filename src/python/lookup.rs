//! One request's way through the cache.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict};

use super::answers::{Answers, Meta};
use super::backends::LocalMemory;
use super::hit::Hit;
use super::lock;
use crate::generation;
use crate::lookup::{self as machine, Response};
use crate::recipe::Cookies;
use crate::record::{Slot, Windows};

/// Seconds, as `time.time()` gives them, to the milliseconds of a record.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn milliseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1000.0) as u64
}

/// One request's way through the cache; after a miss, the lease.
#[pyclass(frozen, module = "viewcache._core")]
pub struct LookUp(Mutex<State>);

struct State {
    machine: machine::LookUp,
    /// The request's; a copy of it once there is a lease, because the page is stored for the
    /// request that was looked up, whatever a middleware has made of it since.
    meta: Py<PyDict>,
    utf8_cookies: bool,
    /// The page that answers, or that may although it is stale.
    page: Option<Py<Hit>>,
}

impl LookUp {
    pub(super) fn new(machine: machine::LookUp, meta: Py<PyDict>, utf8_cookies: bool) -> Self {
        Self(Mutex::new(State {
            machine,
            meta,
            utf8_cookies,
            page: None,
        }))
    }

    /// Hands the machine out, for as long as the function runs.
    pub(super) fn with<T>(&self, py: Python<'_>, ask: impl FnOnce(&machine::LookUp) -> T) -> T {
        ask(&self.state(py).machine)
    }

    /// Takes in what was found under the wanted keys. True when there is more to fetch.
    fn take(&self, answers: &Answers<'_, '_>, now: f64, py: Python<'_>) -> PyResult<bool> {
        let mut state = self.state(py);
        let State {
            machine,
            meta,
            utf8_cookies,
            page,
        } = &mut *state;
        let seen = meta.bind(py).clone();
        let headers = Meta::new(&seen, *utf8_cookies);
        machine.receive(answers, &headers, milliseconds(now));
        headers.check()?;
        if let Some((key, outline)) = machine.found() {
            let stored = answers.get(key).map(|stored| stored.clone_ref(py));
            let hit = stored.map(|stored| Hit::new(stored, machine.signature_length(), outline));
            *page = hit.map(|hit| Py::new(py, hit)).transpose()?;
        }
        let (is_hit, is_miss) = (machine.hit().is_some(), machine.miss().is_some());
        drop(state);
        if is_miss {
            self.own(py)?;
        }
        Ok(!is_hit && !is_miss)
    }

    fn state(&self, py: Python<'_>) -> MutexGuard<'_, State> {
        lock(&self.0, py)
    }
}

/// `(entries, None)` or `(None, why there are none)`.
type Entries = (
    Option<Vec<(String, Py<PyBytes>, u64)>>,
    Option<&'static str>,
);

/// The keys of recipe and pages, and those of generations.
type Wanted = (Vec<String>, Vec<String>);

/// Header names, cookie names (`None`: all of them), tags.
type RecipeNames = (Vec<String>, Option<Vec<String>>, Vec<String>);

#[pymethods]
impl LookUp {
    /// The keys to fetch now: those of recipe and pages, and those of generations.
    fn wanted(&self, py: Python<'_>) -> Wanted {
        self.with(py, |machine| {
            let (pages, generations) = machine.wanted();
            (owned(pages), owned(generations))
        })
    }

    /// What was found under the wanted keys. True when there is more to fetch.
    fn receive(&self, found: &Bound<'_, PyDict>, now: f64) -> PyResult<bool> {
        self.take(&Answers::of(found), now, found.py())
    }

    /// Finds all that is wanted in local memory. False when there is more to fetch, and it is
    /// somebody else's to answer.
    fn answer(&self, memory: &LocalMemory, now: f64, py: Python<'_>) -> PyResult<bool> {
        loop {
            let keys = self.with(py, |machine| {
                let (pages, others) = machine.wanted();
                memory.named(pages.into_iter().chain(others))
            });
            let Some(answers) = Answers::from(memory, py, keys, now)? else {
                return Ok(false);
            };
            let is_over = !self.take(&answers, now, py)?;
            let (found, signature_length) = self.with(py, |machine| {
                let found = machine.found().and_then(|(key, _)| answers.get(key));
                (found, machine.signature_length())
            });
            if let Some(stored) = found {
                memory.note_checked(stored, signature_length, py);
            }
            if is_over {
                return Ok(true);
            }
        }
    }

    /// The lease: has a copy of the request's META from here on, as it is now.
    fn own(&self, py: Python<'_>) -> PyResult<()> {
        let seen = self.state(py).meta.clone_ref(py).into_bound(py);
        // Item by item: a watched META notes who copies it.
        let copy = PyDict::new(py);
        for (name, value) in &seen {
            copy.set_item(name, value)?;
        }
        self.state(py).meta = copy.unbind();
        Ok(())
    }

    /// For Python's garbage collector: a server, or a middleware, may keep in the environ what
    /// keeps the request. `META` is in each such cycle, and can be cleared.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Whoever holds the lock has the collector run: what is in use is no garbage.
        self.0
            .try_lock()
            .map_or(Ok(()), |state| visit.call(&state.meta))
    }

    /// The page that answers, if one does.
    #[getter]
    pub(super) fn hit(&self, py: Python<'_>) -> Option<Py<Hit>> {
        let state = self.state(py);
        state.machine.hit()?;
        Some(state.page.as_ref()?.clone_ref(py))
    }

    /// The page that may be served although it is stale: while another request renders it, or in
    /// place of an error.
    #[pyo3(signature = (*, on_error))]
    fn stale(&self, py: Python<'_>, on_error: bool) -> Option<Py<Hit>> {
        let state = self.state(py);
        let (_, found) = state.machine.stale()?;
        let may = if on_error {
            found.if_error
        } else {
            found.while_revalidate
        };
        Some(may.then_some(state.page.as_ref())??.clone_ref(py))
    }

    /// Since when the page is stale, in seconds since the epoch.
    #[getter]
    #[allow(clippy::cast_precision_loss)]
    fn stale_since(&self, py: Python<'_>) -> Option<f64> {
        let state = self.state(py);
        let (_, found) = state.machine.stale()?;
        Some(found.since as f64 / 1000.0)
    }

    /// The same request once more, from the beginning.
    fn again(&self, py: Python<'_>) -> PyResult<Self> {
        let state = self.state(py);
        let headers = Meta::new(state.meta.bind(py), state.utf8_cookies);
        let begun = state.machine.again(&headers);
        headers.check()?;
        let meta = state.meta.clone_ref(py);
        Ok(Self::new(begun, meta, state.utf8_cookies))
    }

    /// The key of the page that answers, or of the one that was looked for or stored.
    #[getter]
    fn key(&self, py: Python<'_>) -> Option<String> {
        self.state(py).machine.key().map(String::from)
    }

    /// Why there is none: a code, and the scope that it is about.
    #[getter]
    fn miss(&self, py: Python<'_>) -> Option<(&'static str, Option<String>)> {
        let state = self.state(py);
        let (code, scope) = state.machine.miss()?.parts();
        Some((code, scope.map(String::from)))
    }

    /// What the URL's responses vary on: header names, cookie names (`None` is all of them), tags.
    #[getter]
    fn recipe(&self, py: Python<'_>) -> Option<RecipeNames> {
        let state = self.state(py);
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
    fn scopes(&self, py: Python<'_>) -> Vec<(String, bool)> {
        self.state(py)
            .machine
            .used_scopes()
            .map(|(text, there)| (text.to_string(), there))
            .collect()
    }

    /// The lease: the key of the turn to render this page.
    #[getter]
    fn turn_key(&self, py: Python<'_>) -> String {
        self.state(py).machine.turn_key()
    }

    /// The cache key of the URL's recipe.
    #[getter]
    fn recipe_key(&self, py: Python<'_>) -> String {
        self.state(py).machine.request().url.recipe_key.clone()
    }

    /// The lease: scopes that are read from here on. The keys of those whose generations have to
    /// be fetched first.
    fn read(&self, py: Python<'_>, scopes: Vec<PyBackedStr>) -> Vec<String> {
        let mut state = self.state(py);
        state.machine.read(&scopes);
        owned(state.machine.unclaimed())
    }

    /// The lease: as `read`, where all of their generations have been read; else nothing is done.
    fn read_known(&self, py: Python<'_>, scopes: Vec<PyBackedStr>) -> bool {
        self.state(py).machine.read_known(&scopes)
    }

    /// The lease: scopes that the page may come to read; they are fetched with those it does.
    #[pyo3(signature = (scopes, *, remember))]
    fn expect(&self, py: Python<'_>, scopes: Vec<PyBackedStr>, remember: bool) {
        self.state(py).machine.expect(&scopes, remember);
    }

    /// The lease: the entry that teaches the next render of this URL what this one has read.
    fn teach(&self, py: Python<'_>, now: f64) -> (String, Py<PyBytes>, u64) {
        let (key, value, seconds) = self.state(py).machine.teach(milliseconds(now));
        (key, PyBytes::new(py, &value).unbind(), seconds)
    }

    /// The lease: the keys of all generations that are not known, used or only expected.
    fn unknown(&self, py: Python<'_>) -> Vec<String> {
        self.with(py, |machine| owned(machine.unread()))
    }

    /// The lease: the same, each with a new one to set.
    fn renewals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        with_fresh(py, self.unknown(py))
    }

    /// The lease: those of the scopes whose generation has not been read.
    fn unread_of(&self, py: Python<'_>, scopes: Vec<String>) -> Vec<String> {
        let state = self.state(py);
        scopes
            .into_iter()
            .filter(|scope| !state.machine.has_read(scope))
            .collect()
    }

    /// The lease: has the generation of any scope that begins so been read?
    fn has_read_any(&self, py: Python<'_>, prefix: &str) -> bool {
        self.state(py).machine.has_read_any(prefix)
    }

    /// The lease: the first of these scopes whose generation may be younger than that moment.
    fn younger_than(&self, py: Python<'_>, moment: u64, scopes: Vec<String>) -> Option<String> {
        let state = self.state(py);
        let found = state.machine.younger_than(moment, &scopes);
        found.map(String::from)
    }

    /// The lease: the generations that are absent, each with a new one to add.
    fn unclaimed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        with_fresh(py, self.with(py, |machine| owned(machine.unclaimed())))
    }

    /// The lease: what was found under keys that `read` or `unclaimed` named.
    fn claim(&self, found: &Bound<'_, PyDict>) {
        let answers = Answers::of(found);
        self.state(found.py()).machine.claim(&answers);
    }

    /// The entries to set for a response that may be stored: key, record, seconds.
    #[pyo3(signature = (*, status, reason, marks, headers, body, slots, public, vary, cookies, timeout, windows, now))]
    #[allow(clippy::too_many_arguments)]
    fn store(
        &self,
        py: Python<'_>,
        status: u16,
        reason: Option<&str>,
        marks: &str,
        headers: Vec<(String, String)>,
        body: &[u8],
        slots: Vec<(u32, String)>,
        public: bool,
        vary: BTreeSet<String>,
        cookies: Option<BTreeSet<String>>,
        timeout: u64,
        windows: (u32, u32),
        now: f64,
    ) -> PyResult<Entries> {
        let mut state = self.state(py);
        let State {
            machine,
            meta,
            utf8_cookies,
            ..
        } = &mut *state;
        let bound = meta.bind(py);
        let from = Meta::new(bound, *utf8_cookies);
        let (while_revalidate, if_error) = windows;
        let response = Response {
            status,
            reason,
            marks,
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
            stale: Windows {
                while_revalidate,
                if_error,
            },
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

/// For Python, which makes its objects when the lock has been let go: that may run anything.
fn owned(keys: Vec<&str>) -> Vec<String> {
    keys.into_iter().map(String::from).collect()
}

/// These keys, each with a new generation.
fn with_fresh(py: Python<'_>, keys: Vec<String>) -> PyResult<Bound<'_, PyDict>> {
    let entries = PyDict::new(py);
    for key in keys {
        entries.set_item(key, generation::fresh()?)?;
    }
    Ok(entries)
}
