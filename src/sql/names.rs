//! Names: when two of them may be the same table, and when two of them are the same binding.
//!
//! The two questions err in opposite directions. For an expiry, mistaking two tables for one costs a render and mistaking
//! one for two costs a stale page, so [`table_key`] merges whatever might be one. For a pin, or a CTE that hides a table,
//! mistaking two names for one costs the stale page, so [`fold`] merges only what the database surely merges.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use super::Dialect;

/// PostgreSQL cuts names after so many bytes (`NAMEDATALEN - 1`); the others keep more, where the cut only merges.
const NAME_BYTES: usize = 63;

/// The one spelling of a table: the last part of its name, without quotes, lowercased, at most 63 bytes.
///
/// `public.blog_post`, `"blog_post"`, `Blog_Post` and `db.blog_post` are one table here. Two tables that differ only by schema
/// or case share their scopes, and a write to one expires the pages of both. Compare with nothing that has not gone
/// through this function, a model's `db_table` included.
#[must_use]
pub fn table_key(name: &str) -> String {
    // Names come as they are quoted: `%%` where the statement has parameters and `%` where it has none, quotes doubled.
    let name = name
        .replace("%%", "%")
        .replace("\"\"", "\"")
        .replace("``", "`");
    let last = name.rsplit('.').next().unwrap_or_default();
    let bare = last.trim_matches(|c| matches!(c, '"' | '`' | '[' | ']' | ' '));
    let mut key = bare.to_lowercase();
    if key.len() > NAME_BYTES {
        let end = (0..=NAME_BYTES)
            .rev()
            .find(|&end| key.is_char_boundary(end))
            .unwrap_or(0);
        key.truncate(end);
    }
    key
}

/// The table of a parsed name; nothing when a part of it is computed.
pub(super) fn table_of(name: &ObjectName) -> Option<String> {
    last_ident(name).map(|ident| table_key(&ident.value))
}

/// The last part of a parsed name.
pub(super) fn last_ident(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(ObjectNamePart::as_ident)
}

/// An alias, CTE name or qualifier as the database compares it.
///
/// PostgreSQL lowers what is not quoted, SQLite ignores case, MySQL compares as its file system does: exactly, to be safe.
pub(super) fn fold(ident: &Ident, dialect: Dialect) -> String {
    match dialect {
        Dialect::Sqlite => ident.value.to_ascii_lowercase(),
        Dialect::Postgres if ident.quote_style.is_none() => ident.value.to_lowercase(),
        Dialect::Postgres | Dialect::MySql | Dialect::Generic => ident.value.clone(),
    }
}

/// Whether a column's name is `column`; exact only where the database is.
pub(super) fn is_column(ident: &Ident, column: &str, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Sqlite | Dialect::MySql => ident.value.eq_ignore_ascii_case(column),
        Dialect::Postgres | Dialect::Generic => fold(ident, dialect) == column,
    }
}

/// Whether an assignment to this column may move a row to another primary key; errs towards yes.
pub(super) fn may_be_key(ident: &Ident, column: &str, dialect: Dialect) -> bool {
    // In SQLite an integer primary key is the row id, which has three more names.
    let row_id = dialect == Dialect::Sqlite
        && ["rowid", "_rowid_", "oid"]
            .iter()
            .any(|name| ident.value.eq_ignore_ascii_case(name));
    row_id || ident.value.eq_ignore_ascii_case(column)
}

/// Whether the name is one of the database's own catalogues, which hold no page's data.
///
/// Unqualified, PostgreSQL finds `pg_…` in its catalogue first and SQLite keeps `sqlite_…` for itself.
pub(super) fn is_catalogue(name: &ObjectName, dialect: Dialect) -> bool {
    let parts: Vec<String> = name
        .0
        .iter()
        .map(|part| {
            part.as_ident()
                .map_or_else(String::new, |ident| ident.value.to_lowercase())
        })
        .collect();
    let mut from_last = parts.iter().rev().map(String::as_str);
    let table = from_last.next().unwrap_or_default();
    let schema = from_last.next();
    match dialect {
        Dialect::Postgres => match schema {
            Some(schema) => matches!(schema, "pg_catalog" | "information_schema" | "pg_toast"),
            None => table.starts_with("pg_"),
        },
        Dialect::MySql => {
            matches!(
                schema,
                Some("information_schema" | "performance_schema" | "mysql" | "sys")
            )
        }
        Dialect::Sqlite => table.starts_with("sqlite_"),
        Dialect::Generic => false,
    }
}

/// Words that are no table's name unless quoted. Where the parser takes one for a name, it has misread the statement.
const RESERVED: &[&str] = &[
    "AND",
    "AS",
    "BY",
    "CROSS",
    "DELAYED",
    "DELETE",
    "EXCEPT",
    "EXISTS",
    "FORCE",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "HIGH_PRIORITY",
    "IF",
    "IGNORE",
    "INDEXED",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTO",
    "JOIN",
    "LATERAL",
    "LEFT",
    "LIMIT",
    "LOW_PRIORITY",
    "NATURAL",
    "NOT",
    "ON",
    "ONLY",
    "OR",
    "ORDER",
    "OUTER",
    "OVERWRITE",
    "PARTITION",
    "QUICK",
    "RETURNING",
    "RIGHT",
    "ROWS",
    "SELECT",
    "SET",
    "STRAIGHT_JOIN",
    "TABLE",
    "UNION",
    "UNNEST",
    "UPDATE",
    "USE",
    "USING",
    "VALUES",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// Whether what stands for a table's name is a keyword.
pub(super) fn is_keyword(name: &ObjectName) -> bool {
    last_ident(name).is_some_and(|ident| {
        ident.quote_style.is_none()
            && RESERVED
                .iter()
                .any(|word| ident.value.eq_ignore_ascii_case(word))
    })
}

/// Whether the name is MySQL's `DUAL`, which stands for no table.
pub(super) fn is_dual(name: &ObjectName, dialect: Dialect) -> bool {
    dialect == Dialect::MySql
        && matches!(name.0.as_slice(), [part] if part.as_ident().is_some_and(|ident| {
            ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("DUAL")
        }))
}
