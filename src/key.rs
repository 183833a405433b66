//! Keys: Django's own, in each of its live recipes, and ours.
//!
//! Django's (`django.utils.cache._generate_cache_key`) hash the URL and the values of the `Vary`
//! headers with MD5. How the values are put together has changed in patch releases, so which
//! [`Recipe`] is the installed one is found by asking it (see [`Recipe::detect`]), not by its
//! version. Ours are SHA-256 over type-tagged, length-prefixed fields, so that no two different
//! lists of fields are ever the same bytes.

use md5::Md5;
use sha2::{Digest, Sha256};

/// How the installed Django puts header values together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipe {
    /// Values joined, an absent header skipped (4.2, 5.0 to 5.2.18, 6.0 to 6.0.9).
    Joined,
    /// Values joined, an absent header is `-,` (5.2.19, 6.0.10).
    JoinedMarked,
    /// Netstrings, an absent header as an empty one (6.1 to 6.1.2).
    Netstrings,
    /// Netstrings, an absent header is `-,` (6.1.3).
    NetstringsMarked,
}

impl Recipe {
    pub const ALL: [Self; 4] = [
        Self::Joined,
        Self::JoinedMarked,
        Self::Netstrings,
        Self::NetstringsMarked,
    ];

    /// The name by which the Python side holds a detected recipe.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::JoinedMarked => "joined-marked",
            Self::Netstrings => "netstrings",
            Self::NetstringsMarked => "netstrings-marked",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|recipe| recipe.name() == name)
    }

    /// The recipe that gives these digests for these lists of header values, if one does.
    #[must_use]
    pub fn detect(probes: &[(Vec<Option<String>>, String)]) -> Option<Self> {
        Self::ALL.into_iter().find(|recipe| {
            probes.iter().all(|(values, digest)| {
                recipe.headers_digest(values.iter().map(Option::as_deref)) == *digest
            })
        })
    }

    /// The hexadecimal MD5 of the values, in the order of the stored header list.
    pub fn headers_digest<'a>(self, values: impl Iterator<Item = Option<&'a str>>) -> String {
        let mut md5 = Md5::new();
        for value in values {
            match (self, value) {
                (Self::Joined, None) => {}
                (Self::JoinedMarked | Self::NetstringsMarked, None) => md5.update(b"-,"),
                (Self::Joined | Self::JoinedMarked, Some(value)) => md5.update(value),
                (Self::Netstrings | Self::NetstringsMarked, value) => {
                    let value = value.unwrap_or_default();
                    md5.update(value.len().to_string());
                    md5.update(b":");
                    md5.update(value);
                    md5.update(b",");
                }
            }
        }
        hex(&md5.finalize())
    }
}

/// What stands for a URL in both of Django's keys.
#[must_use]
pub fn django_url_digest(url: &str) -> String {
    hex(&Md5::digest(url))
}

/// The key under which Django stores the header list of a URL, which its digest stands for.
#[must_use]
pub fn django_header_key(key_prefix: &str, url: &str, suffix: &str) -> String {
    let parts = [
        "views.decorators.cache.cache_header.",
        key_prefix,
        ".",
        url,
        suffix,
    ];
    parts.concat()
}

/// The key under which Django stores a page; `url` and `headers` are digests.
#[must_use]
pub fn django_page_key(
    key_prefix: &str,
    method: &str,
    url: &str,
    headers: &str,
    suffix: &str,
) -> String {
    let parts = [
        "views.decorators.cache.cache_page.",
        key_prefix,
        ".",
        method,
        ".",
        url,
        ".",
        headers,
        suffix,
    ];
    parts.concat()
}

/// The end of both keys: language and time zone, where the settings use them.
#[must_use]
pub fn django_suffix(language: Option<&str>, zone: Option<&str>) -> String {
    let mut suffix = String::with_capacity(32);
    for part in [language, zone].into_iter().flatten() {
        suffix.push('.');
        suffix.push_str(part);
    }
    suffix
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    named("", bytes)
}

/// One of our keys: what it is the key of, and a digest.
#[must_use]
pub fn named(kind: &str, digest: &[u8]) -> String {
    let mut text = String::with_capacity(kind.len() + 2 * digest.len());
    text.push_str(kind);
    push_hex(&mut text, digest);
    text
}

