//! The record: a page as bytes. Not a pickle: nothing in it is executed, every length is checked
//! before it is used, and whatever is not a record of this version is a miss.
//!
//! ```text
//! magic+version  crc32 | flags status stored_at expires_at stale fingerprint[32]
//!                      | reason | marks | generations of the path's scopes | tags with generations
//!                      | headers | slots | body
//! ```

use crate::wire::{Reader, Writer};

const MAGIC: [u8; 4] = *b"VCP3";

/// The response said `public`: it may answer a request that carries `Authorization`.
pub const PUBLIC: u8 = 1;

/// So many bytes at the beginning of a record tell it from any other: magic, checksum, flags,
/// status, the two times, the windows, fingerprint.
pub const IDENTITY: usize = 4 + 4 + 1 + 4 + 8 + 8 + 4 + 4 + 32;

/// For how long a page may be served when it is no longer fresh (RFC 5861), in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Windows {
    /// While another request renders it anew.
    pub while_revalidate: u32,
    /// In place of an error.
    pub if_error: u32,
}

impl Windows {
    /// How much longer than its timeout a page is kept.
    #[must_use]
    pub fn longest(self) -> u32 {
        self.while_revalidate.max(self.if_error)
    }
}

/// A place in the body that is filled in for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot<'a> {
    /// Offset in the stored body, which has nothing at that place.
    pub at: u32,
    /// What fills it: the CSRF token is `""`, everything else has a name.
    pub name: &'a str,
}

/// A page, borrowing from the response or from the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a> {
    pub flags: u8,
    pub status: u16,
    /// Milliseconds since the epoch.
    pub stored_at: u64,
    pub expires_at: u64,
    /// Seconds.
    pub stale: Windows,
    /// The digest of the canonical request, see `request.rs`.
    pub fingerprint: [u8; 32],
    /// The reason phrase, where it is not the status code's own.
    pub reason: Option<&'a str>,
    /// What code has left on the response for other code, as Python's side wrote it; mostly nothing.
    pub marks: &'a str,
    /// Of the scopes of the path, in the order of `scope::chain`.
    pub generations: Vec<u64>,
    /// The other scopes, with theirs.
    pub tags: Vec<(&'a str, u64)>,
    pub headers: Vec<(&'a str, &'a str)>,
    /// In the order of their places.
    pub slots: Vec<Slot<'a>>,
    pub body: &'a [u8],
}

/// What is asked of a page again once it was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// Milliseconds since the epoch.
    pub stored_at: u64,
    pub expires_at: u64,
    /// Bytes of the body, with which the record ends.
    pub body: usize,
}

impl<'a> Page<'a> {
    #[must_use]
    pub fn outline(&self) -> Outline {
        Outline {
            stored_at: self.stored_at,
            expires_at: self.expires_at,
            body: self.body.len(),
        }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let texts: usize = self
            .headers
            .iter()
            .map(|(n, v)| n.len() + v.len() + 8)
            .sum();
        let tags: usize = self.tags.iter().map(|(t, _)| t.len() + 12).sum();
        let mut out = Writer::new(
            MAGIC,
            128 + texts + tags + 8 * self.generations.len() + self.body.len(),
        );
        out.u8(self.flags);
        out.u32(u32::from(self.status));
        out.u64(self.stored_at);
        out.u64(self.expires_at);
        out.u32(self.stale.while_revalidate);
        out.u32(self.stale.if_error);
        out.raw(&self.fingerprint);
        out.u8(u8::from(self.reason.is_some()));
        out.bytes(self.reason.unwrap_or_default().as_bytes());
        out.bytes(self.marks.as_bytes());
        out.length(self.generations.len());
        self.generations
            .iter()
            .for_each(|generation| out.u64(*generation));
        out.length(self.tags.len());
        for (tag, generation) in &self.tags {
            out.bytes(tag.as_bytes());
            out.u64(*generation);
        }
        out.length(self.headers.len());
        for (name, value) in &self.headers {
            out.bytes(name.as_bytes());
            out.bytes(value.as_bytes());
        }
        out.length(self.slots.len());
        for slot in &self.slots {
            out.u32(slot.at);
            out.bytes(slot.name.as_bytes());
        }
        out.raw(self.body);
        out.finish()
    }

