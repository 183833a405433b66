//! The machine against a cache in memory: no Python, no I/O.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::*;
use crate::generation::moment_key;
use crate::glob::Globs;
use crate::query;
use crate::recipe::Cookies;
use crate::record::Windows;
use crate::scope;
use crate::signer::Signer;
use crate::url::Url;

#[derive(Default)]
struct Cache {
    bytes: HashMap<String, Vec<u8>>,
    generations: HashMap<String, u64>,
    closed: HashSet<String>,
    moments: HashMap<String, u64>,
    checked: HashMap<String, usize>,
}

impl Found for Cache {
    fn generation(&self, key: &str) -> Option<u64> {
        self.generations.get(key).copied()
    }
    fn moment(&self, key: &str) -> Option<u64> {
        self.moments.get(key).copied()
    }
    fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.bytes.get(key).map(Vec::as_slice)
    }
    fn checked(&self, key: &str) -> Option<usize> {
        self.checked.get(key).copied()
    }
    fn is_closed(&self, key: &str) -> bool {
        self.closed.contains(key)
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
    guards: Arc<Guards>,
    cache: Cache,
    next: u64,
    stale: Windows,
    /// Does the request carry `Authorization`, and did the response say `public`?
    authorized: bool,
    public: bool,
}

impl World {
    fn new() -> Self {
        let site = Site::new("", String::new(), Globs::default(), query::Rules::default());
        Self {
            memory: Arc::new(Memory::new(100, 100_000)),
            guards: Arc::new(Guards::new(site.id, 100)),
            site: Arc::new(site),
            cache: Cache::default(),
            next: 0,
            stale: Windows::default(),
            authorized: false,
            public: false,
        }
    }

    fn token(&mut self) -> u64 {
        self.next += 1;
        self.next << 8
    }

    /// The machine after all its round trips, and how many there were.
    fn look_up(&self, cookie: &'static str, now: u64) -> (LookUp, usize) {
        let request = Request {
            url: Url::new([9; 32], "/a/b", &self.guards).unwrap().into(),
            method: Method::Get,
            language: None,
            zone: None,
            authorized: self.authorized,
        };
        let headers = CookieOnly(cookie);
        let mut lookup = LookUp::begin(
            Arc::clone(&self.site),
            Arc::clone(&self.memory),
            Arc::clone(&self.guards),
            request,
            &headers,
        );
        let mut trips = 0;
        while !lookup.wanted().0.is_empty() {
            lookup.receive(&self.cache, &headers, now);
            trips += 1;
            assert!(trips < 5);
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
            marks: "",
            headers: vec![],
            body: b"body",
            slots: vec![],
            public: self.public,
            vary: BTreeSet::new(),
            cookies,
            timeout: 60,
            stale: self.stale,
        };
        let entries = lookup.store(response, &CookieOnly(cookie), now).unwrap();
        let count = entries.len();
        for (key, value, _) in entries {
            self.cache.bytes.insert(key, value);
        }
        count
    }

    /// Stores a page that may be served stale, at the beginning of time.
    fn store_page(&mut self, tags: &[&str]) {
        self.stale = Windows {
            while_revalidate: 30,
            if_error: 300,
        };
        let (mut lease, _) = self.look_up("", 0);
        lease.read(tags);
        self.claim(&mut lease);
        self.store(&mut lease, "", Cookies::None, 0);
    }

    fn soften(&mut self, scope: &str, now: u64) {
        let key = scope::key(&self.site.id, scope);
        let generation = self.cache.generations.get_mut(&key).unwrap();
        *generation += 1;
        let moment = moment_key(&key, *generation);
        self.cache.moments.insert(moment, now);
    }

