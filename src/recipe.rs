//! Recipes: what the responses of a URL taught. Which headers and which cookies they vary on, and
//! which tags they carry. Stored per URL; each process also remembers them, within bounds, so that
//! it can ask for recipe, page and generations in one round trip.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::lock::lock;
use crate::recent::Recent;
use crate::wire::{Reader, Writer};

const MAGIC: [u8; 4] = *b"VCR1";

/// Tags that a recipe remembers. They are a hint (the page names its own), so the bound costs a
/// round trip at worst, while an unbounded union would grow with every page that was ever rendered.
pub const TAG_HINTS: usize = 256;

/// Which cookies a page depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Cookies {
    #[default]
    None,
    /// The value of each of these.
    Named(BTreeSet<String>),
    /// The whole header, in canonical order, without the ignored ones.
    All,
}

impl Cookies {
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::None, some) | (some, Self::None) => some.clone(),
            (Self::Named(a), Self::Named(b)) => Self::Named(a | b),
        }
    }

    /// Is this cookie among them?
    #[must_use]
    pub fn include(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Named(names) => names.contains(name),
            Self::All => true,
        }
    }

    /// These names; none at all is [`Cookies::None`].
    #[must_use]
    pub fn named(names: BTreeSet<String>) -> Self {
        if names.is_empty() {
            Self::None
        } else {
            Self::Named(names)
        }
    }
}

/// What a URL's responses vary on, and the tags to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipe {
    /// Header names, lower case.
    pub headers: BTreeSet<String>,
    pub cookies: Cookies,
    /// Scopes beyond the path's own, as text.
    pub tags: BTreeSet<String>,
    /// Milliseconds since the epoch: when the cache will have forgotten it.
    pub expires_at: u64,
}

impl Recipe {
    /// Widened by what one more response taught. Names only ever come in; the tags, being hints,
    /// begin again with that response's own when there are too many.
    #[must_use]
    pub fn widened(
        &self,
        headers: &BTreeSet<String>,
        cookies: &Cookies,
        tags: &BTreeSet<String>,
    ) -> Self {
        let mut all = &self.tags | tags;
        if all.len() > TAG_HINTS {
            all = tags.iter().take(TAG_HINTS).cloned().collect();
        }
        Self {
            headers: &self.headers | headers,
            cookies: self.cookies.union(cookies),
            tags: all,
            expires_at: self.expires_at,
        }
    }

    /// Do both name the same inputs, and ask for the same tags?
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.headers == other.headers && self.cookies == other.cookies && self.tags == other.tags
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC, 128);
        out.u64(self.expires_at);
        texts(&mut out, &self.headers);
        match &self.cookies {
            Cookies::None => out.u8(0),
            Cookies::All => out.u8(1),
            Cookies::Named(names) => {
                out.u8(2);
                texts(&mut out, names);
            }
        }
        texts(&mut out, &self.tags);
        out.finish()
    }

    /// `None` for anything that [`Recipe::encode`] did not write.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::open(MAGIC, bytes)?;
        let expires_at = input.u64()?;
        let headers = read_texts(&mut input)?;
        let cookies = match input.u8()? {
            0 => Cookies::None,
            1 => Cookies::All,
            2 => Cookies::Named(read_texts(&mut input)?),
            _ => return None,
        };
        let tags = read_texts(&mut input)?;
        input.rest().is_empty().then_some(Self {
            headers,
            cookies,
            tags,
            expires_at,
        })
    }

    /// About how many bytes it takes in memory.
    fn weight(&self) -> usize {
        let names = match &self.cookies {
            Cookies::Named(names) => names.iter().map(|name| name.len() + 32).sum(),
            _ => 0,
        };
        let texts: usize = self
            .headers
            .iter()
            .chain(&self.tags)
            .map(|text| text.len() + 32)
            .sum();
        128 + texts + names
    }
}

fn texts(out: &mut Writer, items: &BTreeSet<String>) {
    out.length(items.len());
    items.iter().for_each(|item| out.bytes(item.as_bytes()));
}

