//! Requests that may be answered before Django builds them.

use std::borrow::Cow;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};

use super::django::{Django, text};
use super::proof::{Asked, Proof, Proofs};
use super::site::Site;
use crate::cookie;
use crate::request::Parts;

/// `SessionBase` takes shorter keys for none, and then the cookie is deleted.
const SESSION_KEY: usize = 8;
/// A CSRF secret or a token; for another Django sets a new cookie.
const SECRETS: [usize; 2] = [32, 64];

/// What the settings ask of a request, so that Django would do nothing with it but look it up; and what
/// is known of pages.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Early {
    django: Py<Django>,
    /// Asks Django for the language and the time zone that are active.
    active: Py<PyAny>,
    /// Says which language a path is in; `None` where that is a matter of the request.
    language: Option<Py<PyAny>>,
    key_prefix: String,
    needs_https: bool,
    needs_www: bool,
    session_cookie: String,
    secret_cookie: String,
    proofs: Proofs,
}

/// The parts of a request's URI, decoded as Django decodes them.
struct Uri<'a> {
    scheme: &'a str,
    path: &'a str,
    query: &'a str,
}

#[pymethods]
impl Early {
    #[new]
    #[pyo3(signature = (django, active, *, language, key_prefix, needs_https, needs_www, session_cookie, secret_cookie, memory_entries, memory_bytes))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        django: Py<Django>,
        active: Py<PyAny>,
        language: Option<Py<PyAny>>,
        key_prefix: String,
        needs_https: bool,
        needs_www: bool,
        session_cookie: String,
        secret_cookie: String,
        memory_entries: usize,
        memory_bytes: usize,
    ) -> Self {
        Self {
            django,
            active,
            language,
            key_prefix,
            needs_https,
            needs_www,
            session_cookie,
            secret_cookie,
            proofs: Proofs::new(memory_entries, memory_bytes),
        }
    }

    /// Begins the look-up of a request with this `META`, of which Django would make one of this
    /// class; `None` if it is Django's to answer.
    #[pyo3(signature = (site, meta, kind, *, scheme, path, query))]
    fn ask(
        &self,
        site: &Site,
        meta: Bound<'_, PyDict>,
        kind: &Bound<'_, PyType>,
        scheme: &str,
        path: &str,
        query: &str,
    ) -> PyResult<Option<Asked>> {
        let uri = Uri {
            scheme,
            path,
            query,
        };
        self.begin(site, meta, kind, &uri, false)
    }

    /// As `ask`, of a request as a WSGI server hands it over.
    fn ask_wsgi(
        &self,
        site: &Site,
        environ: Bound<'_, PyDict>,
        kind: &Bound<'_, PyType>,
    ) -> PyResult<Option<Asked>> {
        let py = environ.py();
        for name in [
            intern!(py, "SCRIPT_NAME"),
            intern!(py, "SCRIPT_URL"),
            intern!(py, "REDIRECT_URL"),
        ] {
            if let Some(value) = environ.get_item(name)?
                && value.is_truthy()?
            {
                return Ok(None);
            }
        }
        let read = |name| -> PyResult<_> {
            let value = environ.get_item(name)?;
            Ok(value.map_or_else(|| Some(PyString::new(py, "")), text))
        };
        let (Some(scheme), Some(path), Some(query)) = (
            read(intern!(py, "wsgi.url_scheme"))?,
            read(intern!(py, "PATH_INFO"))?,
            read(intern!(py, "QUERY_STRING"))?,
        ) else {
            return Ok(None);
        };
        let (Ok(scheme), Some(path), Some(query)) =
            (scheme.to_str(), from_wsgi(&path), from_wsgi(&query))
        else {
            return Ok(None);
        };
        let uri = Uri {
            scheme,
            path: &path,
            query: &query,
        };
        self.begin(site, environ.clone(), kind, &uri, true)
    }

    /// A hit of the page that was asked for has shown this.
    fn learn(&self, asked: &Asked, shown: &Proof, py: Python<'_>) -> PyResult<()> {
        self.proofs.put(py, asked, shown)
    }

    /// Of how many pages something is known.
    #[getter]
    fn known(&self, py: Python<'_>) -> usize {
        self.proofs.len(py)
    }
}

