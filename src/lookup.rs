//! One request's way through the cache, as a machine that does no I/O: it says which keys it wants,
//! is told what was found, and ends as a hit or as a lease.
//!
//! ```text
//! begin ─▶ wanted ─▶ receive ─▶ hit
//!            ▲          │
//!            └──────────┤  the recipe was unknown, or another than remembered
//!                       └▶ miss: the lease (unclaimed ─▶ receive) ─▶ store
//! ```
//!
//! The lease is the same object: it holds the generations that were read before the render.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::generation::{Verdict, verdict};
use crate::key::{Fields, hex};
use crate::recipe::{Cookies, Memory, Recipe};
use crate::record::{self, Page, Slot};
use crate::request::{Headers, Method, Request, Site, page_key};
use crate::scope;

/// Scopes that a page may carry beyond those of its path. A page with more is not cached: one
/// that is cached but cannot be checked in one round trip is worse.
pub const TAGS_LIMIT: usize = 512;

/// How much longer than its pages a recipe is kept, so that it is not rewritten with each page.
const RECIPE_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;

/// What the cache had under the keys that were wanted.
pub trait Found {
    fn generation(&self, key: &str) -> Option<u64>;
    fn bytes(&self, key: &str) -> Option<&[u8]>;
}

/// Why there is no page for this request. The words that a person is shown are made in Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// No response of this URL has been stored (or its recipe is gone).
    UnknownUrl,
    /// The URL is known; this variant of it is not.
    UnknownVariant,
    /// A scope was expired since the page was stored.
    Expired(String),
    /// A scope has no generation any more.
    GenerationGone(String),
    /// Its time is over.
    TimedOut,
    /// What lies under the key is no record, or one of another request.
    Damaged,
    /// The request carries `Authorization` and the page does not say `public`.
    NotPublic,
}

impl Miss {
    /// A code for logs and headers, and the scope that it is about.
    #[must_use]
    pub fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::UnknownUrl => ("uri-miss", None),
            Self::UnknownVariant => ("vary-miss", None),
            Self::Expired(scope) => ("expired", Some(scope)),
            Self::GenerationGone(scope) => ("generation-gone", Some(scope)),
            Self::TimedOut => ("timed-out", None),
            Self::Damaged => ("damaged", None),
            Self::NotPublic => ("not-public", None),
        }
    }
}

/// A scope of this request's page, and what its generation was when it was read.
#[derive(Debug, Clone)]
struct Scope {
    text: String,
    key: String,
    generation: Option<u64>,
    /// The page reads it. Those that only a recipe hinted at do not bind the page.
    used: bool,
    /// It is part of the recipe that this request teaches, though it does not bind its page.
    remembered: bool,
}

/// What the response that is to be stored says.
#[derive(Debug)]
pub struct Response<'a> {
    pub status: u16,
    pub reason: Option<&'a str>,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: &'a [u8],
    pub slots: Vec<Slot<'a>>,
    pub public: bool,
    /// Header names of `Vary`, lower case, without `cookie`.
    pub vary: BTreeSet<String>,
    pub cookies: Cookies,
    /// Seconds.
    pub timeout: u64,
}

/// An entry to set: key, value, and seconds to keep it.
pub type Entry = (String, Vec<u8>, u64);

/// Where the machine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Nothing was asked yet.
    First,
    /// The recipe is known now; the page and the generations of its tags are not.
    Second,
    /// The page has tags that the recipe did not name.
    Third,
    Hit(usize),
    Missed(Miss),
}

/// The machine.
#[derive(Debug)]
pub struct LookUp {
    site: Arc<Site>,
    memory: Arc<Memory>,
    request: Request,
    recipe_key: String,
    /// The recipe that the store has, or the remembered one until the store has answered.
    recipe: Option<Arc<Recipe>>,
    /// Keys and digests of the pages that can answer: GET's, and for HEAD its own, too.
    pages: Vec<(String, [u8; 32])>,
    /// Those of the path first.
    scopes: Vec<Scope>,
    path_scopes: usize,
    stage: Stage,
}

impl LookUp {
    /// `None` when the path is beyond the limits of what is cached.
    pub fn begin(
        site: Arc<Site>,
        memory: Arc<Memory>,
        request: Request,
        headers: &dyn Headers,
    ) -> Option<Self> {
        let chain = scope::chain(&request.path)?;
        let mut this = Self {
            recipe_key: request.recipe_key(),
            recipe: memory.get(&request.url),
            pages: Vec::new(),
            scopes: Vec::with_capacity(chain.len() + 4),
            path_scopes: chain.len(),
            stage: Stage::First,
            site,
            memory,
            request,
        };
        for text in chain {
            this.add_scope(text, true);
        }
        this.use_recipe(headers);
        Some(this)
    }

