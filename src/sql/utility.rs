//! Statements that are no query: transactions, definitions of tables, settings and the rest.
//!
//! Their grammars are many and change with every release, while what matters of them is a keyword and a name. So they
//! are read from the tokens here, and only queries, inserts, updates, deletes and merges go to the parser.

use sqlparser::tokenizer::Token;

use super::names::table_key;
use super::{
    Analysis, Control, Dialect, Given, Pins, Reach, Refusal, TableRead, TableWrite, WriteKind,
};

/// A place in the tokens of one statement.
struct Tokens<'a> {
    rest: &'a [Token],
}

/// An unquoted word in upper case.
fn word(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
        _ => None,
    }
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> Option<String> {
        self.rest.first().and_then(word)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn eat(&mut self, expected: &str) -> bool {
        let found = self.peek().is_some_and(|word| word == expected);
        if found {
            self.next();
        }
        found
    }

    fn eat_all(&mut self, expected: &[&str]) {
        for word in expected {
            self.eat(word);
        }
    }

    fn has(&self, words: &[&str]) -> bool {
        self.rest
            .iter()
            .filter_map(word)
            .any(|word| words.contains(&word.as_str()))
    }

    /// The rest from the first of these words on, wherever it stands.
    fn starting_at(&self, words: &[&str]) -> Option<&'a [Token]> {
        let at = self
            .rest
            .iter()
            .position(|token| word(token).is_some_and(|word| words.contains(&word.as_str())))?;
        self.rest.get(at..)
    }

    /// Move behind the first of these words.
    fn skip_past(&mut self, words: &[&str]) -> Option<String> {
        self.rest = self.starting_at(words)?;
        self.next().and_then(word)
    }

    /// A name, with or without a schema; its last part.
    fn name(&mut self) -> Option<String> {
        let mut last = self.plain_name()?;
        while self.rest.first() == Some(&Token::Period) {
            self.next();
            last = self.plain_name()?;
        }
        Some(table_key(&last))
    }

    fn plain_name(&mut self) -> Option<String> {
        match self.next()? {
            Token::Word(word) => Some(word.value.clone()),
            // SQLite and MySQL take quoted strings for names where nothing else can stand.
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// `a, b, c`
    fn names(&mut self) -> Option<Vec<String>> {
        let mut names = Vec::new();
        loop {
            self.eat("ONLY");
            names.push(self.name()?);
            if self.rest.first() == Some(&Token::Mul) {
                self.next();
            }
            if self.rest.first() != Some(&Token::Comma) {
                return Some(names);
            }
            self.next();
        }
    }

    /// The name of a savepoint: quoted as it is, else in lower case.
    fn savepoint(&mut self) -> Option<String> {
        match self.next()? {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
            Token::Word(word) => Some(word.value.clone()),
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => Some(text.clone()),
            _ => None,
        }
    }
}

/// The words that begin what the parser reads.
const QUERIES: &[&str] = &["SELECT", "WITH", "VALUES"];
const EXPLAINED: &[&str] = &[
    "SELECT", "WITH", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE", "MERGE", "TABLE",
    "CREATE", "DECLARE", "EXECUTE", "REFRESH",
];

/// What `CREATE TABLE … AS` may be followed by besides `SELECT`.
const AFTER_AS: &[&str] = &["WITH", "VALUES", "TABLE", "EXECUTE"];

type Parsed<'a> = Result<Option<&'a [Token]>, Refusal>;

fn unknown(what: &str) -> Refusal {
    Refusal::unparsed(format!(
        "{what}: what it does to which tables cannot be told"
    ))
}

/// Read one statement. What comes back, if anything, is for the parser.
pub(super) fn read<'a>(
    statement: &'a [Token],
    dialect: Dialect,
    analysis: &mut Analysis,
) -> Parsed<'a> {
    let mut tokens = Tokens { rest: statement };
    let Some(first) = tokens.peek() else {
        return match statement.first() {
            None => Ok(None),
            Some(Token::LParen) => Ok(Some(statement)),
            Some(_) => Err(unknown("a statement without a keyword")),
        };
    };
    tokens.next();
    match first.as_str() {
        "SELECT" | "WITH" | "VALUES" | "INSERT" | "REPLACE" | "UPDATE" | "DELETE" | "MERGE" => {
            Ok(Some(statement))
        }
        "TABLE" => {
            let table = tokens.name().ok_or_else(|| unknown("TABLE"))?;
            if tokens.has(&["UNION", "INTERSECT", "EXCEPT"]) || tokens.rest.contains(&Token::LParen)
            {
                return Err(unknown("TABLE with more than a name"));
            }
            analysis.add_read(TableRead {
                table,
                pins: Pins::None,
            });
            Ok(None)
        }
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" => {
            control(&first, &mut tokens, analysis).map(|()| None)
        }
        "EXPLAIN" | "DESCRIBE" | "DESC" | "ANALYZE" => explain(&first, &tokens, dialect, analysis),
        "DECLARE" => {
            // A server-side cursor: the rows are fetched later, the tables are read as from here.
            tokens
                .skip_past(&["FOR"])
                .ok_or_else(|| unknown("DECLARE"))?;
            match tokens.peek() {
                Some(word) if QUERIES.contains(&word.as_str()) => Ok(Some(tokens.rest)),
                _ => Err(unknown("DECLARE")),
            }
        }
        // MariaDB: `SET STATEMENT max_statement_time = 1 FOR SELECT …` runs what follows.
        "SET" if dialect == Dialect::MySql && tokens.eat("STATEMENT") => {
            match tokens.skip_past(&["FOR"]) {
                Some(_) if !tokens.has(&["STATEMENT"]) => read(tokens.rest, dialect, analysis),
                _ => Err(unknown("SET STATEMENT")),
            }
        }
        "SET" | "SHOW" if tokens.rest.contains(&Token::LParen) => Err(unknown(&first)),
        "PRAGMA" if dialect != Dialect::Sqlite => Err(unknown("PRAGMA")),
        "PRAGMA" | "SHOW" => {
            analysis.volatile = true;
            Ok(None)
        }
        "PREPARE" if tokens.eat("TRANSACTION") => Err(unknown("PREPARE TRANSACTION")),
        "SET" | "RESET" | "USE" | "VACUUM" | "REINDEX" | "CHECKPOINT" | "FLUSH" | "DISCARD"
        | "LISTEN" | "NOTIFY" | "UNLISTEN" | "LOCK" | "UNLOCK" | "PREPARE" | "DEALLOCATE"
        | "CLOSE" | "FETCH" | "MOVE" | "COMMENT" | "GRANT" | "REVOKE" | "KILL" | "CLUSTER"
        | "OPTIMIZE" | "ATTACH" | "DETACH" => Ok(None),
        "COPY" => copy(&mut tokens, analysis),
        _ => define(&first, &mut tokens, dialect, analysis),
    }
}

