//! The inventory: a list of the pages in the cache, for people who look and for patterns. Whether a
//! page is fresh never depends on it.
//!
//! It is a table of numbered places in the cache itself. A page's entry lies in one of a few places
//! that the digest of its URL names, and is put there with `add`, which succeeds for one writer
//! only. So writers at the same time never overwrite each other, as they would in a list that each
//! reads, changes and writes back; whoever stores the same page finds its entry and adds no second
//! one; and the table is bounded, whatever is asked for.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Mutex;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use regex::{Regex, RegexBuilder};

use crate::error::Error;
use crate::generation::{Verdict, verdict};
use crate::key::{Fields, hex};
use crate::lock::lock;
use crate::lookup::Miss;
use crate::query;
use crate::recent::Recent;
use crate::record::Page;
use crate::request::{Method, Site, page_key};
use crate::scope;
use crate::wire::{Reader, Writer};

const MAGIC: [u8; 4] = *b"VCI1";

/// Places that a URL's pages may take. So a URL with a page for each visitor takes 32 and no more,
/// and in a table that is three quarters full one URL in ten thousand finds none free.
const PLACES: usize = 32;

/// What a path is shown without: it would be read as another URL.
const IN_PATH: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#').add(b' ');
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/')
    .remove(b':');

/// The table, and which pages this process knows to be in it.
#[derive(Debug)]
pub struct Inventory {
    id: String,
    places: usize,
    /// Pages, and until when (milliseconds) their entries are there. What is forgotten is claimed
    /// again, and found.
    known: Mutex<Recent<[u8; 32], u64>>,
}

impl Inventory {
    /// A table of so many places; none at all is no inventory. Each release has its own, because
    /// it is not served the pages of another.
    #[must_use]
    pub fn new(site: &Site, places: usize, remembered: usize) -> Self {
        let mut fields = Fields::new("inventory");
        fields.bytes(&site.id);
        fields.text(&site.release);
        Self {
            id: hex(&fields.digest()[..16]),
            places,
            // Each takes as much as the next.
            known: Mutex::new(Recent::new(remembered, usize::MAX)),
        }
    }

    /// How many places there are.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places
    }

    /// The cache key of a place.
    #[must_use]
    pub fn key(&self, place: usize) -> String {
        format!("viewcache.i1.{}.{place}", self.id)
    }

    /// The keys of the places that this URL's pages may take, in the order in which they are tried:
    /// each page begins at another, so that they rarely meet.
    #[must_use]
    pub fn keys_of(&self, url: &[u8; 32], page: &[u8; 32]) -> Vec<String> {
        let mut numbers: Vec<usize> = if self.places <= PLACES {
            (0..self.places).collect()
        } else {
            let seed = url[..8].try_into().map_or(0, u64::from_le_bytes);
            let mut taken = BTreeSet::new();
            (1..=PLACES as u64)
                .map(|n| scattered(seed, n) as usize % self.places)
                .filter(|place| taken.insert(*place))
                .collect()
        };
        let first = usize::from(page[0]) % numbers.len().max(1);
        numbers.rotate_left(first);
        numbers.into_iter().map(|place| self.key(place)).collect()
    }

    /// Is it known that this page's entry is there until then (milliseconds)?
    #[must_use]
    pub fn knows(&self, page: &[u8; 32], until: u64) -> bool {
        let mut known = lock(&self.known);
        known.get(page).is_some_and(|ends| *ends >= until)
    }

    /// The entry of this page is there until then (milliseconds).
    pub fn learn(&self, page: [u8; 32], until: u64) {
        lock(&self.known).put(page, until, 0);
    }
}

/// The nth of the numbers that a seed scatters (`splitmix64`, by Sebastiano Vigna): URLs whose first
/// place is the same have others after it.
#[allow(clippy::cast_possible_truncation)]
fn scattered(seed: u64, n: u64) -> u32 {
    let mut z = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z >> 32) as u32
}

