//! What is known of pages: what a hit of them sends, by what hits have sent.

use std::sync::{Mutex, MutexGuard};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use super::lock;
use super::lookup::LookUp;
use crate::recent::Recent;
use crate::request::page_key;

/// About how many bytes a proof takes beyond its headers, and each of those beyond its text.
const COST: usize = 512;
const COST_OF_HEADER: usize = 160;

/// What a hit of one record sends. Without headers: it is not to be served early.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Proof {
    identity: Vec<u8>,
    /// The status code.
    #[pyo3(get)]
    status: u16,
    /// Status code and reason phrase, as WSGI wants them.
    #[pyo3(get)]
    status_line: Py<PyString>,
    /// Names and values, without what changes with time, which stands at these places.
    headers: Py<PyTuple>,
    age_at: usize,
    ttl_at: Option<usize>,
    /// Two hits have shown it.
    is_proven: bool,
    cost: usize,
}

#[pymethods]
impl Proof {
    #[new]
    #[pyo3(signature = (identity, status=0, phrase="", headers=vec![], age_at=0, ttl_at=None))]
    fn new(
        py: Python<'_>,
        identity: Vec<u8>,
        status: u16,
        phrase: &str,
        headers: Vec<(String, String)>,
        age_at: usize,
        ttl_at: Option<usize>,
    ) -> PyResult<Self> {
        let length = |(name, value): &(String, String)| name.len() + value.len() + COST_OF_HEADER;
        Ok(Self {
            identity,
            status,
            status_line: PyString::new(py, &format!("{status} {phrase}")).unbind(),
            cost: COST + headers.iter().map(length).sum::<usize>(),
            headers: PyTuple::new(py, headers)?.unbind(),
            age_at,
            ttl_at,
            is_proven: false,
        })
    }

    /// Is this record not to be served early?
    #[getter]
    fn is_refused(&self, py: Python<'_>) -> bool {
        self.headers.bind(py).is_empty()
    }

    /// The record's, see `Hit.identity`.
    #[getter]
    fn identity<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.identity)
    }
}

impl Proof {
    /// This proof, if one for the same record came before.
    fn after(&self, py: Python<'_>, earlier: Option<&Self>) -> PyResult<Self> {
        let earlier = earlier.filter(|earlier| earlier.identity == self.identity);
        let Some(earlier) = earlier.filter(|_| !self.is_refused(py)) else {
            return Ok(self.copy(py, false));
        };
        let is_same = self
            .status_line
            .bind(py)
            .as_any()
            .eq(&earlier.status_line)?
            && (self.age_at, self.ttl_at) == (earlier.age_at, earlier.ttl_at)
            && self.headers.bind(py).eq(earlier.headers.bind(py))?;
        if is_same {
            return Ok(self.copy(py, true));
        }
        Ok(Self {
            headers: PyTuple::empty(py).unbind(),
            cost: COST,
            ..self.copy(py, false)
        })
    }

    fn copy(&self, py: Python<'_>, is_proven: bool) -> Self {
        Self {
            identity: self.identity.clone(),
            status_line: self.status_line.clone_ref(py),
            headers: self.headers.clone_ref(py),
            is_proven,
            ..*self
        }
    }

    /// The headers of a hit of this age, that lasts for so many seconds.
    fn headers_at<'py>(&self, py: Python<'py>, age: u64, ttl: i64) -> PyResult<Bound<'py, PyList>> {
        let headers = self.headers.bind(py).to_list();
        headers.set_item(self.age_at, (intern!(py, "Age"), age.to_string()))?;
        if let Some(at) = self.ttl_at {
            let (name, value): (Bound<'_, PyString>, String) = headers.get_item(at)?.extract()?;
            headers.set_item(at, (name, value + &ttl.to_string()))?;
        }
        Ok(headers)
    }
}

/// A page, as it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Page {
    /// Of its key.
    digest: [u8; 32],
    is_head: bool,
    /// ASGI knows no reason phrase, which WSGI must send.
    is_wsgi: bool,
}

/// The proofs of this process, within bounds.
pub(super) struct Proofs(Mutex<Recent<Page, Py<Proof>>>);

impl Proofs {
    pub(super) fn new(entries: usize, bytes: usize) -> Self {
        Self(Mutex::new(Recent::new(entries, bytes)))
    }

    pub(super) fn of(&self, py: Python<'_>, page: &Page) -> Option<Py<Proof>> {
        let mut known = self.known(py);
        known.get(page).map(|proof| proof.clone_ref(py))
    }

    /// What this hit has shown is known from here on.
    pub(super) fn put(&self, py: Python<'_>, asked: &Asked, shown: &Proof) -> PyResult<()> {
        let proof = shown.after(py, asked.proof.as_ref().map(Py::get))?;
        let cost = proof.cost;
        let proof = Py::new(py, proof)?;
        self.known(py).put(asked.page, proof, cost);
        Ok(())
    }

    pub(super) fn len(&self, py: Python<'_>) -> usize {
        self.known(py).len()
    }

    fn known(&self, py: Python<'_>) -> MutexGuard<'_, Recent<Page, Py<Proof>>> {
        lock(&self.0, py)
    }
}

/// A request that may be answered early, and what is known of its page.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Asked {
    #[pyo3(get)]
    lookup: Py<LookUp>,
    page: Page,
    proof: Option<Py<Proof>>,
}

/// Headers and body.
type Answer<'py> = (Bound<'py, PyList>, Bound<'py, PyBytes>);

#[pymethods]
impl Asked {
    /// The key of the page that is asked for.
    #[getter]
    fn key(&self) -> String {
        page_key(&self.page.digest)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.lookup)
    }

    /// What is known of it.
    #[getter]
    fn proof(&self, py: Python<'_>) -> Option<Py<Proof>> {
        Some(self.proof.as_ref()?.clone_ref(py))
    }

    /// Is it known what a hit sends?
    #[getter]
    fn is_proven(&self) -> bool {
        self.proof
            .as_ref()
            .is_some_and(|proof| proof.get().is_proven)
    }

    /// What to send now, if the look-up has found the very record of the proof.
    fn answer<'py>(&self, py: Python<'py>, now: f64) -> PyResult<Option<Answer<'py>>> {
        let Some(proof) = self.proof.as_ref().map(Py::get) else {
            return Ok(None);
        };
        let Some(hit) = self.lookup.get().hit(py) else {
            return Ok(None);
        };
        let Some((age, ttl, body)) = hit.get().again(py, &proof.identity, now)? else {
            return Ok(None);
        };
        Ok(Some((proof.headers_at(py, age, ttl)?, body)))
    }
}

impl Asked {
    pub(super) fn new(
        py: Python<'_>,
        lookup: LookUp,
        is_head: bool,
        is_wsgi: bool,
        proofs: &Proofs,
    ) -> PyResult<Option<Self>> {
        let Some(digest) = lookup.with(py, |machine| machine.digest().copied()) else {
            return Ok(None);
        };
        let page = Page {
            digest,
            is_head,
            is_wsgi,
        };
        Ok(Some(Self {
            lookup: Py::new(py, lookup)?,
            proof: proofs.of(py, &page),
            page,
        }))
    }
}
