//! What one SQL statement reads and writes.
//!
//! A page that was made from rows is old when the rows change. To know which rows, each statement that Django sends is
//! looked at: its text is parsed in the grammar of its database, once, and the outcome is kept by text, since a project's
//! statements are few and their values travel as parameters.
//!
//! # What is said of a table
//!
//! | the statement | says | scopes, which the caller makes of it |
//! | --- | --- | --- |
//! | reads rows that it names by primary key | [`TableRead`] with [`Pins::Rows`] | `row:t:pk` of each, `table:t` |
//! | reads rows that it finds by a value of a column that is known to it | [`TableRead`] with [`Pins::Value`] | `value:t:…` of the value, `values:t`, `row:t:pk` of the row that has it, `table:t` |
//! | reads in any other way | [`TableRead`] with [`Pins::None`] | `rows:t`, `table:t` |
//! | changes or deletes rows that it names | [`Reach::Rows`] | expires `row:t:pk` of each, `rows:t` |
//! | adds rows | [`Reach::Added`] | expires `rows:t`, and `row:t:pk` of those it names |
//! | writes rows that cannot be known, or the table itself | [`Reach::Table`] | expires `table:t` |
//!
//! A write that does not reach the whole table says besides which values it gives to such columns ([`Given`]): it expires
//! `value:t:…` of each, or `values:t` where they cannot be known. See `values`.
//!
//! An insert that names its rows (a one-to-one key, a child of an inherited model, a UUID) expires them too: a page may have
//! looked for the row and shown that there was none.
//!
//! # What has to be right
//!
//! Saying too little is an old page; saying too much is a render. So everything leans one way:
//!
//! * **Reads and writes are what the text names**, anywhere in it: sub-queries, `ON`, `RETURNING`, every branch of a `UNION`,
//!   every statement of a text that holds several. Only a common table expression hides a table, where it surely does.
//! * **Pinned** is earned (see `pins`): every row of the table that can reach the result is named. A table that occurs
//!   more than once is pinned only if each occurrence is, and then the rows add up.
//! * **Functions** are known, or declared with [`Analyser::with_pure_functions`], or the statement is refused: a function of the
//!   database may read and write what the text does not show.
//! * **What is not understood is refused** with a reason, never guessed, and the [`Refusal`] says whether it may write.
//!
//! # What cannot be seen here
//!
//! Triggers, rules, `ON DELETE CASCADE` and other actions of foreign keys in the database (Django 6.1's `DB_CASCADE`), the tables
//! behind a view, inheritance and partitions of PostgreSQL, row-level security, user-defined operators and casts, and a
//! redefined built-in function. Names of views are reported like those of tables; whoever knows the tables decides.
//! PostgreSQL is taken to have `standard_conforming_strings` on, which has been the default since 9.1 and which Django needs.
//!
//! # Limits
//!
//! Texts of more than [`MAX_TEXT`] bytes (after bulk inserts were shortened) are refused, those of more than [`MAX_PINNED_TEXT`] are
//! not pinned; nor is an `IN` list of more than [`MAX_PINS`] terms. Nesting deeper than [`MAX_DEPTH`] and chains of more than
//! [`MAX_CHAIN`] operators are refused, since parsing and dropping them takes stack. The memory is bounded by entries and
//! bytes (see `memo`); texts of more than [`MAX_KEPT_TEXT`] bytes are kept by what is left of them when cleaned, or not at all.

// The names of databases are prose.
#![allow(clippy::doc_markdown)]

mod classify;
mod clean;
mod functions;
mod insert;
mod memo;
mod names;
mod pins;
mod row;
mod tokens;
mod utility;
mod values;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlparser::ast::Statement;
use sqlparser::dialect::{MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use clean::Clean;
use memo::{Memo, Outcome};
use pins::Terms;

pub use names::table_key;
pub use row::{row_bucket, row_text};
pub use values::{ByValue, Column, Findable, Given, Kind, value_text};

/// Bytes of a cleaned statement above which it is refused.
pub const MAX_TEXT: usize = 1024 * 1024;
/// Bytes of a cleaned statement above which no row of it is pinned.
pub const MAX_PINNED_TEXT: usize = 256 * 1024;
/// Bytes of a statement above which it is not remembered as it is.
pub const MAX_KEPT_TEXT: usize = 32 * 1024;
/// Terms of one table above which its rows count as unknown. SQLite takes 999 parameters by Django's count.
pub const MAX_PINS: usize = 1_000;
/// Nested parentheses and sub-queries; the parser's own default, which its tests hold to.
pub const MAX_DEPTH: usize = 50;
/// Operators in one chain (`a OR b OR …`), each of which is a level of the tree.
pub const MAX_CHAIN: usize = 1_000;

/// The grammar of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite, SpatiaLite.
    Sqlite,
    /// PostgreSQL, PostGIS.
    Postgres,
    /// MySQL, MariaDB.
    MySql,
    /// Any other: every statement is refused, and only what certainly reads is said to.
    Generic,
}

