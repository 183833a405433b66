//! The lease: from a miss to the entries of its page.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Found, LookUp, Scope};
use crate::key::{Fields, named};
use crate::recipe::{Cookies, Known, Recipe};
use crate::record::{self, Page, Slot, Windows};
use crate::request::{Headers, Method, page_key};
use crate::scope;

/// Scopes that a page may carry beyond those of its path. A page with more is not cached: one
/// that is cached but cannot be checked in one round trip is worse.
pub const TAGS_LIMIT: usize = 512;

/// How much longer than its pages a recipe is kept, so that it is not rewritten with each page.
const RECIPE_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;

/// What the response that is to be stored says.
#[derive(Debug)]
pub struct Response<'a> {
    pub status: u16,
    pub reason: Option<&'a str>,
    /// See [`Page::marks`].
    pub marks: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: &'a [u8],
    pub slots: Vec<Slot<'a>>,
    pub public: bool,
    /// Header names of `Vary`, lower case, without `cookie`.
    pub vary: BTreeSet<String>,
    pub cookies: Cookies,
    /// Seconds.
    pub timeout: u64,
    /// For how much longer it may be served stale.
    pub stale: Windows,
}

/// An entry to set: key, value, and seconds to keep it.
pub type Entry = (String, Vec<u8>, u64);

impl LookUp {
    /// The lease: the key of the turn to render this page. The generations are in it, so an expiry
    /// opens a new turn; so is when the page was stored that was found to be old, so a page that
    /// has come to its end opens one, too, while the turn that led to it may not be over yet.
    #[must_use]
    pub fn turn_key(&self) -> String {
        let mut fields = Fields::new("turn");
        fields.bytes(
            self.pages
                .last()
                .map_or(&self.request.url.digest, |(_, digest)| digest),
        );
        // A HEAD does not lead to the page that a GET waits for.
        fields.count(usize::from(self.request.method == Method::Head));
        fields.bytes(&self.seen.to_le_bytes());
        for scope in self.scopes.used() {
            fields.text(scope.text());
            fields.bytes(&scope.generation.unwrap_or_default().to_le_bytes());
        }
        named("viewcache.t1.", &fields.digest()[..16])
    }

    /// The lease: scopes that the page reads from here on. Their generations are read (see
    /// [`LookUp::unclaimed`]) before the data that they guard.
    pub fn read(&mut self, scopes: &[impl AsRef<str>]) {
        for text in scopes {
            self.scopes.of(text.as_ref()).used = true;
        }
    }

    /// The lease: as [`LookUp::read`], where the generations of all of them have been read. Else
    /// nothing is done, and it is `false`.
    pub fn read_known(&mut self, scopes: &[impl AsRef<str>]) -> bool {
        let known = scopes.iter().all(|text| self.has_read(text.as_ref()));
        if known {
            self.read(scopes);
        }
        known
    }

    /// The lease: scopes that the page may come to read. They do not bind it until it does.
    ///
    /// Those to `remember` become part of the recipe: the next render of this URL asks for them.
    pub fn expect(&mut self, scopes: &[impl AsRef<str>], remember: bool) {
        for text in scopes {
            self.scopes.of(text.as_ref()).remembered |= remember;
        }
    }

    /// The lease: the recipe, widened by the scopes that were read, where no page is stored. A
    /// session that was read makes its cookie a part of it: the next render asks for its scope.
    #[must_use]
    pub fn teach(&mut self, now: u64) -> Entry {
        let mut recipe = self.recipe().cloned().unwrap_or_default();
        let reads_session = self.scopes.used().any(|one| scope::is_session(one.text()));
        let cookie = self.site.session_cookie.clone().filter(|_| reads_session);
        let cookies = Cookies::named(cookie.into_iter().collect());
        recipe = recipe.widened(&BTreeSet::new(), &cookies, &self.remembered());
        self.write(recipe, now, RECIPE_MILLISECONDS)
    }

    /// The entry of a recipe that is kept for so long, and that this process knows from here on.
    fn write(&mut self, mut recipe: Recipe, now: u64, milliseconds: u64) -> Entry {
        recipe.expires_at = now.saturating_add(milliseconds);
        let known = Known::encode(recipe);
        let key = self.request.url.recipe_key.clone();
        let record = self.site.signer.sign(&key, known.record.clone());
        self.know(known);
        (key, record, milliseconds / 1000)
    }

    /// What the store has, or is about to have, as the recipe of this URL.
    pub(super) fn know(&mut self, known: Known) {
        let known = Arc::new(known);
        self.memory.put(self.request.url.digest, Arc::clone(&known));
        self.recipe = Some(known);
    }

