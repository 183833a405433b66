//! Rows: one text per row, and the bounded number of scopes that a table's rows share.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// The one text of a primary key: a decimal integer, or a UUID as 32 lower-case hex digits. Nothing for any other value.
///
/// A database may call two different texts equal: `'5'`, `'05'` and `5`; `'Ab'`, `'ab'` and `'ab '` in most collations of
/// MySQL. So only what has one spelling names a row; whoever gets nothing treats the rows as unknown.
#[must_use]
pub fn row_text(value: &str) -> Option<Cow<'_, str>> {
    let hex: usize = value.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = value.bytes().filter(|byte| *byte == b'-').count();
    if hex == 32 && hex.saturating_add(dashes) == value.len() && matches!(dashes, 0 | 4) {
        return Some(Cow::Owned(
            value
                .chars()
                .filter(|c| *c != '-')
                .map(|c| c.to_ascii_lowercase())
                .collect(),
        ));
    }
    let (negative, digits) = match value.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    if digits.is_empty() || digits.len() > 30 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let short = digits.trim_start_matches('0');
    if short.is_empty() {
        return Some(Cow::Borrowed("0"));
    }
    match (negative, short.len() == digits.len()) {
        (false, _) => Some(Cow::Borrowed(short)),
        (true, true) => Some(Cow::Borrowed(value)),
        (true, false) => Some(Cow::Owned(format!("-{short}"))),
    }
}

/// Which of the `buckets` scopes of `table` the row `pk` belongs to; the same on every machine and in every version.
///
/// Rows share a bounded number of generations: two rows in one bucket expire together, which costs a render. The first
/// eight bytes of a SHA-256 over the length-prefixed table and the key spread any sequence of keys evenly.
#[must_use]
pub fn row_bucket(table: &str, pk: &str, buckets: u32) -> u32 {
    let mut hash = Sha256::new();
    hash.update((table.len() as u64).to_be_bytes());
    hash.update(table);
    hash.update(pk);
    let digest = hash.finalize();
    let number = digest
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    u32::try_from(number % u64::from(buckets.max(1))).unwrap_or(0)
}
