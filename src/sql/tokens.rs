//! What the tokens of a statement tell before they are parsed.

use sqlparser::tokenizer::Token;

use super::Dialect;

/// MySQL's operators that bind more loosely than the parser has them: `||` is `OR` there, `XOR` stands below `AND`, and
/// `:=` below all. A conjunct may then be none.
pub(super) fn binds_loosely(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| match token {
        Token::StringConcat | Token::Overlap | Token::Assignment | Token::ExclamationMark => true,
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case("XOR"),
        _ => false,
    })
}

/// Take out what the parser does not know, or, worse, takes for a name: it reads `UPDATE IGNORE t` as an update of a table
/// `ignore` that is called `t`.
pub(super) fn adapt(tokens: &mut Vec<Token>, dialect: Dialect) {
    let mut drop: Vec<bool> = vec![false; tokens.len()];
    let is = |at: Option<usize>, expected: &[&str]| {
        matches!(
            at.and_then(|at| tokens.get(at)),
            Some(Token::Word(word)) if word.quote_style.is_none()
                && expected.iter().any(|expected| word.value.eq_ignore_ascii_case(expected))
        )
    };
    // Whether each open parenthesis is that of `CHAR(`.
    let mut chars: Vec<bool> = Vec::new();
    // The modifiers right after the verb.
    let mut verb = false;
    for (at, token) in tokens.iter().enumerate() {
        let back = |count: usize| at.checked_sub(count);
        let dropped = match (dialect, token) {
            // `FROM ONLY t`, but `FETCH FIRST 5 ROWS ONLY`.
            (Dialect::Postgres, Token::Word(_)) if is(Some(at), &["ONLY"]) => {
                is(back(1), &["FROM", "JOIN", "UPDATE", "INTO", "USING"])
                    || back(1).and_then(|at| tokens.get(at)) == Some(&Token::Comma)
            }
            // `FOR NO KEY UPDATE` and `FOR KEY SHARE` read as `FOR UPDATE` and `FOR SHARE`.
            (Dialect::Postgres, Token::Word(_)) if is(Some(at), &["NO"]) => {
                is(back(1), &["FOR"]) && is(at.checked_add(1), &["KEY"])
            }
            (Dialect::Postgres, Token::Word(_)) if is(Some(at), &["KEY"]) => {
                is(at.checked_add(1), &["UPDATE", "SHARE"])
                    && (is(back(1), &["FOR"]) || (is(back(1), &["NO"]) && is(back(2), &["FOR"])))
            }
            (Dialect::MySql, Token::Word(_)) if is(Some(at), &["UPDATE", "DELETE"]) => {
                verb = true;
                continue;
            }
            (Dialect::MySql, Token::Word(_)) if verb => {
                is(Some(at), &["LOW_PRIORITY", "IGNORE", "QUICK"])
            }
            // `_binary %s`, which Django writes for bytes.
            (Dialect::MySql, Token::Word(_)) if is(Some(at), &["_BINARY"]) => {
                let next = at.checked_add(1).and_then(|at| tokens.get(at));
                matches!(next, Some(Token::Placeholder(_)))
            }
            // `CHAR(… USING charset)`, which Django's `Chr` writes.
            (Dialect::MySql, Token::LParen) => {
                chars.push(is(back(1), &["CHAR"]));
                false
            }
            (Dialect::MySql, Token::RParen) => {
                if chars.pop() == Some(true) && is(back(2), &["USING"]) {
                    for at in [back(2), back(1)].into_iter().flatten() {
                        if let Some(dropped) = drop.get_mut(at) {
                            *dropped = true;
                        }
                    }
                }
                false
            }
            _ => false,
        };
        verb &= dropped;
        if let Some(slot) = drop.get_mut(at) {
            *slot |= dropped;
        }
    }
    let mut dropped = drop.into_iter();
    tokens.retain(|_| !dropped.next().unwrap_or(false));
    if dialect == Dialect::Sqlite {
        // The parser knows shifts in other databases only. SQLite has them bind as tightly as `&`.
        for token in tokens.iter_mut() {
            if matches!(token, Token::ShiftLeft | Token::ShiftRight) {
                *token = Token::Ampersand;
            }
        }
    }
}

/// Words that link the two sides of an operator, or hang one on the right of an operand.
const LINKS: &[&str] = &[
    "AND", "OR", "XOR", "NOT", "IS", "IN", "LIKE", "ILIKE", "REGEXP", "RLIKE", "GLOB", "MATCH",
    "SIMILAR", "BETWEEN", "COLLATE", "AT", "DIV", "MOD", "OVERLAPS", "ISNULL", "NOTNULL", "ESCAPE",
    "OPERATOR",
];
/// Words after which an expression begins anew.
const BORDERS: &[&str] = &[
    "WHEN", "THEN", "ELSE", "WHERE", "FROM", "ON", "HAVING", "SET", "SELECT", "JOIN", "BY",
    "LIMIT", "VALUES",
];

/// How deep a tree the operators can make: the most of them in one expression, with those around its parentheses.
///
/// An upper bound: an operator that binds more tightly (`a = 1` in `a = 1 OR b = 2`) is counted too.
pub(super) fn longest_chain(tokens: &[Token]) -> usize {
    let mut around: Vec<usize> = Vec::new();
    let mut chain = 0_usize;
    // Set operations chain across the clauses that end an expression.
    let mut unions = 0_usize;
    let mut longest = 0_usize;
    for token in tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => around.push(chain),
            Token::RParen | Token::RBracket | Token::RBrace => chain = around.pop().unwrap_or(0),
            Token::Comma | Token::SemiColon => chain = around.last().copied().unwrap_or(0),
            Token::Word(word) if word.quote_style.is_none() => {
                let word = word.value.to_ascii_uppercase();
                if matches!(word.as_str(), "UNION" | "INTERSECT" | "EXCEPT") {
                    unions = unions.saturating_add(1);
                } else if LINKS.contains(&word.as_str()) {
                    chain = chain.saturating_add(1);
                } else if BORDERS.contains(&word.as_str()) {
                    chain = around.last().copied().unwrap_or(0);
                }
            }
            Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::Placeholder(_)
            | Token::Period
            // A comparison is a leaf of the chain of `AND` and `OR` that it stands in; a chain of comparisons is no SQL.
            | Token::Eq => {}
            _ => chain = chain.saturating_add(1),
        }
        longest = longest.max(chain).max(unions);
    }
    longest
}
