//! What lies in a local-memory cache of ours, as Python pickles it (protocol 5, PEP 574): numbers,
//! and bytes. Anything else is for `pickle.loads()` to read, and whatever is not wholly as expected.

use std::ops::Range;

const PROTOCOL: &[u8] = b"\x80\x05";
const FRAME: u8 = 0x95;
const LONG1: u8 = 0x8a;
const SHORT_BINBYTES: u8 = b'C';
const BINBYTES: u8 = b'B';
const END_OF_BYTES: &[u8] = b"\x94.";

/// Where the content begins: after the protocol, and the frame if there is one.
fn begin(pickled: &[u8]) -> Option<usize> {
    let rest = pickled.strip_prefix(PROTOCOL)?;
    let frame = if rest.first() == Some(&FRAME) { 9 } else { 0 };
    Some(PROTOCOL.len() + frame)
}

/// A number of at most eight bytes that is not negative, written as those beyond four bytes are: as
/// every generation.
#[must_use]
pub fn number(pickled: &[u8]) -> Option<u64> {
    let content = pickled.get(begin(pickled)?..)?;
    let [LONG1, length, digits @ .., b'.'] = content else {
        return None;
    };
    let mut bytes = [0; 8];
    if digits.len() != usize::from(*length) || digits.last()? & 0x80 != 0 {
        return None;
    }
    bytes.get_mut(..digits.len())?.copy_from_slice(digits);
    Some(u64::from_le_bytes(bytes))
}

/// Where in this pickle of `bytes` they lie, as they are.
#[must_use]
pub fn bytes(pickled: &[u8]) -> Option<Range<usize>> {
    let at = begin(pickled)?;
    let (start, length) = match *pickled.get(at..)? {
        [SHORT_BINBYTES, length, ..] => (at + 2, usize::from(length)),
        [BINBYTES, a, b, c, d, ..] => (at + 5, u32::from_le_bytes([a, b, c, d]) as usize),
        _ => return None,
    };
    let end = pickled.len().checked_sub(END_OF_BYTES.len())?;
    let is_all = end.checked_sub(start)? == length;
    (is_all && pickled.ends_with(END_OF_BYTES)).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Written by CPython 3.13: pickle.dumps(value, 5).
    const FRAMED: &[u8] =
        b"\x80\x05\x95\x0b\0\0\0\0\0\0\0\x8a\x08\x01\x02\x03\x04\x05\x06\x07\x10.";
    const LARGEST: &[u8] =
        b"\x80\x05\x95\x0b\0\0\0\0\0\0\0\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.";
    const TEXT: &[u8] = b"\x80\x05\x95\x09\0\0\0\0\0\0\0B\x03\0\0\0abc\x94.";
    const SHORT: &[u8] = b"\x80\x05\x95\x07\0\0\0\0\0\0\0C\x03abc\x94.";

    #[test]
    fn numbers() {
        assert_eq!(number(FRAMED), Some(0x1007_0605_0403_0201));
        assert_eq!(number(LARGEST), Some(u64::MAX >> 1));
        assert_eq!(
            number(b"\x80\x05\x8a\x05\x01\0\0\0\x01."),
            Some(0x1_0000_0001)
        );
    }

    #[test]
    fn what_is_no_number_of_ours() {
        let negative = b"\x80\x05\x95\x0b\0\0\0\0\0\0\0\x8a\x08\0\0\0\0\0\0\0\x80.";
        let longer = b"\x80\x05\x95\x0c\0\0\0\0\0\0\0\x8a\x09\0\0\0\0\0\0\0\x80\0.";
        let more = b"\x80\x05\x8a\x04\x01\0\0\0\x01.";
        for pickled in [
            &negative[..],
            longer,
            more,
            TEXT,
            b"\x80\x05K\x05.",
            b"\x80\x05\x8a\0.",
            b"",
        ] {
            assert_eq!(number(pickled), None, "{pickled:?}");
        }
    }

    #[test]
    fn bytes_lie_where_they_are() {
        assert_eq!(bytes(TEXT).map(|at| &TEXT[at]), Some(&b"abc"[..]));
        assert_eq!(bytes(SHORT).map(|at| &SHORT[at]), Some(&b"abc"[..]));
        let unframed = b"\x80\x05B\x03\0\0\0abc\x94.";
        assert_eq!(bytes(unframed).map(|at| &unframed[at]), Some(&b"abc"[..]));
    }

    #[test]
    fn what_is_cut_or_changed_is_neither() {
        for whole in [FRAMED, TEXT, SHORT] {
            for end in 0..whole.len() {
                assert_eq!(number(&whole[..end]), None);
                assert_eq!(bytes(&whole[..end]), None);
            }
        }
        let mut longer = TEXT.to_vec();
        longer.insert(16, b'x');
        assert_eq!(bytes(&longer), None);
        let other_end = [&TEXT[..TEXT.len() - 2], b"\x93."].concat();
        assert_eq!(bytes(&other_end), None);
    }
}
