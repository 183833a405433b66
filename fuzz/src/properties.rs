//! What must hold of any bytes that somebody sends or puts into the cache. Each panics where it
//! does not.

use std::collections::BTreeSet;

use _core::glob::Globs;
use _core::query::Rules;
use _core::recipe::Recipe;
use _core::record::Page;
use _core::signer::Signer;
use _core::{cookie, query, scope, slot, vary};

/// A name, and what must hold.
pub type Property = (&'static str, fn(&[u8]));

pub const ALL: [Property; 6] = [
    ("record", record),
    ("cookie", cookie_header),
    ("query", query_string),
    ("cache_control", cache_control),
    ("vary", vary_header),
    ("path", path),
];

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// A record is read or refused; what is read holds no more than the bytes did, and is written the
/// same again. Lengths are tried with a checksum that is right, too.
pub fn record(data: &[u8]) {
    for magic in [*b"VCP3", *b"VCR1"] {
        let mut sealed = magic.to_vec();
        sealed.extend(crc32(data).to_le_bytes());
        sealed.extend(data);
        for bytes in [data, &sealed[..]] {
            let _ = Recipe::decode(bytes);
            if let Some(page) = Page::decode(bytes) {
                assert!(page.body.len() <= bytes.len());
                assert!(page.headers.len() * 8 <= bytes.len());
                let again = page.encode();
                assert_eq!(Page::decode(&again), Some(page));
            }
        }
    }
    let _ = slot::cut(data, None, &[]);
    // What was signed is read again, under its own key; nobody guesses a signature.
    let signer = Signer::new(&[b"secret".to_vec()]);
    assert_eq!(signer.unsign("key", data), None);
    let stored = signer.sign("key", data.to_vec());
    assert_eq!(signer.unsign("key", &stored), Some(data));
    assert_eq!(signer.unsign("another key", &stored), None);
}

/// CRC-32 (IEEE), so that the fuzzer gets past the checksum without a dependency.
fn crc32(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (0u32.wrapping_sub(crc & 1)));
        }
    }
    !crc
}

/// The canonical header is a fixed point, and shows every name what the header showed.
pub fn cookie_header(data: &[u8]) {
    let header = text(data);
    let canonical = cookie::canonical(&header).into_owned();
    assert_eq!(cookie::canonical(&canonical), canonical);
    for found in cookie::parse(&header) {
        assert_eq!(
            cookie::value(&header, found.name),
            cookie::value(&canonical, found.name)
        );
    }
    let latin: String = data.iter().map(|byte| char::from(*byte)).collect();
    let (read, has_lost) = cookie::from_wsgi(&latin);
    assert_eq!(has_lost, read.as_bytes() != data);
    let ignored = Globs::new(vec!["_ga*".into()]);
    let kept = cookie::canonical_without(&header, &ignored);
    assert!(cookie::parse(&kept).all(|found| !found.name.starts_with("_ga")));
}

/// Every pair is one that was sent, in an order that sorting keeps within a name.
pub fn query_string(data: &[u8]) {
    let given = text(data);
    let all: Vec<_> = query::parse(&given).collect();
    let kept = query::canonical(&given, &Rules::default(), None);
    assert_eq!(all, kept);
    let sorted = Rules {
        ignored: Globs::new(vec!["utm_*".into()]),
        sorted: true,
    };
    let pairs = query::canonical(&given, &sorted, None);
    assert!(pairs.windows(2).all(|two| two[0].0 <= two[1].0));
    let names: BTreeSet<_> = pairs.iter().map(|pair| pair.0.clone()).collect();
    for name in names {
        assert!(!name.starts_with("utm_"));
        let of = |pairs: &[query::Pair<'_>]| -> Vec<String> {
            let mine = pairs.iter().filter(|pair| pair.0 == name);
            mine.map(|pair| pair.1.to_string()).collect()
        };
        assert_eq!(of(&pairs), of(&all));
    }
}

/// What forbids storing still does with anything unquoted beside it.
pub fn cache_control(data: &[u8]) {
    let header = text(data);
    let found = vary::cache_control(&header);
    let more = vary::cache_control(&format!("no-store,{header}"));
    assert!(more.no_store);
    assert!(!found.private || more.private);
    let upper = vary::cache_control(&header.to_ascii_uppercase());
    assert_eq!(upper, found);
}

/// A star decides wherever it stands; names are lower case, once each, and no more than were sent.
pub fn vary_header(data: &[u8]) {
    let header = text(data);
    assert_eq!(vary::vary(&format!("{header},*")), vary::Vary::Star);
    if let vary::Vary::Names(names) = vary::vary(&header) {
        let once: BTreeSet<_> = names.iter().collect();
        assert_eq!(once.len(), names.len());
        for name in &names {
            assert_eq!(*name, name.to_ascii_lowercase());
            assert!(header.to_ascii_lowercase().contains(name.as_str()));
        }
    }
}

/// Whoever expires a path by its text reaches the page that is there, and the tree above it does.
pub fn path(data: &[u8]) {
    let given = text(data);
    let _ = scope::of_tree(&given);
    let _ = scope::of_tag(&given);
    let Ok(scopes) = scope::of_path(&given) else {
        return;
    };
    let decoded = scopes[0].trim_start_matches("path:").to_string();
    assert!(!scope::has_dot_segments(&decoded));
    if let Some(chain) = scope::chain(&decoded) {
        assert_eq!(chain.last(), scopes.first());
        assert!(chain.len() <= scope::DEPTH_LIMIT + 1);
        let everything = scope::of_tree("/").expect("the root is a tree");
        assert!(chain.iter().any(|scope| everything.contains(scope)));
    }
}
