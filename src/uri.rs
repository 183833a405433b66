//! The absolute URI of a request, as `HttpRequest.build_absolute_uri()` makes it: what Django's
//! keys are made of.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What `iri_to_uri()` escapes: all but RFC 3986's reserved and unreserved characters and `%`.
const IRI: AsciiSet = without(b"-._~/#%[]=:;$&()+,!?*@'");
/// What `escape_uri_path()` escapes.
const PATH: AsciiSet = without(b"/:@&+$,-_.!~*'()");

const fn without(safe: &[u8]) -> AsciiSet {
    // Safe in both.
    let mut set = NON_ALPHANUMERIC.remove(b'/');
    let mut at = 0;
    while at < safe.len() {
        set = set.remove(safe[at]);
        at += 1;
    }
    set
}

/// `None` for a path that Django joins to the origin as a browser would: one that does not begin
/// with a slash, or has dot segments.
#[must_use]
pub fn absolute(origin: &str, path: &str, query: &str) -> Option<String> {
    if !path.starts_with('/') || path.contains("/./") || path.contains("/../") {
        return None;
    }
    let mut uri = String::with_capacity(origin.len() + path.len() + query.len() + 16);
    uri.extend(utf8_percent_encode(origin, &IRI));
    uri.extend(utf8_percent_encode(path, &PATH));
    if !query.is_empty() {
        uri.push('?');
        uri.extend(utf8_percent_encode(query, &IRI));
    }
    Some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_escaped_each_in_its_way() {
        let made = absolute("http://h:80", "/a;b=c?d#é %41/~", "x=é y&z=%41#[;]");
        let right = "http://h:80/a%3Bb%3Dc%3Fd%23%C3%A9%20%2541/~?x=%C3%A9%20y&z=%41#[;]";
        assert_eq!(made.as_deref(), Some(right));
        assert_eq!(
            absolute("http://h", "//a/", "").as_deref(),
            Some("http://h//a/")
        );
    }

    #[test]
    fn dot_segments_and_relative_paths_are_left_to_django() {
        for path in ["", "*", "a/", "/a/./b", "/../b"] {
            assert_eq!(absolute("http://h", path, ""), None);
        }
        assert!(absolute("http://h", "/a/..", "").is_some());
    }
}