    /// The keys to fetch now, pages and recipes first, then generations. Both are empty when there
    /// is nothing more to ask.
    #[must_use]
    pub fn wanted(&self) -> (Vec<&str>, Vec<&str>) {
        let pages = self.pages.iter().map(|(key, _)| key.as_str());
        match self.stage {
            Stage::First => (
                std::iter::once(self.recipe_key.as_str())
                    .chain(pages)
                    .collect(),
                self.scopes.iter().map(|scope| scope.key.as_str()).collect(),
            ),
            Stage::Second | Stage::Third => (pages.collect(), self.unread()),
            Stage::Hit(_) | Stage::Missed(_) => (Vec::new(), Vec::new()),
        }
    }

    /// What was found under the wanted keys.
    pub fn receive(&mut self, found: &dyn Found, headers: &dyn Headers, now: u64) {
        self.read_generations(found);
        if self.stage == Stage::First && !self.receive_recipe(found, headers) {
            return;
        }
        if !matches!(self.stage, Stage::Hit(_) | Stage::Missed(_)) {
            self.judge(found, now);
        }
    }

    /// The key of the page that answers, once there is one.
    #[must_use]
    pub fn hit(&self) -> Option<&str> {
        match self.stage {
            Stage::Hit(at) => self.pages.get(at).map(|(key, _)| key.as_str()),
            _ => None,
        }
    }

