//! Slots: the places of a stored body that are filled in for each request, and above all the one
//! that Django itself puts there, the CSRF token.
//!
//! Django masks the secret of the visitor's cookie anew for each response: 32 characters of mask,
//! then 32 of the secret added to it, character by character, over an alphabet of 62
//! (`django.middleware.csrf._mask_cipher_secret`, against BREACH). So a token in a body is any 64
//! characters that unmask to the secret, wherever they stand: in an attribute, a script, JSON.
//!
//! Every other piece stands between two markers while its page is made. A marker is a nonce that
//! belongs to this one response, `b` or `e`, the number of the piece, and `\z`:
//!
//! ```text
//! viewcacheslot3f0c…b0\zHello, Anna!viewcacheslot3f0c…e0\z
//! ```
//!
//! Letters and digits come through every escaping unharmed, so a marker is always found. The
//! backslash does not, and what became of it says what the piece went through.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::error::Error;

/// Characters of a secret; a token is a mask and a cipher of this length.
const SECRET: usize = 32;
const TOKEN: usize = 2 * SECRET;
const ALPHABET: u8 = 62;

/// Characters of a nonce that leave no doubt: the word that it begins with, and 32 random bits.
const SURE: usize = 13 + 8;

/// How a piece was escaped after it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Not at all.
    Plain,
    /// As the inside of a JSON string.
    Json,
    /// In a way that we do not know how to repeat.
    Other,
}

/// A piece of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub number: u32,
    pub start: usize,
    pub end: usize,
    pub style: Style,
}

/// The body without its markers, and the pieces that they stood around.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    pub body: Vec<u8>,
    pub pieces: Vec<Piece>,
    /// Markers were cut off, changed, or did not match.
    pub broken: bool,
}

/// Whatever nonce stands in a body. Every page is looked through: the word that each begins with is
/// found many bytes at a time.
static NONCE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("(?-u)viewcacheslot[0-9a-f]{32}").ok());

/// The nonces whose markers stand in this body, whatever response they belong to.
#[must_use]
pub fn nonces(body: &[u8]) -> BTreeSet<&str> {
    let found = NONCE.iter().flat_map(|nonce| nonce.find_iter(body));
    found
        .filter_map(|nonce| std::str::from_utf8(nonce.as_bytes()).ok())
        .collect()
}

/// Takes the markers of this nonce out of the body. None of them is left, whatever became of it.
#[must_use]
pub fn take_out(body: &[u8], nonce: &[u8]) -> Taken {
    let mut taken = Taken {
        body: Vec::with_capacity(body.len()),
        pieces: Vec::new(),
        broken: false,
    };
    let sure = nonce.get(..SURE).unwrap_or(nonce);
    let Some(first) = sure.first().map(u8::to_ascii_lowercase) else {
        taken.body.extend(body);
        return taken;
    };
    let mut open: Option<(u32, Style, usize)> = None;
    let mut at = 0;
    while let Some(ahead) = body.get(at..) {
        let Some(step) = ahead.iter().position(|c| c.to_ascii_lowercase() == first) else {
            taken.body.extend(ahead);
            break;
        };
        taken.body.extend(&ahead[..step]);
        let ahead = &ahead[step..];
        at += step;
        if !ahead
            .get(..sure.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(sure))
        {
            taken.body.push(ahead[0]);
            at += 1;
            continue;
        }
        let (length, marker) = read_marker(ahead, nonce);
        at += length;
        match (marker, open.take()) {
            (Some((b'b', number, style)), None) => open = Some((number, style, taken.body.len())),
            (Some((b'e', number, style)), Some((begun, begun_style, start)))
                if number == begun && style == begun_style =>
            {
                taken.pieces.push(Piece {
                    number,
                    start,
                    end: taken.body.len(),
                    style,
                });
            }
            _ => taken.broken = true,
        }
    }
    taken.broken |= open.is_some();
    taken
}

/// How long the marker at the beginning of these bytes is, and what it says if it is whole.
fn read_marker(bytes: &[u8], nonce: &[u8]) -> (usize, Option<(u8, u32, Style)>) {
    let same = bytes
        .iter()
        .zip(nonce)
        .take_while(|(a, b)| a.eq_ignore_ascii_case(b))
        .count();
    if same < nonce.len() || &bytes[..same] != nonce {
        return (same, None);
    }
    let rest = &bytes[same..];
    let Some(kind @ (b'b' | b'e')) = rest.first().copied() else {
        return (same, None);
    };
    let digits = rest[1..].iter().take_while(|c| c.is_ascii_digit()).count();
    let length = same + 1 + digits;
    let number = std::str::from_utf8(&rest[1..=digits])
        .ok()
        .and_then(|text| text.parse().ok());
    let Some(number) = number else {
        return (length, None);
    };
    let ends = [
        (&b"\\z"[..], Style::Plain),
        (b"\\\\z", Style::Json),
        (b"\\u005Cz", Style::Other),
        (b"\\u005cz", Style::Other),
        (b"%5Cz", Style::Other),
        (b"%5cz", Style::Other),
        (b"&#92;z", Style::Other),
    ];
    for (end, style) in ends {
        if bytes[length..].starts_with(end) {
            return (length + end.len(), Some((kind, number, style)));
        }
    }
    (length, None)
}

