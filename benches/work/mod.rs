//! What the core is measured at: the work that each request or each store costs, over inputs like
//! those of `benches/project.py`. `core.rs` takes its time, `counts.rs` has its instructions counted.

use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;
use std::sync::Arc;

use _core::cookie;
use _core::generation::{Verdict, verdict};
use _core::glob::Globs;
use _core::guard::Guards;
use _core::key;
use _core::lookup::{Found, LookUp};
use _core::query;
use _core::recipe::{Cookies, Known, Memory, Recipe};
use _core::record::{Page, Windows};
use _core::request::{Headers, Method, Parts, Request, Site, page_key};
use _core::scope;
use _core::url::{Url, Urls};

/// One thing to measure.
pub struct Work {
    pub name: String,
    /// Does it once.
    pub run: Box<dyn FnMut()>,
}

/// All of it, by names that say the group before the stroke.
pub fn all() -> Vec<Work> {
    let mut all = Vec::new();
    let mut add = |name: String, run: Box<dyn FnMut()>| all.push(Work { name, run });
    for cookies in [0, 6, 20] {
        add(format!("page key/{cookies} cookies"), page_keys(cookies));
    }
    add("Django's key/6 cookies".into(), django_key(6));
    for cookies in [6, 20] {
        let header = cookie_header(cookies);
        let run = move || drop(black_box(cookie::canonical(black_box(&header))));
        add(format!("canonical cookies/{cookies}"), Box::new(run));
    }
    for size in [2, 20, 200] {
        let body = body(size);
        let run = move || drop(black_box(page(black_box(&body)).encode()));
        add(format!("encode a record/{size} KB"), Box::new(run));
        add(format!("decode a record/{size} KB"), decode(size));
        add(format!("its checksum/{size} KB"), checksum(size));
    }
    add("verdict/6 generations".into(), judge());
    add("recipe memory/look-up".into(), remember());
    add("look-up/a hit of 20 KB".into(), hit(20, 0));
    for tags in [30, 240] {
        add(format!("look-up/a hit with {tags} tags"), hit(20, tags));
    }
    all
}

const PATH: &str = "/blog/posts/1/";
const NOW: u64 = 1_750_000_000_000;
/// What a generation looks like.
const TOKEN: u64 = 0x5f3a_91c2_7be4_0800;

/// The headers of a request, by lower-case name.
struct Fixed(HashMap<&'static str, String>);

impl Headers for Fixed {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

fn headers(cookies: usize) -> Fixed {
    let language = ("accept-language", "en-GB,en;q=0.7,de;q=0.3".to_string());
    let cookie = (cookies > 0).then(|| ("cookie", cookie_header(cookies)));
    Fixed([language].into_iter().chain(cookie).collect())
}

/// Not in canonical order, as browsers send them.
fn cookie_header(count: usize) -> String {
    let usual = [
        ("sessionid", "q8z1w6y4x0v2u5t7s9r3p1n6m4k8j2h5"),
        ("csrftoken", "ZyXwVuTsRqPoNmLkJiHgFeDcBa987654"),
        ("_ga", "GA1.2.1094832215.1712345678"),
        ("_gid", "GA1.2.1884412399.1712345678"),
        ("theme", "dark"),
        ("django_language", "en-gb"),
    ];
    let usual = usual.map(|(name, value)| format!("{name}={value}"));
    let more = (0..).map(|number| format!("pref_{number}=value-{number:08}"));
    let all: Vec<String> = usual.into_iter().chain(more).take(count).collect();
    all.join("; ")
}

fn site() -> Site {
    let ignored = Globs::new(vec!["_ga".into(), "_ga_*".into(), "_gid".into()]);
    Site::new("", String::new(), ignored, query::Rules::default())
}

fn recipe(tags: usize) -> Recipe {
    Recipe {
        headers: BTreeSet::from(["accept-language".to_string()]),
        cookies: Cookies::All,
        tags: (0..tags).map(tag).collect(),
        expires_at: NOW + 3_600_000,
    }
}

/// A tag, as text.
fn tag(number: usize) -> String {
    format!("tag:blog.post:{number}")
}

/// The URL that is asked for, in its parts.
const PARTS: Parts<'static> = Parts {
    key_prefix: "",
    scheme: "http",
    host: "www.example.com",
    path: PATH,
    query: "",
    only: None,
    charset: None,
};

/// The canonical request, as a look-up begins with it.
fn request(url: Arc<Url>) -> Request {
    Request {
        url,
        method: Method::Get,
        language: Some("en-gb".into()),
        zone: Some("Europe/Berlin".into()),
        authorized: false,
    }
}

fn page_keys(cookies: usize) -> Box<dyn FnMut()> {
    let (site, recipe, headers) = (site(), recipe(0), headers(cookies));
    let (guards, urls) = (Guards::new(site.id, 1000), Urls::new(0, 0));
    Box::new(move || {
        let url = urls.of(black_box(&PARTS), &site, &guards);
        let request = request(url.expect("a path within the limits"));
        let ignored = &site.ignored_cookies;
        let digest = request.digest(Method::Get, &recipe, black_box(&headers), ignored);
        black_box((request, page_key(&digest)));
    })
}

fn django_key(cookies: usize) -> Box<dyn FnMut()> {
    let (languages, cookie) = ("en-GB,en;q=0.7,de;q=0.3", cookie_header(cookies));
    Box::new(move || {
        let values = [Some(languages), Some(black_box(&*cookie))];
        let headers = key::Recipe::NetstringsMarked.headers_digest(values.into_iter());
        let url = key::django_url_digest(black_box("http://www.example.com/blog/posts/1/"));
        let suffix = key::django_suffix(Some("en-gb"), Some("Europe/Berlin"));
        black_box(key::django_page_key("", "GET", &url, &headers, &suffix));
    })
}

fn body(kilobytes: usize) -> Vec<u8> {
    let row = b"<p>The quick brown fox jumps over the lazy dog.</p>\n";
    row.iter().copied().cycle().take(1024 * kilobytes).collect()
}

fn page(body: &[u8]) -> Page<'_> {
    Page {
        flags: 0,
        status: 200,
        stored_at: NOW,
        expires_at: NOW + 3_600_000,
        stale: Windows::default(),
        fingerprint: [3; 32],
        reason: None,
        marks: "",
        generations: vec![TOKEN; 4],
        tags: vec![("tag:blog.post:1", TOKEN), ("tag:blog.author:7", TOKEN)],
        headers: vec![
            ("Content-Type", "text/html; charset=utf-8"),
            ("Vary", "Accept-Language, Cookie"),
            ("X-Frame-Options", "DENY"),
            ("Cache-Control", "max-age=3600"),
        ],
        slots: vec![],
        body,
    }
}