    /// The key of the page that answers, or of the one that was looked for or stored.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.hit().or_else(|| Some(self.pages.first()?.0.as_str()))
    }

    #[must_use]
    pub fn miss(&self) -> Option<&Miss> {
        match &self.stage {
            Stage::Missed(miss) => Some(miss),
            _ => None,
        }
    }

    /// The recipe as the store has it.
    #[must_use]
    pub fn recipe(&self) -> Option<&Recipe> {
        self.recipe.as_deref()
    }

    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The scopes that bind the page, and whether each had a generation.
    pub fn used_scopes(&self) -> impl Iterator<Item = (&str, bool)> {
        self.scopes
            .iter()
            .filter(|s| s.used)
            .map(|s| (s.text.as_str(), s.generation.is_some()))
    }

    /// The lease: the key of the turn to render this page. The generations are in it, so an expiry
    /// opens a new turn.
    #[must_use]
    pub fn turn_key(&self) -> String {
        let mut fields = Fields::new("turn");
        fields.bytes(
            self.pages
                .first()
                .map_or(&self.request.url, |(_, digest)| digest),
        );
        for scope in self.scopes.iter().filter(|scope| scope.used) {
            fields.text(&scope.text);
            fields.bytes(&scope.generation.unwrap_or_default().to_le_bytes());
        }
        format!("viewcache.t1.{}", hex(&fields.digest()[..16]))
    }

    /// The lease: scopes that the page reads from here on. Their generations are read (see
    /// [`LookUp::unclaimed`]) before the data that they guard.
    pub fn read(&mut self, scopes: Vec<String>) {
        for text in scopes {
            match self.scopes.iter_mut().find(|scope| scope.text == text) {
                Some(scope) => scope.used = true,
                None => self.add_scope(text, true),
            }
        }
    }

    /// The lease: scopes that the page may come to read. They do not bind it until it does.
    ///
    /// Those to `remember` become part of the recipe: the next render of this URL asks for them.
    pub fn expect(&mut self, scopes: Vec<String>, remember: bool) {
        for text in scopes {
            if !self.scopes.iter().any(|scope| scope.text == text) {
                self.add_scope(text.clone(), false);
            }
            if let Some(scope) = self.scopes.iter_mut().find(|scope| scope.text == text) {
                scope.remembered |= remember;
            }
        }
    }

    /// The lease: the recipe, widened by the scopes that were read, where no page is stored.
    #[must_use]
    pub fn teach(&mut self, now: u64) -> Entry {
        let mut recipe = self.recipe.as_deref().cloned().unwrap_or_default();
        recipe = recipe.widened(&BTreeSet::new(), &Cookies::None, &self.remembered());
        recipe.expires_at = now.saturating_add(RECIPE_MILLISECONDS);
        let entry = (
            self.recipe_key.clone(),
            recipe.encode(),
            RECIPE_MILLISECONDS / 1000,
        );
        let recipe = Arc::new(recipe);
        self.memory.put(self.request.url, Arc::clone(&recipe));
        self.recipe = Some(recipe);
        entry
    }

    fn remembered(&self) -> BTreeSet<String> {
        let beyond_path = self.scopes.iter().skip(self.path_scopes);
        beyond_path
            .filter(|scope| scope.used || scope.remembered)
            .map(|scope| scope.text.clone())
            .collect()
    }

    /// Has the generation of this scope been read?
    #[must_use]
    pub fn has_read(&self, text: &str) -> bool {
        self.scopes
            .iter()
            .any(|scope| scope.text == text && scope.generation.is_some())
    }

    /// The lease: keys of generations that the page needs and that were not there when asked.
    #[must_use]
    pub fn unclaimed(&self) -> Vec<&str> {
        self.scopes
            .iter()
            .filter(|s| s.used && s.generation.is_none())
            .map(|s| s.key.as_str())
            .collect()
    }

    /// The lease: what was found under keys that [`LookUp::unclaimed`] named.
    pub fn claim(&mut self, found: &dyn Found) {
        self.read_generations(found);
    }

    /// The entries to set for a response that may be stored: the page, and the recipe where it
    /// says something new or would be forgotten before the page. `Err` says why there are none.
    ///
    /// # Errors
    /// When a generation is missing or the page has too many tags.
    pub fn store(
        &mut self,
        response: Response<'_>,
        headers: &dyn Headers,
        now: u64,
    ) -> Result<Vec<Entry>, &'static str> {
        let used: Vec<&Scope> = self.scopes.iter().filter(|scope| scope.used).collect();
        let (path, tags) = used.split_at(self.path_scopes.min(used.len()));
        if tags.len() > TAGS_LIMIT {
            return Err("too-many-tags");
        }
        let generations: Option<Vec<u64>> = path.iter().map(|scope| scope.generation).collect();
        let tagged: Option<Vec<(&str, u64)>> = tags
            .iter()
            .map(|scope| Some((scope.text.as_str(), scope.generation?)))
            .collect();
        let (Some(generations), Some(tagged)) = (generations, tagged) else {
            return Err("no-generation");
        };
        let names = self.remembered();
        let known = self.recipe.as_deref().cloned().unwrap_or_default();
        let mut recipe = known.widened(&response.vary, &response.cookies, &names);
        let timeout = response.timeout.saturating_mul(1000);
        let digest = self.request.digest(
            self.request.method,
            &recipe,
            headers,
            &self.site.ignored_cookies,
        );
        let page = Page {
            flags: if response.public { record::PUBLIC } else { 0 },
            status: response.status,
            stored_at: now,
            expires_at: now.saturating_add(timeout),
            fingerprint: digest,
            reason: response.reason,
            generations,
            tags: tagged,
            headers: response.headers,
            slots: response.slots,
            body: response.body,
        };
        let mut entries = vec![(page_key(&digest), page.encode(), response.timeout)];
        self.pages = vec![(page_key(&digest), digest)];
        let lasts = self.recipe.is_some() && recipe.expires_at >= now.saturating_add(timeout);
        if !lasts || !recipe.says_the_same(&known) {
            let life = timeout.saturating_add(RECIPE_MILLISECONDS);
            recipe.expires_at = now.saturating_add(life);
            // After the page, so that whoever knows the recipe finds it.
            entries.push((self.recipe_key.clone(), recipe.encode(), life / 1000));
        }
        let recipe = Arc::new(recipe);
        self.memory.put(self.request.url, Arc::clone(&recipe));
        self.recipe = Some(recipe);
        Ok(entries)
    }

    fn add_scope(&mut self, text: String, used: bool) {
        let key = scope::key(&self.site.id, &text);
        self.scopes.push(Scope {
            text,
            key,
            generation: None,
            used,
            remembered: false,
        });
    }

    /// Derives the page's keys and the scopes to ask for from the recipe that is known.
    fn use_recipe(&mut self, headers: &dyn Headers) {
        self.pages.clear();
        let Some(recipe) = self.recipe.clone() else {
            return;
        };
        let methods: &[Method] = match self.request.method {
            Method::Get => &[Method::Get],
            Method::Head => &[Method::Get, Method::Head],
        };
        for method in methods {
            let digest = self
                .request
                .digest(*method, &recipe, headers, &self.site.ignored_cookies);
            self.pages.push((page_key(&digest), digest));
        }
        for tag in &recipe.tags {
            if !self.scopes.iter().any(|scope| scope.text == *tag) {
                self.add_scope(tag.clone(), false);
            }
        }
    }

    /// The keys of the generations that are not known, of used scopes and of expected ones.
    #[must_use]
    pub fn unread(&self) -> Vec<&str> {
        self.scopes
            .iter()
            .filter(|s| s.generation.is_none())
            .map(|s| s.key.as_str())
            .collect()
    }

    /// A generation that was read once stands: reading it again later could only be younger than
    /// data that was read in between.
    fn read_generations(&mut self, found: &dyn Found) {
        for scope in &mut self.scopes {
            if scope.generation.is_none() {
                scope.generation = found.generation(&scope.key);
            }
        }
    }

    /// Whether the page can be judged already: the guess was right.
    fn receive_recipe(&mut self, found: &dyn Found, headers: &dyn Headers) -> bool {
        let Some(recipe) = found.bytes(&self.recipe_key).and_then(Recipe::decode) else {
            self.memory.forget(&self.request.url);
            self.recipe = None;
            self.pages.clear();
            self.stage = Stage::Missed(Miss::UnknownUrl);
            return false;
        };
        let guessed = self
            .recipe
            .as_ref()
            .is_some_and(|guess| guess.says_the_same(&recipe));
        let recipe = Arc::new(recipe);
        if !guessed {
            self.memory.put(self.request.url, Arc::clone(&recipe));
        }
        self.recipe = Some(recipe);
        if !guessed {
            self.use_recipe(headers);
            self.stage = Stage::Second;
        }
        guessed
    }

    fn judge(&mut self, found: &dyn Found, now: u64) {
        let mut best = Miss::UnknownVariant;
        for (at, (key, digest)) in self.pages.iter().enumerate() {
            let Some(bytes) = found.bytes(key) else {
                continue;
            };
            let Some(page) = Page::decode(bytes) else {
                best = Miss::Damaged;
                continue;
            };
            if page
                .tags
                .iter()
                .any(|(tag, _)| !self.scopes.iter().any(|s| s.text == *tag))
            {
                if self.stage == Stage::Third {
                    best = Miss::Damaged;
                    continue;
                }
                let tags: Vec<String> = page
                    .tags
                    .iter()
                    .map(|(tag, _)| (*tag).to_string())
                    .collect();
                for tag in tags {
                    if !self.scopes.iter().any(|scope| scope.text == tag) {
                        self.add_scope(tag, false);
                    }
                }
                self.stage = Stage::Third;
                return;
            }
            match self.check(&page, digest, now) {
                Ok(()) => {
                    self.stage = Stage::Hit(at);
                    return;
                }
                Err(miss) => best = miss,
            }
        }
        self.stage = Stage::Missed(best);
    }

    fn check(&self, page: &Page<'_>, digest: &[u8; 32], now: u64) -> Result<(), Miss> {
        let path = &self.scopes[..self.path_scopes];
        if page.fingerprint != *digest || page.generations.len() != path.len() {
            return Err(Miss::Damaged);
        }
        if page.expires_at <= now {
            return Err(Miss::TimedOut);
        }
        if self.request.authorized && page.flags & record::PUBLIC == 0 {
            return Err(Miss::NotPublic);
        }
        let of_path = path
            .iter()
            .map(|s| s.text.as_str())
            .zip(page.generations.iter().copied());
        let stored = of_path.chain(page.tags.iter().copied());
        let current = |text: &str| self.scopes.iter().find(|s| s.text == text)?.generation;
        match verdict(stored, current) {
            Verdict::Fresh => Ok(()),
            Verdict::Expired(scope) => Err(Miss::Expired(scope.into())),
            Verdict::Absent(scope) => Err(Miss::GenerationGone(scope.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::glob::Globs;
    use crate::query;

    #[derive(Default)]
    struct Cache {
        bytes: HashMap<String, Vec<u8>>,
        generations: HashMap<String, u64>,
    }

    impl Found for Cache {
        fn generation(&self, key: &str) -> Option<u64> {
            self.generations.get(key).copied()
        }
        fn bytes(&self, key: &str) -> Option<&[u8]> {
            self.bytes.get(key).map(Vec::as_slice)
        }
    }

    struct CookieOnly(&'static str);

    impl Headers for CookieOnly {
        fn get(&self, name: &str) -> Option<String> {
            (name == "cookie").then(|| self.0.into())
        }
    }

    struct World {
        site: Arc<Site>,
        memory: Arc<Memory>,
        cache: Cache,
        next: u64,
    }

    impl World {
        fn new() -> Self {
            Self {
                site: Arc::new(Site::new(
                    "",
                    String::new(),
                    Globs::default(),
                    query::Rules::default(),
                )),
                memory: Arc::new(Memory::new(100, 100_000)),
                cache: Cache::default(),
                next: 0,
            }
        }

        fn token(&mut self) -> u64 {
            self.next += 1;
            self.next
        }

        /// The machine after all its round trips, and how many there were.
        fn look_up(&self, cookie: &'static str, now: u64) -> (LookUp, usize) {
            let request = Request {
                url: [9; 32],
                path: "/a/b".into(),
                method: Method::Get,
                language: None,
                zone: None,
                authorized: false,
            };
            let (site, memory) = (Arc::clone(&self.site), Arc::clone(&self.memory));
            let headers = CookieOnly(cookie);
            let mut lookup = LookUp::begin(site, memory, request, &headers).unwrap();
            let mut trips = 0;
            while !lookup.wanted().0.is_empty() {
                lookup.receive(&self.cache, &headers, now);
                trips += 1;
                assert!(trips < 4);
            }
            (lookup, trips)
        }

        fn claim(&mut self, lookup: &mut LookUp) {
            let keys: Vec<String> = lookup.unclaimed().into_iter().map(String::from).collect();
            for key in keys {
                let token = self.token();
                self.cache.generations.entry(key).or_insert(token);
            }
            lookup.claim(&self.cache);
        }

        fn store(
            &mut self,
            lookup: &mut LookUp,
            cookie: &'static str,
            cookies: Cookies,
            now: u64,
        ) -> usize {
            let response = Response {
                status: 200,
                reason: None,
                headers: vec![],
                body: b"body",
                slots: vec![],
                public: false,
                vary: BTreeSet::new(),
                cookies,
                timeout: 60,
            };
            let entries = lookup.store(response, &CookieOnly(cookie), now).unwrap();
            let count = entries.len();
            for (key, value, _) in entries {
                self.cache.bytes.insert(key, value);
            }
            count
        }

        fn expire(&mut self, scope: &str) {
            let token = self.token();
            self.cache
                .generations
                .insert(scope::key(&self.site.id, scope), token);
        }
    }

    fn theme() -> Cookies {
        Cookies::Named(["theme".to_string()].into())
    }

    #[test]
    fn a_page_is_found_in_one_trip_once_the_url_is_known() {
        let mut world = World::new();
        let (mut lease, trips) = world.look_up("x=1", 0);
        assert_eq!((lease.miss(), trips), (Some(&Miss::UnknownUrl), 1));
        world.claim(&mut lease);
        assert_eq!(world.store(&mut lease, "x=1", Cookies::None, 0), 2);
        assert_eq!(world.look_up("x=2", 0).1, 1);
        assert!(world.look_up("x=2", 0).0.hit().is_some());
        world.memory = Arc::new(Memory::new(100, 100_000));
        let (found, trips) = world.look_up("x=3", 0);
        assert_eq!((found.hit().is_some(), trips), (true, 2));
        assert_eq!(world.look_up("", 60_000).0.miss(), Some(&Miss::TimedOut));
    }

    #[test]
    fn every_scope_of_the_page_expires_it() {
        for scope in ["path:/a/b", "tree:/a/", "tree:/", "tag:t"] {
            let mut world = World::new();
            let (mut lease, _) = world.look_up("", 0);
            lease.read(vec!["tag:t".into()]);
            world.claim(&mut lease);
            world.store(&mut lease, "", Cookies::None, 0);
            assert!(world.look_up("", 0).0.hit().is_some());
            world.expire("path:/a");
            world.expire("tree:/a/b/");
            assert!(world.look_up("", 0).0.hit().is_some());
            world.expire(scope);
            assert_eq!(
                world.look_up("", 0).0.miss(),
                Some(&Miss::Expired(scope.into()))
            );
            world.cache.generations.clear();
            assert!(matches!(
                world.look_up("", 0).0.miss(),
                Some(Miss::GenerationGone(_))
            ));
        }
    }

    #[test]
    fn an_expiry_during_the_render_outlives_the_store() {
        let mut world = World::new();
        let (mut lease, _) = world.look_up("", 0);
        world.claim(&mut lease);
        world.expire("path:/a/b");
        world.store(&mut lease, "", Cookies::None, 0);
        assert_eq!(
            world.look_up("", 0).0.miss(),
            Some(&Miss::Expired("path:/a/b".into()))
        );
    }

    #[test]
    fn a_lease_without_generations_stores_nothing() {
        let mut world = World::new();
        let (mut lease, _) = world.look_up("", 0);
        lease.claim(&Cache::default());
        let response = Response {
            status: 200,
            reason: None,
            headers: vec![],
            body: b"",
            slots: vec![],
            public: false,
            vary: BTreeSet::new(),
            cookies: Cookies::None,
            timeout: 1,
        };
        assert_eq!(
            lease.store(response, &CookieOnly(""), 0),
            Err("no-generation")
        );
        world.claim(&mut lease);
        assert_eq!(world.store(&mut lease, "", Cookies::None, 0), 2);
    }

    #[test]
    fn a_wider_recipe_is_learnt_and_never_forgotten() {
        let mut world = World::new();
        let (mut lease, _) = world.look_up("theme=dark", 0);
        world.claim(&mut lease);
        world.store(&mut lease, "theme=dark", theme(), 0);
        assert_eq!(
            world.look_up("theme=light", 0).0.miss(),
            Some(&Miss::UnknownVariant)
        );
        assert!(world.look_up("b=1; theme=dark", 0).0.hit().is_some());
        let (mut lease, _) = world.look_up("theme=light", 0);
        assert_eq!(world.store(&mut lease, "theme=light", Cookies::None, 0), 1);
        assert!(world.look_up("theme=light", 0).0.hit().is_some());
        assert!(world.look_up("", 0).0.hit().is_none());
    }

    #[test]
    fn another_process_widening_the_recipe_costs_a_trip_and_no_wrong_page() {
        let mut world = World::new();
        let (mut lease, _) = world.look_up("theme=dark", 0);
        world.claim(&mut lease);
        world.store(&mut lease, "theme=dark", Cookies::None, 0);
        let mine = Arc::clone(&world.memory);
        world.memory = Arc::new(Memory::new(100, 100_000));
        let (mut lease, _) = world.look_up("theme=dark", 0);
        lease.read(vec!["tag:new".into()]);
        world.claim(&mut lease);
        world.store(&mut lease, "theme=dark", theme(), 0);
        world.memory = mine;
        let (found, trips) = world.look_up("theme=light", 0);
        assert_eq!((found.miss(), trips), (Some(&Miss::UnknownVariant), 2));
        let (found, trips) = world.look_up("theme=dark", 0);
        assert_eq!((found.hit().is_some(), trips), (true, 1));
    }

    #[test]
    fn tags_that_the_recipe_does_not_name_are_asked_for() {
        let mut world = World::new();
        let (mut lease, _) = world.look_up("", 0);
        lease.read(vec!["tag:t".into()]);
        world.claim(&mut lease);
        world.store(&mut lease, "", Cookies::None, 0);
        let key = lease.request().recipe_key();
        let recipe = Recipe {
            tags: BTreeSet::new(),
            ..Recipe::decode(&world.cache.bytes[&key]).unwrap()
        };
        world.cache.bytes.insert(key, recipe.encode());
        world.memory = Arc::new(Memory::new(100, 100_000));
        let (found, trips) = world.look_up("", 0);
        assert_eq!((found.hit().is_some(), trips), (true, 3));
        world.expire("tag:t");
        assert_eq!(
            world.look_up("", 0).0.miss(),
            Some(&Miss::Expired("tag:t".into()))
        );
    }

    #[test]
    fn a_swapped_or_damaged_entry_is_a_miss() {
        let mut world = World::new();
        for cookie in ["theme=dark", "theme=light"] {
            let (mut lease, _) = world.look_up(cookie, 0);
            world.claim(&mut lease);
            world.store(&mut lease, cookie, theme(), 0);
        }
        let dark = world.look_up("theme=dark", 0).0.hit().unwrap().to_string();
        let light = world.look_up("theme=light", 0).0.hit().unwrap().to_string();
        let swapped = world.cache.bytes[&dark].clone();
        world.cache.bytes.insert(light.clone(), swapped);
        assert_eq!(
            world.look_up("theme=light", 0).0.miss(),
            Some(&Miss::Damaged)
        );
        world.cache.bytes.insert(light, b"junk".to_vec());
        assert_eq!(
            world.look_up("theme=light", 0).0.miss(),
            Some(&Miss::Damaged)
        );
    }
}
