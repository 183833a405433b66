//! One request's way through the cache, as a machine that does no I/O: it says which keys it wants,
//! is told what was found, and ends as a hit or as a lease.
//!
//! ```text
//! begin ─▶ wanted ─▶ receive ─▶ hit
//!            ▲          │
//!            └──────────┤  the recipe was unknown, or another than remembered
//!                       ├▶ stale: may be served for a while; or, as a miss,
//!                       └▶ miss: the lease (unclaimed ─▶ receive) ─▶ store
//! ```
//!
//! The lease is the same object: it holds the generations that were read before the render.

mod judge;
mod lease;
mod miss;
mod scopes;
mod stale;

use std::sync::Arc;

pub use lease::{Entry, Response, TAGS_LIMIT};
pub use miss::Miss;
pub use stale::Stale;

use crate::cookie;
use crate::guard::Guards;
use crate::recipe::{Known, Memory, Recipe};
use crate::record::Outline;
use crate::request::{Headers, Method, Request, Site, page_key};
use crate::scope;
use scopes::{Scope, Scopes};

/// What the cache had under the keys that were wanted.
pub trait Found {
    fn generation(&self, key: &str) -> Option<u64>;
    /// Milliseconds since the epoch.
    fn moment(&self, key: &str) -> Option<u64>;
    fn bytes(&self, key: &str) -> Option<&[u8]>;
    /// How long the record was in these very bytes, if its checksum was found right before.
    fn checked(&self, _key: &str) -> Option<usize> {
        None
    }
    /// Does a mark stand there that the scope has no generation for now?
    fn is_closed(&self, key: &str) -> bool;
}

/// Where the machine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Nothing was asked yet.
    First,
    /// The recipe is known now; the page and the generations of its tags are not.
    Second,
    /// The page has tags that the recipe did not name.
    Third,
    /// The page was softly expired, and it matters when.
    Moments,
    Hit(usize, Outline),
    /// Not fresh, and may be served for a while.
    Stale(usize, Outline, Stale),
    Missed(Miss),
}

/// The machine.
#[derive(Debug)]
pub struct LookUp {
    site: Arc<Site>,
    memory: Arc<Memory>,
    request: Request,
    /// The recipe that the store has, or the remembered one until the store has answered.
    recipe: Option<Arc<Known>>,
    /// Keys and digests of the pages that can answer: GET's, and for HEAD its own, too.
    pages: Vec<(String, [u8; 32])>,
    scopes: Scopes,
    /// Keys of the moments at which the page was softly expired, and those that were there.
    moments: Vec<(String, Option<u64>)>,
    /// When the page was stored that was found, whatever came of it; 0 for none.
    seen: u64,
    stage: Stage,
}

impl LookUp {
    #[must_use]
    pub fn begin(
        site: Arc<Site>,
        memory: Arc<Memory>,
        guards: Arc<Guards>,
        request: Request,
        headers: &dyn Headers,
    ) -> Self {
        let mut this = Self {
            recipe: memory.get(&request.url.digest),
            pages: Vec::new(),
            scopes: Scopes::new(&request.url.guards, guards),
            moments: Vec::new(),
            seen: 0,
            stage: Stage::First,
            site,
            memory,
            request,
        };
        this.use_recipe(headers);
        this
    }

    /// The keys to fetch now, pages and recipes first, then generations. Both are empty when there
    /// is nothing more to ask.
    #[must_use]
    pub fn wanted(&self) -> (Vec<&str>, Vec<&str>) {
        let pages = self.pages.iter().map(|(key, _)| key.as_str());
        match self.stage {
            Stage::First => (
                std::iter::once(self.request.url.recipe_key.as_str())
                    .chain(pages)
                    .collect(),
                self.scopes.all().iter().map(Scope::key).collect(),
            ),
            Stage::Second | Stage::Third => (
                pages.collect(),
                self.scopes.unread().map(Scope::key).collect(),
            ),
            Stage::Moments => (
                pages.collect(),
                self.moments.iter().map(|(key, _)| key.as_str()).collect(),
            ),
            Stage::Hit(..) | Stage::Stale(..) | Stage::Missed(_) => (Vec::new(), Vec::new()),
        }
    }

