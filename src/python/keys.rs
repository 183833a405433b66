//! Django's own keys: `learn_cache_key`, `get_cache_key`, and the expiry that also reaches what
//! stock Django stored. The settings come in as arguments; the cache object is Django's.

use std::borrow::Cow;
use std::collections::BTreeSet;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::django::{Django, Seen};
use crate::cookie;
use crate::key::{Recipe, django_header_key, django_page_key, django_suffix, django_url_digest};
use crate::query;
use crate::uri;

/// What both functions need of a request.
struct Inputs<'a> {
    meta: Bound<'a, PyAny>,
    recipe: Recipe,
    url: String,
    suffix: String,
    key_prefix: Cow<'a, str>,
}

impl<'a> Inputs<'a> {
    /// What Python has resolved.
    fn new(
        request: &Bound<'a, PyAny>,
        recipe: &str,
        url: &str,
        key_prefix: &'a Bound<'a, PyAny>,
        language: Option<&str>,
        zone: Option<&str>,
    ) -> PyResult<Self> {
        Ok(Self {
            meta: request.getattr(pyo3::intern!(request.py(), "META"))?,
            recipe: recipe_named(recipe)?,
            url: django_url_digest(url),
            suffix: django_suffix(language, zone),
            key_prefix: formatted(key_prefix)?,
        })
    }

    /// What can be seen of the request; `None` where Django has to be asked.
    fn seen(
        django: &Django,
        request: &Bound<'a, PyAny>,
        recipe: &str,
        key_prefix: &'a Bound<'a, PyAny>,
    ) -> PyResult<Option<Self>> {
        let Some((seen, url)) = django.see(request).and_then(|seen| {
            let url = django.makes_uri(request).then(|| url_of(&seen)).flatten()?;
            Some((seen, url))
        }) else {
            return Ok(None);
        };
        let language = seen
            .language
            .as_ref()
            .map(|code| code.to_str())
            .transpose()?;
        Ok(Some(Self {
            recipe: recipe_named(recipe)?,
            url: django_url_digest(&url),
            suffix: django_suffix(language, seen.zone.as_deref()),
            key_prefix: formatted(key_prefix)?,
            meta: seen.meta.into_any(),
        }))
    }

    fn header_key(&self) -> String {
        django_header_key(&self.key_prefix, &self.url, &self.suffix)
    }

    fn page_key<'h>(
        &self,
        method: &str,
        headers: impl Iterator<Item = &'h Bound<'h, PyString>>,
    ) -> PyResult<String> {
        let mut values = Vec::with_capacity(8);
        for name in headers {
            values.push(header_value(&self.meta, name)?);
        }
        let digest = self
            .recipe
            .headers_digest(values.iter().map(Option::as_deref));
        Ok(django_page_key(
            &self.key_prefix,
            method,
            &self.url,
            &digest,
            &self.suffix,
        ))
    }

    /// The list of headers that is cached for this URL, and with it the key of its page.
    fn get(&self, method: &str, cache: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let get = pyo3::intern!(cache.py(), "get");
        let headers = cache.call_method1(get, (self.header_key(),))?;
        if headers.is_none() {
            return Ok(None);
        }
        let names = headers.extract::<Vec<Bound<'_, PyString>>>()?;
        self.page_key(method, names.iter()).map(Some)
    }

    /// Caches this list of headers, and gives the key of the page that the request has with it.
    fn learn(
        &self,
        request: &Bound<'_, PyAny>,
        headers: Bound<'_, PyList>,
        timeout: &Bound<'_, PyAny>,
        cache: &Bound<'_, PyAny>,
    ) -> PyResult<String> {
        let py = request.py();
        let names = headers.extract::<Vec<Bound<'_, PyString>>>()?;
        let set = pyo3::intern!(py, "set");
        cache.call_method1(set, (self.header_key(), headers, timeout))?;
        let method = request.getattr(pyo3::intern!(py, "method"))?;
        let method = method.str()?;
        self.page_key(&method.to_cow()?, names.iter())
    }
}

/// Django formats the prefix with `%s`, so it may be anything, a lazy string for one.
fn formatted<'a>(key_prefix: &'a Bound<'a, PyAny>) -> PyResult<Cow<'a, str>> {
    match key_prefix.cast_exact::<PyString>() {
        Ok(text) => text.to_cow(),
        Err(_) => Ok(Cow::Owned(key_prefix.str()?.to_cow()?.into_owned())),
    }
}

