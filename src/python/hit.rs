//! The page that answers a request.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

use std::sync::Mutex;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::lock;
use super::stored::Stored;
use crate::record::{IDENTITY, Outline, Page};
use crate::slot;

/// A page that answers a request.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Hit {
    record: Mutex<Record>,
    outline: Outline,
}

/// What a page is read from.
enum Record {
    Whole(Stored),
    /// What stands before the body.
    Head(Py<PyBytes>),
}

impl Record {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Whole(stored) => Self::Whole(stored.clone_ref(py)),
            Self::Head(head) => Self::Head(head.clone_ref(py)),
        }
    }
}

/// A record that is held while it is read.
struct Held {
    record: Record,
    outline: Outline,
}

impl Held {
    /// What stands before the body, and that.
    fn halves<'a>(&'a self, py: Python<'_>) -> (&'a [u8], Option<&'a [u8]>) {
        match &self.record {
            Record::Whole(stored) => {
                let bytes = stored.as_bytes(py);
                let (head, body) = bytes.split_at(bytes.len().saturating_sub(self.outline.body));
                (head, Some(body))
            }
            Record::Head(head) => (head.as_bytes(py), None),
        }
    }

    fn identity<'a>(&'a self, py: Python<'_>) -> &'a [u8] {
        let (head, _) = self.halves(py);
        head.get(..IDENTITY).unwrap_or(head)
    }

    /// The page without its body. The look-up has decoded and checked this record before.
    fn page<'a>(&'a self, py: Python<'_>) -> PyResult<Page<'a>> {
        Page::decode_head(self.halves(py).0)
            .ok_or_else(|| PyValueError::new_err("The record is no page."))
    }

    fn body<'a>(&'a self, py: Python<'_>) -> PyResult<&'a [u8]> {
        let (_, body) = self.halves(py);
        body.ok_or_else(|| PyValueError::new_err("The page has been let go."))
    }
}

impl Hit {
    /// A page that is read from this record, which ends with a signature of so many bytes.
    pub(super) fn new(stored: Stored, signature_length: usize, outline: Outline) -> Self {
        Self {
            record: Mutex::new(Record::Whole(stored.without_end(signature_length))),
            outline,
        }
    }

    /// A reference of one's own: making an object of Python's may run anything, which may ask this
    /// page again.
    fn held(&self, py: Python<'_>) -> Held {
        Held {
            record: lock(&self.record, py).clone_ref(py),
            outline: self.outline,
        }
    }

    /// For how many seconds it was in the cache at this moment, how many are left, and the body, if
    /// this is the record of that identity.
    pub(super) fn again<'py>(
        &self,
        py: Python<'py>,
        identity: &[u8],
        now: f64,
    ) -> PyResult<Option<Again<'py>>> {
        let held = self.held(py);
        if held.identity(py) != identity {
            return Ok(None);
        }
        let left = (seconds(self.outline.expires_at) - now) as i64;
        let body = PyBytes::new(py, held.body(py)?);
        Ok(Some((self.age(now), left, body)))
    }

    /// Whole seconds since it was stored (RFC 9111 section 5.1).
    fn age(&self, now: f64) -> u64 {
        (now - seconds(self.outline.stored_at)).max(0.0) as u64
    }
}

/// Milliseconds to seconds.
fn seconds(time: u64) -> f64 {
    time as f64 / 1000.0
}

/// Status, reason phrase, headers, when it was stored and when it ends.
type Head = (u16, Option<String>, Vec<(String, String)>, f64, f64);

/// Its age, how long it lasts, and the body.
pub(super) type Again<'py> = (u64, i64, Bound<'py, PyBytes>);

/// Status, reason phrase, marks, headers by their lower-case names, whether it is all plain, when it
/// was stored, slots, body.
type Ready<'py> = (
    u16,
    Option<String>,
    Option<String>,
    Bound<'py, PyDict>,
    bool,
    f64,
    Vec<String>,
    Option<Bound<'py, PyBytes>>,
);

fn is_plain_text(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii() && byte != b'\n' && byte != b'\r')
}

#[pymethods]
impl Hit {
    /// Status, reason phrase where it is not the status code's own, headers, and when the page was
    /// stored and ends (seconds since the epoch).
    fn head(&self, py: Python<'_>) -> PyResult<Head> {
        let held = self.held(py);
        let page = held.page(py)?;
        let headers = page
            .headers
            .iter()
            .map(|(n, v)| ((*n).to_string(), (*v).to_string()))
            .collect();
        Ok((
            page.status,
            page.reason.map(String::from),
            headers,
            seconds(page.stored_at),
            seconds(page.expires_at),
        ))
    }

    /// Status, reason phrase, marks if there are any, headers by their lower-case names, `Age` among
    /// them, when the page was stored and the names of its slots; and the body, if it is wanted and
    /// has no slots. And whether it is all as Django would let it be: no reason phrase, and headers in ASCII, without
    /// line ends.
    #[pyo3(signature = (now, *, with_body))]
    fn ready<'py>(&self, py: Python<'py>, now: f64, with_body: bool) -> PyResult<Ready<'py>> {
        let held = self.held(py);
        let (page, body) = (held.page(py)?, held.body(py)?);
        let headers = PyDict::new(py);
        let mut is_plain = page.reason.is_none();
        for (name, value) in &page.headers {
            is_plain &= is_plain_text(name) && is_plain_text(value);
            headers.set_item(name.to_lowercase(), (*name, *value))?;
        }
        let age = self.age(now).to_string();
        headers.set_item(intern!(py, "age"), (intern!(py, "Age"), age))?;
        let has_body = with_body && page.slots.is_empty();
        Ok((
            page.status,
            page.reason.map(String::from),
            (!page.marks.is_empty()).then(|| page.marks.to_string()),
            headers,
            is_plain,
            seconds(page.stored_at),
            page.slots
                .iter()
                .map(|slot| slot.name.to_string())
                .collect(),
            has_body.then(|| PyBytes::new(py, body)),
        ))
    }

    /// The body without its slots.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.held(py).body(py)?))
    }

    /// Bytes of that body.
    #[getter]
    fn size(&self) -> usize {
        self.outline.body
    }

    /// Forgets the body, which a response has now: a request that kept the record to its end would
    /// have two large pages in memory.
    fn let_go(&self, py: Python<'_>) {
        let held = self.held(py);
        if let (before_body, Some(_)) = held.halves(py) {
            let kept = PyBytes::new(py, before_body).unbind();
            *lock(&self.record, py) = Record::Head(kept);
        }
    }

    /// What tells this record from any other: its checksum, its times and its fingerprint.
    #[getter]
    fn identity<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.held(py).identity(py))
    }

    /// For how many seconds it may be served stale: while another request renders it, and in place
    /// of an error.
    #[getter]
    fn windows(&self, py: Python<'_>) -> PyResult<(u32, u32)> {
        let windows = self.held(py).page(py)?.stale;
        Ok((windows.while_revalidate, windows.if_error))
    }

    /// The names of the body's slots, in their order; the CSRF token's is `""`.
    #[getter]
    fn slots(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self
            .held(py)
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
            .held(py)
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
        let held = self.held(py);
        let (page, body) = (held.page(py)?, held.body(py)?);
        let fillings: Vec<(usize, &[u8])> = page
            .slots
            .iter()
            .zip(&fillings)
            .map(|(slot, filling)| (slot.at as usize, filling.as_bytes()))
            .collect();
        PyBytes::new_with(py, slot::filled_length(body, &fillings), |out| {
            slot::fill(out, body, &fillings);
            Ok(())
        })
    }
}
