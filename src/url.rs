//! URLs: what is made of one alone. Most requests are for one that was asked for lately, so that is
//! kept.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::guard::{Guard, Guards};
use crate::key;
use crate::lock::lock;
use crate::recent::Recent;
use crate::request::{Parts, Site};
use crate::scope;

/// About how many bytes a URL takes beyond its text, which is there three times, and each of its guards,
/// which are counted elsewhere.
const COST: usize = 320;
const COST_OF_GUARD: usize = 8;

/// A URL, as far as keys are concerned.
#[derive(Debug)]
pub struct Url {
    /// See [`Parts::digest`].
    pub digest: [u8; 32],
    /// Decoded.
    pub path: String,
    /// The cache key of its recipe.
    pub recipe_key: String,
    /// Of the scopes of its path, in the order of [`scope::chain`].
    pub guards: Vec<Arc<Guard>>,
}

impl Url {
    /// `None` when the path is beyond the limits of what is cached.
    #[must_use]
    pub fn new(digest: [u8; 32], path: &str, guards: &Guards) -> Option<Self> {
        let chain = scope::chain(path)?;
        Some(Self {
            recipe_key: key::named("viewcache.r1.", &digest),
            digest,
            path: path.to_string(),
            guards: chain.iter().map(|scope| guards.of(scope)).collect(),
        })
    }
}

/// The URLs that this process has seen lately.
#[derive(Debug)]
pub struct Urls(Mutex<Recent<Vec<u8>, Arc<Url>>>);

impl Urls {
    /// At most so many, of about so many bytes.
    #[must_use]
    pub fn new(entries: usize, bytes: usize) -> Self {
        Self(Mutex::new(Recent::new(entries, bytes)))
    }

    /// The URL of these parts, for this site and with these guards, which are always the same.
    #[must_use]
    pub fn of(&self, parts: &Parts<'_>, site: &Site, guards: &Guards) -> Option<Arc<Url>> {
        // What a view allows into its key is a list of its own.
        let Some(spelt) = parts.spelt() else {
            return Url::new(parts.digest(site), parts.path, guards).map(Arc::new);
        };
        if let Some(url) = self.known().get(spelt.as_slice()) {
            return Some(Arc::clone(url));
        }
        let url = Arc::new(Url::new(parts.digest(site), parts.path, guards)?);
        let cost = COST + 3 * spelt.len() + COST_OF_GUARD * url.guards.len();
        self.known().put(spelt, Arc::clone(&url), cost);
        Some(url)
    }

    fn known(&self) -> MutexGuard<'_, Recent<Vec<u8>, Arc<Url>>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glob::Globs;
    use crate::query::Rules;

    fn parts() -> Parts<'static> {
        Parts {
            key_prefix: "a",
            scheme: "http",
            host: "h",
            path: "/b/c",
            query: "d",
            only: None,
            charset: None,
        }
    }

    fn site() -> Site {
        Site::new("", String::new(), Globs::default(), Rules::default())
    }

    #[test]
    fn it_is_kept_as_it_was_spelt() {
        let (site, guards, urls) = (site(), Guards::new([1; 32], 100), Urls::new(100, 100_000));
        let of = |parts: &Parts<'_>| urls.of(parts, &site, &guards).unwrap();
        let url = of(&parts());
        assert_eq!(url.digest, parts().digest(&site));
        assert_eq!((url.path.as_str(), url.guards.len()), ("/b/c", 3));
        assert!(Arc::ptr_eq(&url, &of(&parts())));
        let other_host = Parts {
            host: "H",
            ..parts()
        };
        assert!(!Arc::ptr_eq(&url, &of(&other_host)), "spelt in another way");
        assert_eq!(url.digest, of(&other_host).digest);
        let none = Urls::new(0, 0);
        assert!(none.of(&parts(), &site, &guards).is_some());
        assert_eq!(none.known().len(), 0);
    }

    #[test]
    fn where_a_part_ends_tells_urls_apart() {
        let (site, guards, urls) = (site(), Guards::new([1; 32], 100), Urls::new(100, 100_000));
        let globs = Globs::new(vec!["d".into()]);
        let all = [
            parts(),
            Parts {
                key_prefix: "",
                ..parts()
            },
            Parts {
                scheme: "https",
                ..parts()
            },
            Parts {
                host: "h/",
                path: "/b/c",
                ..parts()
            },
            Parts {
                path: "/b/",
                query: "cd",
                ..parts()
            },
            Parts {
                path: "/b/cd",
                query: "",
                ..parts()
            },
            Parts {
                charset: Some("koi8-r"),
                ..parts()
            },
            Parts {
                query: "e=1",
                only: Some(&globs),
                ..parts()
            },
        ];
        for _ in 0..2 {
            for parts in &all {
                let url = urls.of(parts, &site, &guards).unwrap();
                assert_eq!(url.digest, parts.digest(&site), "{parts:?}");
                assert_eq!(url.path, parts.path);
            }
        }
    }

    #[test]
    fn it_is_bounded_and_what_is_too_deep_is_none() {
        let (site, guards, urls) = (site(), Guards::new([1; 32], 10), Urls::new(10, 100_000));
        for n in 0..100 {
            let path = format!("/{n}/");
            let one = Parts {
                path: &path,
                ..parts()
            };
            assert!(urls.of(&one, &site, &guards).is_some());
            assert!(urls.known().len() <= 10);
        }
        let deep = "/a".repeat(scope::DEPTH_LIMIT + 1);
        let deep = Parts {
            path: &deep,
            ..parts()
        };
        assert!(urls.of(&deep, &site, &guards).is_none());
    }
}