/// The body without what is filled in for each request, and where it stood.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    pub body: Vec<u8>,
    /// Each place with the piece that stood there; `None` is a CSRF token.
    pub places: Vec<(u32, Option<usize>)>,
}

/// Cuts the pieces (start and end, in rising order), and where there is a secret the tokens
/// between them. `None` when the body cannot be shared safely, see `cut_tokens`.
#[must_use]
pub fn cut(body: &[u8], secret: Option<&[u8]>, pieces: &[(usize, usize)]) -> Option<Cut> {
    let mut cut = Cut {
        body: Vec::with_capacity(body.len()),
        places: Vec::new(),
    };
    let mut from = 0;
    let mut tokens = false;
    let end = (body.len(), body.len());
    for (number, (start, stop)) in pieces.iter().chain([&end]).enumerate() {
        let between = body.get(from..*start)?;
        if let Some(secret) = secret {
            let mut found = Vec::new();
            cut_tokens(between, secret, &mut cut.body, &mut found)?;
            tokens |= !found.is_empty();
            cut.places.extend(found.into_iter().map(|at| (at, None)));
        } else {
            cut.body.extend(between);
        }
        if number < pieces.len() {
            let at = u32::try_from(cut.body.len()).ok()?;
            cut.places.push((at, Some(number)));
        }
        from = *stop;
    }
    (secret.is_none() || tokens).then_some(cut)
}

/// A token of this secret, masked as Django masks it; `None` when it is no secret.
///
/// # Errors
/// When the operating system has no randomness.
pub fn mask_token(secret: &[u8]) -> Result<Option<String>, Error> {
    let Some(secret) = digits(secret) else {
        return Ok(None);
    };
    let mut mask = Vec::with_capacity(SECRET);
    while mask.len() < SECRET {
        let mut random = [0; SECRET + 8];
        getrandom::fill(&mut random).map_err(|why| Error::NoRandomness(why.to_string()))?;
        // Four times the alphabet; beyond it some characters would come up more often.
        let even = random.iter().filter(|c| **c < 4 * ALPHABET);
        mask.extend(even.map(|c| c % ALPHABET).take(SECRET - mask.len()));
    }
    let cipher = mask.iter().zip(secret).map(|(m, s)| (m + s) % ALPHABET);
    let token = mask.iter().copied().chain(cipher).map(letter).collect();
    Ok(Some(token))
}

/// The secret as places in the alphabet.
fn digits(secret: &[u8]) -> Option<[u8; SECRET]> {
    let digits: Option<Vec<u8>> = secret.iter().map(|c| index(*c)).collect();
    digits?.try_into().ok()
}

/// The inverse of [`index`].
fn letter(index: u8) -> char {
    char::from(match index {
        0..26 => b'a' + index,
        26..52 => b'A' + index - 26,
        _ => b'0' + index - 52,
    })
}

