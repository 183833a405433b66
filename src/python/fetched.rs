//! A cursor whose rows have been fetched.

use std::sync::Mutex;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PySequence, PyTuple, PyType};

use super::lock;

/// A database cursor whose rows have been fetched, and are handed out from here.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Fetched {
    cursor: Py<PyAny>,
    /// What the driver gives several rows as: `MySQL`'s tuples, the others lists. Django waits for
    /// an empty one.
    kind: Py<PyType>,
    rows: Py<PySequence>,
    /// Which row is next.
    next: Mutex<usize>,
}

#[pymethods]
impl Fetched {
    #[new]
    fn new(cursor: Bound<'_, PyAny>, kind: Bound<'_, PyType>) -> PyResult<Self> {
        let rows = cursor.call_method0(intern!(cursor.py(), "fetchall"))?;
        let rows = match rows.cast_into::<PySequence>() {
            Ok(rows) => rows,
            // Whatever else is iterated over: nothing at all is no rows.
            Err(error) => match error.into_inner() {
                none if none.is_none() => PyTuple::empty(cursor.py()).into_sequence(),
                rows => kind.call1((rows,))?.cast_into()?,
            },
        };
        Ok(Self {
            cursor: cursor.unbind(),
            kind: kind.unbind(),
            rows: rows.unbind(),
            next: Mutex::new(0),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cursor)?;
        visit.call(&self.kind)?;
        visit.call(&self.rows)
    }

    /// All of its rows.
    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> Bound<'py, PySequence> {
        self.rows.bind(py).clone()
    }

    /// The cursor as it was, for its next statement.
    fn forget(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.take(py, None)?;
        Ok(self.cursor.clone_ref(py))
    }

    /// Django closes each cursor; what is not looked for in vain first is quicker.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let cursor = self.cursor.bind(py);
        cursor.call_method0(intern!(py, "close")).map(drop)
    }

    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.cursor.bind(py).getattr(name)
    }

    const fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (start, end) = self.take(py, Some(1))?;
        (start < end)
            .then(|| self.rows.bind(py).get_item(start))
            .transpose()
    }

    fn fetchone<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.__next__(py)
    }

    #[pyo3(signature = (size = None))]
    fn fetchmany<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyAny>> {
        let size = match size {
            None | Some(0) => self
                .cursor
                .bind(py)
                .getattr(intern!(py, "arraysize"))?
                .extract()?,
            Some(size) => size,
        };
        // Fewer than none is all of them, as for SQLite's driver.
        self.several(py, usize::try_from(size).ok())
    }

    fn fetchall<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.several(py, None)
    }

    /// The driver judges where to, if it lets a cursor go back at all.
    #[pyo3(signature = (value, mode = "relative"))]
    fn scroll(&self, py: Python<'_>, value: isize, mode: &str) -> PyResult<()> {
        let (value, mode) = match mode {
            "relative" => (
                value.saturating_add_unsigned(self.take(py, Some(0))?.0),
                "absolute",
            ),
            _ => (value, mode),
        };
        let cursor = self.cursor.bind(py);
        cursor.call_method1(intern!(py, "scroll"), (value, mode))?;
        *lock(&self.next, py) = value.unsigned_abs();
        Ok(())
    }

    /// Which row is next, where the driver says so.
    #[getter]
    fn rownumber(&self, py: Python<'_>) -> PyResult<usize> {
        self.cursor.bind(py).getattr(intern!(py, "rownumber"))?;
        Ok(self.take(py, Some(0))?.0)
    }
}

impl Fetched {
    /// Takes so many of the rows that are left, or all: where they begin and end.
    fn take(&self, py: Python<'_>, most: Option<usize>) -> PyResult<(usize, usize)> {
        let length = self.rows.bind(py).len()?;
        let mut next = lock(&self.next, py);
        let start = *next;
        *next = most.map_or(length, |most| start.saturating_add(most).min(length));
        Ok((start, *next))
    }

    fn several<'py>(&self, py: Python<'py>, most: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
        let (start, end) = self.take(py, most)?;
        let rows = self.rows.bind(py).get_slice(start, end)?.into_any();
        let kind = self.kind.bind(py);
        if rows.get_type().is(kind) {
            Ok(rows)
        } else {
            kind.call1((rows,))
        }
    }
}
