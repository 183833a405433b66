//! The `Cookie` header: parsed as Django parses it, put in an order that does not depend on the
//! browser, and reduced to what a page depends on.
//!
//! `django.http.parse_cookie` splits at `;`, then at the first `=`, strips both sides and drops
//! what is empty on both; a chunk without `=` is a value with an empty name
//! (<https://bugzilla.mozilla.org/show_bug.cgi?id=169091>). Quoted values are unquoted there and
//! kept as they are here: two spellings of one value are two keys, never the other way round.

use std::borrow::Cow;

use crate::glob::Globs;

/// One chunk of the header, both sides stripped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

/// The cookies of a header, in the order they came.
pub fn parse(header: &str) -> impl Iterator<Item = Cookie<'_>> {
    header.split(';').filter_map(|chunk| {
        let (name, value) = chunk.split_once('=').unwrap_or(("", chunk));
        let (name, value) = (strip(name), strip(value));
        (!name.is_empty() || !value.is_empty()).then_some(Cookie { name, value })
    })
}

/// The value that `request.COOKIES` shows for a name: the last of its namesakes.
#[must_use]
pub fn value<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    parse(header)
        .filter(|cookie| cookie.name == name)
        .last()
        .map(|cookie| cookie.value)
}

/// The header in canonical order: sorted by name, namesakes in the order they came (the last one
/// wins, so their order means something), joined with `"; "`.
///
/// A header that is already canonical comes back as it was, and then Django's key is unchanged.
#[must_use]
pub fn canonical(header: &str) -> Cow<'_, str> {
    let mut cookies: Vec<Cookie<'_>> = parse(header).collect();
    cookies.sort_by(|a, b| a.name.cmp(b.name));
    let text = join(&cookies);
    if text == header {
        Cow::Borrowed(header)
    } else {
        Cow::Owned(text)
    }
}

/// As [`canonical`], without the cookies that the settings leave out of every key.
#[must_use]
pub fn canonical_without(header: &str, ignored: &Globs) -> String {
    let mut cookies: Vec<Cookie<'_>> = parse(header)
        .filter(|cookie| !ignored.matches(cookie.name))
        .collect();
    cookies.sort_by(|a, b| a.name.cmp(b.name));
    join(&cookies)
}

fn join(cookies: &[Cookie<'_>]) -> String {
    let mut text = String::with_capacity(
        cookies
            .iter()
            .map(|c| c.name.len() + c.value.len() + 3)
            .sum(),
    );
    for cookie in cookies {
        if !text.is_empty() {
            text.push_str("; ");
        }
        // A nameless value may be written without `=`, unless it has one itself: `=a=b` is the
        // value `a=b` and must not become the cookie `a`.
        if !cookie.name.is_empty() || cookie.value.contains('=') {
            text.push_str(cookie.name);
            text.push('=');
        }
        text.push_str(cookie.value);
    }
    text
}

/// `str.strip()`: Unicode white space, and the four separators that only Python counts as such.
fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_browser_does_not_matter() {
        assert_eq!(canonical("b=2; a=1"), "a=1; b=2");
        assert_eq!(canonical("a=1;b=2"), "a=1; b=2");
        assert_eq!(canonical("b=2; a=2; a=1"), "a=2; a=1; b=2");
    }

    #[test]
    fn a_canonical_header_is_unchanged() {
        for header in [
            "",
            "a=1",
            "a=1; b=2",
            "foo",
            "=a=b; b=",
            "a=1; a=0; b=\"x y\"",
        ] {
            assert!(matches!(canonical(header), Cow::Borrowed(_)), "{header:?}");
        }
    }

    #[test]
    fn odd_chunks_are_read_as_django_reads_them() {
        let parsed: Vec<_> = parse(" foo ;; =bar; = ;a=b=c;\u{1f}x\u{85}= y ")
            .map(|c| (c.name, c.value))
            .collect();
        assert_eq!(parsed, [("", "foo"), ("", "bar"), ("a", "b=c"), ("x", "y")]);
        assert_eq!(value("a=1; b=2; a=3", "a"), Some("3"));
        assert_eq!(value("a=1", "A"), None);
    }

    #[test]
    fn a_nameless_value_never_becomes_a_cookie() {
        assert_eq!(canonical("=a=b"), "=a=b");
        assert_ne!(canonical("=a=b"), canonical("a=b"));
        assert_eq!(canonical("=foo"), canonical("foo"));
    }

    #[test]
    fn ignored_cookies_leave_no_trace() {
        let ignored = Globs::new(vec!["_ga*".into(), "djdt".into()]);
        assert_eq!(
            canonical_without("djdt=hide; b=2; _ga_1=x; a=1", &ignored),
            "a=1; b=2"
        );
        assert_eq!(
            canonical_without("_ga=1", &ignored),
            canonical_without("", &ignored)
        );
    }
}