    /// What was found under the wanted keys.
    pub fn receive(&mut self, found: &dyn Found, headers: &dyn Headers, now: u64) {
        self.scopes.read_generations(found);
        for (key, moment) in &mut self.moments {
            *moment = found.moment(key);
        }
        if self.stage == Stage::First && !self.receive_recipe(found, headers) {
            return;
        }
        if !matches!(
            self.stage,
            Stage::Hit(..) | Stage::Stale(..) | Stage::Missed(_)
        ) {
            self.judge(found, now);
        }
    }

    /// The key of the page that answers, once there is one.
    #[must_use]
    pub fn hit(&self) -> Option<&str> {
        match self.stage {
            Stage::Hit(at, _) => self.pages.get(at).map(|(key, _)| key.as_str()),
            _ => None,
        }
    }

    /// The key of the page that may be served although it is not fresh, and until when.
    #[must_use]
    pub fn stale(&self) -> Option<(&str, &Stale)> {
        match &self.stage {
            Stage::Stale(at, _, stale) => Some((self.pages.get(*at)?.0.as_str(), stale)),
            _ => None,
        }
    }

    /// The key of the page that answers, or may although it is not fresh, and what its record says.
    #[must_use]
    pub fn found(&self) -> Option<(&str, Outline)> {
        match self.stage {
            Stage::Hit(at, outline) | Stage::Stale(at, outline, _) => {
                Some((self.pages.get(at)?.0.as_str(), outline))
            }
            _ => None,
        }
    }

    /// The key of the page that answers, or of the one that was looked for or stored.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.hit()
            .or_else(|| self.stale().map(|(key, _)| key))
            .or_else(|| Some(self.pages.first()?.0.as_str()))
    }

    /// The same request once more, from the beginning.
    #[must_use]
    pub fn again(&self, headers: &dyn Headers) -> Self {
        Self::begin(
            Arc::clone(&self.site),
            Arc::clone(&self.memory),
            Arc::clone(self.scopes.guards()),
            self.request.clone(),
            headers,
        )
    }

    /// The digest of the page that was looked for or stored.
    #[must_use]
    pub fn digest(&self) -> Option<&[u8; 32]> {
        Some(&self.pages.first()?.1)
    }

    #[must_use]
    pub fn miss(&self) -> Option<&Miss> {
        match &self.stage {
            Stage::Missed(miss) => Some(miss),
            Stage::Stale(_, _, stale) => Some(&stale.why),
            _ => None,
        }
    }

    /// The recipe as the store has it.
    #[must_use]
    pub fn recipe(&self) -> Option<&Recipe> {
        self.recipe.as_deref().map(|known| &known.recipe)
    }

    /// Bytes at the end of a stored record that are not the record's own: its signature.
    #[must_use]
    pub fn signature_length(&self) -> usize {
        self.site.signer.length()
    }

    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The scopes that bind the page, and whether each had a generation.
    pub fn used_scopes(&self) -> impl Iterator<Item = (&str, bool)> {
        self.scopes
            .used()
            .map(|scope| (scope.text(), scope.generation.is_some()))
    }

    /// Derives the page's keys and the scopes to ask for from the recipe that is known.
    fn use_recipe(&mut self, headers: &dyn Headers) {
        self.pages.clear();
        let Some(known) = self.recipe.clone() else {
            return;
        };
        let recipe = &known.recipe;
        let methods: &[Method] = match self.request.method {
            Method::Get => &[Method::Get],
            Method::Head => &[Method::Get, Method::Head],
        };
        for method in methods {
            let digest = self
                .request
                .digest(*method, recipe, headers, &self.site.ignored_cookies);
            self.pages.push((page_key(&digest), digest));
        }
        for tag in &recipe.tags {
            self.scopes.of(tag);
        }
        // Who has a page of one session alone is bound to that session. A spelling of the cookie
        // that Django reads otherwise names another scope here: what was read binds the page, too.
        let cookie = self.site.session_of(&recipe.cookies);
        let header = cookie.map(|name| (name, headers.cookies().read));
        if let Some((name, header)) = &header
            && let Some(session) = cookie::value(header, name)
            && !session.is_empty()
        {
            self.scopes.of(&scope::of_session(session)).used = true;
        }
    }
}

#[cfg(test)]
mod tests;