impl Early {
    fn begin(
        &self,
        site: &Site,
        meta: Bound<'_, PyDict>,
        kind: &Bound<'_, PyType>,
        uri: &Uri<'_>,
        is_wsgi: bool,
    ) -> PyResult<Option<Asked>> {
        let py = meta.py();
        let django = self.django.get();
        let Some(method) = method_of(&meta).filter(|_| is_plain(&meta, uri.path)) else {
            return Ok(None);
        };
        let Some(host) = django.host_for(kind, &meta) else {
            return Ok(None);
        };
        let Some(proxied) = django.proxied_scheme(&meta) else {
            return Ok(None);
        };
        let (host, scheme) = (host.to_str()?, proxied.unwrap_or(uri.scheme));
        if (self.needs_https && scheme != "https")
            || (self.needs_www && !host.starts_with("www."))
            || !self.has_plain_cookies(&meta)
        {
            return Ok(None);
        }
        let (mut language, zone) = self.active(py)?;
        if let Some(ask) = &self.language {
            language = ask.call1(py, (uri.path,))?.extract(py)?;
            if language.is_none() {
                return Ok(None);
            }
        }
        let parts = Parts {
            key_prefix: &self.key_prefix,
            scheme,
            host,
            path: uri.path,
            query: uri.query,
            only: None,
            charset: None,
        };
        // Of bytes as Latin-1, cookies are read as UTF-8.
        let begun = site.begin(meta, method, &parts, is_wsgi, language, zone)?;
        begun.map_or(Ok(None), |lookup| {
            Asked::new(py, lookup, method == "HEAD", is_wsgi, &self.proofs)
        })
    }

    /// The language and the time zone that are active.
    fn active(&self, py: Python<'_>) -> PyResult<(Option<String>, Option<String>)> {
        let django = self.django.get();
        let seen = django.active_language(py).zip(django.active_zone(py));
        seen.map_or_else(|| self.active.call0(py)?.extract(py), Ok)
    }

    /// Has the visitor none of the cookies that Django answers with `Set-Cookie`?
    fn has_plain_cookies(&self, meta: &Bound<'_, PyDict>) -> bool {
        let Ok(header) = meta.get_item(intern!(meta.py(), "HTTP_COOKIE")) else {
            return false;
        };
        let Some(header) = header else {
            return true;
        };
        let Some(header) = text(header) else {
            return false;
        };
        let Some(header) = header.to_str().ok().filter(|header| header.is_ascii()) else {
            return false;
        };
        let session = cookie::value(header, &self.session_cookie);
        let secret = cookie::value(header, &self.secret_cookie);
        session.is_none_or(|key| key.len() >= SESSION_KEY && !key.contains('"'))
            && secret.is_none_or(|value| {
                SECRETS.contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric())
            })
    }
}

/// WSGI hands over bytes as Latin-1 (PEP 3333). `None` for what is no UTF-8.
fn from_wsgi<'a>(text: &'a Bound<'_, PyString>) -> Option<Cow<'a, str>> {
    let text = text.to_str().ok()?;
    if text.is_ascii() {
        return Some(text.into());
    }
    let (read, has_lost) = cookie::from_wsgi(text);
    (!has_lost).then_some(Cow::Owned(read))
}

fn method_of(meta: &Bound<'_, PyDict>) -> Option<&'static str> {
    let method = text(meta.get_item(intern!(meta.py(), "REQUEST_METHOD")).ok()??)?;
    ["GET", "HEAD"]
        .into_iter()
        .find(|known| method.to_str().is_ok_and(|method| method == *known))
}

/// Has it no content, no condition and no charset of its own, and a path that leads nowhere else?
fn is_plain(meta: &Bound<'_, PyDict>, path: &str) -> bool {
    let py = meta.py();
    let has = |name| meta.contains(name).unwrap_or(true);
    let says = |name, allows: fn(&str) -> bool| match meta.get_item(name) {
        Ok(None) => true,
        Ok(Some(value)) if value.is_none() => true,
        Ok(Some(value)) => text(value).is_some_and(|value| value.to_str().is_ok_and(allows)),
        Err(_) => false,
    };
    path.starts_with('/')
        && !path.contains("/.")
        && !has(intern!(py, "HTTP_TRANSFER_ENCODING"))
        && !has(intern!(py, "HTTP_IF_MATCH"))
        && !has(intern!(py, "HTTP_IF_MODIFIED_SINCE"))
        && !has(intern!(py, "HTTP_IF_NONE_MATCH"))
        && !has(intern!(py, "HTTP_IF_UNMODIFIED_SINCE"))
        && says(intern!(py, "CONTENT_LENGTH"), |length| {
            length.is_empty() || length == "0"
        })
        && says(intern!(py, "CONTENT_TYPE"), |kind| !kind.contains(';'))
}
