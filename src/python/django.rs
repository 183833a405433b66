//! What a request's keys take from Django beyond its headers: scheme, host, URI, language, time zone.
//!
//! They are read here from where Django keeps them, without the Python that it runs for each. That
//! holds only while Django's own functions are the ones that are called: whatever has been replaced
//! (by a subclass, a patch, the like), or is not simply there, is left to them, by way of `None`.

use std::collections::HashSet;
use std::sync::Mutex;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyModule, PyString, PyType};

use crate::cookie::strip;

use super::lock;

/// Hosts that are remembered as judged; a site has few, and an attacker may send many.
const HOSTS_LIMIT: usize = 256;

/// Hosts that `get_host()` has let through, and the settings by which it did so.
struct Judged {
    allowed: Py<PyAny>,
    debug: Py<PyAny>,
    hosts: HashSet<String>,
}

/// Something of a class that has to be Django's own.
type Original = (Py<PyString>, Py<PyAny>);

/// A module of Django's that keeps in its `_active` what was activated, if anything was.
struct Active {
    /// What is in the module.
    names: Py<PyDict>,
    /// The `Local` that was there last, and the `get()` of the variable beneath it.
    known: Mutex<Option<(Py<PyAny>, Py<PyAny>)>>,
}

/// Where Django keeps what it is asked for.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Django {
    /// Django's settings: those that were read before, as `LazySettings` keeps them, and itself.
    settings: (Py<PyDict>, Py<PyAny>),
    host: Vec<Original>,
    uri: Vec<Original>,
    /// `WSGIRequest._get_scheme`.
    wsgi_scheme: Py<PyAny>,
    /// `django.http.request` and its `validate_host`.
    validate: (Py<PyAny>, Py<PyAny>),
    language: Active,
    zone: Active,
    /// The class of an asgiref `Local`, and of the variable beneath it.
    local: Py<PyType>,
    variable: Py<PyType>,
    /// `getattr()`: it does not make an exception of an attribute that is missing.
    getattr: Py<PyAny>,
    judged: Mutex<Option<Judged>>,
    /// The default time zone and Django's name of it.
    default: Mutex<Option<(Py<PyAny>, String)>>,
}

/// What was read of a request.
pub(super) struct Seen<'py> {
    pub meta: Bound<'py, PyDict>,
    pub scheme: Bound<'py, PyString>,
    pub host: Bound<'py, PyString>,
    pub path: Bound<'py, PyString>,
    pub language: Option<Bound<'py, PyString>>,
    pub zone: Option<String>,
}