fn control(first: &str, tokens: &mut Tokens<'_>, analysis: &mut Analysis) -> Result<(), Refusal> {
    if tokens.has(&["PREPARED", "CHAIN"]) {
        return Err(unknown("a two-phase or chained transaction"));
    }
    let savepoint = |tokens: &mut Tokens<'_>| {
        tokens
            .savepoint()
            .ok_or_else(|| unknown("a savepoint without a name"))
    };
    let control = match first {
        // MariaDB's `BEGIN NOT ATOMIC … END` is no transaction: whatever stands between.
        "BEGIN" if tokens.eat("NOT") => return Err(unknown("BEGIN NOT ATOMIC")),
        "BEGIN" => Control::Begin,
        "START" if tokens.eat("TRANSACTION") => Control::Begin,
        "START" => return Err(unknown("START")),
        "COMMIT" | "END" => Control::Commit,
        "SAVEPOINT" => Control::Savepoint(savepoint(tokens)?),
        "RELEASE" => {
            tokens.eat("SAVEPOINT");
            Control::Release(savepoint(tokens)?)
        }
        _ => {
            tokens.eat_all(&["WORK", "TRANSACTION"]);
            if tokens.eat("TO") {
                tokens.eat("SAVEPOINT");
                Control::RollbackTo(savepoint(tokens)?)
            } else {
                Control::Rollback
            }
        }
    };
    analysis.control.push(control);
    Ok(())
}

/// `EXPLAIN` reads a plan; with `ANALYZE`, and MariaDB's bare `ANALYZE`, the statement is run.
fn explain<'a>(
    first: &str,
    tokens: &Tokens<'a>,
    dialect: Dialect,
    analysis: &mut Analysis,
) -> Parsed<'a> {
    analysis.volatile = true;
    let Some(inner) = tokens.starting_at(EXPLAINED) else {
        return Ok(None);
    };
    let options = tokens
        .rest
        .get(..tokens.rest.len().saturating_sub(inner.len()))
        .unwrap_or_default();
    let runs = options
        .iter()
        .filter_map(word)
        .any(|word| matches!(word.as_str(), "ANALYZE" | "ANALYSE"));
    // `ANALYZE t` gathers statistics; `ANALYZE TABLE t` too.
    let maria = first == "ANALYZE"
        && inner
            .first()
            .and_then(word)
            .is_some_and(|word| word != "TABLE")
        && dialect == Dialect::MySql;
    if !runs && !maria {
        return Ok(None);
    }
    match inner.first().and_then(word).as_deref() {
        Some("TABLE" | "CREATE" | "DECLARE" | "EXECUTE" | "REFRESH") | None => {
            Err(unknown("EXPLAIN ANALYZE"))
        }
        Some(_) => Ok(Some(inner)),
    }
}

