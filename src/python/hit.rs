//! The page that answers a request.

use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::stored::Stored;
use crate::record::{IDENTITY, Page};
use crate::slot;

/// A page that answers a request.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Hit(Mutex<Record>);

/// What a page is read from.
enum Record {
    Whole(Stored),
    /// What stands before the body, and how long that was.
    Head(Py<PyBytes>, usize),
}

impl Record {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Whole(stored) => Self::Whole(stored.clone_ref(py)),
            Self::Head(head, length) => Self::Head(head.clone_ref(py), *length),
        }
    }

    fn as_bytes<'a>(&'a self, py: Python<'_>) -> &'a [u8] {
        match self {
            Self::Whole(stored) => stored.as_bytes(py),
            Self::Head(head, _) => head.as_bytes(py),
        }
    }

    fn identity<'a>(&'a self, py: Python<'_>) -> &'a [u8] {
        let bytes = self.as_bytes(py);
        bytes.get(..IDENTITY).unwrap_or(bytes)
    }

    /// The page, whose body is empty if it has been let go. The look-up has decoded and checked
    /// this record before.
    fn page<'a>(&'a self, py: Python<'_>) -> PyResult<Page<'a>> {
        let bytes = self.as_bytes(py);
        match self {
            Self::Whole(_) => Page::decode_again(bytes),
            Self::Head(..) => Page::decode_head(bytes),
        }
        .ok_or_else(|| PyValueError::new_err("The record is no page."))
    }

    /// The page with its body.
    fn whole_page<'a>(&'a self, py: Python<'_>) -> PyResult<Page<'a>> {
        match self {
            Self::Whole(_) => self.page(py),
            Self::Head(..) => Err(PyValueError::new_err("The page has been let go.")),
        }
    }
}

impl Hit {
    /// A page that is read from this record, which ends with a signature of so many bytes.
    pub(super) fn new(stored: Stored, signature_length: usize) -> Self {
        Self(Mutex::new(Record::Whole(
            stored.without_end(signature_length),
        )))
    }

    /// A reference of one's own: making an object of Python's may run anything, which may ask this
    /// page again.
    fn record(&self, py: Python<'_>) -> Record {
        let record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        record.clone_ref(py)
    }

    /// When the page was stored and ends, and the body, if this is the record of that identity.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn again<'py>(
        &self,
        py: Python<'py>,
        identity: &[u8],
    ) -> PyResult<Option<Again<'py>>> {
        let record = self.record(py);
        if record.identity(py) != identity {
            return Ok(None);
        }
        let page = record.whole_page(py)?;
        Ok(Some((
            page.stored_at as f64 / 1000.0,
            page.expires_at as f64 / 1000.0,
            PyBytes::new(py, page.body),
        )))
    }
}

/// Status, reason phrase, headers, when it was stored and when it ends.
type Head = (u16, Option<String>, Vec<(String, String)>, f64, f64);

/// When it was stored and ends, and the body.
pub(super) type Again<'py> = (f64, f64, Bound<'py, PyBytes>);

/// Status, reason phrase, headers by their lower-case names, whether it is all plain, when it was
/// stored, slots, body.
type Ready<'py> = (
    u16,
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
    #[allow(clippy::cast_precision_loss)]
    fn head(&self, py: Python<'_>) -> PyResult<Head> {
        let record = self.record(py);
        let page = record.page(py)?;
        let headers = page
            .headers
            .iter()
            .map(|(n, v)| ((*n).to_string(), (*v).to_string()))
            .collect();
        let seconds = |time: u64| time as f64 / 1000.0;
        Ok((
            page.status,
            page.reason.map(String::from),
            headers,
            seconds(page.stored_at),
            seconds(page.expires_at),
        ))
    }

    /// Status, reason phrase, headers by their lower-case names, `Age` among them, when the page
    /// was stored and the names of its slots; and the body, if it is wanted and has no slots. And
    /// whether it is all as Django would let it be: no reason phrase, and headers in ASCII, without
    /// line ends.
    #[pyo3(signature = (now, *, with_body))]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    fn ready<'py>(&self, py: Python<'py>, now: f64, with_body: bool) -> PyResult<Ready<'py>> {
        let record = self.record(py);
        let page = record.whole_page(py)?;
        let headers = PyDict::new(py);
        let mut is_plain = page.reason.is_none();
        for (name, value) in &page.headers {
            is_plain &= is_plain_text(name) && is_plain_text(value);
            headers.set_item(name.to_lowercase(), (*name, *value))?;
        }
        let age = (now - page.stored_at as f64 / 1000.0).max(0.0) as u64;
        headers.set_item(intern!(py, "age"), (intern!(py, "Age"), age.to_string()))?;
        let has_body = with_body && page.slots.is_empty();
        Ok((
            page.status,
            page.reason.map(String::from),
            headers,
            is_plain,
            page.stored_at as f64 / 1000.0,
            page.slots
                .iter()
                .map(|slot| slot.name.to_string())
                .collect(),
            has_body.then(|| PyBytes::new(py, page.body)),
        ))
    }

    /// The body without its slots.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.record(py).whole_page(py)?.body))
    }

    /// Bytes of that body.
    #[getter]
    fn size(&self, py: Python<'_>) -> PyResult<usize> {
        match self.record(py) {
            Record::Head(_, length) => Ok(length),
            whole @ Record::Whole(_) => Ok(whole.page(py)?.body.len()),
        }
    }

    /// Forgets the body, which a response has now: a request that kept the record to its end would
    /// have two large pages in memory.
    fn let_go(&self, py: Python<'_>) -> PyResult<()> {
        let record = self.record(py);
        let length = record.page(py)?.body.len();
        if let Record::Whole(stored) = &record {
            let bytes = stored.as_bytes(py);
            let head = PyBytes::new(py, &bytes[..bytes.len() - length]).unbind();
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Record::Head(head, length);
        }
        Ok(())
    }

    /// What tells this record from any other: its checksum, its times and its fingerprint.
    #[getter]
    fn identity<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.record(py).identity(py))
    }

    /// For how many seconds it may be served stale: while another request renders it, and in place
    /// of an error.
    #[getter]
    fn windows(&self, py: Python<'_>) -> PyResult<(u32, u32)> {
        let windows = self.record(py).page(py)?.stale;
        Ok((windows.while_revalidate, windows.if_error))
    }

    /// The names of the body's slots, in their order; the CSRF token's is `""`.
    #[getter]
    fn slots(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self
            .record(py)
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
            .record(py)
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
        let record = self.record(py);
        let page = record.whole_page(py)?;
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
