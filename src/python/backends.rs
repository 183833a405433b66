//! Entries as Django's own backends keep them: local memory, and Redis.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use crate::pickle;

/// What is smaller is not worth lending: it is copied.
const LENT_FROM: usize = 1024;

/// What was found, by key; what is left to `pickle.loads()`, with its key; names that have expired.
type Read<'py> = (Bound<'py, PyDict>, Bound<'py, PyList>, Bound<'py, PyList>);

/// Reads these keys as `LocMemCache.get()` does one after another, without unpickling what is ours.
#[pyfunction]
pub fn read_local_memory<'py>(
    entries: &Bound<'py, PyDict>,
    ends: &Bound<'py, PyDict>,
    name: &Bound<'py, PyAny>,
    pages: &Bound<'py, PyAny>,
    others: &Bound<'py, PyAny>,
    now: f64,
) -> PyResult<Read<'py>> {
    let py = entries.py();
    let (found, pickled, expired) = (PyDict::new(py), PyList::empty(py), PyList::empty(py));
    let prefix = name
        .cast::<PyString>()
        .ok()
        .map(PyStringMethods::to_cow)
        .transpose()?;
    for (keys, is_lent) in [(pages, true), (others, false)] {
        for key in keys.try_iter()? {
            let key = key?;
            let made = match &prefix {
                Some(prefix) => {
                    let rest = key.cast::<PyString>()?.to_cow()?;
                    PyString::new(py, &[prefix, &*rest].concat()).into_any()
                }
                None => name.call1((&key,))?,
            };
            let Some(end) = ends.get_item(&made)? else {
                continue;
            };
            if !end.is_none() && end.extract::<f64>()? <= now {
                expired.append(made)?;
                continue;
            }
            let value = entries.as_any().get_item(&made)?;
            entries.call_method1(intern!(py, "move_to_end"), (&made, false))?;
            match if is_lent {
                lend(&value)
            } else {
                number(&value)
            } {
                Some(value) => found.set_item(key, value)?,
                None => pickled.append((key, value))?,
            }
        }
    }
    Ok((found, pickled, expired))
}

/// What was found, by key; what is left to the serializer, with its key.
type Answered<'py> = (Bound<'py, PyDict>, Bound<'py, PyList>);

/// Reads what Redis has under these keys as `RedisSerializer.loads()` does, without unpickling what
/// is ours. The first keys, so many, are those of pages.
#[pyfunction]
pub fn read_redis<'py>(
    keys: &Bound<'py, PyList>,
    pages: usize,
    values: &Bound<'py, PyList>,
) -> PyResult<Answered<'py>> {
    let py = keys.py();
    let (found, left) = (PyDict::new(py), PyList::empty(py));
    for (at, (key, value)) in keys.iter().zip(values.iter()).enumerate() {
        if value.is_none() {
            continue;
        }
        let read = if at < pages {
            lend(&value)
        } else {
            written(&value)
        };
        match read {
            Some(value) => found.set_item(key, value)?,
            None => left.append((key, value))?,
        }
    }
    Ok((found, left))
}

/// A number of ours, as Redis keeps it: in digits.
fn written<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let digits = value.cast::<PyBytes>().ok()?;
    let number: u64 = str::from_utf8(digits.as_bytes()).ok()?.parse().ok()?;
    number.into_pyobject(value.py()).ok().map(Bound::into_any)
}

/// What this pickle holds, where it is a number.
fn number<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let pickled = value.cast::<PyBytes>().ok()?;
    let number = pickle::number(pickled.as_bytes())?;
    number.into_pyobject(value.py()).ok().map(Bound::into_any)
}

/// What this pickle holds, where it is bytes: those that are large are lent.
fn lend<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let py = value.py();
    let pickled = value.cast::<PyBytes>().ok()?;
    let at = pickle::bytes(pickled.as_bytes())?;
    if at.len() < LENT_FROM {
        let copied = PyBytes::new(py, pickled.as_bytes().get(at)?);
        return Some(copied.into_any());
    }
    let lent = (pickled, at.start, at.end).into_pyobject(py);
    lent.ok().map(Bound::into_any)
}