fn copy<'a>(tokens: &mut Tokens<'a>, analysis: &mut Analysis) -> Parsed<'a> {
    if tokens.rest.first() == Some(&Token::LParen) {
        let end = closing(tokens.rest).ok_or_else(|| unknown("COPY"))?;
        return Ok(tokens.rest.get(1..end));
    }
    let table = tokens.name().ok_or_else(|| unknown("COPY"))?;
    match tokens.skip_past(&["FROM", "TO"]).as_deref() {
        // The file may bring rows of any key.
        Some("FROM") => analysis.add_write(table, WriteKind::Insert),
        Some(_) => analysis.add_read(TableRead {
            table,
            pins: Pins::None,
        }),
        None => return Err(unknown("COPY")),
    }
    Ok(None)
}

/// The place of the parenthesis that closes the first one.
fn closing(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0_usize;
    tokens.iter().position(|token| {
        match token {
            Token::LParen => depth = depth.saturating_add(1),
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    })
}

fn define<'a>(
    first: &str,
    tokens: &mut Tokens<'a>,
    dialect: Dialect,
    analysis: &mut Analysis,
) -> Parsed<'a> {
    let fail = || unknown(first);
    let names = match first {
        "CREATE" => return create(tokens, analysis),
        "ALTER" => alter(tokens).ok_or_else(fail)?,
        "DROP" => drop_(tokens, dialect).ok_or_else(fail)?,
        // With CASCADE, tables go that the statement does not name.
        "TRUNCATE" if tokens.has(&["CASCADE"]) => return Err(fail()),
        "TRUNCATE" => {
            tokens.eat("TABLE");
            tokens.names().ok_or_else(fail)?
        }
        "RENAME" if tokens.eat("TABLE") => {
            let mut names = Vec::new();
            tokens.eat_all(&["IF", "EXISTS"]);
            loop {
                names.push(tokens.name().ok_or_else(fail)?);
                tokens.skip_past(&["TO"]).ok_or_else(fail)?;
                names.push(tokens.name().ok_or_else(fail)?);
                if tokens.rest.first() != Some(&Token::Comma) {
                    break names;
                }
                tokens.next();
            }
        }
        "REFRESH" => {
            tokens.eat_all(&["MATERIALIZED", "VIEW", "CONCURRENTLY"]);
            vec![tokens.name().ok_or_else(fail)?]
        }
        "LOAD" => {
            tokens.skip_past(&["INTO"]).ok_or_else(fail)?;
            if !tokens.eat("TABLE") {
                return Err(fail());
            }
            vec![tokens.name().ok_or_else(fail)?]
        }
        _ => return Err(fail()),
    };
    for table in names {
        analysis.add_write(table, WriteKind::Schema);
    }
    Ok(None)
}

const OBJECTS: &[&str] = &[
    "TABLE",
    "VIEW",
    "INDEX",
    "SEQUENCE",
    "EXTENSION",
    "COLLATION",
    "ROLE",
    "USER",
    "STATISTICS",
    "SCHEMA",
    "DATABASE",
    "TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "TRIGGER",
    "EVENT",
    "RULE",
    "POLICY",
    "AGGREGATE",
    "OPERATOR",
    "SYSTEM",
    "SERVER",
    "FOREIGN",
    "PUBLICATION",
    "SUBSCRIPTION",
    "LANGUAGE",
    "CAST",
    "DEFAULT",
    "OWNED",
    "GROUP",
    "TABLESPACE",
];