    /// A session's scope is one visitor's: the cookie that is in the recipe leads to it.
    fn remembered(&self) -> BTreeSet<String> {
        let beyond_path = self.scopes.beyond_path().iter();
        beyond_path
            .filter(|one| one.used || one.remembered)
            .map(Scope::text)
            .filter(|text| !scope::is_session(text))
            .map(String::from)
            .collect()
    }

    /// Has the generation of this scope been read?
    #[must_use]
    pub fn has_read(&self, text: &str) -> bool {
        let scope = self.scopes.get(text);
        scope.is_some_and(|scope| scope.generation.is_some())
    }

    /// Has the generation of any scope that begins so been read?
    #[must_use]
    pub fn has_read_any(&self, prefix: &str) -> bool {
        let mut all = self.scopes.all().iter();
        all.any(|scope| scope.generation.is_some() && scope.text().starts_with(prefix))
    }

    /// The lease: the first of these scopes whose generation was not known to be there, as it is
    /// now, at that moment ([`crate::guard`]): what was read of it since may be older.
    #[must_use]
    pub fn younger_than<'a>(&self, moment: u64, scopes: &'a [String]) -> Option<&'a str> {
        let is_older = |text: &str| {
            let scope = self.scopes.get(text);
            scope
                .and_then(|scope| Some((&scope.guard, scope.generation?)))
                .is_some_and(|(guard, generation)| guard.is_older(generation, moment))
        };
        scopes
            .iter()
            .map(String::as_str)
            .find(|text| !is_older(text))
    }

    /// The lease: keys of generations that the page needs and that were not there when asked.
    #[must_use]
    pub fn unclaimed(&self) -> Vec<&str> {
        let unread = self.scopes.unread();
        unread.filter(|scope| scope.used).map(Scope::key).collect()
    }

    /// The lease: what was found under keys that [`LookUp::unclaimed`] named.
    pub fn claim(&mut self, found: &dyn Found) {
        self.scopes.read_generations(found);
    }

    /// The entries to set for a response that may be stored: the page, and the recipe where it
    /// says something new or would be forgotten before the page. `Err` says why there are none.
    ///
    /// # Errors
    /// When a generation is missing, a scope is closed or the page has too many tags.
    pub fn store(
        &mut self,
        response: Response<'_>,
        headers: &dyn Headers,
        now: u64,
    ) -> Result<Vec<Entry>, &'static str> {
        let path = self.scopes.of_path();
        let tags = self.scopes.beyond_path().iter();
        let tags: Vec<&Scope> = tags.filter(|scope| scope.used).collect();
        if tags.len() > TAGS_LIMIT {
            return Err("too-many-tags");
        }
        if self.scopes.used().any(|scope| scope.closed) {
            return Err("closed");
        }
        let generations: Option<Vec<u64>> = path.iter().map(|scope| scope.generation).collect();
        let tagged: Option<Vec<(&str, u64)>> = tags
            .iter()
            .map(|scope| Some((scope.text(), scope.generation?)))
            .collect();
        let (Some(generations), Some(tagged)) = (generations, tagged) else {
            return Err("no-generation");
        };
        let names = self.remembered();
        let known = self.recipe().cloned().unwrap_or_default();
        let recipe = known.widened(&response.vary, &response.cookies, &names);
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
            stale: response.stale,
            fingerprint: digest,
            reason: response.reason,
            marks: response.marks,
            generations,
            tags: tagged,
            headers: response.headers,
            slots: response.slots,
            body: response.body,
        };
        let kept = response
            .timeout
            .saturating_add(response.stale.longest().into());
        let key = page_key(&digest);
        let record = self.site.signer.sign(&key, page.encode());
        let mut entries = vec![(key, record, kept)];
        let kept = kept.saturating_mul(1000);
        self.pages = vec![(page_key(&digest), digest)];
        let lasts = self.recipe.is_some() && recipe.expires_at >= now.saturating_add(kept);
        if !lasts || !recipe.says_the_same(&known) {
            // After the page, so that whoever knows the recipe finds it.
            let life = kept.saturating_add(RECIPE_MILLISECONDS);
            entries.push(self.write(recipe, now, life));
        }
        Ok(entries)
    }

    /// The lease: the keys of the generations that are not known, of used scopes and of expected
    /// ones.
    #[must_use]
    pub fn unread(&self) -> Vec<&str> {
        self.scopes.unread().map(Scope::key).collect()
    }
}