/// Django's own text: no subclass, which may answer otherwise.
pub(super) fn text(value: Bound<'_, PyAny>) -> Option<Bound<'_, PyString>> {
    value.cast_into_exact().ok()
}

#[pymethods]
impl Django {
    #[new]
    #[pyo3(signature = (*, settings, host, uri, wsgi_scheme, validate, language, zone, local, variable, getattr))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        settings: (Py<PyDict>, Py<PyAny>),
        host: Vec<Original>,
        uri: Vec<Original>,
        wsgi_scheme: Py<PyAny>,
        validate: (Py<PyAny>, Py<PyAny>),
        language: &Bound<'_, PyModule>,
        zone: &Bound<'_, PyModule>,
        local: Py<PyType>,
        variable: Py<PyType>,
        getattr: Py<PyAny>,
    ) -> Self {
        Self {
            settings,
            host,
            uri,
            wsgi_scheme,
            validate,
            language: Active::of(language),
            zone: Active::of(zone),
            local,
            variable,
            getattr,
            judged: Mutex::new(None),
            default: Mutex::new(None),
        }
    }

    /// `get_host()` has let this host through, by these settings.
    fn let_through(&self, host: &str, allowed: Py<PyAny>, debug: Py<PyAny>, py: Python<'_>) {
        // Comparing may run Python, see `is_judged`: not under the lock.
        let before = lock(&self.judged, py).take();
        let known = before.filter(|known| {
            let is_same = known.allowed.bind(py).eq(allowed.bind(py));
            is_same.unwrap_or(false) && known.debug.is(&debug)
        });
        let mut hosts = known.map_or_else(HashSet::new, |known| known.hosts);
        if hosts.len() >= HOSTS_LIMIT {
            hosts.clear();
        }
        hosts.insert(host.to_string());
        let judged = Judged {
            allowed,
            debug,
            hosts,
        };
        let replaced = lock(&self.judged, py).replace(judged);
        drop(replaced);
    }

    /// Has `get_host()` let this very host through, by the settings as they are now?
    fn is_judged(&self, py: Python<'_>, host: &str) -> bool {
        let Some(allowed) = self.setting(py, intern!(py, "ALLOWED_HOSTS")) else {
            return false;
        };
        let Some(debug) = self.setting(py, intern!(py, "DEBUG")) else {
            return false;
        };
        // Comparing runs Python where the setting holds objects of somebody's own, which may come
        // back here: not under the lock.
        let known = {
            let judged = lock(&self.judged, py);
            let Some(judged) = judged.as_ref().filter(|known| known.hosts.contains(host)) else {
                return false;
            };
            if !judged.debug.is(&debug) {
                return false;
            }
            judged.allowed.clone_ref(py)
        };
        // The setting may have been changed in place.
        allowed.eq(known).unwrap_or(false)
    }

    /// This is the default time zone, and Django's name of it.
    fn default_zone(&self, zone: Py<PyAny>, name: String, py: Python<'_>) {
        let before = lock(&self.default, py).replace((zone, name));
        drop(before);
    }
}