fn create<'a>(tokens: &mut Tokens<'a>, analysis: &mut Analysis) -> Parsed<'a> {
    let fail = || unknown("CREATE");
    let object = tokens.skip_past(OBJECTS).ok_or_else(fail)?;
    match object.as_str() {
        "TABLE" | "VIEW" => {
            tokens.eat_all(&["IF", "NOT", "EXISTS"]);
            let table = tokens.name().ok_or_else(fail)?;
            analysis.add_write(table, WriteKind::Schema);
            // `CREATE TABLE … AS SELECT`: functions of the query run now; a view's do not.
            let query = if object == "TABLE" {
                query_at_top(tokens.rest)
            } else {
                None
            };
            Ok(query)
        }
        "INDEX" => {
            tokens.skip_past(&["ON"]).ok_or_else(fail)?;
            tokens.eat("ONLY");
            let table = tokens.name().ok_or_else(fail)?;
            analysis.add_write(table, WriteKind::Schema);
            Ok(None)
        }
        // New, so nothing has read it.
        "SEQUENCE" | "EXTENSION" | "COLLATION" | "ROLE" | "USER" | "STATISTICS" | "SCHEMA"
        | "DATABASE" | "TYPE" | "DOMAIN" | "PUBLICATION" | "TABLESPACE" => Ok(None),
        other => Err(unknown(&format!("CREATE {other}"))),
    }
}

/// The query of a `CREATE TABLE`, which stands outside its parentheses or in a pair of its own.
fn query_at_top(tokens: &[Token]) -> Option<&[Token]> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        let here = tokens.get(at..)?;
        match token {
            Token::LParen => {
                let query = here
                    .get(1)
                    .and_then(word)
                    .is_some_and(|word| QUERIES.contains(&word.as_str()));
                if depth == 0 && query {
                    return Some(here);
                }
                depth = depth.saturating_add(1);
            }
            Token::RParen => depth = depth.saturating_sub(1),
            // `WITH` alone also begins storage options.
            token if depth == 0 && word(token).is_some_and(|word| word == "SELECT") => {
                return Some(here);
            }
            token
                if depth == 0
                    && word(token).is_some_and(|word| word == "AS")
                    && here
                        .get(1)
                        .and_then(word)
                        .is_some_and(|word| AFTER_AS.contains(&word.as_str())) =>
            {
                return here.get(1..);
            }
            _ => {}
        }
    }
    None
}

fn alter(tokens: &mut Tokens<'_>) -> Option<Vec<String>> {
    let object = tokens.skip_past(OBJECTS)?;
    match object.as_str() {
        "TABLE" | "VIEW" => {
            // Rows come and go with these while another table is named.
            if tokens.has(&["PARTITION", "INHERIT", "EXCHANGE", "PARTITIONS"]) {
                return None;
            }
            tokens.eat_all(&["IF", "EXISTS", "ONLY"]);
            let mut names = vec![tokens.name()?];
            while tokens.skip_past(&["RENAME"]).is_some() {
                // Of a column, a constraint or an index otherwise.
                let moved = tokens.eat("TO") || tokens.eat("AS");
                let other = ["COLUMN", "CONSTRAINT", "INDEX", "KEY"]
                    .iter()
                    .any(|word| tokens.eat(word));
                if moved || !other {
                    names.push(tokens.name()?);
                }
            }
            Some(names)
        }
        "INDEX" | "SEQUENCE" | "EXTENSION" | "COLLATION" | "ROLE" | "USER" | "STATISTICS"
        | "DATABASE" | "SYSTEM" | "PUBLICATION" | "TABLESPACE" | "GROUP" => Some(Vec::new()),
        _ => None,
    }
}

fn drop_(tokens: &mut Tokens<'_>, dialect: Dialect) -> Option<Vec<String>> {
    let cascades = tokens.has(&["CASCADE"]);
    let object = tokens.skip_past(OBJECTS)?;
    match object.as_str() {
        "TABLE" | "VIEW" => {
            tokens.eat_all(&["IF", "EXISTS"]);
            tokens.names()
        }
        "INDEX" => match tokens.skip_past(&["ON"]) {
            Some(_) => Some(vec![tokens.name()?]),
            None => Some(Vec::new()),
        },
        "SEQUENCE" | "EXTENSION" | "COLLATION" | "TYPE" | "DOMAIN" if cascades => None,
        "SEQUENCE" | "EXTENSION" | "COLLATION" | "ROLE" | "USER" | "STATISTICS" | "TYPE"
        | "DOMAIN" | "TRIGGER" | "PUBLICATION" | "TABLESPACE" => Some(Vec::new()),
        // Never the one that this connection is in, which MySQL would drop, too.
        "DATABASE" if dialect == Dialect::Postgres => Some(Vec::new()),
        _ => None,
    }
}

impl Analysis {
    fn add_write(&mut self, table: String, kind: WriteKind) {
        self.writes.push(TableWrite {
            table,
            kind,
            reach: Reach::Table,
            columns: None,
            given: Given::Any,
        });
    }
}