impl Dialect {
    /// From Django's `connection.vendor`.
    #[must_use]
    pub fn from_vendor(vendor: &str) -> Self {
        match vendor {
            "sqlite" => Self::Sqlite,
            "postgresql" => Self::Postgres,
            "mysql" => Self::MySql,
            _ => Self::Generic,
        }
    }
}

/// What a statement does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Analysis {
    /// The tables it reads, one entry each, by [`table_key`].
    pub reads: Vec<TableRead>,
    /// What it writes, in order; a table may come more than once.
    pub writes: Vec<TableWrite>,
    /// What it does to the transaction, in order.
    pub control: Vec<Control>,
    /// Its answer depends on a clock, on chance or on the connection, besides the tables.
    pub volatile: bool,
    /// It reads the database's own catalogue, which is no table of a page.
    pub catalogue: bool,
    /// It is an insert and nothing else: its result is about the rows that it adds.
    pub is_insert: bool,
}

/// A table that a statement reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRead {
    /// Its [`table_key`].
    pub table: String,
    /// The rows, if named.
    pub pins: Pins,
}

/// Rows that a statement names by primary key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pins {
    /// None that bound what it reads.
    #[default]
    None,
    /// No rows but these.
    Rows(Vec<PinTerm>),
    /// No rows but those that have this value.
    Value(ByValue),
}

/// One primary key, or a list of them, as the statement gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinTerm {
    /// The text itself says it.
    Literal(String),
    /// The parameter at this position, from zero.
    Param(usize),
    /// The parameter of this name.
    NamedParam(String),
    /// The parameter at this position, a list of keys.
    ParamList(usize),
    /// The parameter of this name, a list of keys.
    NamedParamList(String),
}

/// A table that a statement writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableWrite {
    /// Its [`table_key`].
    pub table: String,
    /// How.
    pub kind: WriteKind,
    /// Which of its rows.
    pub reach: Reach,
    /// The columns that an update assigns, in lower case; nothing where they are not known.
    pub columns: Option<Vec<String>>,
    /// The values that it gives to columns that rows are found by; without meaning where it reaches any row.
    pub given: Given,
}

/// How a statement writes a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// It adds rows and touches no other.
    Insert,
    /// It adds rows or changes those that stand in their way.
    Upsert,
    /// It changes rows.
    Update,
    /// It removes rows.
    Delete,
    /// It defines, empties or fills the table as a whole.
    Schema,
}

/// Which rows a statement writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// New rows: those named, and any that the database numbers itself. A parameter that is `None` is one of the latter.
    Added(Pins),
    /// No rows but these.
    Rows(Vec<PinTerm>),
    /// Any.
    Table,
}

/// What a statement does to the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// `BEGIN`, `START TRANSACTION`
    Begin,
    /// `COMMIT`, `END`
    Commit,
    /// `ROLLBACK`, `ABORT`
    Rollback,
    /// `SAVEPOINT name`
    Savepoint(String),
    /// `RELEASE name`
    Release(String),
    /// `ROLLBACK TO name`
    RollbackTo(String),
}

/// Why a statement was not analysed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What stood in the way.
    pub cause: Cause,
    /// For whoever reads the log.
    pub reason: String,
    /// It may change what a table holds.
    pub may_write: bool,
}

/// The kinds of refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The text is not understood.
    Unparsed,
    /// It calls this function, of which nothing is known.
    Function(String),
}

impl Refusal {
    fn unparsed(reason: String) -> Self {
        Self {
            cause: Cause::Unparsed,
            reason,
            may_write: true,
        }
    }

    fn function(name: &str) -> Self {
        Self {
            cause: Cause::Function(name.to_owned()),
            reason: format!("the function {name} may read or write what cannot be seen"),
            may_write: true,
        }
    }

    fn weight(&self) -> usize {
        self.reason.len().saturating_add(128)
    }
}

impl Pins {
    /// The rows of two occurrences of one table.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Rows(mut rows), Self::Rows(more))
                if rows.len().saturating_add(more.len()) <= MAX_PINS =>
            {
                rows.extend(more);
                rows.sort_unstable();
                rows.dedup();
                Self::Rows(rows)
            }
            _ => Self::None,
        }
    }

    /// The rows' texts, sorted, each once; nothing when they are not all known.
    ///
    /// `values` gives the texts of a parameter (one, or the items of a list), or nothing if it is not what it should be; each
    /// text goes through [`row_text`], here, so that one row has one text.
    pub fn rows(&self, values: impl FnMut(&PinTerm) -> Option<Vec<String>>) -> Option<Vec<String>> {
        match self {
            Self::None | Self::Value(_) => None,
            Self::Rows(terms) => row_texts(terms, values),
        }
    }
}

