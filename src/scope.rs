//! Scopes: what can be expired. A path, a tree of paths, a tag, or rows of a table.
//!
//! A scope is written as text, `path:/blog/`, `tree:/blog/`, `tag:blog.post:12`, and its
//! generation lives in the cache under [`key`]. A page reads the `tree:` of each strict ancestor
//! of its path and the `path:` of itself, so expiring a tree writes the `tree:` and the `path:`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use percent_encoding::{percent_decode, percent_encode_byte};

use crate::error::Error;
use crate::key::{Fields, named};
use crate::sql::row_bucket;

/// Characters of a tag. Longer ones are refused: a name that nobody reads is a bug.
pub const TAG_LIMIT: usize = 250;

/// Segments of a path. A deeper one is not cached: each segment is a generation to fetch, and
/// nobody's site is that deep, but an attacker's URL is.
pub const DEPTH_LIMIT: usize = 32;

/// Bytes of a path. A longer one is not cached.
pub const PATH_LIMIT: usize = 4096;

/// The cache key of a scope's generation. `site` is the digest of what all keys of a site share.
#[must_use]
pub fn key(site: &[u8; 32], scope: &str) -> String {
    let mut fields = Fields::new("generation");
    fields.bytes(site);
    fields.text(scope);
    // The key says how long it is kept: there are as many sessions as visitors.
    let prefix = if is_session(scope) {
        SESSION_KEYS
    } else {
        "viewcache.g1."
    };
    // 128 bits: a clash would only expire too much.
    named(prefix, &fields.digest()[..16])
}

/// How the keys of sessions' generations begin.
pub const SESSION_KEYS: &str = "viewcache.g1.s.";

/// The scope of a session: what one visitor's pages show of it. Its key, which lets anybody in who
/// has it, cannot be told from the scope.
#[must_use]
pub fn of_session(key: &str) -> String {
    let mut fields = Fields::new("session");
    fields.text(key);
    named("session:", &fields.digest()[..16])
}

/// Is it the scope of a session?
#[must_use]
pub fn is_session(scope: &str) -> bool {
    scope.starts_with("session:")
}

/// The scopes that a page at this (decoded) path reads, or `None` where it is beyond the limits.
#[must_use]
pub fn chain(path: &str) -> Option<Vec<String>> {
    if path.len() > PATH_LIMIT || path.matches('/').count() > DEPTH_LIMIT {
        return None;
    }
    let mut scopes: Vec<String> = path
        .match_indices('/')
        .filter(|(at, _)| at + 1 < path.len())
        .map(|(at, _)| ["tree:", &path[..=at]].concat())
        .collect();
    scopes.push(["path:", path].concat());
    Some(scopes)
}

/// The scopes to write to expire one path, in every variant.
///
/// # Errors
/// When the path is empty, relative or has dot segments.
pub fn of_path(path: &str) -> Result<Vec<String>, Error> {
    Ok(vec![format!("path:{}", decoded_path(path)?)])
}

/// The scopes to write to expire a path and every path below it, at segment borders. `/blog` and
/// `/blog/` name the same tree.
///
/// # Errors
/// As [`of_path`].
pub fn of_tree(path: &str) -> Result<Vec<String>, Error> {
    let path = decoded_path(path)?;
    let bare = path.strip_suffix('/').unwrap_or(&path);
    let mut scopes = vec![format!("tree:{bare}/"), format!("path:{bare}/")];
    if !bare.is_empty() {
        scopes.push(format!("path:{bare}"));
    }
    Ok(scopes)
}

/// The scope of a tag.
///
/// # Errors
/// When the tag is empty, longer than [`TAG_LIMIT`] or has control characters.
pub fn of_tag(tag: &str) -> Result<String, Error> {
    if tag.is_empty() || tag.chars().count() > TAG_LIMIT || tag.chars().any(char::is_control) {
        return Err(Error::BadTag(tag.chars().take(TAG_LIMIT).collect()));
    }
    Ok(format!("tag:{tag}"))
}

/// Rows of one table share this many scopes: the number of generations stays bounded, and a clash
/// only expires too much. Tables with fewer rows, numbered by the database, have no clash at all.
const ROW_SCOPES: u32 = 4096;

/// Rows of one table in one expiry above which the table is written instead.
const ROWS_WRITTEN: usize = 64;

/// What every page that is tracked reads: written when nobody knows what was.
pub const ANY_TABLE: &str = "table:*";

/// The scope that every read of a table has.
#[must_use]
pub fn of_table(table: &str) -> String {
    format!("table:{table}")
}

