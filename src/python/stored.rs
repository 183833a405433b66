//! A record in the hands of Python.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::pickle;

/// Bytes that Python holds, and where in them a record lies: a backend may lend it as it lies in
/// the cache.
pub(super) struct Stored {
    bytes: Py<PyBytes>,
    start: usize,
    end: usize,
}

impl Stored {
    /// `None` for what is neither `bytes` nor a tuple of them, a beginning and an end.
    pub(super) fn of(value: &Bound<'_, PyAny>) -> Option<Self> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            let end = bytes.as_bytes().len();
            return Some(Self::new(bytes.clone(), 0, end));
        }
        let (bytes, start, end): (Bound<'_, PyBytes>, usize, usize) =
            value.cast_exact::<PyTuple>().ok()?.extract().ok()?;
        let fits = start <= end && end <= bytes.as_bytes().len();
        fits.then(|| Self::new(bytes, start, end))
    }

    /// `None` for what is no pickle of `bytes` alone.
    pub(super) fn in_pickle(pickle: &Bound<'_, PyAny>) -> Option<Self> {
        let pickle = pickle.cast::<PyBytes>().ok()?;
        let at = pickle::bytes(pickle.as_bytes())?;
        Some(Self::new(pickle.clone(), at.start, at.end))
    }

    fn new(bytes: Bound<'_, PyBytes>, start: usize, end: usize) -> Self {
        Self {
            bytes: bytes.unbind(),
            start,
            end,
        }
    }

    pub(super) fn as_bytes<'a>(&'a self, py: Python<'_>) -> &'a [u8] {
        let whole = self.bytes.as_bytes(py);
        whole.get(self.start..self.end).unwrap_or(whole)
    }

    /// The bytes in which it lies.
    pub(super) fn bytes<'py>(&self, py: Python<'py>) -> &Bound<'py, PyBytes> {
        self.bytes.bind(py)
    }

    /// The same without so many bytes at its end.
    pub(super) fn without_end(mut self, length: usize) -> Self {
        self.end = self.end.saturating_sub(length).max(self.start);
        self
    }

    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            bytes: self.bytes.clone_ref(py),
            ..*self
        }
    }
}