fn url_of(seen: &Seen<'_>) -> Option<String> {
    let py = seen.meta.py();
    let query = match seen.meta.get_item(pyo3::intern!(py, "QUERY_STRING")).ok()? {
        Some(query) => Some(query.cast_into_exact::<PyString>().ok()?),
        None => None,
    };
    let query = query.as_ref().map_or(Ok(""), |query| query.to_str());
    let (scheme, host) = (seen.scheme.to_str().ok()?, seen.host.to_str().ok()?);
    let origin = [scheme, "://", host].concat();
    uri::absolute(&origin, seen.path.to_str().ok()?, query.ok()?)
}

fn recipe_named(name: &str) -> PyResult<Recipe> {
    Recipe::from_name(name).ok_or_else(|| {
        PyValueError::new_err(format!(
            "{name:?} is not a key recipe; ask detect_recipe()."
        ))
    })
}

/// `request.META.get(name)`, cookies in canonical order: the one difference to Django's keys.
fn header_value(meta: &Bound<'_, PyAny>, name: &Bound<'_, PyString>) -> PyResult<Option<String>> {
    let value = if let Ok(meta) = meta.cast_exact::<PyDict>() {
        meta.get_item(name)?
    } else {
        Some(meta.call_method1(pyo3::intern!(meta.py(), "get"), (name,))?)
    };
    let Some(value) = value.filter(|value| !value.is_none()) else {
        return Ok(None);
    };
    let text = value.extract::<Cow<'_, str>>()?;
    Ok(Some(if name.to_cow()? == "HTTP_COOKIE" {
        cookie::canonical(&text).into_owned()
    } else {
        text.into_owned()
    }))
}

/// Of a request that is as Django makes them; `NotImplemented` where Django has to be asked.
#[pyfunction]
#[pyo3(signature = (django, request, key_prefix, method, cache, recipe))]
pub fn get_cache_key<'py>(
    django: &Django,
    request: &Bound<'py, PyAny>,
    key_prefix: &Bound<'py, PyAny>,
    method: &str,
    cache: &Bound<'py, PyAny>,
    recipe: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let py = request.py();
    match Inputs::seen(django, request, recipe, key_prefix)? {
        Some(inputs) => inputs.get(method, cache)?.into_bound_py_any(py),
        None => py.NotImplemented().into_bound_py_any(py),
    }
}

/// Of any request: what it takes from Django is given.
#[pyfunction]
#[pyo3(signature = (request, key_prefix, method, cache, recipe, url, language, zone))]
#[allow(clippy::too_many_arguments)]
pub fn get_cache_key_of(
    request: &Bound<'_, PyAny>,
    key_prefix: &Bound<'_, PyAny>,
    method: &str,
    cache: &Bound<'_, PyAny>,
    recipe: &str,
    url: &str,
    language: Option<&str>,
    zone: Option<&str>,
) -> PyResult<Option<String>> {
    Inputs::new(request, recipe, url, key_prefix, language, zone)?.get(method, cache)
}

/// Of a request that is as Django makes them; `NotImplemented` where Django has to be asked.
#[pyfunction]
#[pyo3(signature = (django, request, headers, cache_timeout, key_prefix, cache, recipe))]
pub fn learn_cache_key<'py>(
    django: &Django,
    request: &Bound<'py, PyAny>,
    headers: Bound<'py, PyList>,
    cache_timeout: &Bound<'py, PyAny>,
    key_prefix: &Bound<'py, PyAny>,
    cache: &Bound<'py, PyAny>,
    recipe: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let py = request.py();
    match Inputs::seen(django, request, recipe, key_prefix)? {
        Some(inputs) => inputs
            .learn(request, headers, cache_timeout, cache)?
            .into_bound_py_any(py),
        None => py.NotImplemented().into_bound_py_any(py),
    }
}