/// The texts of the rows that `terms` name; see [`Pins::rows`].
pub fn row_texts(
    terms: &[PinTerm],
    mut values: impl FnMut(&PinTerm) -> Option<Vec<String>>,
) -> Option<Vec<String>> {
    let mut rows = Vec::with_capacity(terms.len());
    for term in terms {
        match term {
            PinTerm::Literal(text) => rows.push(row_text(text)?.into_owned()),
            parameter => {
                for value in values(parameter)? {
                    rows.push(row_text(&value)?.into_owned());
                }
            }
        }
    }
    rows.sort_unstable();
    rows.dedup();
    Some(rows)
}

impl Analysis {
    fn add_read(&mut self, read: TableRead) {
        match self
            .reads
            .iter_mut()
            .find(|known| known.table == read.table)
        {
            Some(known) => known.pins = std::mem::take(&mut known.pins).and(read.pins),
            None => self.reads.push(read),
        }
    }

    /// A read by value may be run twice, so it has to be a query and nothing else.
    fn forget_values(&mut self) {
        for read in &mut self.reads {
            if matches!(read.pins, Pins::Value(_)) {
                read.pins = Pins::None;
            }
        }
    }

    /// Bytes in memory, roughly.
    fn weight(&self) -> usize {
        let terms = |terms: &[PinTerm]| terms.len().saturating_mul(size_of::<PinTerm>());
        let reads = self.reads.iter().map(|read| match &read.pins {
            Pins::Rows(rows) => terms(rows),
            Pins::None | Pins::Value(_) => 0,
        });
        let writes = self.writes.iter().map(|write| match &write.reach {
            Reach::Rows(rows) | Reach::Added(Pins::Rows(rows)) => terms(rows),
            Reach::Added(_) | Reach::Table => 0,
        });
        let given = self.writes.iter().map(|write| match &write.given {
            Given::Values(values) => values.len().saturating_mul(size_of::<(usize, PinTerm)>()),
            Given::Nothing | Given::Any => 0,
        });
        let entries = self
            .reads
            .len()
            .saturating_add(self.writes.len())
            .saturating_mul(128);
        reads
            .chain(writes)
            .chain(given)
            .sum::<usize>()
            .saturating_add(entries)
            .saturating_add(256)
    }
}

/// Analyses statements for a project whose tables and primary keys are known, and remembers the outcomes.
///
/// Make a new one when the models change: the memory was made with the keys.
pub struct Analyser {
    /// Each known table and its primary key; none where it has several columns or is not sure.
    tables: HashMap<String, Option<String>>,
    /// By [`table_key`], those of which there is one.
    findables: HashMap<String, Findable>,
    pure: HashSet<String>,
    memos: [Memo; 3],
}

impl Analyser {
    /// `tables`: each model's table and the one column of its primary key, nothing for a composite key.
    ///
    /// Names that share a [`table_key`] without sharing the column lose it, and are never pinned.
    pub fn new(tables: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        let mut known: HashMap<String, Option<String>> = HashMap::new();
        for (table, column) in tables {
            known
                .entry(table_key(&table))
                .and_modify(|seen| {
                    if *seen != column {
                        *seen = None;
                    }
                })
                .or_insert(column);
        }
        Self {
            tables: known,
            findables: HashMap::new(),
            pure: HashSet::new(),
            memos: Default::default(),
        }
    }

    /// Declare the columns that rows are found by. Tables that share a [`table_key`] have none.
    #[must_use]
    pub fn with_findables(mut self, tables: impl IntoIterator<Item = Findable>) -> Self {
        let mut several = HashSet::new();
        for findable in tables {
            let key = table_key(&findable.table);
            if self.findables.insert(key.clone(), findable).is_some() {
                several.insert(key);
            }
        }
        self.findables.retain(|key, _| !several.contains(key));
        self
    }

    /// Declare functions of the database that read and write no table, by unqualified name.
    #[must_use]
    pub fn with_pure_functions(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.pure
            .extend(names.into_iter().map(|name| name.to_ascii_lowercase()));
        self
    }

