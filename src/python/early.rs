//! Requests that may be answered before Django builds them.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use super::django::{Django, text};
use super::lookup::LookUp;
use super::site::Site;
use crate::cookie;
use crate::request::Parts;

/// `SessionBase` takes shorter keys for none, and then the cookie is deleted.
const SESSION_KEY: usize = 8;
/// A CSRF secret or a token; for another Django sets a new cookie.
const SECRETS: [usize; 2] = [32, 64];

/// What the settings ask of a request, so that Django would do nothing with it but look it up.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Early {
    django: Py<Django>,
    /// Asks Django for the language and the time zone that are active.
    active: Py<PyAny>,
    key_prefix: String,
    needs_https: bool,
    needs_www: bool,
    session_cookie: String,
    secret_cookie: String,
}

#[pymethods]
impl Early {
    #[new]
    #[pyo3(signature = (django, active, *, key_prefix, needs_https, needs_www, session_cookie, secret_cookie))]
    fn new(
        django: Py<Django>,
        active: Py<PyAny>,
        key_prefix: String,
        needs_https: bool,
        needs_www: bool,
        session_cookie: String,
        secret_cookie: String,
    ) -> Self {
        Self {
            django,
            active,
            key_prefix,
            needs_https,
            needs_www,
            session_cookie,
            secret_cookie,
        }
    }

    /// Begins the look-up of a request with this `META`, of which Django would make one of this
    /// class; `None` if it is Django's to answer.
    #[pyo3(signature = (site, meta, kind, scheme, path, query, utf8_cookies, language))]
    #[allow(clippy::too_many_arguments)]
    fn look_up(
        &self,
        site: &Site,
        meta: Bound<'_, PyDict>,
        kind: &Bound<'_, PyType>,
        scheme: &str,
        path: &str,
        query: &str,
        utf8_cookies: bool,
        language: Option<String>,
    ) -> PyResult<Option<LookUp>> {
        let django = self.django.get();
        let Some(method) = method_of(&meta).filter(|_| is_plain(&meta, path)) else {
            return Ok(None);
        };
        let Some(host) = django.host_for(kind, &meta) else {
            return Ok(None);
        };
        let Some(proxied) = django.proxied_scheme(&meta) else {
            return Ok(None);
        };
        let (host, scheme) = (host.to_str()?, proxied.unwrap_or(scheme));
        if (self.needs_https && scheme != "https")
            || (self.needs_www && !host.starts_with("www."))
            || !self.has_plain_cookies(&meta)
        {
            return Ok(None);
        }
        let parts = Parts {
            key_prefix: &self.key_prefix,
            scheme,
            host,
            path,
            query,
            only: None,
            raw_query: false,
        };
        let (active, zone) = self.active(meta.py())?;
        let language = language.or(active);
        site.begin(meta, method, &parts, utf8_cookies, language, zone)
    }
}

impl Early {
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