fn decode(kilobytes: usize) -> Box<dyn FnMut()> {
    let bytes = page(&body(kilobytes)).encode();
    Box::new(move || assert!(black_box(Page::decode(black_box(&bytes))).is_some()))
}

/// What a decoding is compared with: it has no other use for the bytes of a body.
fn checksum(kilobytes: usize) -> Box<dyn FnMut()> {
    let bytes = page(&body(kilobytes)).encode();
    Box::new(move || {
        black_box(crc32fast::hash(black_box(&bytes[8..])));
    })
}

/// As `lookup/judge.rs` asks: a chain of the path's scopes, and what was read beside it.
fn judge() -> Box<dyn FnMut()> {
    let mut scopes = scope::chain(PATH).unwrap_or_default();
    scopes.extend(["tag:blog.post:1".into(), "tag:blog.author:7".into()]);
    let scopes: Vec<(String, u64)> = scopes.into_iter().map(|scope| (scope, TOKEN)).collect();
    assert_eq!(scopes.len(), 6);
    Box::new(move || {
        let scopes = black_box(&scopes);
        let stored = scopes.iter().map(|(scope, token)| (scope.as_str(), *token));
        let current = |text: &str| Some(scopes.iter().find(|(scope, _)| scope == text)?.1);
        assert_eq!(black_box(verdict(stored, current)), Verdict::Fresh);
    })
}

fn remember() -> Box<dyn FnMut()> {
    let memory = Memory::new(10_000, 4 << 20);
    let url = |number: u32| {
        let mut url = [0; 32];
        url[..4].copy_from_slice(&number.to_le_bytes());
        url
    };
    (0..1000).for_each(|number| memory.put(url(number), Arc::new(Known::encode(recipe(0)))));
    let mut turn = 0;
    Box::new(move || {
        turn = (turn + 1) % 1000;
        assert!(memory.get(black_box(&url(turn))).is_some());
    })
}

/// What a cache holds.
struct Stored {
    entries: HashMap<String, Vec<u8>>,
}

impl Found for Stored {
    fn generation(&self, _: &str) -> Option<u64> {
        Some(TOKEN)
    }
    fn moment(&self, _: &str) -> Option<u64> {
        None
    }
    fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.entries.get(key).map(Vec::as_slice)
    }
    fn is_closed(&self, _: &str) -> bool {
        false
    }
}

/// The machine from the canonical request to the hit, without what Python adds.
fn hit(kilobytes: usize, tags: usize) -> Box<dyn FnMut()> {
    let (site, memory) = (Arc::new(site()), Arc::new(Memory::new(10, 1 << 20)));
    let (guards, headers) = (Arc::new(Guards::new(site.id, 1000)), headers(6));
    let urls = Urls::new(10, 1 << 20);
    let url = urls.of(&PARTS, &site, &guards);
    let request = request(url.expect("a path within the limits"));
    let fingerprint = request.digest(Method::Get, &recipe(tags), &headers, &site.ignored_cookies);
    memory.put(request.url.digest, Arc::new(Known::encode(recipe(tags))));
    let texts: Vec<String> = (0..tags).map(tag).collect();
    let body = body(kilobytes);
    let record = Page {
        fingerprint,
        tags: texts.iter().map(|text| (text.as_str(), TOKEN)).collect(),
        ..page(&body)
    };
    let found = Stored {
        entries: HashMap::from([
            (request.url.recipe_key.clone(), recipe(tags).encode()),
            (page_key(&fingerprint), record.encode()),
        ]),
    };
    Box::new(move || {
        let url = urls.of(black_box(&PARTS), &site, &guards);
        let mut look_up = LookUp::begin(
            Arc::clone(&site),
            Arc::clone(&memory),
            Arc::clone(&guards),
            self::request(url.expect("a path within the limits")),
            &headers,
        );
        black_box(look_up.wanted());
        look_up.receive(black_box(&found), &headers, NOW + 1);
        assert!(look_up.hit().is_some(), "{:?}", look_up.miss());
    })
}
