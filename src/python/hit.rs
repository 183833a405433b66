//! The page that answers a request.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::record::Page;
use crate::slot;

/// A page that answers a request.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Hit(Py<PyBytes>);

impl Hit {
    pub(super) fn new(record: Py<PyBytes>) -> Self {
        Self(record)
    }

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
