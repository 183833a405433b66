//! From the text that Django's `execute_wrapper` sees to one that the parser reads.
//!
//! `%s` is no SQL, and the same text means different things to the parser and to the database where comments and quotes
//! are concerned. One pass over the bytes takes the comments out, numbers the placeholders, turns `%%` into `%`, drops
//! the rows of a bulk insert that teach nothing, and notes what makes the positions of the parameters doubtful.
//!
//! `%s` inside a string, a quoted name or a comment is such a doubt: SQLite's backend replaces it without counting it,
//! psycopg and mysqlclient count it, and without parameters nobody replaces anything. Then no parameter pins a row.

use super::Dialect;

/// Rows of `VALUES` that are kept; of the others only the number of placeholders is.
pub(super) const KEPT_ROWS: usize = 256;

/// A statement's text, ready to be parsed.
#[derive(Debug, Default)]
pub(super) struct Clean {
    /// Without comments; placeholders as `?1` (`$1` for PostgreSQL), numbered from one.
    pub(super) text: String,
    /// The names of `%(name)s` placeholders in the order of their numbers; empty where they are positional.
    pub(super) names: Vec<String>,
    /// The positions of the parameters are sure.
    pub(super) countable: bool,
    /// Rows of `VALUES` were dropped.
    pub(super) shortened: bool,
}

/// Why a text's quotes or comments cannot be told apart without knowing the server's settings.
pub(super) type Doubt = &'static str;

const BACKSLASH: Doubt =
    "a backslash before a quote, whose meaning depends on the server's sql_mode";
const CONDITIONAL: Doubt = "a conditional comment, which the server may run";
const OPEN_QUOTE: Doubt = "a quote that does not end";
const TOO_MANY: Doubt = "more parameters than can be counted";

/// How a placeholder was written; two ways in one text cannot be counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Percent,
    Named,
    Question,
    Dollar,
    Other,
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    out: Vec<u8>,
    dialect: Dialect,
    /// Replace what is quoted by an empty string, for the classifier.
    hollow: bool,
    style: Option<Style>,
    params: usize,
    clean: Clean,
}

/// Clean a statement.
pub(super) fn clean(text: &str, dialect: Dialect) -> Result<Clean, Doubt> {
    scan(text, dialect, false)
}

/// The text without comments and with every quoted thing empty: what is left are keywords, plain names and punctuation.
pub(super) fn hollow(text: &str, dialect: Dialect) -> Result<String, Doubt> {
    scan(text, dialect, true).map(|clean| clean.text)
}

