//! A page that is no longer fresh and may be served for a while (RFC 5861, RFC 9111 section 4.2.4).

use super::Miss;
use crate::record::Page;

/// Why and since when a page is stale, and what it may still do. Times are milliseconds since the
/// epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    pub why: Miss,
    pub since: u64,
    /// It may be served while another request renders it anew.
    pub while_revalidate: bool,
    /// It may be served in place of an error.
    pub if_error: bool,
}

impl Stale {
    /// `None` once both of its windows are over. A moment to come (of a clock that is ahead) is now.
    pub(super) fn of(page: &Page<'_>, since: u64, now: u64, why: Miss) -> Option<Self> {
        let since = since.min(now);
        let within = |seconds: u32| now - since < u64::from(seconds) * 1000;
        let stale = Self {
            why,
            since,
            while_revalidate: within(page.stale.while_revalidate),
            if_error: within(page.stale.if_error),
        };
        (stale.while_revalidate || stale.if_error).then_some(stale)
    }
}
