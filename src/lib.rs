//! The core of django-viewcache: a page cache whose pages can be expired.
//!
//! ```text
//! request ─▶ canonical request ─▶ keys, scopes ─▶ ONE get_many ─▶ record ─▶ verdict ─▶ response
//!            request.rs            key.rs                          record.rs  generation.rs
//!            cookie.rs query.rs    scope.rs guard.rs               wire.rs
//!            url.rs                recipe.rs
//! ```
//!
//! [`lookup`] is the machine that goes this way: it says which keys it wants and is told what was
//! found; it never asks itself. `python` is the only part that knows Python.

#![forbid(unsafe_code)]

pub mod cookie;
pub mod error;
pub mod generation;
pub mod glob;
pub mod guard;
pub mod inventory;
pub mod key;
mod lock;
pub mod lookup;
pub mod pickle;
#[cfg(feature = "python")]
mod python;
pub mod query;
pub mod recent;
pub mod recipe;
pub mod record;
pub mod request;
pub mod scope;
pub mod signer;
pub mod slot;
pub mod sql;
pub mod uri;
pub mod url;
pub mod vary;
mod wire;
