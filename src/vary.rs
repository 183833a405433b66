//! `Vary` and `Cache-Control`: tokens and directives (RFC 9110 section 12.5.5, RFC 9111 section 5.2).

/// What a response's `Vary` says.
#[derive(Debug, PartialEq, Eq)]
pub enum Vary {
    /// It varies on what no header says: never stored.
    Star,
    /// A member that is no header name we can read back: never stored. Holds the member.
    Unusable(String),
    /// Header names, lower case, in the order given.
    Names(Vec<String>),
}

/// Longer names are nobody's header; a page is not worth a key of that size.
const NAME_LIMIT: usize = 128;

/// Reads `Vary`. One `*` anywhere decides, in any spelling.
#[must_use]
pub fn vary(header: &str) -> Vary {
    let mut names = Vec::new();
    let mut unusable = None;
    for member in header
        .split(',')
        .map(str::trim)
        .filter(|member| !member.is_empty())
    {
        if member == "*" {
            return Vary::Star;
        }
        // An underscore would read back as another header: META knows both as `HTTP_X_Y`.
        if member.len() > NAME_LIMIT || !member.bytes().all(is_token) || member.contains('_') {
            unusable.get_or_insert_with(|| member.chars().take(NAME_LIMIT).collect());
            continue;
        }
        let name = member.to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match unusable {
        Some(member) => Vary::Unusable(member),
        None => Vary::Names(names),
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What `Cache-Control` says about storing and serving. Unknown directives are ignored.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // each is a directive of its own
pub struct CacheControl {
    pub public: bool,
    pub private: bool,
    pub no_store: bool,
    pub no_cache: bool,
    /// It must not be served stale: `must-revalidate`, `proxy-revalidate`, or `s-maxage`, which
    /// means the same to a shared cache (RFC 9111 sections 4.2.4 and 5.2.2.10).
    pub must_revalidate: bool,
    /// `max-age` or `s-maxage` is 0, or so malformed that RFC 9111 section 4.2.1 calls it stale.
    pub stale_at_once: bool,
    pub stale_while_revalidate: Option<u32>,
    pub stale_if_error: Option<u32>,
}

/// Reads `Cache-Control`; a qualified form such as `private="Set-Cookie"` counts as the directive.
#[must_use]
pub fn cache_control(header: &str) -> CacheControl {
    let mut found = CacheControl::default();
    for directive in split_quoted(header) {
        let (name, value) = match directive.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"').trim())),
            None => (directive.trim(), None),
        };
        match name.to_ascii_lowercase().as_str() {
            "public" => found.public = true,
            "private" => found.private = true,
            "no-store" => found.no_store = true,
            "no-cache" => found.no_cache = true,
            "must-revalidate" | "proxy-revalidate" => found.must_revalidate = true,
            name @ ("max-age" | "s-maxage") => {
                found.must_revalidate |= name == "s-maxage";
                found.stale_at_once |= value.and_then(seconds).unwrap_or(0) == 0;
            }
            "stale-while-revalidate" => found.stale_while_revalidate = value.and_then(seconds),
            "stale-if-error" => found.stale_if_error = value.and_then(seconds),
            _ => {}
        }
    }
    found
}

/// Seconds: digits only; more than fits is as long as fits (RFC 9111 section 1.2.2).
fn seconds(value: &str) -> Option<u32> {
    (!value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()))
        .then(|| value.parse().unwrap_or(u32::MAX))
}

/// Splits at commas that are not inside a quoted string.
fn split_quoted(header: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    header.split(move |c| {
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        }
        c == ',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_any_spelling_decides() {
        for header in ["*", " * ", "*, Accept", "Accept,*", "Accept, , *", "X_Y, *"] {
            assert_eq!(vary(header), Vary::Star, "{header:?}");
        }
    }

    #[test]
    fn names_are_folded_and_counted_once() {
        let names = Vary::Names(vec!["cookie".into(), "accept".into()]);
        assert_eq!(vary("cookie, COOKIE ,Cookie,Accept"), names);
        assert_eq!(vary(""), Vary::Names(vec![]));
    }

    #[test]
    fn a_name_that_cannot_be_read_back_is_unusable() {
        for header in ["X_Y", "a b", "é", &"x".repeat(1_000_000)] {
            assert!(matches!(vary(header), Vary::Unusable(_)), "{header:.20?}");
        }
    }

    #[test]
    fn directives_are_read_whole() {
        assert!(cache_control("Private").private);
        assert!(cache_control("max-age=60, NO-STORE").no_store);
        assert!(cache_control("no-cache=\"x, public\"").no_cache);
        assert!(!cache_control("no-cache=\"x, public\"").public);
        assert!(!cache_control("x-private-ok, my-no-store").private);
        for stale in [
            "max-age=0",
            "max-age=0, s-maxage=600",
            "s-maxage=0, max-age=60",
            "max-age=1.5",
            "max-age=-1",
            "max-age",
            "max-age=\"0\"",
        ] {
            assert!(cache_control(stale).stale_at_once, "{stale:?}");
        }
        for fine in [
            "max-age=60",
            "max-age=\"60\"",
            "max-age=0600",
            "max-age=99999999999999999999",
        ] {
            assert!(!cache_control(fine).stale_at_once, "{fine:?}");
        }
        for strict in ["must-revalidate", "Proxy-Revalidate", "s-maxage=60"] {
            assert!(cache_control(strict).must_revalidate, "{strict:?}");
        }
        assert!(!cache_control("max-age=60, stale-if-error=1").must_revalidate);
        assert_eq!(
            cache_control("stale-if-error=99999999999").stale_if_error,
            Some(u32::MAX)
        );
    }
}
