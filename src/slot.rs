//! Slots: the places of a stored body that are filled in for each request, and above all the one
//! that Django itself puts there, the CSRF token.
//!
//! Django masks the secret of the visitor's cookie anew for each response: 32 characters of mask,
//! then 32 of the secret added to it, character by character, over an alphabet of 62
//! (`django.middleware.csrf._mask_cipher_secret`, against BREACH). So a token in a body is any 64
//! characters that unmask to the secret, wherever they stand: in an attribute, a script, JSON.

use crate::record::Slot;

/// Characters of a secret; a token is a mask and a cipher of this length.
const SECRET: usize = 32;
const TOKEN: usize = 2 * SECRET;
const ALPHABET: u8 = 62;

/// The body without its tokens, and where they stood.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    pub body: Vec<u8>,
    pub places: Vec<u32>,
}

/// Takes every token of this secret out of the body. `None` when the body cannot be shared
/// safely: it shows the secret itself, or it shows no token at all although one was asked for (it
/// stands there in a form that we cannot read).
#[must_use]
pub fn cut_tokens(body: &[u8], secret: &[u8]) -> Option<Cut> {
    let secret: [u8; SECRET] = secret
        .iter()
        .map(|c| index(*c))
        .collect::<Option<Vec<u8>>>()?
        .try_into()
        .ok()?;
    let mut rest = Vec::with_capacity(body.len());
    let mut places = Vec::new();
    let mut run = 0;
    while let Some(ahead) = body.get(run..) {
        // Tokens stand in runs of letters and digits, and most runs are far too short for one.
        let start = run
            + ahead
                .iter()
                .position(u8::is_ascii_alphanumeric)
                .unwrap_or(ahead.len());
        rest.extend(&body[run..start]);
        if start == body.len() {
            break;
        }
        let length = body[start..]
            .iter()
            .position(|c| !c.is_ascii_alphanumeric())
            .unwrap_or(body.len() - start);
        let word = &body[start..start + length];
        cut_word(word, &secret, &mut rest, &mut places)?;
        run = start + length;
    }
    (!places.is_empty()).then_some(Cut { body: rest, places })
}

fn cut_word(
    word: &[u8],
    secret: &[u8; SECRET],
    rest: &mut Vec<u8>,
    places: &mut Vec<u32>,
) -> Option<()> {
    if word.len() < SECRET {
        rest.extend(word);
        return Some(());
    }
    let mut at = 0;
    while at < word.len() {
        let ahead = &word[at..];
        if ahead
            .get(..TOKEN)
            .is_some_and(|token| unmasks_to(token, secret))
        {
            places.push(u32::try_from(rest.len()).ok()?);
            at += TOKEN;
            continue;
        }
        if ahead
            .get(..SECRET)
            .is_some_and(|shown| shown.iter().zip(secret).all(|(c, s)| index(*c) == Some(*s)))
        {
            return None;
        }
        rest.push(word[at]);
        at += 1;
    }
    Some(())
}

fn unmasks_to(token: &[u8], secret: &[u8; SECRET]) -> bool {
    let (mask, cipher) = token.split_at(SECRET);
    mask.iter()
        .zip(cipher)
        .zip(secret)
        .all(
            |((mask, cipher), secret)| match (index(*mask), index(*cipher)) {
                (Some(mask), Some(cipher)) => (cipher + ALPHABET - mask) % ALPHABET == *secret,
                _ => false,
            },
        )
}

/// The place in Django's alphabet: `string.ascii_letters + string.digits`.
fn index(c: u8) -> Option<u8> {
    match c {
        b'a'..=b'z' => Some(c - b'a'),
        b'A'..=b'Z' => Some(c - b'A' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        _ => None,
    }
}

/// Takes every occurrence of the named markers out of the body.
#[must_use]
pub fn cut_markers<'a>(body: &[u8], markers: &'a [(String, Vec<u8>)]) -> (Vec<u8>, Vec<Slot<'a>>) {
    let mut rest = Vec::with_capacity(body.len());
    let mut slots = Vec::new();
    // Every marker begins with the same byte, which no text that can be shown has.
    let mut at = 0;
    'next: while let Some(c) = body.get(at) {
        for (name, marker) in markers {
            if !marker.is_empty() && body[at..].starts_with(marker) {
                slots.push(Slot {
                    at: u32::try_from(rest.len()).unwrap_or(u32::MAX),
                    name,
                });
                at += marker.len();
                continue 'next;
            }
        }
        rest.push(*c);
        at += 1;
    }
    (rest, slots)
}

