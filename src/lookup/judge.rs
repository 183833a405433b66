//! The answer of the cache, judged: is the recipe the one that was guessed, may the page be served?

use std::sync::Arc;

use super::{Found, LookUp, Miss, Stage};
use crate::generation::{Verdict, verdict};
use crate::recipe::Recipe;
use crate::record::{self, Page};
use crate::request::Headers;

impl LookUp {
    /// Whether the page can be judged already: the guess was right.
    pub(super) fn receive_recipe(&mut self, found: &dyn Found, headers: &dyn Headers) -> bool {
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

    pub(super) fn judge(&mut self, found: &dyn Found, now: u64) {
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
            Verdict::Absent(text) if self.scopes.iter().any(|s| s.text == text && s.closed) => {
                Err(Miss::Closed(text.into()))
            }
            Verdict::Absent(scope) => Err(Miss::GenerationGone(scope.into())),
        }
    }
}
