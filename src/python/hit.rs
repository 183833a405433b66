//! The page that answers a request.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::stored::Stored;
use crate::record::{IDENTITY, Page};
use crate::slot;

/// A page that answers a request.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Hit {
    stored: Stored,
    /// Bytes of the signature that follows the record.
    signature_length: usize,
}

impl Hit {
    pub(super) fn new(stored: Stored, signature_length: usize) -> Self {
        Self {
            stored,
            signature_length,
        }
    }

    fn record<'a>(&'a self, py: Python<'_>) -> &'a [u8] {
        let stored = self.stored.as_bytes(py);
        let end = stored.len().saturating_sub(self.signature_length);
        stored.get(..end).unwrap_or(stored)
    }

    /// When the page was stored and ends, and the body, if this is the record of that identity.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn again<'py>(
        &self,
        py: Python<'py>,
        identity: &[u8],
    ) -> PyResult<Option<Again<'py>>> {
        if self.record(py).get(..IDENTITY) != Some(identity) {
            return Ok(None);
        }
        let page = self.page(py)?;
        Ok(Some((
            page.stored_at as f64 / 1000.0,
            page.expires_at as f64 / 1000.0,
            PyBytes::new(py, page.body),
        )))
    }

    /// The look-up has decoded and checked this record before.
    fn page<'a>(&'a self, py: Python<'_>) -> PyResult<Page<'a>> {
        Page::decode_again(self.record(py))
            .ok_or_else(|| pyo3::exceptions::PyValueError::new_err("The record is no page."))
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
        let page = self.page(py)?;
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
        let page = self.page(py)?;
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
        Ok(PyBytes::new(py, self.page(py)?.body))
    }

    /// What tells this record from any other: its checksum, its times and its fingerprint.
    #[getter]
    fn identity<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let record = self.record(py);
        PyBytes::new(py, record.get(..IDENTITY).unwrap_or(record))
    }

    /// For how many seconds it may be served stale: while another request renders it, and in place
    /// of an error.
    #[getter]
    fn windows(&self, py: Python<'_>) -> PyResult<(u32, u32)> {
        let windows = self.page(py)?.stale;
        Ok((windows.while_revalidate, windows.if_error))
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