impl Django {
    /// What is there of this request; `None` where Django has to be asked.
    pub(super) fn see<'py>(&self, request: &Bound<'py, PyAny>) -> Option<Seen<'py>> {
        let py = request.py();
        let kind = request.get_type();
        let known = request.getattr(intern!(py, "__dict__")).ok()?;
        let known = known.cast_exact::<PyDict>().ok()?;
        if !Self::is_djangos(&kind, Some(known), &self.host) {
            return None;
        }
        let meta = known.get_item(intern!(py, "META")).ok()??;
        let meta = meta.cast_into::<PyDict>().ok()?;
        let host = self.host_of(&meta)?;
        Some(Seen {
            scheme: self.scheme_of(request, &kind, &meta)?,
            path: text(known.get_item(intern!(py, "path")).ok()??)?,
            language: self.language_of(request, known)?,
            zone: self.active_zone(py)?,
            host,
            meta,
        })
    }

    /// Is the absolute URI of this request Django's to make, and not that of a subclass?
    pub(super) fn makes_uri(&self, request: &Bound<'_, PyAny>) -> bool {
        let py = request.py();
        let known = request.getattr(intern!(py, "__dict__"));
        let known = known
            .ok()
            .and_then(|known| known.cast_into::<PyDict>().ok());
        known.is_some_and(|known| Self::is_djangos(&request.get_type(), Some(&known), &self.uri))
    }

    /// The query as `request.GET` decodes it, and whether the request came by WSGI; `None` where
    /// Django has to be asked.
    pub(super) fn query_of<'py>(
        &self,
        request: &Bound<'py, PyAny>,
        seen: &Seen<'py>,
    ) -> Option<(Option<Bound<'py, PyString>>, bool)> {
        let py = request.py();
        let encoding = request.getattr(intern!(py, "_encoding")).ok()?;
        let charset = text(self.setting(py, intern!(py, "DEFAULT_CHARSET"))?)?;
        if !encoding.is_none() || charset.to_str().ok()? != "utf-8" {
            return None;
        }
        let query = seen.meta.get_item(intern!(py, "QUERY_STRING")).ok()?;
        let query = query.map_or(Some(None), |query| text(query).map(Some))?;
        // WSGI hands over bytes as Latin-1, which have to be read as UTF-8 first.
        if query
            .as_ref()
            .is_some_and(|query| !query.to_str().is_ok_and(str::is_ascii))
        {
            return None;
        }
        let missing = py.NotImplemented();
        let arguments = (request, intern!(py, "environ"), &missing);
        let environ = self.getattr.bind(py).call1(arguments).ok()?;
        Some((query, !environ.is(&missing)))
    }

    /// The host of a request with this `META`, of which Django would make one of this class, if it
    /// is one that `get_host()` has let through.
    pub(super) fn host_for<'py>(
        &self,
        kind: &Bound<'py, PyType>,
        meta: &Bound<'py, PyDict>,
    ) -> Option<Bound<'py, PyString>> {
        Self::is_djangos(kind, None, &self.host).then(|| self.host_of(meta))?
    }

    /// Are these attributes Django's own, of this class and of what one of it `known`s itself?
    fn is_djangos(
        kind: &Bound<'_, PyType>,
        known: Option<&Bound<'_, PyDict>>,
        originals: &[Original],
    ) -> bool {
        let py = kind.py();
        originals.iter().all(|(name, original)| {
            let name = name.bind(py);
            kind.getattr(name).is_ok_and(|found| found.is(original))
                && known.is_none_or(|known| !known.contains(name).unwrap_or(true))
        })
    }

    pub(super) fn setting<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
    ) -> Option<Bound<'py, PyAny>> {
        let (read, all) = &self.settings;
        match read.bind(py).get_item(name).ok()? {
            Some(value) => Some(value),
            None => all.bind(py).getattr(name).ok(),
        }
    }

    fn is_on(&self, py: Python<'_>, name: &Bound<'_, PyString>) -> Option<bool> {
        self.setting(py, name)?
            .cast_exact::<PyBool>()
            .ok()
            .map(PyBoolMethods::is_true)
    }

    fn host_of<'py>(&self, meta: &Bound<'py, PyDict>) -> Option<Bound<'py, PyString>> {
        let py = meta.py();
        let (module, validate) = &self.validate;
        let installed = module.bind(py).getattr(intern!(py, "validate_host")).ok()?;
        if !installed.is(validate) {
            return None;
        }
        let mut raw = meta.get_item(intern!(py, "HTTP_HOST")).ok()?;
        if self.is_on(py, intern!(py, "USE_X_FORWARDED_HOST"))? {
            let forwarded = intern!(py, "HTTP_X_FORWARDED_HOST");
            raw = meta.get_item(forwarded).ok()?.or(raw);
        }
        let raw = text(raw?)?;
        self.is_judged(py, raw.to_str().ok()?).then_some(raw)
    }

    fn scheme_of<'py>(
        &self,
        request: &Bound<'py, PyAny>,
        kind: &Bound<'py, PyType>,
        meta: &Bound<'py, PyDict>,
    ) -> Option<Bound<'py, PyString>> {
        let py = request.py();
        if let Some(scheme) = self.proxied_scheme(meta)? {
            return Some(PyString::intern(py, scheme));
        }
        let name = intern!(py, "_get_scheme");
        let value = if kind.getattr(name).ok()?.is(&self.wsgi_scheme) {
            meta.get_item(intern!(py, "wsgi.url_scheme")).ok()??
        } else {
            request.call_method0(name).ok()?
        };
        text(value)
    }

    /// The scheme that a proxy tells of, where one does and is believed.
    #[allow(clippy::option_option)]
    pub(super) fn proxied_scheme(&self, meta: &Bound<'_, PyDict>) -> Option<Option<&'static str>> {
        let py = meta.py();
        let header = self.setting(py, intern!(py, "SECURE_PROXY_SSL_HEADER"))?;
        if header.is_none() {
            return Some(None);
        }
        let (name, secure) = header
            .extract::<(Bound<'_, PyString>, Bound<'_, PyString>)>()
            .ok()?;
        let Some(value) = meta.get_item(name).ok()? else {
            return Some(None);
        };
        let value = text(value)?;
        let first = value.to_str().ok()?.split(',').next().unwrap_or_default();
        let is_secure = strip(first) == secure.to_str().ok()?;
        Some(Some(if is_secure { "https" } else { "http" }))
    }

    /// `Some(None)` is none, because the site has no languages.
    #[allow(clippy::option_option)]
    fn language_of<'py>(
        &self,
        request: &Bound<'py, PyAny>,
        known: &Bound<'py, PyDict>,
    ) -> Option<Option<Bound<'py, PyString>>> {
        let py = request.py();
        if !self.is_on(py, intern!(py, "USE_I18N"))? {
            return Some(None);
        }
        let name = intern!(py, "LANGUAGE_CODE");
        // An attribute that is there counts, whatever it holds.
        let given = match known.get_item(name).ok()? {
            Some(given) => given,
            None => self
                .getattr
                .bind(py)
                .call1((request, name, py.NotImplemented()))
                .ok()?,
        };
        if !given.is(py.NotImplemented()) {
            return Some(Some(text(given)?));
        }
        self.unset_language(py).map(Some)
    }

    /// The language of a request that no middleware has seen; `Some(None)` is none.
    #[allow(clippy::option_option)]
    pub(super) fn active_language(&self, py: Python<'_>) -> Option<Option<String>> {
        if !self.is_on(py, intern!(py, "USE_I18N"))? {
            return Some(None);
        }
        let code = self.unset_language(py)?;
        Some(Some(code.to_str().ok()?.to_string()))
    }

    /// The language, as long as none was activated.
    fn unset_language<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.is_unset(py, &self.language)
            .then(|| text(self.setting(py, intern!(py, "LANGUAGE_CODE"))?))?
    }

    #[allow(clippy::option_option)]
    pub(super) fn active_zone(&self, py: Python<'_>) -> Option<Option<String>> {
        if !self.is_on(py, intern!(py, "USE_TZ"))? {
            return Some(None);
        }
        if !self.is_unset(py, &self.zone) {
            return None;
        }
        let name = intern!(py, "get_default_timezone");
        let default = self.zone.names.bind(py).get_item(name).ok()??;
        let default = default.call0().ok()?;
        let known = lock(&self.default, py);
        let (_, name) = known.as_ref().filter(|(zone, _)| default.is(zone))?;
        Some(Some(name.clone()))
    }

    /// Was nothing ever activated here? Read anew: Django's tests replace the `Local`.
    fn is_unset(&self, py: Python<'_>, active: &Active) -> bool {
        let unset = || -> PyResult<bool> {
            let Some(get) = active.variable(py, &self.local, &self.variable)? else {
                return Ok(false);
            };
            Ok(get.call1(py, (py.None(),))?.is_none(py))
        };
        unset().unwrap_or(false)
    }
}

impl Active {
    fn of(module: &Bound<'_, PyModule>) -> Self {
        Self {
            names: module.dict().unbind(),
            known: Mutex::new(None),
        }
    }

    /// The `get()` of the variable in which the `Local` keeps its values; `None` where what is there
    /// is none of this class, or keeps them elsewhere.
    fn variable(
        &self,
        py: Python<'_>,
        local: &Py<PyType>,
        variable: &Py<PyType>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let Some(found) = self.names.bind(py).get_item(intern!(py, "_active"))? else {
            return Ok(None);
        };
        if let Some((known, get)) = &*lock(&self.known, py)
            && found.is(known)
        {
            return Ok(Some(get.clone_ref(py)));
        }
        if !found.get_type().is(local) {
            return Ok(None);
        }
        let storage = found.getattr(intern!(py, "_storage"))?;
        let data = storage.getattr(intern!(py, "_data"))?;
        if !data.get_type().is(variable) {
            return Ok(None);
        }
        let get = data.getattr(intern!(py, "get"))?.unbind();
        let known = (found.unbind(), get.clone_ref(py));
        let before = lock(&self.known, py).replace(known);
        drop(before);
        Ok(Some(get))
    }
}
