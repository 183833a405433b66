//! Why there is no page.

/// Why there is no page for this request. The words that a person is shown are made in Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// No response of this URL has been stored (or its recipe is gone).
    UnknownUrl,
    /// The URL is known; this variant of it is not.
    UnknownVariant,
    /// A scope was expired since the page was stored.
    Expired(String),
    /// A scope was softly expired since: the page may be served while another request renders.
    SoftlyExpired(String),
    /// A scope has no generation any more.
    GenerationGone(String),
    /// A scope was expired a moment ago, or is about to be.
    Closed(String),
    /// Its time is over.
    TimedOut,
    /// What lies under the key is no record, or one of another request.
    Damaged,
    /// What lies under the key was not signed by this site.
    Unsigned,
    /// The request carries `Authorization` and the page does not say `public`.
    NotPublic,
}

impl Miss {
    /// A code for logs and headers, and the scope that it is about.
    #[must_use]
    pub fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::UnknownUrl => ("uri-miss", None),
            Self::UnknownVariant => ("vary-miss", None),
            Self::Expired(scope) => ("expired", Some(scope)),
            Self::SoftlyExpired(scope) => ("soft-expired", Some(scope)),
            Self::GenerationGone(scope) => ("generation-gone", Some(scope)),
            Self::Closed(scope) => ("closed", Some(scope)),
            Self::TimedOut => ("timed-out", None),
            Self::Damaged => ("damaged", None),
            Self::Unsigned => ("unsigned", None),
            Self::NotPublic => ("not-public", None),
        }
    }
}
