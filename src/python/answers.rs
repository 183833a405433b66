//! What Python hands over to the machine: the request's headers, and what a `get_many` found.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::backends::{LocalMemory, Named, number};
use super::stored::Stored;
use crate::cookie;
use crate::generation;
use crate::lookup::Found;
use crate::request::{CookieText, Headers};

/// The request's headers, read from `META` when a recipe names them.
///
/// A value that cannot be read as text (a lone surrogate) is kept as an error, and the request
/// goes past the cache.
pub(super) struct Meta<'a, 'py> {
    values: &'a Bound<'py, PyDict>,
    /// Cookies are bytes as Latin-1, which Django reads as UTF-8: under WSGI they are.
    utf8_cookies: bool,
    error: std::cell::RefCell<Option<PyErr>>,
}

impl<'a, 'py> Meta<'a, 'py> {
    pub(super) fn new(values: &'a Bound<'py, PyDict>, utf8_cookies: bool) -> Self {
        Self {
            values,
            utf8_cookies,
            error: std::cell::RefCell::new(None),
        }
    }

    pub(super) fn check(&self) -> PyResult<()> {
        self.error.borrow_mut().take().map_or(Ok(()), Err)
    }
}

impl Headers for Meta<'_, '_> {
    fn get(&self, name: &str) -> Option<String> {
        let mut key = String::with_capacity(name.len() + 5);
        key.push_str("HTTP_");
        key.extend(name.chars().map(|c| {
            if c == '-' {
                '_'
            } else {
                c.to_ascii_uppercase()
            }
        }));
        let value = self.values.get_item(key).ok()??;
        match value.extract::<String>() {
            Ok(text) => Some(text),
            Err(error) => {
                self.error.borrow_mut().get_or_insert(error);
                None
            }
        }
    }

    fn cookies(&self) -> CookieText {
        let header = self.get("cookie").unwrap_or_default();
        if !self.utf8_cookies || header.is_ascii() {
            return CookieText {
                read: header,
                lost: None,
            };
        }
        let (read, has_lost) = cookie::from_wsgi(&header);
        CookieText {
            read,
            lost: has_lost.then_some(header),
        }
    }
}

/// `generations.CLOSED`.
const CLOSED: &str = "closed";

/// Something that lies under a key. Anything else is not ours, and absent.
enum Entry {
    /// A generation, or a moment.
    Number(u64),
    /// A record.
    Bytes(Stored),
    Closed,
}

impl Entry {
    fn of(value: &Bound<'_, PyAny>) -> Option<Self> {
        if let Some(stored) = Stored::of(value) {
            return Some(Self::Bytes(stored));
        }
        match value.cast::<PyString>() {
            // Any other text is no mark of ours but damage.
            Ok(text) => (text.to_cow().ok()? == CLOSED).then_some(Self::Closed),
            Err(_) => value.extract().ok().map(Self::Number),
        }
    }

    const fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn generation(&self) -> Option<u64> {
        self.number().filter(|number| generation::is_token(*number))
    }
}

/// The generation under this key, in what a `get_many` found.
pub(super) fn generation_in(found: &Bound<'_, PyDict>, key: &str) -> Option<u64> {
    Entry::of(&found.get_item(key).ok()??)?.generation()
}

/// So many are looked through one by one; for more there is a map.
const FEW: usize = 16;

/// Entries, by their keys.
enum Entries {
    Few(Vec<(Named, Entry)>),
    Many(HashMap<Named, Entry>),
}

impl Entries {
    fn of(entries: Vec<(Named, Entry)>) -> Self {
        if entries.len() <= FEW {
            Self::Few(entries)
        } else {
            Self::Many(entries.into_iter().collect())
        }
    }

    fn get(&self, key: &str) -> Option<&Entry> {
        match self {
            Self::Few(entries) => {
                let (_, entry) = entries.iter().find(|(named, _)| named.key() == key)?;
                Some(entry)
            }
            Self::Many(entries) => entries.get(key),
        }
    }
}

/// What was found. Records are held, so that they can be lent.
pub(super) struct Answers<'a, 'py> {
    py: Python<'py>,
    found: Entries,
    /// Where it was found, if that is in this process.
    memory: Option<&'a LocalMemory>,
}

impl<'a, 'py> Answers<'a, 'py> {
    /// What a `get_many` found.
    pub(super) fn of(found: &Bound<'py, PyDict>) -> Self {
        let known = |(key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            Some((Named::bare(key.extract().ok()?), Entry::of(&value)?))
        };
        Self {
            py: found.py(),
            found: Entries::of(found.iter().filter_map(known).collect()),
            memory: None,
        }
    }

    /// What local memory has under these keys; `None` where it is somebody else's to answer.
    pub(super) fn from(
        memory: &'a LocalMemory,
        py: Python<'py>,
        keys: Vec<Named>,
        now: f64,
    ) -> PyResult<Option<Self>> {
        let Some(pickles) = memory.pickles(py, &keys, now)? else {
            return Ok(None);
        };
        let mut found = Vec::with_capacity(pickles.len());
        for (key, pickle) in keys.into_iter().zip(pickles) {
            let Some(pickle) = pickle else {
                continue;
            };
            let plain = Stored::in_pickle(&pickle).map(Entry::Bytes);
            let plain = plain.or_else(|| number(&pickle).map(Entry::Number));
            let entry = match plain {
                None => Entry::of(&memory.load(&pickle)?),
                plain => plain,
            };
            found.extend(entry.map(|entry| (key, entry)));
        }
        Ok(Some(Self {
            py,
            found: Entries::of(found),
            memory: Some(memory),
        }))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Stored> {
        match self.found.get(key)? {
            Entry::Bytes(stored) => Some(stored),
            _ => None,
        }
    }
}

impl Found for Answers<'_, '_> {
    fn generation(&self, key: &str) -> Option<u64> {
        self.found.get(key)?.generation()
    }

    fn moment(&self, key: &str) -> Option<u64> {
        self.found.get(key)?.number()
    }

    fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.get(key).map(|stored| stored.as_bytes(self.py))
    }

    fn checked(&self, key: &str) -> Option<usize> {
        self.memory?.checked(self.get(key)?.bytes(self.py))
    }

    fn is_closed(&self, key: &str) -> bool {
        matches!(self.found.get(key), Some(Entry::Closed))
    }
}