    /// May the page be served while another renders it, in place of an error, and since when?
    fn stale(&self, now: u64) -> Option<(bool, bool, u64)> {
        let (found, _) = self.look_up("", now);
        assert!(found.hit().is_none());
        let (_, stale) = found.stale()?;
        Some((stale.while_revalidate, stale.if_error, stale.since))
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
fn what_was_read_before_the_look_up_needs_a_generation_from_before_the_request() {
    let row = ["row:t:1".to_string()];
    let mut world = World::new();
    let read_early = |world: &mut World, moment| {
        let (mut lease, _) = world.look_up("", 0);
        lease.read(&row);
        world.claim(&mut lease);
        lease.younger_than(moment, &row).map(String::from)
    };
    let start = world.guards.moment();
    assert!(
        read_early(&mut world, start).is_some(),
        "seen at the look-up only"
    );
    let moment = world.guards.moment();
    assert_eq!(read_early(&mut world, moment), None);
    assert!(read_early(&mut world, start).is_some(), "an older request");
    let moment = world.guards.moment();
    world.expire("row:t:1");
    assert!(
        read_early(&mut world, moment).is_some(),
        "expired in between"
    );
    let moment = world.guards.moment();
    assert_eq!(read_early(&mut world, moment), None);
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
fn with_authorization_only_public_pages_answer() {
    for public in [false, true] {
        let mut world = World::new();
        world.public = public;
        world.store_page(&[]);
        assert!(world.look_up("", 1).0.hit().is_some());
        world.authorized = true;
        let (found, _) = world.look_up("", 1);
        assert_eq!(found.hit().is_some(), public);
        assert_eq!(found.miss() == Some(&Miss::NotPublic), !public);
    }
}

#[test]
fn every_scope_of_the_page_expires_it() {
    for scope in ["path:/a/b", "tree:/a/", "tree:/", "tag:t"] {
        let mut world = World::new();
        let (mut lease, _) = world.look_up("", 0);
        lease.read(&["tag:t"]);
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

fn try_store(lease: &mut LookUp) -> Result<Vec<Entry>, &'static str> {
    let response = Response {
        status: 200,
        reason: None,
        marks: "",
        headers: vec![],
        body: b"",
        slots: vec![],
        public: false,
        vary: BTreeSet::new(),
        cookies: Cookies::None,
        timeout: 1,
        stale: Windows::default(),
    };
    lease.store(response, &CookieOnly(""), 0)
}

#[test]
fn a_lease_without_generations_stores_nothing() {
    let mut world = World::new();
    let (mut lease, _) = world.look_up("", 0);
    lease.claim(&Cache::default());
    assert_eq!(try_store(&mut lease), Err("no-generation"));
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
    lease.read(&["tag:new"]);
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
    lease.read(&["tag:t"]);
    world.claim(&mut lease);
    world.store(&mut lease, "", Cookies::None, 0);
    let key = lease.request().url.recipe_key.clone();
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

#[test]
fn a_scope_that_is_closed_when_it_is_read_stays_so_for_the_lease() {
    let mut world = World::new();
    let key = scope::key(&world.site.id, "tree:/");
    let token = world.token();
    world.cache.generations.insert(key.clone(), token);
    let (mut lease, _) = world.look_up("", 0);
    world.claim(&mut lease);
    world.store(&mut lease, "", Cookies::None, 0);
    world.cache.generations.remove(&key);
    world.cache.closed.insert(key.clone());
    let (mut lease, _) = world.look_up("", 0);
    assert_eq!(lease.miss(), Some(&Miss::Closed("tree:/".into())));
    // It opens while the page is made: data that was read before may be old.
    world.cache.closed.clear();
    let opened = world.token();
    world.cache.generations.insert(key, opened);
    assert_eq!(lease.unclaimed(), Vec::<&str>::new());
    world.claim(&mut lease);
    lease.read(&["tag:t"]);
    world.claim(&mut lease);
    assert_eq!(try_store(&mut lease), Err("closed"));
    assert_eq!(
        world.look_up("", 0).0.miss(),
        Some(&Miss::Expired("tree:/".into()))
    );
}

#[test]
fn a_page_past_its_time_is_stale_for_as_long_as_it_says() {
    let mut world = World::new();
    world.store_page(&[]);
    assert!(world.look_up("", 59_999).0.hit().is_some());
    assert_eq!(world.stale(60_000), Some((true, true, 60_000)));
    assert_eq!(world.stale(89_999), Some((true, true, 60_000)));
    assert_eq!(world.stale(90_000), Some((false, true, 60_000)));
    assert_eq!(world.stale(360_000), None);
    let (found, _) = world.look_up("", 360_000);
    assert_eq!(found.miss(), Some(&Miss::TimedOut));
    world.expire("path:/a/b");
    assert_eq!(world.stale(60_000), None);
}

#[test]
fn a_page_is_kept_for_its_longest_window_and_the_recipe_longer() {
    let mut world = World::new();
    world.store_page(&[]);
    let (mut lease, _) = world.look_up("", 0);
    let response = Response {
        status: 200,
        reason: None,
        marks: "",
        headers: vec![],
        body: b"",
        slots: vec![],
        public: false,
        vary: BTreeSet::from(["accept".to_string()]),
        cookies: Cookies::None,
        timeout: 60,
        stale: world.stale,
    };
    let entries = lease.store(response, &CookieOnly(""), 0).unwrap();
    let seconds: Vec<u64> = entries.iter().map(|(_, _, seconds)| *seconds).collect();
    assert_eq!(seconds, [360, 360 + 24 * 60 * 60]);
}

#[test]
fn a_soft_expiry_makes_stale_and_a_hard_one_ends_it() {
    for scope in ["path:/a/b", "tree:/a/", "tree:/", "tag:t"] {
        let mut world = World::new();
        world.store_page(&["tag:t"]);
        world.soften(scope, 10_000);
        assert_eq!(world.stale(10_000), Some((true, true, 10_000)));
        let (found, trips) = world.look_up("", 10_000);
        let softly = Miss::SoftlyExpired(scope.into());
        assert_eq!((found.miss(), trips), (Some(&softly), 2));
        // The window counts from the first of them.
        world.soften(scope, 35_000);
        assert_eq!(world.stale(39_999), Some((true, true, 10_000)));
        assert_eq!(world.stale(40_000), Some((false, true, 10_000)));
        assert_eq!(world.stale(310_000), None);
        assert_eq!(
            world.look_up("", 310_000).0.miss(),
            Some(&Miss::Expired(scope.into()))
        );
        world.expire(scope);
        assert_eq!(world.stale(10_000), None);
        world.soften(scope, 10_000);
        assert_eq!(world.stale(10_000), None);
    }
}

#[test]
fn another_scope_that_is_expired_hard_or_gone_ends_it_too() {
    let mut world = World::new();
    world.store_page(&["tag:t"]);
    world.soften("tag:t", 0);
    assert!(world.stale(0).is_some());
    world.expire("tree:/");
    assert_eq!(world.stale(0), None);
    let mut world = World::new();
    world.store_page(&["tag:t"]);
    world.soften("tag:t", 0);
    let gone = scope::key(&world.site.id, "tree:/");
    world.cache.generations.remove(&gone);
    assert_eq!(world.stale(0), None);
}

#[test]
fn a_soft_expiry_whose_moment_is_lost_is_a_hard_one() {
    let mut world = World::new();
    world.store_page(&["tag:t"]);
    world.soften("tag:t", 0);
    world.soften("tree:/", 0);
    assert!(world.stale(0).is_some());
    let some = world.cache.moments.keys().next().unwrap().clone();
    world.cache.moments.remove(&some);
    assert_eq!(world.stale(0), None);
}

#[test]
fn a_page_without_windows_is_expired_by_a_soft_expiry() {
    let mut world = World::new();
    let (mut lease, _) = world.look_up("", 0);
    world.claim(&mut lease);
    world.store(&mut lease, "", Cookies::None, 0);
    world.soften("tree:/", 0);
    let (found, trips) = world.look_up("", 0);
    let expired = Miss::Expired("tree:/".into());
    assert_eq!((found.miss(), trips), (Some(&expired), 1));
}

#[test]
fn a_page_that_came_to_its_end_opens_a_new_turn() {
    let mut world = World::new();
    let turn = world.look_up("", 0).0.turn_key();
    world.store_page(&["tag:t"]);
    let (found, _) = world.look_up("", 60_000);
    assert_ne!(found.turn_key(), turn);
    assert_eq!(found.turn_key(), world.look_up("", 70_000).0.turn_key());
    world.expire("tag:t");
    assert_ne!(world.look_up("", 0).0.turn_key(), turn);
}

/// A world whose records are signed with the first of these keys.
fn signed_world(keys: &[&str]) -> World {
    let mut world = World::new();
    sign_with(&mut world, keys);
    world
}

/// The same site in another process: nothing is remembered.
fn sign_with(world: &mut World, keys: &[&str]) {
    let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
    let site = Site::new("", String::new(), Globs::default(), query::Rules::default());
    world.site = Arc::new(site.signed(Signer::new(&keys)));
    world.memory = Arc::new(Memory::new(100, 100_000));
}

#[test]
fn the_checksum_is_read_again_unless_it_is_of_these_bytes_and_so_many() {
    let mut world = World::new();
    world.store_page(&[]);
    let page = world.look_up("", 0).0.hit().unwrap().to_string();
    let record = world.cache.bytes.get_mut(&page).unwrap();
    *record.last_mut().unwrap() ^= 1;
    let length = record.len();
    for (checked, is_hit) in [(length, true), (length - 1, false), (length + 1, false)] {
        world.cache.checked.insert(page.clone(), checked);
        let (found, _) = world.look_up("", 0);
        assert_eq!(found.hit().is_some(), is_hit, "{checked} of {length}");
    }
}

#[test]
fn a_signed_page_is_served_and_anything_else_is_a_miss() {
    let mut world = signed_world(&["secret"]);
    world.store_page(&[]);
    let (found, _) = world.look_up("", 0);
    let page = found.hit().unwrap().to_string();
    assert_eq!(found.signature_length(), 32);
    let honest = world.cache.bytes.clone();
    for key in [page, found.request.url.recipe_key.clone()] {
        // Unsigned, of another key, cut.
        let stored = &honest[&key];
        let record = stored[..stored.len() - 32].to_vec();
        let moved = world.site.signer.sign("viewcache.p1.other", record.clone());
        for forged in [record, moved, stored[..20].to_vec(), Vec::new()] {
            world.cache.bytes.insert(key.clone(), forged);
            world.memory = Arc::new(Memory::new(100, 100_000));
            assert_eq!(world.look_up("", 0).0.miss(), Some(&Miss::Unsigned));
        }
        world.cache.bytes.clone_from(&honest);
    }
    assert!(world.look_up("", 0).0.hit().is_some());
}

#[test]
fn what_an_older_secret_has_signed_is_served_while_it_is_a_fallback() {
    let mut world = signed_world(&["old"]);
    world.store_page(&[]);
    sign_with(&mut world, &["new", "old"]);
    assert!(world.look_up("", 0).0.hit().is_some());
    sign_with(&mut world, &["new"]);
    assert_eq!(world.look_up("", 0).0.miss(), Some(&Miss::Unsigned));
    // Nobody signs any more: what is signed is no record.
    sign_with(&mut world, &[]);
    assert_eq!(world.look_up("", 0).0.miss(), Some(&Miss::UnknownUrl));
    world.store_page(&[]);
    assert!(world.look_up("", 0).0.hit().is_some());
    sign_with(&mut world, &["new"]);
    assert_eq!(world.look_up("", 0).0.miss(), Some(&Miss::Unsigned));
}

fn with_sessions(ignored: &[&str]) -> World {
    let mut world = World::new();
    let ignored = Globs::new(ignored.iter().map(ToString::to_string).collect());
    let site = Site::new("", String::new(), ignored, query::Rules::default());
    world.site = Arc::new(site.with_sessions(Some("sid".into())));
    world
}

fn session() -> Cookies {
    Cookies::Named(["sid".to_string()].into())
}

#[test]
fn a_page_of_a_session_is_bound_to_it_in_one_trip() {
    let mut world = with_sessions(&[]);
    let scope = scope::of_session("anna");
    let (mut lease, _) = world.look_up("sid=anna", 0);
    lease.read(&[&scope]);
    world.claim(&mut lease);
    world.store(&mut lease, "sid=anna", session(), 0);
    let (found, trips) = world.look_up("sid=anna", 0);
    assert_eq!((found.hit().is_some(), trips), (true, 1));
    assert!(found.recipe().unwrap().tags.is_empty());
    let (other, _) = world.look_up("sid=bert", 0);
    assert!(other.used_scopes().all(|(text, _)| text != scope));
    world.expire(&scope);
    let (found, _) = world.look_up("sid=anna", 0);
    assert_eq!(found.miss(), Some(&Miss::Expired(scope)));
}

#[test]
fn a_session_is_asked_for_where_the_recipe_names_its_cookie_only() {
    let scopes = |cookies: Cookies, ignored: &[&str], cookie| {
        let mut world = with_sessions(ignored);
        let (mut lease, _) = world.look_up(cookie, 0);
        world.claim(&mut lease);
        world.store(&mut lease, cookie, cookies, 0);
        let (found, _) = world.look_up(cookie, 0);
        found.used_scopes().any(|(text, _)| scope::is_session(text))
    };
    assert!(scopes(session(), &[], "sid=anna"));
    assert!(scopes(Cookies::All, &[], "sid=anna"));
    assert!(!scopes(session(), &[], "sid="));
    assert!(!scopes(session(), &[], "theme=dark"));
    assert!(!scopes(theme(), &[], "sid=anna"));
    assert!(!scopes(session(), &["s*"], "sid=anna"));
}

#[test]
fn a_session_that_was_read_teaches_its_cookie() {
    let mut world = with_sessions(&[]);
    let (mut lease, _) = world.look_up("sid=anna", 0);
    lease.read(&["tag:a".to_string(), scope::of_session("anna")]);
    let (key, record, _) = lease.teach(0);
    world.cache.bytes.insert(key, record);
    let (found, _) = world.look_up("sid=anna", 0);
    let recipe = found.recipe().unwrap();
    assert_eq!(recipe.cookies, session());
    assert_eq!(recipe.tags, ["tag:a".to_string()].into());
}