/// Of any request: what it takes from Django is given.
#[pyfunction]
#[pyo3(signature = (request, headers, cache_timeout, key_prefix, cache, recipe, url, language, zone))]
#[allow(clippy::too_many_arguments)]
pub fn learn_cache_key_of(
    request: &Bound<'_, PyAny>,
    headers: Bound<'_, PyList>,
    cache_timeout: &Bound<'_, PyAny>,
    key_prefix: &Bound<'_, PyAny>,
    cache: &Bound<'_, PyAny>,
    recipe: &str,
    url: &str,
    language: Option<&str>,
    zone: Option<&str>,
) -> PyResult<String> {
    Inputs::new(request, recipe, url, key_prefix, language, zone)?.learn(
        request,
        headers,
        cache_timeout,
        cache,
    )
}

/// The list that Django caches for a `Vary` header with these members.
///
/// With `USE_I18N` the language is in the key, and `Accept-Language` would store one page under
/// many (Django ticket #18191).
#[pyfunction]
pub fn vary_list(vary: Vec<String>, is_i18n: bool) -> Vec<String> {
    let mut headers: Vec<String> = vary
        .into_iter()
        .map(|name| name.to_uppercase().replace('-', "_"))
        .filter(|name| !is_i18n || name != "ACCEPT_LANGUAGE")
        .map(|name| format!("HTTP_{name}"))
        .collect();
    headers.sort();
    headers
}

/// Which recipe gives these digests for these header values?
#[pyfunction]
pub fn detect_recipe(probes: Vec<(Vec<Option<String>>, String)>) -> Option<&'static str> {
    Recipe::detect(&probes).map(Recipe::name)
}

/// The `Cookie` header in canonical order.
#[pyfunction]
pub fn canonical_cookies(header: &str) -> String {
    cookie::canonical(header).into_owned()
}

/// The absolute URI that Django makes of these; `None` where it is Django's to make.
#[pyfunction]
pub fn absolute_uri(origin: &str, path: &str, query: &str) -> Option<String> {
    uri::absolute(origin, path, query)
}

/// The pairs of a query string, decoded as `QueryDict` decodes them.
#[pyfunction]
pub fn query_pairs(query: &str) -> Vec<(String, String)> {
    query::parse(query)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

/// Deletes what stock Django stored for these URLs: the header lists, and the pages that a request
/// without any of the listed headers gets.
#[pyfunction]
#[pyo3(signature = (stock_cache, *, recipe, key_prefixes, urls, suffixes))]
pub fn expire_view_cache(
    stock_cache: &Bound<'_, PyAny>,
    recipe: Option<&str>,
    key_prefixes: Vec<String>,
    urls: Vec<String>,
    suffixes: Vec<(Option<String>, Option<String>)>,
) -> PyResult<usize> {
    let py = stock_cache.py();
    let Some(recipe) = recipe.map(recipe_named).transpose()? else {
        return Ok(0);
    };
    let urls: Vec<String> = urls.iter().map(|url| django_url_digest(url)).collect();
    let mut header_keys = Vec::new();
    for prefix in &key_prefixes {
        for url in &urls {
            for (language, zone) in &suffixes {
                let suffix = django_suffix(language.as_deref(), zone.as_deref());
                header_keys.push((django_header_key(prefix, url, &suffix), prefix, url, suffix));
            }
        }
    }
    let asked: Vec<&str> = header_keys.iter().map(|(key, ..)| key.as_str()).collect();
    let found = stock_cache.call_method1(pyo3::intern!(py, "get_many"), (asked,))?;
    let found = found.cast::<PyDict>()?;
    let mut doomed = BTreeSet::new();
    for (key, prefix, url, suffix) in &header_keys {
        let Some(headers) = found.get_item(key)? else {
            continue;
        };
        let count = headers
            .extract::<Vec<String>>()
            .map_or(0, |headers| headers.len());
        for headers in [0, count] {
            let digest = recipe.headers_digest(std::iter::repeat_n(None, headers));
            for method in ["GET", "HEAD"] {
                doomed.insert(django_page_key(prefix, method, url, &digest, suffix));
            }
        }
        doomed.insert(key.clone());
    }
    if doomed.is_empty() {
        return Ok(0);
    }
    let count = doomed.len();
    stock_cache.call_method1(
        pyo3::intern!(py, "delete_many"),
        (doomed.into_iter().collect::<Vec<_>>(),),
    )?;
    Ok(count)
}