/// Takes every token of this secret out of the body. `None` when the body shows the secret itself,
/// or when what is given is no secret. (No token at all, although one was asked for, is a token in
/// a form that we cannot read: [`cut`] refuses that, too.)
fn cut_tokens(body: &[u8], secret: &[u8], rest: &mut Vec<u8>, places: &mut Vec<u32>) -> Option<()> {
    let secret = digits(secret)?;
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
        cut_word(word, &secret, rest, places)?;
        run = start + length;
    }
    Some(())
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
        let fillings: Vec<(usize, &[u8])> = cut
            .places
            .iter()
            .map(|(at, _)| (*at as usize, token))
            .collect();
        let mut out = vec![0; filled_length(&cut.body, &fillings)];
        fill(&mut out, &cut.body, &fillings);
        out
    }

    fn cut_tokens(body: &[u8], secret: &[u8]) -> Option<Cut> {
        cut(body, Some(secret), &[])
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

    const NONCE: &[u8; 45] = b"viewcacheslot0123456789abcdef0123456789abcdef";

    fn marked(text: &str) -> Vec<u8> {
        text.replace('@', std::str::from_utf8(NONCE).unwrap())
            .into_bytes()
    }

    #[test]
    fn nonces_are_found_whoevers_they_are() {
        let nonce = std::str::from_utf8(NONCE).unwrap();
        let another = nonce.replace('0', "f");
        let body = format!("é{nonce}b0\\zviewcacheslot0{another}{nonce}");
        assert_eq!(Vec::from_iter(nonces(body.as_bytes())), [nonce, &another]);
        assert!(nonces(b"viewcacheslot\xff").is_empty());
    }

    #[test]
    fn markers_are_taken_out() {
        for (text, rest, pieces) in [
            ("", "", vec![]),
            ("no viewcacheslot, v", "no viewcacheslot, v", vec![]),
            (r"1@b0\zab@e0\z2", "1ab2", vec![(0, 1, 3, Style::Plain)]),
            (
                r"@b0\z\z@e0\z@b12\z@e12\z",
                r"\z",
                vec![(0, 0, 2, Style::Plain), (12, 2, 2, Style::Plain)],
            ),
            (r#""@b3\\zx@e3\\z""#, r#""x""#, vec![(3, 1, 2, Style::Json)]),
            (r"@b3\u005Czx@e3\u005Cz", "x", vec![(3, 0, 1, Style::Other)]),
            (r"@b3%5Czx@e3%5Cz", "x", vec![(3, 0, 1, Style::Other)]),
        ] {
            let taken = take_out(&marked(text), NONCE);
            assert_eq!(String::from_utf8_lossy(&taken.body), rest);
            let found: Vec<_> = taken
                .pieces
                .iter()
                .map(|p| (p.number, p.start, p.end, p.style))
                .collect();
            assert_eq!(found, pieces, "{text}");
            assert!(!taken.broken, "{text}");
        }
    }

    #[test]
    fn no_marker_is_left_whatever_became_of_it() {
        for (text, rest) in [
            (r"a@b0\zb", "ab"),
            (r"a@e0\zb", "ab"),
            (r"a@b0\z@b1\zx@e1\z@e0\zb", "axb"),
            (r"@b0\zx@e1\z", "x"),
            (r"@b0\zx@e0\\z", "x"),
            (r"@b0", ""),
            (r"@b", ""),
            (r"@", ""),
            (r"@b99999999999999999999\zx", r"\zx"),
            (r"@x", "x"),
        ] {
            let taken = take_out(&marked(text), NONCE);
            assert_eq!(String::from_utf8_lossy(&taken.body), rest, "{text}");
            assert!(taken.broken, "{text}");
            let upper = marked(text).to_ascii_uppercase();
            let taken = take_out(&upper, NONCE);
            assert!(taken.broken, "{text}");
            assert!(!taken.body.windows(13).any(|w| w == b"VIEWCACHESLOT"));
        }
        for length in SURE..NONCE.len() {
            let taken = take_out(&[b"a", &NONCE[..length], b"..."].concat(), NONCE);
            assert_eq!((taken.body, taken.broken), (b"a...".to_vec(), true));
        }
        assert_eq!(take_out(b"abc", b"").body, b"abc");
    }

    #[test]
    fn pieces_and_tokens_are_cut_together() {
        let one = token(SECRET_TEXT, 1);
        let body = [b"Hello Anna!", &one[..], b"x", &one, b"end", &one].concat();
        // The name is a piece, and so is the second token, which is none then.
        let pieces = [(6, 10), (76, 140)];
        let cut = cut(&body, Some(SECRET_TEXT), &pieces).unwrap();
        assert_eq!(cut.body, b"Hello !xend");
        assert_eq!(
            cut.places,
            [(6, Some(0)), (7, None), (8, Some(1)), (11, None)]
        );
        let plain = super::cut(b"abc", None, &[(1, 2)]).unwrap();
        assert_eq!(
            (&plain.body[..], &plain.places[..]),
            (&b"ac"[..], &[(1, Some(0))][..])
        );
        // A token inside a piece is no token of the page.
        assert_eq!(super::cut(&one, Some(SECRET_TEXT), &[(0, 64)]), None);
        assert_eq!(super::cut(b"abc", None, &[(2, 9)]), None);
        assert_eq!(super::cut(b"abc", None, &[(2, 3), (1, 2)]), None);
    }

    #[test]
    fn a_masked_token_is_one_that_django_unmasks() {
        let secret = digits(SECRET_TEXT).unwrap();
        let mut seen = [0_u32; 62];
        for _ in 0..2_000 {
            let token = mask_token(SECRET_TEXT).unwrap().unwrap();
            assert_eq!(token.len(), TOKEN);
            assert!(unmasks_to(token.as_bytes(), &secret));
            for c in &token.as_bytes()[..SECRET] {
                seen[usize::from(index(*c).unwrap())] += 1;
            }
        }
        // 64,000 characters: each of the 62 about 1,032 times, within six standard deviations.
        assert!(seen.iter().all(|n| (840..1_225).contains(n)), "{seen:?}");
        assert_eq!(mask_token(b"short").unwrap(), None);
        assert_eq!(mask_token(&[b'-'; 32]).unwrap(), None);
    }
}
