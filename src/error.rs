//! Everything that can be wrong with what a caller gave us. `src/python/mod.rs` makes Python's exceptions
//! of them.

use std::fmt;

/// An input that was refused. Each message says what was given, what was expected and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A path is empty: it would otherwise be read as "everything".
    EmptyPath,
    /// A path that does not begin at the root of the site.
    RelativePath(String),
    /// A path with `.` or `..` segments: never stored, so nothing to expire.
    DotSegments(String),
    /// A tag that is empty, too long or has control characters.
    BadTag(String),
    /// What is no regular expression; and why.
    BadPattern(String, String),
    /// The operating system gave no randomness, so no generation can be made.
    NoRandomness(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyPath => f.write_str(
                "The path is empty. Give a path such as '/blog/'; to expire the whole site, call \
                 expire(everything=True).",
            ),
            Self::RelativePath(path) => write!(
                f,
                "The path {path:?} is relative. Give it from the root of the site, such as \
                 '/blog/', or as a full URL."
            ),
            Self::DotSegments(path) => write!(
                f,
                "The path {path:?} has '.' or '..' segments. Such pages are never cached; give \
                 the path without them."
            ),
            Self::BadTag(tag) => write!(
                f,
                "{tag:?} is not a tag. A tag has 1 to {} characters and no control characters, \
                 such as 'post:12'.",
                crate::scope::TAG_LIMIT
            ),
            Self::BadPattern(pattern, why) => write!(
                f,
                "'{}' is not a pattern: {why}. Give a regular expression (of Rust's regex crate) \
                 such as '^/blog/'.",
                pattern.replace(char::is_control, " ")
            ),
            Self::NoRandomness(why) => write!(
                f,
                "The operating system gave no random bytes ({why}). Nothing was written to the cache; \
                 check that this process may use getrandom(2) or read /dev/urandom."
            ),
        }
    }
}

impl std::error::Error for Error {}
