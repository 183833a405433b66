//! The answer of the cache, judged: is the recipe the one that was guessed, may the page be served?

use super::{Found, LookUp, Miss, Scope, Stage, Stale};
use crate::generation::{Verdict, moment_key, verdict};
use crate::recipe::Known;
use crate::record::{self, Page};
use crate::request::Headers;

impl LookUp {
    /// Whether the page can be judged already: the guess was right.
    pub(super) fn receive_recipe(&mut self, found: &dyn Found, headers: &dyn Headers) -> bool {
        let key = &self.request.url.recipe_key;
        let stored = found.bytes(key);
        let opened = stored.and_then(|bytes| self.site.signer.unsign(key, bytes));
        if let (Some(guess), Some(bytes)) = (&self.recipe, opened)
            && guess.record == bytes
        {
            return true;
        }
        let Some(known) = opened.and_then(Known::decode) else {
            self.memory.forget(&self.request.url.digest);
            self.recipe = None;
            self.pages.clear();
            self.stage = Stage::Missed(if stored.is_some() && opened.is_none() {
                Miss::Unsigned
            } else {
                Miss::UnknownUrl
            });
            return false;
        };
        let guessed = self
            .recipe
            .as_ref()
            .is_some_and(|guess| guess.recipe.says_the_same(&known.recipe));
        self.know(known);
        if !guessed {
            self.use_recipe(headers);
            self.stage = Stage::Second;
        }
        guessed
    }

    pub(super) fn judge(&mut self, found: &dyn Found, now: u64) {
        let mut best = Miss::UnknownVariant;
        let mut stale = None;
        let mut moments = Vec::new();
        for at in 0..self.pages.len() {
            let (key, digest) = &self.pages[at];
            let Some(bytes) = found.bytes(key) else {
                continue;
            };
            let Some(bytes) = self.site.signer.unsign(key, bytes) else {
                best = Miss::Unsigned;
                continue;
            };
            let page = if found.checked(key) == Some(bytes.len()) {
                Page::decode_again(bytes)
            } else {
                Page::decode(bytes)
            };
            let Some(page) = page else {
                best = Miss::Damaged;
                continue;
            };
            if self.lacks_scopes_of(&page) {
                if self.stage == Stage::First || self.stage == Stage::Second {
                    self.ask_for_scopes_of(&page);
                    return;
                }
                best = Miss::Damaged;
                continue;
            }
            let standing = self.check(&page, digest, now);
            self.seen = self.seen.max(page.stored_at);
            match standing {
                Standing::Fresh => {
                    self.stage = Stage::Hit(at, page.outline());
                    return;
                }
                Standing::Stale(found) => stale = stale.or(Some((at, page.outline(), found))),
                Standing::Since(keys) => moments.extend(keys),
                Standing::Useless(miss) => best = miss,
            }
        }
        self.stage = if let Some((at, outline, stale)) = stale {
            Stage::Stale(at, outline, stale)
        } else if moments.is_empty() {
            Stage::Missed(best)
        } else {
            self.moments = moments.into_iter().map(|key| (key, None)).collect();
            Stage::Moments
        };
    }

    fn lacks_scopes_of(&self, page: &Page<'_>) -> bool {
        let mut tags = page.tags.iter();
        tags.any(|(tag, _)| self.scopes.get(tag).is_none())
    }

    fn ask_for_scopes_of(&mut self, page: &Page<'_>) {
        for (tag, _) in &page.tags {
            self.scopes.of(tag);
        }
        self.stage = Stage::Third;
    }

    fn check(&self, page: &Page<'_>, digest: &[u8; 32], now: u64) -> Standing {
        let path = self.scopes.of_path();
        if page.fingerprint != *digest || page.generations.len() != path.len() {
            return Standing::Useless(Miss::Damaged);
        }
        let longest = u64::from(page.stale.longest()) * 1000;
        if page.expires_at.saturating_add(longest) <= now {
            return Standing::Useless(Miss::TimedOut);
        }
        if self.request.authorized && page.flags & record::PUBLIC == 0 {
            return Standing::Useless(Miss::NotPublic);
        }
        let of_path = path
            .iter()
            .map(Scope::text)
            .zip(page.generations.iter().copied());
        let stored = of_path.chain(page.tags.iter().copied());
        let current = |text: &str| self.scopes.get(text)?.generation;
        match verdict(stored, current) {
            Verdict::Fresh if now < page.expires_at => Standing::Fresh,
            Verdict::Fresh => Stale::of(page, page.expires_at, now, Miss::TimedOut)
                .map_or(Standing::Useless(Miss::TimedOut), Standing::Stale),
            Verdict::Soft(scopes) => self.softly_expired(page, &scopes, now),
            Verdict::Expired(scope) => Standing::Useless(Miss::Expired(scope.into())),
            Verdict::Absent(text) if self.scopes.get(text).is_some_and(|scope| scope.closed) => {
                Standing::Useless(Miss::Closed(text.into()))
            }
            Verdict::Absent(scope) => Standing::Useless(Miss::GenerationGone(scope.into())),
        }
    }

    /// The page is stale since the first of these expiries. One whose moment nobody knows (any
    /// more) is a hard one.
    fn softly_expired(&self, page: &Page<'_>, scopes: &[(&str, u64)], now: u64) -> Standing {
        let Some((first, _)) = scopes.first() else {
            return Standing::Fresh;
        };
        let expired = Standing::Useless(Miss::Expired((*first).into()));
        if page.stale.longest() == 0 {
            return expired;
        }
        let keys: Vec<String> = scopes
            .iter()
            .filter_map(|(text, stored)| {
                let scope = self.scopes.get(text)?;
                Some(moment_key(scope.key(), stored.saturating_add(1)))
            })
            .collect();
        if self.stage != Stage::Moments {
            return Standing::Since(keys);
        }
        let moment = |key: &String| self.moments.iter().find(|(known, _)| known == key)?.1;
        let moments: Option<Vec<u64>> = keys.iter().map(moment).collect();
        let since = moments.and_then(|moments| moments.into_iter().min());
        let why = Miss::SoftlyExpired((*first).into());
        since
            .and_then(|since| Stale::of(page, since.min(page.expires_at), now, why))
            .map_or(expired, Standing::Stale)
    }
}

/// What a record is good for.
enum Standing {
    Fresh,
    Stale(Stale),
    /// That depends on the moments under these keys.
    Since(Vec<String>),
    Useless(Miss),
}
