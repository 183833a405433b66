//! Signatures: with `VIEWCACHE["SIGN"]`, pages and recipes that this site has not written are none.
//!
//! ```text
//! the record | HMAC-SHA-256 of (length of the cache key, the cache key, the record)
//! ```
//!
//! The cache key is in it, so an entry that was moved to another key is refused, too. What was
//! signed stays so: an entry that the site itself once stored under a key can be put back there.
//! The times within the record bound that.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes that a signature adds to a record.
const LENGTH: usize = 32;

/// The keys that records are signed with: the first signs, all are tried. Without any, a record is
/// what it is.
#[derive(Default, Clone)]
pub struct Signer(Vec<Hmac<Sha256>>);

impl std::fmt::Debug for Signer {
    /// Without the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({} keys)", self.0.len())
    }
}

impl Signer {
    /// A key may have any length, as HMAC's (RFC 2104) may.
    #[must_use]
    pub fn new(keys: &[Vec<u8>]) -> Self {
        let prepared = |key: &Vec<u8>| Hmac::new_from_slice(key).ok();
        Self(keys.iter().filter_map(prepared).collect())
    }

    /// How many bytes follow the record.
    #[must_use]
    pub fn length(&self) -> usize {
        if self.0.is_empty() { 0 } else { LENGTH }
    }

    /// The record as it is stored under this key.
    #[must_use]
    pub fn sign(&self, key: &str, mut record: Vec<u8>) -> Vec<u8> {
        if let Some(mac) = self.0.first() {
            let signature = over(mac, key, &record).finalize().into_bytes();
            record.extend_from_slice(&signature);
        }
        record
    }

    /// The record that was stored under this key, if one of the keys has signed it. The comparison
    /// takes the same time wherever the bytes differ.
    #[must_use]
    pub fn unsign<'a>(&self, key: &str, stored: &'a [u8]) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return Some(stored);
        }
        let (record, signature) = stored.split_at_checked(stored.len().checked_sub(LENGTH)?)?;
        let is_ours = |mac: &Hmac<Sha256>| over(mac, key, record).verify_slice(signature).is_ok();
        self.0.iter().any(is_ours).then_some(record)
    }
}

fn over(mac: &Hmac<Sha256>, key: &str, record: &[u8]) -> Hmac<Sha256> {
    let mut mac = mac.clone();
    mac.update(&(key.len() as u64).to_le_bytes());
    mac.update(key.as_bytes());
    mac.update(record);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::hex;

    fn signer(keys: &[&str]) -> Signer {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        Signer::new(&keys)
    }

    #[test]
    fn the_first_key_signs_and_each_unsigns() {
        let (new, old, both) = (signer(&["new"]), signer(&["old"]), signer(&["new", "old"]));
        for by in [&new, &old] {
            let stored = by.sign("k", b"record".to_vec());
            assert_eq!(stored.len(), b"record".len() + by.length());
            assert_eq!(both.unsign("k", &stored), Some(&b"record"[..]));
        }
        let stored = both.sign("k", b"record".to_vec());
        assert_eq!(new.unsign("k", &stored), Some(&b"record"[..]));
        assert_eq!(old.unsign("k", &stored), None);
    }

    #[test]
    fn nothing_else_is_unsigned() {
        let ours = signer(&["secret"]);
        let stored = ours.sign("k", b"record".to_vec());
        assert_eq!(ours.unsign("k2", &stored), None, "another key of the cache");
        // A border between key and record that moves makes another text.
        let moved = ours.sign("kr", b"ecord".to_vec());
        assert_eq!(ours.unsign("k", &[b"r", &moved[..]].concat()), None);
        for cut in 0..stored.len() {
            assert_eq!(ours.unsign("k", &stored[..cut]), None, "cut at {cut}");
        }
        for at in 0..stored.len() {
            for bit in 0..8 {
                let mut forged = stored.clone();
                forged[at] ^= 1 << bit;
                assert_eq!(ours.unsign("k", &forged), None, "bit {bit} of byte {at}");
            }
        }
        assert_eq!(ours.unsign("k", b"record"), None, "one that is not signed");
        assert_eq!(ours.unsign("k", &[0; 64]), None);
    }

    #[test]
    fn without_keys_a_record_is_what_it_is() {
        let none = Signer::default();
        assert_eq!(none.length(), 0);
        assert_eq!(none.sign("k", b"record".to_vec()), b"record");
        assert_eq!(none.unsign("k", b"record"), Some(&b"record"[..]));
        // Whoever takes the keys away has records that end in a signature: their checksum is wrong.
        let signed = signer(&["secret"]).sign("k", crate::recipe::Recipe::default().encode());
        assert_eq!(crate::recipe::Recipe::decode(&signed), None);
    }

    #[test]
    fn known_answer() {
        // Python: hmac.digest(b"secret", struct.pack("<Q", 1) + b"k" + b"record", "sha256").hex()
        let stored = signer(&["secret"]).sign("k", b"record".to_vec());
        assert_eq!(
            hex(&stored[6..]),
            "dd8165af76c6fb60b109592a90115711011de7ab27a9035e1f3aaec2593a8ef8"
        );
        assert_eq!(format!("{:?}", signer(&["secret"])), "Signer(1 keys)");
    }
}
