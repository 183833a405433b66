//! Entries as Django's own backends keep them: local memory, and Redis.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyType};
use pyo3::{IntoPyObjectExt, intern};

use super::lock;
use super::stored::Stored;
use crate::pickle;
use crate::recent::Recent;

/// What is smaller is not worth lending: it is copied.
const LENT_FROM: usize = 1024;

/// An attribute of a class that has to be Django's own.
type Original = (Py<PyType>, Py<PyString>, Py<PyAny>);

/// One of Django's `LocMemCache`s, read without the Python that it runs for each key.
#[pyclass(frozen, module = "viewcache._core")]
pub struct LocalMemory {
    /// The ordered dictionary of its entries, and when each ends.
    entries: Py<PyDict>,
    ends: Py<PyDict>,
    /// Its `move_to_end()`.
    move_to_end: Py<PyAny>,
    /// The lock's `acquire()` and `release()`.
    lock: (Py<PyAny>, Py<PyAny>),
    naming: Naming,
    originals: Vec<Original>,
    loads: Py<PyAny>,
    /// Bytes of entries whose checksum was right, by their address. Nobody can change them, and as long
    /// as they are held, there are no others at that address.
    checked: Mutex<Checked>,
}

/// With the length of the record that lies in each.
type Checked = Recent<usize, (Py<PyBytes>, usize)>;

/// What makes the names of keys in the cache.
enum Naming {
    /// What stands before a key.
    Prefix(String),
    Function(Py<PyAny>),
}

/// A key, and its name in the cache if that is known.
pub(super) struct Named {
    text: String,
    /// Where the key begins in its name.
    at: usize,
}

impl Named {
    /// A key without a name.
    pub(super) fn bare(text: String) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn key(&self) -> &str {
        &self.text[self.at..]
    }
}

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        self.key()
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Named {}

#[pymethods]
impl LocalMemory {
    #[new]
    fn new(
        cache: Bound<'_, PyAny>,
        name: Bound<'_, PyAny>,
        originals: Vec<Original>,
        loads: Py<PyAny>,
        memory_entries: usize,
        memory_bytes: usize,
    ) -> PyResult<Self> {
        let py = cache.py();
        let dictionary = |name| -> PyResult<_> { Ok(cache.getattr(name)?.cast_into::<PyDict>()?) };
        let entries = dictionary(intern!(py, "_cache"))?;
        let lock = cache.getattr(intern!(py, "_lock"))?;
        Ok(Self {
            move_to_end: entries.getattr(intern!(py, "move_to_end"))?.unbind(),
            entries: entries.unbind(),
            ends: dictionary(intern!(py, "_expire_info"))?.unbind(),
            lock: (
                lock.getattr(intern!(py, "acquire"))?.unbind(),
                lock.getattr(intern!(py, "release"))?.unbind(),
            ),
            naming: match name.cast::<PyString>() {
                Ok(prefix) => Naming::Prefix(prefix.to_cow()?.into_owned()),
                Err(_) => Naming::Function(name.unbind()),
            },
            originals,
            loads,
            checked: Mutex::new(Recent::new(memory_entries, memory_bytes)),
        })
    }

    /// Is what is done here in one go nobody else's?
    #[getter]
    fn is_djangos(&self, py: Python<'_>) -> bool {
        self.originals.iter().all(|(kind, name, original)| {
            let found = kind.bind(py).getattr(name.bind(py));
            found.is_ok_and(|found| found.is(original))
        })
    }

    /// As `get_many()` of all these keys; what is large under the first is lent. `None` where it is
    /// somebody else's to answer.
    fn lend<'py>(
        &self,
        py: Python<'py>,
        pages: Vec<PyBackedStr>,
        others: Vec<PyBackedStr>,
        now: f64,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let keys = self.named(pages.iter().chain(&others).map(|key| &**key));
        let Some(pickles) = self.pickles(py, &keys, now)? else {
            return Ok(None);
        };
        let found = PyDict::new(py);
        for (at, (key, pickle)) in keys.iter().zip(pickles).enumerate() {
            let Some(pickle) = pickle else {
                continue;
            };
            let read = if at < pages.len() {
                lend(&pickle)
            } else {
                number(&pickle).map(|number| number.into_bound_py_any(py))
            };
            let value = read.unwrap_or_else(|| self.load(&pickle))?;
            found.set_item(key.key(), value)?;
        }
        Ok(Some(found))
    }
}