/// One page of the inventory. The same page always gives the same bytes, so an entry is known by
/// comparing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The digest of the canonical request: the page's key, and its fingerprint.
    pub page: [u8; 32],
    pub method: Method,
    /// The cache of the page, where it is not that of the generations.
    pub alias: Option<String>,
    pub key_prefix: String,
    pub language: Option<String>,
    pub zone: Option<String>,
    /// Scheme and host: `https://example.com`.
    pub origin: String,
    /// As scopes have it.
    pub path: String,
    /// As it enters the key, percent-encoded, without `?`.
    pub query: String,
}

impl Entry {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC, 160 + self.path.len() + self.query.len());
        out.raw(&self.page);
        out.u8(u8::from(self.method == Method::Head));
        for optional in [&self.alias, &self.language, &self.zone] {
            out.u8(u8::from(optional.is_some()));
            out.bytes(optional.as_deref().unwrap_or_default().as_bytes());
        }
        for text in [&self.key_prefix, &self.origin, &self.path, &self.query] {
            out.bytes(text.as_bytes());
        }
        out.finish()
    }

    /// `None` for anything that [`Entry::encode`] did not write.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::open(MAGIC, bytes)?;
        let page = input.raw(32)?.try_into().ok()?;
        let method = match input.u8()? {
            0 => Method::Get,
            1 => Method::Head,
            _ => return None,
        };
        let mut optional = || {
            let is_some = input.u8()? == 1;
            let text = input.text()?.to_string();
            Some(is_some.then_some(text))
        };
        let (alias, language, zone) = (optional()?, optional()?, optional()?);
        let mut text = || input.text().map(String::from);
        let (key_prefix, origin, path, query) = (text()?, text()?, text()?, text()?);
        input.rest().is_empty().then_some(Self {
            page,
            method,
            alias,
            key_prefix,
            language,
            zone,
            origin,
            path,
            query,
        })
    }

    /// The URL from its path on, as a person would write it.
    #[must_use]
    pub fn local(&self) -> String {
        let mut local = utf8_percent_encode_ascii(&self.path);
        if !self.query.is_empty() {
            local.push('?');
            local.push_str(&self.query);
        }
        local
    }

    #[must_use]
    pub fn key(&self) -> String {
        page_key(&self.page)
    }
}

/// Letters of other scripts stay readable; what would end the path is encoded.
fn utf8_percent_encode_ascii(path: &str) -> String {
    path.chars().fold(String::new(), |mut shown, letter| {
        if letter.is_ascii() {
            let mut buffer = [0; 4];
            shown.extend(utf8_percent_encode(
                letter.encode_utf8(&mut buffer),
                IN_PATH,
            ));
        } else {
            shown.push(letter);
        }
        shown
    })
}

/// The pairs that enter the key, as a query string.
#[must_use]
pub fn shown_query(pairs: &[query::Pair<'_>]) -> String {
    pairs
        .iter()
        .enumerate()
        .fold(String::new(), |mut shown, (number, (name, value))| {
            let separator = if number == 0 { "" } else { "&" };
            let name = utf8_percent_encode(name, IN_QUERY);
            let value = utf8_percent_encode(value, IN_QUERY);
            // Writing to a string does not fail.
            let _ = write!(shown, "{separator}{name}={value}");
            shown
        })
}

/// A regular expression that is searched for in URLs.
///
/// The `regex` crate takes time linear in the text, whatever the pattern: one that a person has
/// typed must not hang a server, and one that would need much memory is refused.
#[derive(Debug)]
pub struct UrlPattern(Regex);

impl UrlPattern {
    /// # Errors
    /// When the text is empty or no regular expression.
    pub fn new(pattern: &str) -> Result<Self, Error> {
        let refused = |why: String| Error::BadPattern(pattern.to_string(), why);
        if pattern.is_empty() {
            return Err(refused("it is empty, and would match everything".into()));
        }
        let built = RegexBuilder::new(pattern).size_limit(1 << 20).build();
        // The message draws the pattern over several lines; what is wrong stands in the last.
        built.map(Self).map_err(|error| {
            let told = error.to_string();
            let last = told.lines().last().unwrap_or_default();
            refused(last.trim().trim_start_matches("error: ").to_string())
        })
    }

    /// Does it occur in the URL, or in what follows its host? So `^/blog/` means what it says.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        let local = entry.local();
        self.0.is_match(&local) || self.0.is_match(&format!("{}{local}", entry.origin))
    }
}

