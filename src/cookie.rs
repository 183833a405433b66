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
    parse_with(header, strip)
}

fn parse_with(header: &str, strip: fn(&str) -> &str) -> impl Iterator<Item = Cookie<'_>> {
    header.split(';').filter_map(move |chunk| {
        let (name, value) = chunk.split_once('=').unwrap_or(("", chunk));
        let (name, value) = (strip(name), strip(value));
        (!name.is_empty() || !value.is_empty()).then_some(Cookie { name, value })
    })
}

/// A header that WSGI hands over, bytes as Latin-1, as Django reads it: as UTF-8. And whether that
/// has lost something, so that two headers may have become one.
#[must_use]
pub fn from_wsgi(header: &str) -> (String, bool) {
    let Ok(bytes) = header
        .chars()
        .map(|c| u8::try_from(u32::from(c)))
        .collect::<Result<Vec<u8>, _>>()
    else {
        // No server sends this: WSGI's text is Latin-1 (PEP 3333).
        return (header.into(), true);
    };
    match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
    }
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
/// A header that is already canonical comes back as it was, and then Django's key is unchanged. The
/// encoding is not known here, and what is white space depends on it: the byte 0x85 is, or is part
/// of a letter. So only ASCII white space is taken away, and a header with a name that is not
/// ASCII comes back as it was.
#[must_use]
pub fn canonical(header: &str) -> Cow<'_, str> {
    let mut cookies = Vec::with_capacity(16);
    cookies.extend(parse_with(header, strip_ascii));
    if !header.is_ascii() && cookies.iter().any(|cookie| !cookie.name.is_ascii()) {
        return Cow::Borrowed(header);
    }
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
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// The same, as far as it is ASCII.
fn strip_ascii(text: &str) -> &str {
    let is_space = |byte: u8| matches!(byte, b'\t'..=b'\r' | 0x1c..=0x1f | b' ');
    let bytes = text.as_bytes();
    // Most have one blank before them and none behind.
    let start = bytes.iter().position(|byte| !is_space(*byte));
    let end = bytes.iter().rposition(|byte| !is_space(*byte));
    match (start, end) {
        (Some(start), Some(end)) => &text[start..=end],
        _ => "",
    }
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
    fn names_that_are_not_ascii_are_left_where_they_are() {
        for header in ["b=1; a\u{a0}=2", "\u{85}", "\u{e9}=2; a=1"] {
            assert!(matches!(canonical(header), Cow::Borrowed(_)), "{header:?}");
        }
        assert_eq!(canonical("b=\u{85} ;a=\u{e9}"), "a=\u{e9}; b=\u{85}");
    }

    #[test]
    fn bytes_are_read_as_utf_8() {
        assert_eq!(from_wsgi("a=1"), ("a=1".into(), false));
        assert_eq!(from_wsgi("a=\u{c3}\u{a9}"), ("a=é".into(), false));
        assert_eq!(from_wsgi("a=1\u{85}"), ("a=1\u{fffd}".into(), true));
        assert_eq!(from_wsgi("a=日"), ("a=日".into(), true));
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