impl LocalMemory {
    /// These keys, to be looked for.
    pub(super) fn named<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Vec<Named> {
        let prefix = match &self.naming {
            Naming::Prefix(prefix) => prefix,
            Naming::Function(_) => "",
        };
        keys.map(|key| Named {
            text: [prefix, key].concat(),
            at: prefix.len(),
        })
        .collect()
    }

    /// What is under these keys, as Django has pickled it, found as `LocMemCache.get()` does one
    /// after another. `None` where that is somebody else's to do.
    pub(super) fn pickles<'py>(
        &self,
        py: Python<'py>,
        keys: &[Named],
        now: f64,
    ) -> PyResult<Option<Vec<Option<Bound<'py, PyAny>>>>> {
        if !self.is_djangos(py) {
            return Ok(None);
        }
        let name = |key: &Named| match &self.naming {
            Naming::Prefix(_) => Ok(PyString::new(py, &key.text).into_any()),
            Naming::Function(name) => name.bind(py).call1((key.key(),)),
        };
        let names: Vec<_> = keys.iter().map(name).collect::<PyResult<_>>()?;
        let (acquire, release) = &self.lock;
        acquire.call0(py)?;
        let found: PyResult<Vec<_>> = names.iter().map(|name| self.find(name, now)).collect();
        release.call0(py)?;
        found.map(Some)
    }

    /// How long the record in these very bytes was, if its checksum was found right before.
    pub(super) fn checked(&self, bytes: &Bound<'_, PyBytes>) -> Option<usize> {
        let address = bytes.as_ptr().addr();
        lock(&self.checked, bytes.py())
            .get(&address)
            .map(|(_, length)| *length)
    }

    /// The checksum of this record was right, which ends with a signature of so many bytes.
    pub(super) fn note_checked(&self, stored: &Stored, signature_length: usize, py: Python<'_>) {
        let length = stored.as_bytes(py).len().saturating_sub(signature_length);
        let bytes = stored.bytes(py);
        if self.checked(bytes) == Some(length) {
            return;
        }
        let (address, cost) = (bytes.as_ptr().addr(), bytes.as_bytes().len());
        lock(&self.checked, py).put(address, (bytes.clone().unbind(), length), cost);
    }

    /// What this pickle holds.
    pub(super) fn load<'py>(&self, pickle: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.loads.bind(pickle.py()).call1((pickle,))
    }

    /// What is under this name; the lock is held.
    fn find<'py>(&self, name: &Bound<'py, PyAny>, now: f64) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = name.py();
        let entries = self.entries.bind(py);
        let Some(end) = self.ends.bind(py).get_item(name)? else {
            return Ok(None);
        };
        if !end.is_none() && end.extract::<f64>()? <= now {
            // By its own method: it keeps an order.
            entries.as_any().del_item(name)?;
            self.ends.bind(py).del_item(name)?;
            return Ok(None);
        }
        let value = entries.get_item(name)?;
        if value.is_some() {
            self.move_to_end.bind(py).call1((name, false))?;
        }
        Ok(value)
    }
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
            written(&value).map(Ok)
        };
        match read {
            Some(value) => found.set_item(key, value?)?,
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
pub(super) fn number(pickle: &Bound<'_, PyAny>) -> Option<u64> {
    pickle::number(pickle.cast::<PyBytes>().ok()?.as_bytes())
}

/// What this pickle holds, where it is bytes: those that are large are lent.
fn lend<'py>(pickle: &Bound<'py, PyAny>) -> Option<PyResult<Bound<'py, PyAny>>> {
    let py = pickle.py();
    let pickle = pickle.cast::<PyBytes>().ok()?;
    let at = pickle::bytes(pickle.as_bytes())?;
    if at.len() < LENT_FROM {
        return PyBytes::new(py, pickle.as_bytes().get(at)?)
            .into_bound_py_any(py)
            .into();
    }
    (pickle, at.start, at.end).into_bound_py_any(py).into()
}
