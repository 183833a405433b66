//! Slots: tokens and markers of a body.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::slot::{self, Style};

/// Number, start, end, and how it was escaped: `"plain"`, `"json"` or `"other"`.
type Piece = (u32, usize, usize, &'static str);

/// The body without the markers of this nonce, the pieces between them, and whether all was whole.
#[pyfunction]
pub fn take_out<'py>(
    py: Python<'py>,
    body: &[u8],
    nonce: &str,
) -> (Bound<'py, PyBytes>, Vec<Piece>, bool) {
    let taken = slot::take_out(body, nonce.as_bytes());
    let pieces = taken.pieces.iter().map(|piece| {
        let style = match piece.style {
            Style::Plain => "plain",
            Style::Json => "json",
            Style::Other => "other",
        };
        (piece.number, piece.start, piece.end, style)
    });
    (
        PyBytes::new(py, &taken.body),
        pieces.collect(),
        !taken.broken,
    )
}

/// The nonces whose markers stand in this body.
#[pyfunction]
pub fn slot_nonces(body: &[u8]) -> Vec<String> {
    slot::nonces(body).into_iter().map(String::from).collect()
}

/// A body, and each place in it with what stood there.
type Cut<'py> = (Bound<'py, PyBytes>, Vec<(u32, Option<usize>)>);

/// The body without these pieces and the tokens of this secret; `None` when it cannot be shared.
#[pyfunction]
#[pyo3(signature = (body, secret, pieces))]
pub fn cut<'py>(
    py: Python<'py>,
    body: &[u8],
    secret: Option<&str>,
    pieces: Vec<(usize, usize)>,
) -> Option<Cut<'py>> {
    let cut = slot::cut(body, secret.map(str::as_bytes), &pieces)?;
    Some((PyBytes::new(py, &cut.body), cut.places))
}

/// A token of this CSRF secret, masked anew; `None` when it is no secret.
#[pyfunction]
pub fn mask_token(secret: &str) -> PyResult<Option<String>> {
    Ok(slot::mask_token(secret.as_bytes())?)
}