/// The scope of reads that do not name their rows.
#[must_use]
pub fn of_rows(table: &str) -> String {
    format!("rows:{table}")
}

/// The scope of one row, by its primary key in its one spelling.
#[must_use]
pub fn of_row(table: &str, row: &str) -> String {
    let place = match row.parse::<u64>() {
        Ok(number) => number % u64::from(ROW_SCOPES),
        Err(_) => u64::from(row_bucket(table, row, ROW_SCOPES)),
    };
    format!("row:{table}:{place}")
}

/// The scope of what is found by a value of a column: a page reads it beside the scope of the row that
/// it found, and a write that gives a row the value expires it. Bounded in number as rows are.
#[must_use]
pub fn of_value(table: &str, column: &str, value: &str) -> String {
    let place = row_bucket(table, &format!("{column}\0{value}"), ROW_SCOPES);
    format!("value:{table}:{place}")
}

/// The scope of whatever is found by a value, of any column.
#[must_use]
pub fn of_values(table: &str) -> String {
    format!("values:{table}")
}

/// Leaves out what a wider scope covers: the rows of a table that is written as a whole, and rows
/// beyond a number that is worth a key each.
#[must_use]
pub fn widest(mut scopes: Vec<String>) -> Vec<String> {
    let one_of = |scope: &str, kind: &str| {
        let named = scope.strip_prefix(kind)?.rsplit_once(':');
        named.map(|(table, _)| table.to_string())
    };
    for (kind, wider) in [
        ("row:", of_table as fn(&str) -> String),
        ("value:", of_values),
    ] {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for table in scopes.iter().filter_map(|scope| one_of(scope, kind)) {
            *counts.entry(table).or_default() += 1;
        }
        let many = counts
            .into_iter()
            .filter(|(_, count)| *count > ROWS_WRITTEN);
        scopes.extend(many.map(|(table, _)| wider(&table)));
    }
    let all: HashSet<String> = scopes.iter().cloned().collect();
    let everything = all.contains(ANY_TABLE);
    let whole = |table: &str| everything || all.contains(&of_table(table));
    let mut seen = HashSet::new();
    scopes.retain(|scope| {
        let covered = if let Some(table) = one_of(scope, "row:") {
            whole(&table)
        } else if let Some(table) = one_of(scope, "value:") {
            whole(&table) || all.contains(&of_values(&table))
        } else if let Some(table) =
            (scope.strip_prefix("rows:")).or_else(|| scope.strip_prefix("values:"))
        {
            whole(table)
        } else {
            everything && scope.starts_with("table:") && scope != ANY_TABLE
        };
        !covered && seen.insert(scope.clone())
    });
    scopes
}

/// Has the path a `.` or `..` segment? What such a path means is decided by the browser, the
/// proxy and the view, and not always alike.
#[must_use]
pub fn has_dot_segments(path: &str) -> bool {
    path.split('/')
        .any(|segment| segment == "." || segment == "..")
}

/// A path or URL as people write it, `/caf%C3%A9/`, `/café/?page=2`, `https://host/café/`, as
/// `request.path` shows it.
fn decoded_path(given: &str) -> Result<String, Error> {
    if given.trim().is_empty() {
        return Err(Error::EmptyPath);
    }
    let path = match given.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            rest.find(['/', '?', '#']).map_or("/", |at| &rest[at..])
        }
        _ => given,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = if path.is_empty() && given.contains("://") {
        "/"
    } else {
        path
    };
    if !path.starts_with('/') {
        return Err(Error::RelativePath(given.into()));
    }
    let path = decode(path);
    if has_dot_segments(&path) {
        return Err(Error::DotSegments(given.into()));
    }
    Ok(path.into_owned())
}

