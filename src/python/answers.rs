//! What Python hands over to the machine: the request's headers, and what a `get_many` found.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

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

/// `store.CLOSED`.
const CLOSED: &str = "closed";

/// What a `get_many` found. The entries that hold bytes are held, so that they can be lent.
pub(super) struct Answers<'a, 'py> {
    found: &'a Bound<'py, PyDict>,
    bytes: Vec<(String, Stored)>,
}

impl<'a, 'py> Answers<'a, 'py> {
    /// Anything that holds no bytes under one of these keys is not ours, and absent.
    pub(super) fn new(found: &'a Bound<'py, PyDict>, keys: &[&str]) -> Self {
        let held = |key: &&str| {
            let value = Stored::of(&found.get_item(*key).ok()??)?;
            Some(((*key).to_string(), value))
        };
        Self {
            found,
            bytes: keys.iter().filter_map(held).collect(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Stored> {
        self.bytes
            .iter()
            .find(|(held, _)| held == key)
            .map(|(_, value)| value)
    }
}

impl Found for Answers<'_, '_> {
    fn generation(&self, key: &str) -> Option<u64> {
        let value = self.found.get_item(key).ok()??.extract().ok()?;
        generation::is_token(value).then_some(value)
    }

    fn moment(&self, key: &str) -> Option<u64> {
        self.found.get_item(key).ok()??.extract().ok()
    }

    fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.get(key).map(|stored| stored.as_bytes(self.found.py()))
    }

    /// Any other text is no mark of ours but damage, and absent.
    fn is_closed(&self, key: &str) -> bool {
        let found = self.found.get_item(key).ok().flatten();
        found
            .and_then(|value| value.cast_into::<PyString>().ok())
            .is_some_and(|text| text.to_cow().is_ok_and(|text| text == CLOSED))
    }
}