fn read_texts(input: &mut Reader<'_>) -> Option<BTreeSet<String>> {
    let count = input.count(4)?;
    (0..count).map(|_| input.text().map(String::from)).collect()
}

/// A recipe, with the record of it: who finds the same record again need not read it.
#[derive(Debug)]
pub struct Known {
    pub recipe: Recipe,
    pub record: Vec<u8>,
}

impl Known {
    #[must_use]
    pub fn encode(recipe: Recipe) -> Self {
        let record = recipe.encode();
        Self { recipe, record }
    }

    /// As [`Recipe::decode`].
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let recipe = Recipe::decode(bytes)?;
        let record = bytes.to_vec();
        Some(Self { recipe, record })
    }
}

/// The recipes that this process has seen lately, by the digest of their URL.
#[derive(Debug)]
pub struct Memory(Mutex<Recent<[u8; 32], Arc<Known>>>);

impl Memory {
    /// At most so many recipes and about so many bytes.
    #[must_use]
    pub fn new(entries: usize, bytes: usize) -> Self {
        Self(Mutex::new(Recent::new(entries, bytes)))
    }

    #[must_use]
    pub fn get(&self, url: &[u8; 32]) -> Option<Arc<Known>> {
        self.recent().get(url).cloned()
    }

    pub fn put(&self, url: [u8; 32], known: Arc<Known>) {
        let weight = known.recipe.weight() + known.record.len();
        self.recent().put(url, known, weight);
    }

    pub fn forget(&self, url: &[u8; 32]) {
        self.recent().remove(url);
    }

    /// How many recipes are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.recent().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn recent(&self) -> MutexGuard<'_, Recent<[u8; 32], Arc<Known>>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_string()).collect()
    }

    fn recipe() -> Recipe {
        Recipe {
            headers: set(&["accept", "origin"]),
            cookies: Cookies::Named(set(&["theme"])),
            tags: set(&["tag:a"]),
            expires_at: 7,
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for cookies in [Cookies::None, Cookies::All, Cookies::Named(set(&["a", ""]))] {
            let recipe = Recipe {
                cookies,
                ..recipe()
            };
            assert_eq!(Recipe::decode(&recipe.encode()), Some(recipe));
        }
    }

    #[test]
    fn every_damage_is_seen() {
        let bytes = recipe().encode();
        for cut in 0..bytes.len() {
            assert_eq!(Recipe::decode(&bytes[..cut]), None);
        }
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 1;
            assert_eq!(Recipe::decode(&broken), None);
        }
    }

    #[test]
    fn a_recipe_only_widens() {
        let wide = recipe().widened(&set(&["cookie"]), &Cookies::None, &set(&["tag:b"]));
        assert_eq!(wide.headers, set(&["accept", "cookie", "origin"]));
        assert_eq!(wide.cookies, Cookies::Named(set(&["theme"])));
        assert_eq!(wide.tags, set(&["tag:a", "tag:b"]));
        assert_eq!(
            wide.widened(&set(&[]), &Cookies::All, &set(&[])).cookies,
            Cookies::All
        );
        let many: BTreeSet<String> = (0..TAG_HINTS).map(|n| format!("tag:{n}")).collect();
        assert_eq!(wide.widened(&set(&[]), &Cookies::None, &many).tags, many);
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_used() {
        let memory = Memory::new(100, 1 << 20);
        let url = |n: u32| {
            let mut url = [0; 32];
            url[..4].copy_from_slice(&n.to_le_bytes());
            url
        };
        for n in 0..10_000 {
            memory.put(url(n), Arc::new(Known::encode(recipe())));
            assert!(
                memory.get(&url(0)).is_some(),
                "the one in use is forgotten at {n}"
            );
            assert!(memory.len() <= 101);
        }
        assert!(memory.get(&url(1)).is_none());
        memory.forget(&url(0));
        assert!(memory.get(&url(0)).is_none());
        let none = Memory::new(0, 0);
        none.put(url(1), Arc::new(Known::encode(recipe())));
        assert!(none.is_empty());
    }
}