/// Percent-decoding as Django's handlers do it: bytes that are no UTF-8 stay percent-encoded
/// (`django.utils.encoding.repercent_broken_unicode`).
fn decode(path: &str) -> Cow<'_, str> {
    let bytes: Cow<'_, [u8]> = percent_decode(path.as_bytes()).into();
    match bytes {
        Cow::Borrowed(_) => Cow::Borrowed(path),
        Cow::Owned(bytes) => {
            let mut text = String::with_capacity(bytes.len());
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                chunk
                    .invalid()
                    .iter()
                    .for_each(|&b| text.push_str(percent_encode_byte(b)));
            }
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_a_scope_that_does_not_name_it() {
        let scope = of_session("abcdefgh");
        assert!(is_session(&scope) && !scope.contains("abcdefgh"));
        assert_ne!(scope, of_session("abcdefgi"));
        assert!(key(&[0; 32], &scope).starts_with(SESSION_KEYS));
        assert!(!is_session("tag:session:a") && !key(&[0; 32], "tag:a").starts_with(SESSION_KEYS));
    }

    #[test]
    fn a_page_reads_its_ancestors_and_itself() {
        let chain = |path| chain(path).unwrap().join(" ");
        assert_eq!(chain("/"), "path:/");
        assert_eq!(chain("/blog/"), "tree:/ path:/blog/");
        assert_eq!(chain("/blog"), "tree:/ path:/blog");
        assert_eq!(chain("/blog/1/"), "tree:/ tree:/blog/ path:/blog/1/");
        assert_eq!(
            chain("/blog//1"),
            "tree:/ tree:/blog/ tree:/blog// path:/blog//1"
        );
    }

    #[test]
    fn a_tree_covers_itself_and_what_is_below_and_no_namesake() {
        let covers = |tree: &str, path: &str| {
            let written = of_tree(tree).unwrap();
            super::chain(path)
                .unwrap()
                .iter()
                .any(|scope| written.contains(scope))
        };
        for tree in ["/blog", "/blog/"] {
            for path in ["/blog", "/blog/", "/blog/1", "/blog/a/b/"] {
                assert!(covers(tree, path), "{tree} must cover {path}");
            }
            for path in ["/blogger", "/blogger/1", "/", "/x/blog/"] {
                assert!(!covers(tree, path), "{tree} must not cover {path}");
            }
        }
        for path in ["/", "/a", "/a/b/c/"] {
            assert!(covers("/", path));
        }
    }

    #[test]
    fn a_path_is_read_in_any_spelling() {
        for given in [
            "/caf%C3%A9/",
            "/café/",
            "https://h:8000/caf%c3%a9/?page=2#x",
            "/café/?a",
        ] {
            assert_eq!(of_path(given).unwrap(), ["path:/café/"], "{given:?}");
        }
        assert_eq!(of_path("https://h").unwrap(), ["path:/"]);
        assert_eq!(of_path("https://h?x=1").unwrap(), ["path:/"]);
        assert_eq!(of_path("/a%2Fb").unwrap(), ["path:/a/b"]);
        assert_eq!(of_path("/%ff/%C3%A9").unwrap(), ["path:/%FF/é"]);
        assert_eq!(of_path("/%00").unwrap(), ["path:/\0"]);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        assert_eq!(of_path(""), Err(Error::EmptyPath));
        assert_eq!(of_path("  "), Err(Error::EmptyPath));
        assert!(matches!(of_path("blog/"), Err(Error::RelativePath(_))));
        assert!(matches!(of_path("?page=2"), Err(Error::RelativePath(_))));
        assert!(matches!(of_path("/a/../b"), Err(Error::DotSegments(_))));
        assert!(matches!(of_tree("/a/%2e%2e/b"), Err(Error::DotSegments(_))));
    }

    #[test]
    fn tags_are_checked() {
        assert_eq!(of_tag("post:12").unwrap(), "tag:post:12");
        assert_eq!(of_tag("a b, ü").unwrap(), "tag:a b, ü");
        for bad in ["", "a\nb", "\0", &"x".repeat(251)] {
            assert!(of_tag(bad).is_err());
        }
    }

    #[test]
    fn an_expiry_is_written_at_its_widest() {
        let written = |scopes: &[&str]| {
            let mut scopes = widest(scopes.iter().map(|scope| (*scope).to_string()).collect());
            scopes.sort();
            scopes.join(" ")
        };
        assert_eq!(written(&["rows:a", "row:a:1", "rows:a"]), "row:a:1 rows:a");
        assert_eq!(
            written(&["rows:a", "row:a:1", "table:a", "row:b:1"]),
            "row:b:1 table:a"
        );
        assert_eq!(
            written(&["rows:a", "table:*", "table:b", "path:/"]),
            "path:/ table:*"
        );
        let many: Vec<String> = (0..=ROWS_WRITTEN)
            .map(|n| of_row("a", &n.to_string()))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).chain(["rows:a"]).collect();
        assert_eq!(written(&many), "table:a");
        assert_eq!(of_row("t", "4097"), "row:t:1");
    }

    #[test]
    fn a_path_beyond_the_limits_has_no_chain() {
        assert!(chain(&"/a".repeat(DEPTH_LIMIT)).is_some());
        assert!(chain(&"/a".repeat(DEPTH_LIMIT + 1)).is_none());
        assert!(chain(&format!("/{}", "x".repeat(PATH_LIMIT))).is_none());
    }
}
