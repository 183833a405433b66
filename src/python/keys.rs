//! Django's own keys: `learn_cache_key`, `get_cache_key`, and the expiry that also reaches what
//! stock Django stored. The settings come in as arguments; the cache object is Django's.

use std::borrow::Cow;
use std::collections::BTreeSet;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::cookie;
use crate::key::{Recipe, django_header_key, django_page_key, django_suffix, django_url_digest};
use crate::query;
use crate::uri;

/// What both functions need of a request; Python resolved it, once.
struct Inputs<'a> {
    request: &'a Bound<'a, PyAny>,
    recipe: Recipe,
    url: String,
    suffix: String,
    key_prefix: Cow<'a, str>,
}

impl<'a> Inputs<'a> {
    fn new(
        request: &'a Bound<'a, PyAny>,
        recipe: &str,
        url: &str,
        key_prefix: &'a Bound<'a, PyAny>,
        language: Option<&str>,
        zone: Option<&str>,
    ) -> PyResult<Self> {
        let recipe = recipe_named(recipe)?;
        // Django formats the prefix with `%s`, so it may be anything, a lazy string for one.
        let key_prefix = match key_prefix.cast::<PyString>() {
            Ok(text) => Cow::Owned(text.to_cow()?.into_owned()),
            Err(_) => Cow::Owned(key_prefix.str()?.to_cow()?.into_owned()),
        };
        Ok(Self {
            request,
            recipe,
            url: django_url_digest(url),
            suffix: django_suffix(language, zone),
            key_prefix,
        })
    }

    fn header_key(&self) -> String {
        django_header_key(&self.key_prefix, &self.url, &self.suffix)
    }

    fn page_key(&self, method: &str, headers: &[String]) -> PyResult<String> {
        let meta = self
            .request
            .getattr(pyo3::intern!(self.request.py(), "META"))?;
        let values = headers
            .iter()
            .map(|name| header_value(&meta, name))
            .collect::<PyResult<Vec<_>>>()?;
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
}

fn recipe_named(name: &str) -> PyResult<Recipe> {
    Recipe::from_name(name).ok_or_else(|| {
        PyValueError::new_err(format!(
            "{name:?} is not a key recipe; ask detect_recipe()."
        ))
    })
}

/// `request.META.get(name)`, cookies in canonical order: the one difference to Django's keys.
fn header_value(meta: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<String>> {
    let value = if let Ok(meta) = meta.cast_exact::<PyDict>() {
        meta.get_item(name)?
    } else {
        Some(meta.call_method1(pyo3::intern!(meta.py(), "get"), (name,))?)
    };
    let Some(value) = value.filter(|value| !value.is_none()) else {
        return Ok(None);
    };
    let text = value.extract::<Cow<'_, str>>()?;
    Ok(Some(if name == "HTTP_COOKIE" {
        cookie::canonical(&text).into_owned()
    } else {
        text.into_owned()
    }))
}

#[pyfunction]
#[pyo3(signature = (request, key_prefix, method, cache, recipe, url, language, zone))]
#[allow(clippy::too_many_arguments)]
pub fn get_cache_key(
    request: &Bound<'_, PyAny>,
    key_prefix: &Bound<'_, PyAny>,
    method: &str,
    cache: &Bound<'_, PyAny>,
    recipe: &str,
    url: &str,
    language: Option<&str>,
    zone: Option<&str>,
) -> PyResult<Option<String>> {
    let inputs = Inputs::new(request, recipe, url, key_prefix, language, zone)?;
    let headers = cache.call_method1(pyo3::intern!(cache.py(), "get"), (inputs.header_key(),))?;
    if headers.is_none() {
        return Ok(None);
    }
    inputs
        .page_key(method, &headers.extract::<Vec<String>>()?)
        .map(Some)
}

#[pyfunction]
#[pyo3(signature = (request, vary, cache_timeout, key_prefix, cache, recipe, url, language, zone))]
#[allow(clippy::too_many_arguments)]
pub fn learn_cache_key(
    request: &Bound<'_, PyAny>,
    vary: Vec<String>,
    cache_timeout: &Bound<'_, PyAny>,
    key_prefix: &Bound<'_, PyAny>,
    cache: &Bound<'_, PyAny>,
    recipe: &str,
    url: &str,
    language: Option<&str>,
    zone: Option<&str>,
) -> PyResult<String> {
    let py = request.py();
    let inputs = Inputs::new(request, recipe, url, key_prefix, language, zone)?;
    // With USE_I18N the language is in the key, and Accept-Language would store one page under
    // many (Django ticket #18191).
    let mut headers: Vec<String> = vary
        .into_iter()
        .map(|name| name.to_uppercase().replace('-', "_"))
        .filter(|name| language.is_none() || name != "ACCEPT_LANGUAGE")
        .map(|name| format!("HTTP_{name}"))
        .collect();
    headers.sort();
    let stored = PyList::new(py, &headers)?;
    cache.call_method1(
        pyo3::intern!(py, "set"),
        (inputs.header_key(), stored, cache_timeout),
    )?;
    let method = request.getattr(pyo3::intern!(py, "method"))?;
    let method = if method.is_none() {
        "None".into()
    } else {
        method.str()?.to_cow()?.into_owned()
    };
    inputs.page_key(&method, &headers)
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

/// The value of a cookie as `request.COOKIES` shows it, quotes and all.
#[pyfunction]
pub fn cookie_value<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    cookie::value(header, name)
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
