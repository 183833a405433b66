//! The site: what all of its keys share, and where a look-up begins.

use std::collections::BTreeSet;
use std::sync::Arc;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::answers::Meta;
use super::django::Django;
use super::lookup::LookUp;
use crate::generation;
use crate::glob::Globs;
use crate::guard::Guards;
use crate::lookup as machine;
use crate::query::Rules;
use crate::recipe::{Cookies, Memory};
use crate::request::{self, Method, Parts, Request};
use crate::scope;
use crate::signer::Signer;
use crate::url::Urls;

/// A compiled list of patterns.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Names(Globs);

#[pymethods]
impl Names {
    #[new]
    fn new(patterns: Vec<String>) -> Self {
        Self(Globs::new(patterns))
    }

    /// Does any of the patterns match the whole name?
    fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }
}

impl Names {
    pub(super) fn globs(&self) -> &Globs {
        &self.0
    }
}

/// What all keys of a site share, and what this process remembers of its recipes.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Site {
    shared: Arc<request::Site>,
    memory: Arc<Memory>,
    guards: Arc<Guards>,
    urls: Urls,
}

impl Site {
    pub(super) fn begin(
        &self,
        meta: Bound<'_, PyDict>,
        method: &str,
        parts: &Parts<'_>,
        utf8_cookies: bool,
        language: Option<String>,
        zone: Option<String>,
    ) -> PyResult<Option<LookUp>> {
        let Some(url) = self.urls.of(parts, &self.shared, &self.guards) else {
            return Ok(None);
        };
        let request = Request {
            url,
            method: if method == "HEAD" {
                Method::Head
            } else {
                Method::Get
            },
            language,
            zone,
            authorized: meta
                .get_item(pyo3::intern!(meta.py(), "HTTP_AUTHORIZATION"))?
                .or(meta.get_item(pyo3::intern!(meta.py(), "HTTP_PROXY_AUTHORIZATION"))?)
                .is_some(),
        };
        let headers = Meta::new(&meta, utf8_cookies);
        let begun = machine::LookUp::begin(
            Arc::clone(&self.shared),
            Arc::clone(&self.memory),
            Arc::clone(&self.guards),
            request,
            &headers,
        );
        headers.check()?;
        let meta = meta.unbind();
        Ok(Some(LookUp::new(begun, meta, utf8_cookies)))
    }

    pub(super) fn shared(&self) -> Arc<request::Site> {
        Arc::clone(&self.shared)
    }
}

#[pymethods]
impl Site {
    #[new]
    #[pyo3(signature = (key_prefix, *, release, ignore_cookies, ignore_query, sort_query, memory_entries, memory_bytes, sign_with, session_cookie=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        key_prefix: &str,
        release: String,
        ignore_cookies: Vec<String>,
        ignore_query: Vec<String>,
        sort_query: bool,
        memory_entries: usize,
        memory_bytes: usize,
        sign_with: Vec<Vec<u8>>,
        session_cookie: Option<String>,
    ) -> Self {
        let query = Rules {
            ignored: Globs::new(ignore_query),
            sorted: sort_query,
        };
        let site = request::Site::new(key_prefix, release, Globs::new(ignore_cookies), query);
        Self {
            guards: Arc::new(Guards::new(site.id, memory_entries)),
            shared: Arc::new(
                site.signed(Signer::new(&sign_with))
                    .with_sessions(session_cookie),
            ),
            memory: Arc::new(Memory::new(memory_entries, memory_bytes)),
            urls: Urls::new(memory_entries, memory_bytes),
        }
    }

    /// Begins a look-up; `None` when the path is beyond the limits of what is cached.
    #[pyo3(signature = (meta, *, method, key_prefix, scheme, host, path, query, charset, utf8_cookies, only, language, zone))]
    #[allow(clippy::too_many_arguments)]
    fn look_up(
        &self,
        meta: Bound<'_, PyDict>,
        method: &str,
        key_prefix: &str,
        scheme: &str,
        host: &str,
        path: &str,
        query: &str,
        charset: Option<&str>,
        utf8_cookies: bool,
        only: Option<&Names>,
        language: Option<String>,
        zone: Option<String>,
    ) -> PyResult<Option<LookUp>> {
        let parts = Parts {
            key_prefix,
            scheme,
            host,
            path,
            query,
            only: only.map(Names::globs),
            charset,
        };
        self.begin(meta, method, &parts, utf8_cookies, language, zone)
    }

    /// As `look_up`, of a request that is as Django makes them; `NotImplemented` where Django has
    /// to be asked.
    #[pyo3(signature = (django, request, key_prefix, only))]
    fn look_up_of<'py>(
        &self,
        django: &Django,
        request: &Bound<'py, PyAny>,
        key_prefix: &str,
        only: Option<&Names>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = request.py();
        let Some((seen, query, is_wsgi)) = django.see(request).and_then(|seen| {
            let (query, is_wsgi) = django.query_of(request, &seen)?;
            Some((seen, query, is_wsgi))
        }) else {
            return py.NotImplemented().into_bound_py_any(py);
        };
        let method = request.getattr(pyo3::intern!(py, "method"))?;
        let is_head = method.eq(pyo3::intern!(py, "HEAD"))?;
        let parts = Parts {
            key_prefix,
            scheme: match seen.scheme.to_str()? {
                "" => "http",
                scheme => scheme,
            },
            host: seen.host.to_str()?,
            path: seen.path.to_str()?,
            query: query.as_ref().map_or(Ok(""), |query| query.to_str())?,
            only: only.map(Names::globs),
            charset: None,
        };
        let language = seen.language.map(|code| code.to_str().map(String::from));
        let method = if is_head { "HEAD" } else { "GET" };
        self.begin(
            seen.meta,
            method,
            &parts,
            is_wsgi,
            language.transpose()?,
            seen.zone,
        )?
        .into_bound_py_any(py)
    }

    /// The cache keys of these scopes' generations.
    fn generation_keys(&self, scopes: Vec<String>) -> Vec<String> {
        scopes
            .iter()
            .map(|scope| scope::key(&self.shared.id, scope))
            .collect()
    }

    /// Are pages of these cookies (`None` is all of them) told apart by the session's?
    fn tells_sessions_apart(&self, cookies: Option<BTreeSet<String>>) -> bool {
        let cookies = cookies.map_or(Cookies::All, Cookies::named);
        self.shared.session_of(&cookies).is_some()
    }

    /// What to write to expire these scopes: their keys, each with a new generation.
    fn expiry<'py>(&self, py: Python<'py>, scopes: Vec<String>) -> PyResult<Bound<'py, PyDict>> {
        let entries = PyDict::new(py);
        for scope in scope::widest(scopes) {
            entries.set_item(scope::key(&self.shared.id, &scope), generation::fresh()?)?;
        }
        Ok(entries)
    }

    /// Now, for `LookUp.younger_than`.
    fn moment(&self) -> u64 {
        self.guards.moment()
    }

    /// Where the moment is kept at which a generation became this one by a soft expiry, by the key
    /// of the generation; `None` when it is none, so that it has to be replaced.
    #[staticmethod]
    fn moment_key(key: &str, generation: u64) -> Option<String> {
        generation::is_token(generation).then(|| generation::moment_key(key, generation))
    }

    /// How many recipes this process remembers.
    #[getter]
    fn remembered(&self) -> usize {
        self.memory.len()
    }
}
