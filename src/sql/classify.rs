//! Whether a statement that was not understood may write.
//!
//! Whoever asks treats the two differently: a page that read something unknown is not stored, while after an unknown write
//! every tracked page expires. So "it only reads" is said only of a text whose every statement begins like a query and
//! that, outside quotes and comments, holds no word that writes and no function that is not known.

use super::clean::hollow;
use super::{Analyser, Dialect};

const READS: &[&str] = &["SELECT", "VALUES", "TABLE", "WITH", "SHOW"];
const WRITES: &[&str] = &[
    "INSERT", "DELETE", "MERGE", "INTO", "CALL", "TRUNCATE", "DROP", "ALTER", "CREATE", "EXECUTE",
    "EXEC", "COPY", "DO", "REPLACE", "UPDATE", "GRANT", "RENAME", "LOAD", "HANDLER",
];
/// Words before a parenthesis that are no function.
const GRAMMAR: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "BETWEEN",
    "BIGINT",
    "BINARY",
    "BY",
    "CHARACTER",
    "CUBE",
    "DECIMAL",
    "DISTINCT",
    "ELSE",
    "ESCAPE",
    "EXCEPT",
    "EXISTS",
    "FETCH",
    "FILTER",
    "FROM",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INDEX",
    "INTERSECT",
    "IS",
    "JOIN",
    "KEY",
    "LATERAL",
    "LIKE",
    "LIMIT",
    "MATERIALIZED",
    "NOT",
    "NUMERIC",
    "OF",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OVER",
    "PARTITION",
    "RETURNING",
    "ROLLUP",
    "ROWS",
    "SELECT",
    "SETS",
    "SOME",
    "SYMMETRIC",
    "THEN",
    "UNION",
    "USING",
    "VALUES",
    "VARCHAR",
    "VARYING",
    "WHEN",
    "WHERE",
    "WITH",
    "XOR",
];

/// What ends a quoted name.
const QUOTES: &[&str] = &["\"", "`", "]"];

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}

/// The words of a statement, names with their schema, and each sign between them: `a = (` calls no `a`.
fn pieces(statement: &str) -> impl Iterator<Item = &str> {
    let mut rest = statement;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let sign = rest.chars().next()?.len_utf8();
        let word = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        let (piece, left) = rest.split_at_checked(word.max(sign))?;
        rest = left;
        Some(piece)
    })
}

impl Analyser {
    /// Whether a text that was refused may change what a table holds.
    pub(super) fn may_write(&self, text: &str, dialect: Dialect) -> bool {
        // Where quotes and comments cannot be told apart, words inside them count too.
        let hollow = hollow(text, dialect).unwrap_or_else(|_| text.to_owned());
        hollow
            .split(';')
            .any(|statement| self.statement_may_write(statement))
    }

    fn statement_may_write(&self, statement: &str) -> bool {
        let mut pieces = pieces(statement).peekable();
        let mut first = true;
        let mut before = String::new();
        while let Some(piece) = pieces.next() {
            let called = pieces.peek() == Some(&"(");
            if called && QUOTES.contains(&piece) {
                // A quoted name, which is empty by now.
                return true;
            }
            if !piece.starts_with(is_of_word) {
                continue;
            }
            let word = piece.to_ascii_uppercase();
            if first && !READS.contains(&word.as_str()) {
                return true;
            }
            first = false;
            // `FOR UPDATE`, `FOR NO KEY UPDATE` lock; `replace(…)` and `insert(…)` are string functions.
            let locks = word == "UPDATE" && matches!(before.as_str(), "FOR" | "KEY");
            let function = called && matches!(word.as_str(), "REPLACE");
            if WRITES.contains(&word.as_str()) && !locks && !function {
                return true;
            }
            let number = word.starts_with(|c: char| c.is_ascii_digit());
            if called
                && !number
                && !GRAMMAR.contains(&word.as_str())
                && !self.is_pure(&word.to_ascii_lowercase())
            {
                return true;
            }
            before = word;
        }
        false
    }
}