/// How long the body is once its slots are filled.
#[must_use]
pub fn filled_length(body: &[u8], fillings: &[(usize, &[u8])]) -> usize {
    body.len()
        + fillings
            .iter()
            .map(|(_, filling)| filling.len())
            .sum::<usize>()
}

/// Writes the body with its slots filled into `out`, which has [`filled_length`] bytes. Places are
/// in rising order and inside the body, or nothing beyond the last good one is written.
pub fn fill(out: &mut [u8], body: &[u8], fillings: &[(usize, &[u8])]) {
    let mut out = out;
    let mut from = 0;
    let mut put = |bytes: &[u8]| {
        if let Some((head, tail)) = std::mem::take(&mut out).split_at_mut_checked(bytes.len()) {
            head.copy_from_slice(bytes);
            out = tail;
        }
    };
    for (at, filling) in fillings {
        put(body.get(from..*at).unwrap_or_default());
        put(filling);
        from = *at;
    }
    put(body.get(from..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const SECRET_TEXT: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";

    /// `_mask_cipher_secret`, with a mask made of the seed.
    fn token(secret: &[u8], seed: usize) -> Vec<u8> {
        let mask: Vec<u8> = (0..32)
            .map(|i| LETTERS[(i * 7 + seed * 13 + i * i * seed) % 62])
            .collect();
        let cipher = secret.iter().zip(&mask).map(|(s, m)| {
            LETTERS[usize::from((index(*s).unwrap() + index(*m).unwrap()) % ALPHABET)]
        });
        mask.iter().copied().chain(cipher).collect()
    }

    fn filled(cut: &Cut, token: &[u8]) -> Vec<u8> {
        let fillings: Vec<(usize, &[u8])> =
            cut.places.iter().map(|at| (*at as usize, token)).collect();
        let mut out = vec![0; filled_length(&cut.body, &fillings)];
        fill(&mut out, &cut.body, &fillings);
        out
    }

    #[test]
    fn tokens_are_found_wherever_they_stand() {
        let (one, two) = (token(SECRET_TEXT, 1), token(SECRET_TEXT, 2));
        let other = token(b"ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ", 3);
        for (before, between, after) in [
            (
                &b"<input value=\""[..],
                &b"\"><script>x='"[..],
                &b"'</script>"[..],
            ),
            (b"", b"", b""),
            (
                b"abc",
                b"0",
                b"xyz0123456789012345678901234567890123456789012345678901234567890123456789",
            ),
            (b"\xff\xfe{\"t\":\"", &other, b"\"}"),
        ] {
            let body = [before, &one, between, &two, after].concat();
            let cut = cut_tokens(&body, SECRET_TEXT).unwrap();
            assert_eq!(cut.places.len(), 2, "{before:?}");
            assert_eq!(cut.body, [before, between, after].concat());
            let new = token(SECRET_TEXT, 9);
            assert_eq!(
                filled(&cut, &new),
                [before, &new, between, &new, after].concat()
            );
        }
    }

    #[test]
    fn a_body_that_cannot_be_shared_is_refused() {
        let secret = SECRET_TEXT;
        assert_eq!(cut_tokens(b"no token here", secret), None);
        assert_eq!(
            cut_tokens(&[&token(secret, 1)[..], b" ", secret].concat(), secret),
            None
        );
        assert_eq!(cut_tokens(&token(secret, 1), b"short"), None);
        assert_eq!(cut_tokens(&token(secret, 1), &[b'-'; 32]), None);
        assert_eq!(cut_tokens(b"", secret), None);
    }

    #[test]
    fn markers_are_cut_and_filled() {
        let markers = [
            ("cart".to_string(), b"\x02a\x03".to_vec()),
            ("name".to_string(), b"\x02b\x03".to_vec()),
        ];
        let (body, slots) = cut_markers(b"1\x02a\x032\x02b\x03\x02a\x03", &markers);
        assert_eq!(body, b"12");
        let places: Vec<_> = slots.iter().map(|slot| (slot.at, slot.name)).collect();
        assert_eq!(places, [(1, "cart"), (2, "name"), (2, "cart")]);
        let fillings: Vec<(usize, &[u8])> = vec![(1, b"C"), (2, b"N"), (2, b"C")];
        let mut out = vec![0; filled_length(&body, &fillings)];
        fill(&mut out, &body, &fillings);
        assert_eq!(out, b"1C2NC");
    }
}