    /// What the statement reads and writes, or why that cannot be said.
    ///
    /// `text` as `execute_wrapper` sees it: `%s` or `%(name)s` for parameters, `%%` for a percent sign.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] for what is not understood.
    pub fn analyse(&self, text: &str, dialect: Dialect) -> Outcome {
        let memo = match dialect {
            Dialect::Sqlite => self.memos.first(),
            Dialect::Postgres => self.memos.get(1),
            Dialect::MySql => self.memos.get(2),
            Dialect::Generic => None,
        };
        let Some(memo) = memo else {
            let refusal = self.refused(
                Refusal::unparsed("no grammar for this database".to_owned()),
                text,
                dialect,
            );
            return Err(Arc::new(refusal));
        };
        let short = text.len() <= MAX_KEPT_TEXT;
        if short && let Some(outcome) = memo.get(text) {
            return outcome;
        }
        let clean = match clean::clean(text, dialect) {
            Ok(clean) => clean,
            Err(doubt) => {
                let refusal = self.refused(Refusal::unparsed(doubt.to_owned()), text, dialect);
                return Err(Arc::new(refusal));
            }
        };
        // What is left of a bulk insert is the same for any number of rows.
        let left = (!short
            && clean.text.len() <= MAX_KEPT_TEXT
            && clean.countable
            && clean.names.is_empty())
        .then(|| {
            format!(
                "{}{}",
                if clean.shortened { "\u{1}" } else { "\u{2}" },
                clean.text
            )
        });
        if let Some(outcome) = left.as_ref().and_then(|left| memo.get(left)) {
            return outcome;
        }
        let outcome = match self.parse(&clean, dialect) {
            Ok(analysis) => Ok(Arc::new(analysis)),
            Err(refusal) => Err(Arc::new(self.refused(refusal, text, dialect))),
        };
        if short {
            memo.put(text, &outcome);
        } else if let Some(left) = left {
            memo.put(&left, &outcome);
        }
        outcome
    }

    fn refused(&self, refusal: Refusal, text: &str, dialect: Dialect) -> Refusal {
        let may_write = match refusal.cause {
            Cause::Function(_) => true,
            Cause::Unparsed => self.may_write(text, dialect),
        };
        Refusal {
            may_write,
            ..refusal
        }
    }

    fn parse(&self, clean: &Clean, dialect: Dialect) -> Result<Analysis, Refusal> {
        if clean.text.len() > MAX_TEXT {
            return Err(Refusal::unparsed(format!(
                "the statement is longer than {MAX_TEXT} bytes"
            )));
        }
        let grammar: &dyn sqlparser::dialect::Dialect = match dialect {
            Dialect::Sqlite => &SQLiteDialect {},
            Dialect::Postgres => &PostgreSqlDialect {},
            Dialect::MySql => &MySqlDialect {},
            Dialect::Generic => {
                return Err(Refusal::unparsed("no grammar for this database".to_owned()));
            }
        };
        // Not unescaped: a text with an escape in it is no primary key, and two spellings of a name are merged by hand.
        let mut tokens = Tokenizer::new(grammar, &clean.text)
            .with_unescape(false)
            .tokenize()
            .map_err(|error| Refusal::unparsed(error.to_string()))?;
        tokens.retain(|token| !matches!(token, Token::Whitespace(_)));
        tokens::adapt(&mut tokens, dialect);
        if tokens::longest_chain(&tokens) > MAX_CHAIN {
            return Err(Refusal::unparsed(format!(
                "a chain of more than {MAX_CHAIN} operators"
            )));
        }
        let reliable = clean.text.len() <= MAX_PINNED_TEXT
            && !(dialect == Dialect::MySql && tokens::binds_loosely(&tokens));
        let mut analysis = Analysis::default();
        for statement in tokens.split(|token| *token == Token::SemiColon) {
            let Some(rest) = utility::read(statement, dialect, &mut analysis)? else {
                continue;
            };
            let mut parser = Parser::new(grammar)
                .with_recursion_limit(MAX_DEPTH)
                .with_tokens(rest.to_vec());
            let tree = parser
                .parse_statement()
                .map_err(|error| Refusal::unparsed(error.to_string()))?;
            if parser.peek_token().token != Token::EOF {
                return Err(Refusal::unparsed(format!(
                    "unexpected {} after the statement",
                    parser.peek_token()
                )));
            }
            let terms = Terms {
                dialect,
                names: &clean.names,
                countable: clean.countable,
                reliable,
            };
            walk::walk(&tree, self, terms, clean.shortened, &mut analysis)?;
            analysis.is_insert = matches!(tree, Statement::Insert(_)) && analysis.writes.len() == 1;
        }
        let statements = tokens.split(|token| *token == Token::SemiColon);
        let several = statements.filter(|one| !one.is_empty()).count() > 1;
        analysis.is_insert &= !several;
        if several || !analysis.writes.is_empty() || analysis.volatile {
            analysis.forget_values();
        }
        Ok(analysis)
    }

    fn primary_key(&self, table: &str) -> Option<&str> {
        self.tables.get(table)?.as_deref()
    }

    /// The columns that rows of this table are found by.
    #[must_use]
    pub fn findable(&self, table: &str) -> Option<&Findable> {
        self.findables.get(table)
    }

    /// Is this the key of a table that was named at the start?
    #[must_use]
    pub fn is_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    fn is_pure(&self, function: &str) -> bool {
        functions::is_known(function) || self.pure.contains(function)
    }
}