/// Digests to hexadecimal, a piece at a time: one check that it is text, not one for each digit.
pub fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for piece in bytes.chunks(32) {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(piece) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        // Digits are ASCII.
        text.push_str(str::from_utf8(&digits[..2 * piece.len()]).unwrap_or_default());
    }
}

/// SHA-256 over fields, each with its type and its length, so that neither a value that spells
/// our delimiters nor a border that moves can make two lists of fields one.
pub struct Fields(Sha256);

impl Fields {
    /// `domain` keeps the digests of different purposes apart.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        let mut fields = Self(Sha256::new());
        fields.text(domain);
        fields
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.tagged(b'b', value);
    }

    pub fn text(&mut self, value: &str) {
        self.tagged(b's', value.as_bytes());
    }

    /// A value that may be absent: different from an empty one.
    pub fn optional(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.text(value),
            None => self.0.update(b"-"),
        }
    }

    /// The length of a list that follows.
    pub fn count(&mut self, count: usize) {
        self.0.update(b"n");
        self.0.update((count as u64).to_le_bytes());
    }

    #[must_use]
    pub fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    fn tagged(&mut self, tag: u8, value: &[u8]) {
        self.0.update([tag]);
        self.0.update((value.len() as u64).to_le_bytes());
        self.0.update(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recipe_is_told_from_the_others() {
        let values = [Some("a"), None, Some("")];
        for recipe in Recipe::ALL {
            let probe = (
                values.iter().map(|v| v.map(String::from)).collect(),
                recipe.headers_digest(values.into_iter()),
            );
            assert_eq!(Recipe::detect(&[probe]), Some(recipe));
            assert_eq!(Recipe::from_name(recipe.name()), Some(recipe));
        }
        assert_eq!(Recipe::detect(&[(vec![None], "0".repeat(32))]), None);
    }

    #[test]
    fn known_answers() {
        // `hashlib.md5()` over the bytes that the four recipes feed it.
        let digest =
            |recipe: Recipe, values: &[Option<&str>]| recipe.headers_digest(values.iter().copied());
        assert_eq!(
            digest(Recipe::Joined, &[]),
            "d41d8cd98f00b204e9800998ecf8427e"
        );
        assert_eq!(
            digest(Recipe::Joined, &[Some("a"), None]),
            "0cc175b9c0f1b6a831c399e269772661"
        );
        assert_eq!(hex(&[0, 0xab, 0xff]), "00abff");
        let url = django_url_digest("http://testserver/");
        assert_eq!(url, "b5268943f8305b7b1216f7b0efe65a96");
        assert_eq!(
            django_header_key("site", &url, ".en"),
            format!("views.decorators.cache.cache_header.site.{url}.en")
        );
        assert_eq!(
            django_page_key("site", "GET", &url, "headers", ".en.UTC"),
            format!("views.decorators.cache.cache_page.site.GET.{url}.headers.en.UTC")
        );
    }

    #[test]
    fn the_suffix_has_what_the_settings_use() {
        assert_eq!(django_suffix(None, None), "");
        assert_eq!(django_suffix(Some("en-gb"), None), ".en-gb");
        assert_eq!(django_suffix(None, Some("UTC")), ".UTC");
        assert_eq!(django_suffix(Some("fr"), Some("UTC")), ".fr.UTC");
    }

    #[test]
    fn where_a_list_ends_is_part_of_the_digest() {
        let digest = |lists: [&[&str]; 2]| {
            let mut hash = Fields::new("test");
            for list in lists {
                hash.count(list.len());
                list.iter().for_each(|text| hash.text(text));
            }
            hash.digest()
        };
        assert_ne!(digest([&["a"], &["b"]]), digest([&["a", "b"], &[]]));
    }

    #[test]
    fn fields_are_injective() {
        let digest = |fields: &[Option<&str>]| {
            let mut hash = Fields::new("test");
            fields.iter().for_each(|field| hash.optional(*field));
            hash.digest()
        };
        let lists: [&[Option<&str>]; 8] = [
            &[],
            &[None],
            &[Some("")],
            &[Some("-")],
            &[Some("ab"), Some("c")],
            &[Some("a"), Some("bc")],
            &[Some("abc")],
            &[Some("a"), None, Some("bc")],
        ];
        for (i, a) in lists.iter().enumerate() {
            for b in &lists[i + 1..] {
                assert_ne!(digest(a), digest(b), "{a:?} and {b:?}");
            }
        }
    }
}