fn scan(text: &str, dialect: Dialect, hollow: bool) -> Result<Clean, Doubt> {
    let mut scan = Scan {
        bytes: text.as_bytes(),
        at: 0,
        out: Vec::with_capacity(text.len().saturating_add(16)),
        dialect,
        hollow,
        style: None,
        params: 0,
        clean: Clean {
            countable: true,
            ..Clean::default()
        },
    };
    while let Some(byte) = scan.byte(0) {
        scan.step(byte)?;
    }
    // The pieces are copied whole, so this cannot fail; were it to, the text is refused.
    scan.clean.text = String::from_utf8(scan.out).map_err(|_| OPEN_QUOTE)?;
    Ok(scan.clean)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

impl<'a> Scan<'a> {
    /// From the place of the scan on.
    fn rest(&self, ahead: usize) -> &'a [u8] {
        let bytes = self.bytes;
        bytes
            .get(self.at.saturating_add(ahead)..)
            .unwrap_or_default()
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at.saturating_add(ahead)).copied()
    }

    fn starts(&self, with: &[u8]) -> bool {
        self.bytes
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(with))
    }

    fn copy(&mut self, count: usize) {
        let end = self.at.saturating_add(count).min(self.bytes.len());
        self.out
            .extend_from_slice(self.bytes.get(self.at..end).unwrap_or_default());
        self.at = end;
    }

    fn step(&mut self, byte: u8) -> Result<(), Doubt> {
        match byte {
            b'\'' => {
                let escapes = match self.dialect {
                    Dialect::MySql => true,
                    Dialect::Postgres => self.after_escape_prefix(),
                    Dialect::Sqlite | Dialect::Generic => false,
                };
                self.quoted(b'\'', escapes)
            }
            b'"' => self.quoted(b'"', self.dialect == Dialect::MySql),
            b'`' if self.dialect != Dialect::Postgres => self.quoted(b'`', false),
            b'[' if self.dialect == Dialect::Sqlite => self.bracketed(),
            b'$' if self.dialect == Dialect::Postgres => self.dollar(),
            b'-' if self.starts(b"--") && self.is_line_comment() => {
                self.line_comment();
                Ok(())
            }
            b'#' if self.dialect == Dialect::MySql => {
                self.line_comment();
                Ok(())
            }
            b'/' if self.starts(b"/*") => self.block_comment(),
            b'%' => self.percent(),
            b'?' if self.dialect != Dialect::Postgres => self.question(),
            b':' | b'@' | b'$' if self.dialect == Dialect::Sqlite => {
                // SQLite's named parameters take numbers too.
                if self.byte(1).is_some_and(is_word) {
                    self.saw(Style::Other);
                }
                self.copy(1);
                Ok(())
            }
            _ if is_word(byte) => {
                self.word();
                Ok(())
            }
            _ => {
                self.copy(1);
                Ok(())
            }
        }
    }

    /// Copy a word whole; after `VALUES`, look for a run of rows.
    fn word(&mut self) {
        let start = self.at;
        let dollars = self.dialect == Dialect::Postgres;
        let length = self
            .rest(0)
            .iter()
            .take_while(|b| is_word(**b) || (dollars && **b == b'$'))
            .count();
        self.copy(length.max(1));
        let word = self.bytes.get(start..self.at).unwrap_or_default();
        if word.eq_ignore_ascii_case(b"VALUES") || word.eq_ignore_ascii_case(b"VALUE") {
            self.rows();
        }
    }

    /// Whether the quote here follows a lone `E`, which makes backslashes escape in PostgreSQL.
    fn after_escape_prefix(&self) -> bool {
        let before = |back: usize| {
            self.at
                .checked_sub(back)
                .and_then(|at| self.bytes.get(at))
                .copied()
        };
        matches!(before(1), Some(b'e' | b'E')) && !before(2).is_some_and(is_word)
    }

    fn quoted(&mut self, quote: u8, escapes: bool) -> Result<(), Doubt> {
        let start = self.at;
        let mut at = self.at.saturating_add(1);
        loop {
            match self.bytes.get(at).copied() {
                None => return Err(OPEN_QUOTE),
                Some(b'\\') if escapes => {
                    let next = self.bytes.get(at.saturating_add(1)).copied();
                    if self.dialect == Dialect::MySql && matches!(next, Some(b'\'' | b'"')) {
                        return Err(BACKSLASH);
                    }
                    at = at.saturating_add(2);
                }
                Some(byte) if byte == quote => {
                    at = at.saturating_add(1);
                    if self.bytes.get(at).copied() != Some(quote) {
                        break;
                    }
                    at = at.saturating_add(1);
                }
                Some(_) => at = at.saturating_add(1),
            }
        }
        self.take_quoted(start, at);
        Ok(())
    }

    fn bracketed(&mut self) -> Result<(), Doubt> {
        let start = self.at;
        let length = self
            .rest(0)
            .iter()
            .position(|b| *b == b']')
            .ok_or(OPEN_QUOTE)?;
        self.take_quoted(start, start.saturating_add(length).saturating_add(1));
        Ok(())
    }

    /// `$tag$ … $tag$`, or `$1`, or nothing special.
    fn dollar(&mut self) -> Result<(), Doubt> {
        let inside_word = self
            .at
            .checked_sub(1)
            .and_then(|at| self.bytes.get(at))
            .copied()
            .is_some_and(is_word);
        let rest = self.rest(0);
        let name = rest.iter().skip(1).take_while(|b| is_word(**b)).count();
        if !inside_word && self.byte(1).is_some_and(|b| b.is_ascii_digit()) {
            self.saw(Style::Dollar);
            self.copy(name.saturating_add(1));
            return Ok(());
        }
        let tag_length = name.saturating_add(2);
        if inside_word || rest.get(name.saturating_add(1)) != Some(&b'$') {
            self.copy(1);
            return Ok(());
        }
        let tag = rest.get(..tag_length).unwrap_or_default();
        let body = rest.get(tag_length..).unwrap_or_default();
        let length = body
            .windows(tag_length)
            .position(|window| window == tag)
            .ok_or(OPEN_QUOTE)?;
        let end = self
            .at
            .saturating_add(tag_length)
            .saturating_add(length)
            .saturating_add(tag_length);
        self.take_quoted(self.at, end);
        Ok(())
    }

    fn take_quoted(&mut self, start: usize, end: usize) {
        let bytes = self.bytes;
        let piece = bytes.get(start..end).unwrap_or_default();
        self.doubt_parameters(piece);
        self.out
            .extend_from_slice(if self.hollow { b" '' " } else { piece });
        self.at = end;
    }

    /// What looks like a placeholder where none can be.
    fn doubt_parameters(&mut self, piece: &'a [u8]) {
        let mut percent = false;
        for byte in piece {
            if percent && matches!(byte, b's' | b'b' | b't' | b'(') {
                self.clean.countable = false;
            }
            percent = *byte == b'%' && !percent;
        }
    }

    fn is_line_comment(&self) -> bool {
        // MySQL wants a blank or a control character after the dashes, else it is a double minus.
        self.dialect != Dialect::MySql || self.byte(2).is_none_or(|byte| byte <= b' ')
    }

    fn line_comment(&mut self) {
        let rest = self.rest(0);
        let ends =
            |byte: &u8| *byte == b'\n' || (*byte == b'\r' && self.dialect == Dialect::Postgres);
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.doubt_parameters(rest.get(..length).unwrap_or_default());
        self.at = self.at.saturating_add(length);
        self.out.push(b' ');
    }

    fn block_comment(&mut self) -> Result<(), Doubt> {
        if self.dialect == Dialect::MySql && (self.starts(b"/*!") || self.starts(b"/*M!")) {
            return Err(CONDITIONAL);
        }
        let start = self.at;
        self.at = self.at.saturating_add(2);
        let mut depth = 1_usize;
        while depth > 0 {
            if self.byte(0).is_none() {
                // SQLite ends an open comment at the end of the text; the others call it an error.
                break;
            }
            if self.starts(b"*/") {
                depth = depth.saturating_sub(1);
                self.at = self.at.saturating_add(2);
            } else if self.dialect == Dialect::Postgres && self.starts(b"/*") {
                depth = depth.saturating_add(1);
                self.at = self.at.saturating_add(2);
            } else {
                self.at = self.at.saturating_add(1);
            }
        }
        let bytes = self.bytes;
        self.doubt_parameters(bytes.get(start..self.at).unwrap_or_default());
        self.out.push(b' ');
        Ok(())
    }

    fn percent(&mut self) -> Result<(), Doubt> {
        match self.byte(1) {
            Some(b'%') => {
                self.out.push(b'%');
                self.at = self.at.saturating_add(2);
                Ok(())
            }
            Some(b's') => {
                self.at = self.at.saturating_add(2);
                self.saw(Style::Percent);
                self.placeholder()
            }
            Some(b'(') => {
                let rest = self.rest(2);
                let length = rest
                    .iter()
                    .position(|byte| *byte == b')')
                    .unwrap_or(rest.len());
                if rest.get(length.saturating_add(1)) != Some(&b's') {
                    self.copy(1);
                    return Ok(());
                }
                let name = rest.get(..length).unwrap_or_default();
                self.clean
                    .names
                    .push(String::from_utf8(name.to_vec()).map_err(|_| OPEN_QUOTE)?);
                self.at = self.at.saturating_add(length).saturating_add(4);
                self.saw(Style::Named);
                self.placeholder()
            }
            next => {
                // psycopg knows `%b` and `%t` too; elsewhere, and without parameters, this is a remainder.
                if self.dialect == Dialect::Postgres && matches!(next, Some(b'b' | b't')) {
                    self.clean.countable = false;
                }
                self.copy(1);
                Ok(())
            }
        }
    }

    fn question(&mut self) -> Result<(), Doubt> {
        let digits = self
            .rest(1)
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if digits > 0 {
            self.saw(Style::Dollar);
            self.copy(digits.saturating_add(1));
            return Ok(());
        }
        self.at = self.at.saturating_add(1);
        self.saw(Style::Question);
        self.placeholder()
    }

    fn saw(&mut self, style: Style) {
        if self.style.is_some_and(|seen| seen != style) {
            self.clean.countable = false;
        }
        self.style = Some(style);
    }

    fn placeholder(&mut self) -> Result<(), Doubt> {
        self.params = self.params.checked_add(1).ok_or(TOO_MANY)?;
        let sign = if self.dialect == Dialect::Postgres {
            '$'
        } else {
            '?'
        };
        // `IN %s` with a tuple: psycopg2 and mysqlclient write the parentheses themselves.
        let (open, close) = if self.is_after_in() {
            ("(", ")")
        } else {
            ("", "")
        };
        self.out
            .extend_from_slice(format!(" {open}{sign}{}{close} ", self.params).as_bytes());
        Ok(())
    }

    fn is_after_in(&self) -> bool {
        let mut back = self
            .out
            .iter()
            .rev()
            .skip_while(|byte| byte.is_ascii_whitespace());
        let last =
            [back.next(), back.next(), back.next()].map(|byte| byte.copied().unwrap_or(b' '));
        let [n, i, before] = last;
        n.eq_ignore_ascii_case(&b'n')
            && i.eq_ignore_ascii_case(&b'i')
            && before.is_ascii_whitespace()
    }

    /// After `VALUES`: copy the first rows, drop the further ones as long as they hold nothing but placeholders, words
    /// and numbers.
    fn rows(&mut self) {
        let mut rows = 0_usize;
        let mut ahead = self.blanks(self.at);
        while let Some((end, params)) = self.plain_row(ahead) {
            rows = rows.saturating_add(1);
            if rows <= KEPT_ROWS {
                // The main loop copies it; only rows beyond are dropped, and they are reached from here again.
                if rows == KEPT_ROWS {
                    self.copy_rows_until(end);
                }
            } else {
                if params > 0 {
                    self.saw(Style::Percent);
                }
                self.params = self.params.saturating_add(params);
                self.clean.shortened = true;
                self.at = end;
            }
            let comma = self.blanks(end);
            if self.bytes.get(comma) != Some(&b',') {
                break;
            }
            ahead = self.blanks(comma.saturating_add(1));
        }
    }

    fn blanks(&self, from: usize) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        from.saturating_add(
            rest.iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count(),
        )
    }

    /// The end of a row that begins here, and its placeholders, when it holds nothing but `%s`, words and commas.
    fn plain_row(&self, from: usize) -> Option<(usize, usize)> {
        let mut bytes = self.bytes.get(from..)?.iter().copied().enumerate();
        if bytes.next().map(|(_, byte)| byte) != Some(b'(') {
            return None;
        }
        let mut params = 0_usize;
        while let Some((offset, byte)) = bytes.next() {
            match byte {
                b')' => return Some((from.saturating_add(offset).saturating_add(1), params)),
                b'%' if bytes.next().map(|(_, byte)| byte) == Some(b's') => {
                    params = params.saturating_add(1);
                }
                b',' => {}
                _ if byte.is_ascii_whitespace() || byte.is_ascii_alphanumeric() => {}
                _ => return None,
            }
        }
        None
    }

    /// Copy plain rows, numbering their placeholders.
    fn copy_rows_until(&mut self, end: usize) {
        while self.at < end {
            let before = self.at;
            if self.byte(0) == Some(b'%') {
                if self.percent().is_err() {
                    return;
                }
            } else {
                self.copy(1);
            }
            if self.at == before {
                return;
            }
        }
    }
}
