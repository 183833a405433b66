//! What a statement's parameters say, as Python hands them over.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyList, PyString, PyTuple};

use crate::sql::{Kind, PinTerm, value_text};

/// A parameter, and whether it is a list of keys.
pub(super) fn parameter<'py>(
    params: &Bound<'py, PyAny>,
    term: &PinTerm,
) -> Option<(Bound<'py, PyAny>, bool)> {
    let (value, list) = match term {
        PinTerm::Literal(_) => return None,
        PinTerm::Param(at) => (params.get_item(at).ok()?, false),
        PinTerm::ParamList(at) => (params.get_item(at).ok()?, true),
        PinTerm::NamedParam(name) => (params.cast::<PyDict>().ok()?.get_item(name).ok()??, false),
        PinTerm::NamedParamList(name) => {
            (params.cast::<PyDict>().ok()?.get_item(name).ok()??, true)
        }
    };
    Some((value, list))
}

/// A parameter, or the keys of the list that it is.
pub(super) fn items<'py>(
    params: &Bound<'py, PyAny>,
    term: &PinTerm,
) -> Option<Vec<Bound<'py, PyAny>>> {
    let (value, list) = parameter(params, term)?;
    if list {
        return value.try_iter().and_then(Iterator::collect).ok();
    }
    Some(vec![value])
}

/// The texts of a parameter, where it is a number, a text or a UUID, or a list of those.
pub(super) fn texts(params: &Bound<'_, PyAny>, term: &PinTerm) -> Option<Vec<String>> {
    let (value, list) = parameter(params, term)?;
    if !list {
        return Some(vec![value_text_of(&value)?]);
    }
    if !value.is_instance_of::<PyList>() && !value.is_instance_of::<PyTuple>() {
        return None;
    }
    value
        .try_iter()
        .ok()?
        .map(|item| value_text_of(&item.ok()?))
        .collect()
}

/// What of a parameter every collation tells apart; nothing where the database may make something
/// else of it.
pub(super) fn comparable(value: &Bound<'_, PyAny>, kind: Kind) -> Option<String> {
    let text = match kind {
        // Not of a class of its own, of which a driver may think otherwise.
        Kind::Text(_) => value
            .cast_exact::<PyString>()
            .ok()?
            .to_cow()
            .ok()?
            .into_owned(),
        Kind::Key => value_text_of(value)?,
    };
    value_text(&text, kind).map(Cow::into_owned)
}

/// The text of a number, a text or a UUID.
pub(super) fn value_text_of(value: &Bound<'_, PyAny>) -> Option<String> {
    if let Ok(text) = value.cast::<PyString>() {
        return text.to_cow().ok().map(Cow::into_owned);
    }
    if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
        // Not str(), which is a name for the members of some enumerations.
        return value
            .extract::<i128>()
            .ok()
            .map(|number| number.to_string());
    }
    if value.get_type().name().ok()? == "UUID" {
        return value.str().ok()?.to_cow().ok().map(Cow::into_owned);
    }
    None
}