    /// `None` for anything that [`Page::encode`] did not write.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        Self::read(Reader::open(MAGIC, bytes)?)
    }

    /// As [`Page::decode`], for a record whose checksum was found right before.
    #[must_use]
    pub fn decode_again(bytes: &'a [u8]) -> Option<Self> {
        Self::read(Reader::open_again(bytes)?)
    }

    /// What stands before the body of a record that has been decoded before, as a page without one.
    #[must_use]
    pub fn decode_head(bytes: &'a [u8]) -> Option<Self> {
        Self::read_head(&mut Reader::open_again(bytes)?)
    }

    fn read(mut input: Reader<'a>) -> Option<Self> {
        let mut page = Self::read_head(&mut input)?;
        page.body = input.rest();
        let mut last = 0;
        for slot in &page.slots {
            if slot.at < last || usize::try_from(slot.at).ok()? > page.body.len() {
                return None;
            }
            last = slot.at;
        }
        Some(page)
    }

    fn read_head(input: &mut Reader<'a>) -> Option<Self> {
        let flags = input.u8()?;
        let status = u16::try_from(input.u32()?).ok()?;
        let stored_at = input.u64()?;
        let expires_at = input.u64()?;
        let stale = Windows {
            while_revalidate: input.u32()?,
            if_error: input.u32()?,
        };
        let fingerprint = input.raw(32)?.try_into().ok()?;
        let has_reason = input.u8()? == 1;
        let reason = input.text()?;
        let marks = input.text()?;
        let count = input.count(8)?;
        let generations = (0..count).map(|_| input.u64()).collect::<Option<_>>()?;
        let count = input.count(12)?;
        let tags = (0..count)
            .map(|_| Some((input.text()?, input.u64()?)))
            .collect::<Option<_>>()?;
        let count = input.count(8)?;
        let headers = (0..count)
            .map(|_| Some((input.text()?, input.text()?)))
            .collect::<Option<_>>()?;
        let count = input.count(8)?;
        let slots = (0..count)
            .map(|_| {
                Some(Slot {
                    at: input.u32()?,
                    name: input.text()?,
                })
            })
            .collect::<Option<_>>()?;
        let reason = has_reason.then_some(reason);
        Some(Self {
            flags,
            status,
            stored_at,
            expires_at,
            stale,
            fingerprint,
            reason,
            marks,
            generations,
            tags,
            headers,
            slots,
            body: &[],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::Signer;

    fn page(body: &[u8]) -> Page<'_> {
        Page {
            flags: PUBLIC,
            status: 200,
            stored_at: 1,
            expires_at: 2,
            stale: Windows {
                while_revalidate: 30,
                if_error: u32::MAX,
            },
            fingerprint: [3; 32],
            reason: Some("Fine"),
            marks: "",
            generations: vec![4, u64::MAX],
            tags: vec![("tag:a", 5)],
            headers: vec![("Content-Type", "text/html"), ("X", "")],
            slots: vec![
                Slot { at: 0, name: "" },
                Slot {
                    at: 2,
                    name: "cart",
                },
            ],
            body,
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let bytes = page(b"body").encode();
        assert_eq!(Page::decode(&bytes), Some(page(b"body")));
        assert_eq!(Page::decode_again(&bytes), Some(page(b"body")));
        let outline = page(b"body").outline();
        let (head, body) = bytes.split_at(bytes.len() - outline.body);
        assert_eq!(body, b"body");
        assert_eq!(Page::decode_head(head), Some(page(b"")));
        assert_eq!(Page::decode_again(head), None, "a slot beyond its end");
        let at_its_end = Page {
            slots: vec![Slot { at: 4, name: "" }],
            ..page(b"body")
        };
        assert_eq!(Page::decode(&at_its_end.encode()), Some(at_its_end));
        let plain = Page {
            reason: None,
            marks: "",
            slots: vec![],
            tags: vec![],
            ..page(b"")
        };
        assert_eq!(Page::decode(&plain.encode()), Some(plain));
    }

    #[test]
    fn an_identity_ends_with_the_fingerprint() {
        let bytes = page(b"body").encode();
        assert_eq!(bytes[IDENTITY - 32..IDENTITY], page(b"body").fingerprint);
        assert_ne!(bytes[IDENTITY], page(b"body").fingerprint[0]);
    }

    #[test]
    fn every_damage_is_seen() {
        let bytes = page(b"body").encode();
        for cut in 0..bytes.len() {
            assert_eq!(Page::decode(&bytes[..cut]), None, "cut at {cut}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut broken = bytes.clone();
                broken[at] ^= 1 << bit;
                assert_eq!(Page::decode(&broken), None, "bit {bit} of byte {at}");
            }
        }
        assert_eq!(Page::decode(&[&bytes[..], b"x"].concat()), None);
    }

    #[test]
    fn lengths_that_lie_are_seen_even_when_the_checksum_is_right() {
        let bytes = page(b"body").encode();
        for at in 8..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] = 0xff;
            let checksum = crc32fast::hash(&forged[8..]).to_le_bytes();
            forged[4..8].copy_from_slice(&checksum);
            // Some forgeries are other pages; none may panic or allocate what is not there.
            let _ = Page::decode(&forged);
        }
        let misplaced = Page {
            slots: vec![Slot { at: 5, name: "" }],
            ..page(b"body")
        };
        assert_eq!(Page::decode(&misplaced.encode()), None);
    }

    #[test]
    fn a_record_is_little_more_than_its_body() {
        let bytes = Page {
            headers: vec![],
            ..page(&[0; 1000])
        }
        .encode();
        let signed = Signer::new(&[vec![1]]).sign("key", bytes);
        assert!(signed.len() <= 1000 + 512, "{}", signed.len());
    }
}