/// The cache keys of the generations that this record is checked against; `None` when it is no page.
#[must_use]
pub fn generation_keys(site: &Site, path: &str, record: &[u8]) -> Option<Vec<String>> {
    let page = Page::decode(record)?;
    let chain = scope::chain(path)?;
    let scopes = chain
        .iter()
        .map(String::as_str)
        .chain(page.tags.iter().map(|(tag, _)| *tag));
    Some(scopes.map(|text| scope::key(&site.id, text)).collect())
}

/// Would this page be served? The same questions as a look-up asks, without a request.
///
/// # Errors
/// Why it would not.
pub fn check(
    site: &Site,
    entry_path: &str,
    page: &Page<'_>,
    now: u64,
    generation: impl Fn(&str) -> Option<u64>,
) -> Result<(), Miss> {
    let chain = scope::chain(entry_path).ok_or(Miss::Damaged)?;
    if page.generations.len() != chain.len() {
        return Err(Miss::Damaged);
    }
    if page.expires_at <= now {
        return Err(Miss::TimedOut);
    }
    let of_path = chain
        .iter()
        .map(String::as_str)
        .zip(page.generations.iter().copied());
    let stored = of_path.chain(page.tags.iter().copied());
    match verdict(stored, |text| generation(&scope::key(&site.id, text))) {
        Verdict::Fresh => Ok(()),
        Verdict::Soft(scopes) => Err(Miss::SoftlyExpired(
            scopes
                .first()
                .map_or_else(String::new, |(scope, _)| (*scope).into()),
        )),
        Verdict::Expired(scope) => Err(Miss::Expired(scope.into())),
        Verdict::Absent(scope) => Err(Miss::GenerationGone(scope.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glob::Globs;

    fn site() -> Site {
        Site::new("", String::new(), Globs::default(), query::Rules::default())
    }

    fn entry() -> Entry {
        Entry {
            page: [7; 32],
            method: Method::Get,
            alias: None,
            key_prefix: "p".into(),
            language: Some("fr".into()),
            zone: Some(String::new()),
            origin: "https://example.com:8000".into(),
            path: "/café/a?b/".into(),
            query: "q=1".into(),
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_and_damage_is_seen() {
        let bytes = entry().encode();
        assert_eq!(Entry::decode(&bytes), Some(entry()));
        for cut in 0..bytes.len() {
            assert_eq!(Entry::decode(&bytes[..cut]), None);
        }
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 1;
            assert_eq!(Entry::decode(&broken), None);
        }
    }

    #[test]
    fn a_url_is_shown_as_one_would_write_it() {
        assert_eq!(entry().local(), "/café/a%3Fb/?q=1");
        let pairs = query::canonical("a=1%202&b&é=%26", &query::Rules::default(), None)
            .into_iter()
            .collect::<Vec<_>>();
        assert_eq!(shown_query(&pairs), "a=1%202&b=&%C3%A9=%26");
    }

    #[test]
    fn a_pattern_is_searched_for_in_the_url_and_in_its_path() {
        for (pattern, expected) in [
            ("^/café/", true),
            ("^https://example", true),
            ("/a%3Fb/", true),
            (r"\?q=\d$", true),
            ("^café", false),
            ("/blog/", false),
        ] {
            let found = UrlPattern::new(pattern).unwrap().matches(&entry());
            assert_eq!(found, expected, "{pattern:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_one_line() {
        for pattern in ["", "(", "a{2,1}", "(?=look)", r"(a)\1", "(a{1000}){1000}"] {
            let told = UrlPattern::new(pattern).unwrap_err().to_string();
            assert!(told.contains(pattern) && !told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn a_pattern_takes_linear_time() {
        let long = Entry {
            path: format!("/{}", "a".repeat(4000)),
            ..entry()
        };
        assert!(!UrlPattern::new("^/(a+)+$b").unwrap().matches(&long));
    }

    #[test]
    fn places_are_few_distinct_and_spread() {
        let inventory = Inventory::new(&site(), 16_384, 100);
        let mut taken = BTreeSet::new();
        for n in 0..10_000_u32 {
            let mut url = [0; 32];
            url[..4].copy_from_slice(&n.to_le_bytes());
            let keys = inventory.keys_of(&url, &[7; 32]);
            assert!(keys.len() > PLACES - 4, "{}", keys.len());
            assert_eq!(keys, inventory.keys_of(&url, &[7; 32]));
            let free = keys.into_iter().find(|key| taken.insert(key.clone()));
            assert!(free.is_some(), "no place for URL {n}");
        }
        assert_eq!(
            Inventory::new(&site(), 3, 100)
                .keys_of(&[0; 32], &[9; 32])
                .len(),
            3
        );
        assert!(
            Inventory::new(&site(), 0, 100)
                .keys_of(&[0; 32], &[9; 32])
                .is_empty()
        );
    }

    #[test]
    fn releases_and_sites_have_their_own() {
        let other = Site::new("", "2".into(), Globs::default(), query::Rules::default());
        let key = |site: &Site| Inventory::new(site, 10, 10).key(0);
        assert_ne!(key(&site()), key(&other));
    }

    #[test]
    fn what_is_known_is_bounded_and_ends() {
        let inventory = Inventory::new(&site(), 10, 100);
        assert!(!inventory.knows(&[0; 32], 1));
        for n in 0..1000_u32 {
            let mut page = [0; 32];
            page[..4].copy_from_slice(&n.to_le_bytes());
            inventory.learn(page, 10);
            assert!(inventory.knows(&page, 10) && !inventory.knows(&page, 11));
        }
        assert!(lock(&inventory.known).len() <= 100);
    }

    #[test]
    fn a_page_is_checked_as_a_look_up_checks_it() {
        let page = Page {
            flags: 0,
            status: 200,
            stored_at: 0,
            expires_at: 10,
            stale: crate::record::Windows::default(),
            fingerprint: [7; 32],
            reason: None,
            marks: "",
            generations: vec![1, 1],
            tags: vec![("tag:a", 1)],
            headers: vec![],
            slots: vec![],
            body: b"body",
        };
        let site = site();
        let keys = generation_keys(&site, "/a/", &page.encode()).unwrap();
        assert_eq!(keys.len(), 3);
        assert!(generation_keys(&site, "/a/", b"nonsense").is_none());
        assert_eq!(check(&site, "/a/", &page, 9, |_| Some(1)), Ok(()));
        assert_eq!(
            check(&site, "/a/", &page, 10, |_| Some(1)),
            Err(Miss::TimedOut)
        );
        let without = |gone: &str| {
            let gone = scope::key(&site.id, gone);
            check(&site, "/a/", &page, 9, move |key| {
                (key != gone).then_some(1)
            })
        };
        for text in ["tree:/", "path:/a/", "tag:a"] {
            assert_eq!(without(text), Err(Miss::GenerationGone(text.into())));
        }
        assert_eq!(
            check(&site, "/a/", &page, 9, |_| Some(2)),
            Err(Miss::SoftlyExpired("tree:/".into()))
        );
        assert_eq!(
            check(&site, "/a/", &page, 9, |_| Some(1 << 8)),
            Err(Miss::Expired("tree:/".into()))
        );
        assert_eq!(
            check(&site, "/a/b/", &page, 9, |_| Some(1)),
            Err(Miss::Damaged)
        );
    }
}
