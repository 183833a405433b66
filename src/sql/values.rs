//! Values: rows that a statement finds by another column than their key (`WHERE slug = 'hello'`).
//!
//! A page that found a row so is old when a row comes to have the value, or when the row that has it changes. The latter is
//! the row's own scope, so whoever runs the statement has to know which row it is. The former is a scope of the value:
//! every write that gives a column a value names it, here. What is not plainly a value counts as any.
//!
//! Two texts that some database calls equal must be one value here, whatever its collation: case, accents, blanks at the end,
//! punctuation that a collation skips. [`value_text`] keeps what all of them tell apart; that it may say that two values are
//! one which are not costs a render. What it cannot judge is no value: it is not looked up by, and written it is any.

use std::borrow::Cow;

use sqlparser::ast::{
    ArrayElemTypeDef, Assignment, AssignmentTarget, DataType, Expr, Insert, SelectItem, SetExpr,
    TableFactor, TableWithJoins, Value,
};

use super::names::last_ident;
use super::pins::{Terms, unnest};
use super::row::row_text;
use super::{Dialect, MAX_PINS, PinTerm};

/// What a column that rows are found by holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text of at most so many characters, where there is a limit.
    Text(Option<usize>),
    /// Integers or UUIDs, as keys are.
    Key,
}

/// A column that rows may be found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, as the model has it.
    pub name: String,
    pub kind: Kind,
    /// No two rows have the same value.
    pub unique: bool,
}

/// How a table is found by values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findable {
    /// The table's name as it is, where that is plain.
    pub table: String,
    pub columns: Vec<Column>,
}

/// The values that a write gives to a table's columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Given {
    /// None of those that rows are found by.
    #[default]
    Nothing,
    /// Each a position in [`Findable::columns`] and a value.
    Values(Vec<(usize, PinTerm)>),
    /// Some that the text does not say.
    Any,
}

/// The rows that a read finds by a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByValue {
    /// The position in [`Findable::columns`].
    pub column: usize,
    pub term: PinTerm,
    /// Where in a row of the result the primary key stands, if it does.
    pub key_at: Option<usize>,
}

/// What of a text every collation tells apart; nothing for a text that cannot be judged.
///
/// ASCII only: beyond it, what is equal depends on the collation. Within it, no collation of MariaDB or ICU holds equal what
/// is not equal here (`tests/queries/test_collations.py` asks them): case; `i`, `j` and `y`; `u`, `v` and `w`; `m` and `n`; `ch` and
/// `c`; punctuation and blanks, which some skip; zeros before a number, which a numeric one skips.
#[must_use]
pub fn value_text(value: &str, kind: Kind) -> Option<Cow<'_, str>> {
    let Kind::Text(limit) = kind else {
        return row_text(value);
    };
    // Longer ones are cut by some databases.
    if limit.is_some_and(|limit| value.len() > limit) {
        return None;
    }
    let mut text = String::with_capacity(value.len());
    let mut in_number = false;
    for byte in value.bytes().map(|byte| byte.to_ascii_lowercase()) {
        in_number &= byte.is_ascii_digit();
        match byte {
            b'0' if !in_number => {}
            b'0'..=b'9' => {
                in_number = true;
                text.push(char::from(byte));
            }
            b'h' if text.ends_with('c') => {}
            b'j' | b'y' => text.push('i'),
            b'v' | b'w' => text.push('u'),
            b'm' => text.push('n'),
            b'a'..=b'z' => text.push(char::from(byte)),
            b' ' | b'-' | b'_' | b'.' | b',' | b':' | b'/' | b'@' | b'+' => {}
            // Letters in some character sets.
            _ => return None,
        }
    }
    Some(Cow::Owned(text))
}

impl Column {
    /// Whether this may be its name; errs towards yes.
    fn may_be(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(&self.name)
    }

    /// The value of one cell; none for a `NULL`, which nothing is equal to.
    fn cell(&self, terms: &Terms<'_>, expr: &Expr) -> Option<Vec<PinTerm>> {
        match (unnest(expr), self.kind) {
            (Expr::Value(value), _) if value.value == Value::Null => Some(Vec::new()),
            // A number that is written into a text is spelt by the database.
            (Expr::Value(value), Kind::Text(_)) if matches!(value.value, Value::Number(..)) => None,
            (plain @ Expr::Value(_), _) | (plain, Kind::Key) => Some(vec![terms.term(plain)?]),
            _ => None,
        }
    }

    /// The values of a whole column of an insert: `(%s)::varchar[]`.
    fn cells(&self, terms: &Terms<'_>, expr: &Expr) -> Option<PinTerm> {
        let is_text = matches!(unnest(expr), Expr::Cast {
            data_type: DataType::Array(
                ArrayElemTypeDef::SquareBracket(element, _)
                | ArrayElemTypeDef::AngleBracket(element)
                | ArrayElemTypeDef::Parenthesis(element),
            ),
            ..
        } if matches!(**element, DataType::Text | DataType::Varchar(None) | DataType::CharacterVarying(None)));
        (is_text == matches!(self.kind, Kind::Text(_)))
            .then(|| terms.list_term(expr))
            .flatten()
    }
}

impl Findable {
    /// The values that an insert gives; `shortened`: rows of it were dropped before it was parsed.
    pub(super) fn inserted(&self, insert: &Insert, terms: &Terms<'_>, shortened: bool) -> Given {
        let mut found = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            let Some(cells) = column.inserted(insert, terms, shortened) else {
                return Given::Any;
            };
            found.extend(cells.into_iter().map(|term| (at, term)));
        }
        given(found)
    }

    /// The values that an update gives; `excluded`: those that a conflicting insert would have given are among its own.
    pub(super) fn assigned(
        &self,
        assignments: &[Assignment],
        terms: &Terms<'_>,
        excluded: bool,
    ) -> Given {
        let mut found = Vec::new();
        for assignment in assignments {
            let AssignmentTarget::ColumnName(target) = &assignment.target else {
                return Given::Any;
            };
            let Some(name) = last_ident(target) else {
                return Given::Any;
            };
            for (at, column) in self.columns.iter().enumerate() {
                if !column.may_be(&name.value)
                    || (excluded && is_excluded(&assignment.value, column))
                {
                    continue;
                }
                match column.cell(terms, &assignment.value) {
                    Some(terms) => found.extend(terms.into_iter().map(|term| (at, term))),
                    None => return Given::Any,
                }
            }
        }
        given(found)
    }

    /// Whether this is what the table is called in a statement, and nothing else can be.
    pub(super) fn is_called(&self, name: &sqlparser::ast::ObjectName, dialect: Dialect) -> bool {
        let ([_], Some(ident)) = (name.0.as_slice(), last_ident(name)) else {
            return false;
        };
        match dialect {
            Dialect::Sqlite => ident.value.eq_ignore_ascii_case(&self.table),
            _ => super::names::fold(ident, dialect) == self.table,
        }
    }
}

impl Given {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => Self::Any,
            (Self::Nothing, given) | (given, Self::Nothing) => given,
            (Self::Values(mut values), Self::Values(more)) => {
                values.extend(more);
                Self::Values(values)
            }
        }
    }
}

impl Column {
    fn inserted(
        &self,
        insert: &Insert,
        terms: &Terms<'_>,
        shortened: bool,
    ) -> Option<Vec<PinTerm>> {
        if !insert.assignments.is_empty() {
            return None;
        }
        let mut indices = (0_usize..)
            .zip(&insert.columns)
            .filter(|(_, column)| last_ident(column).is_none_or(|ident| self.may_be(&ident.value)));
        // A column that is not named has a default, which is not known here.
        let (Some((index, _)), None) = (indices.next(), indices.next()) else {
            return None;
        };
        match insert.source.as_deref()?.body.as_ref() {
            SetExpr::Values(values) if !shortened && values.rows.len() <= MAX_PINS => {
                let mut found = Vec::new();
                for row in &values.rows {
                    found.extend(self.cell(terms, row.content.get(index)?)?);
                }
                Some(found)
            }
            SetExpr::Select(select) => match (select.projection.as_slice(), select.from.as_slice())
            {
                (
                    [SelectItem::Wildcard(_)],
                    [
                        TableWithJoins {
                            relation: TableFactor::UNNEST { array_exprs, .. },
                            joins,
                        },
                    ],
                ) if joins.is_empty() => Some(vec![self.cells(terms, array_exprs.get(index)?)?]),
                _ => None,
            },
            _ => None,
        }
    }
}

fn given(found: Vec<(usize, PinTerm)>) -> Given {
    if found.is_empty() {
        Given::Nothing
    } else if found.len() > MAX_PINS {
        Given::Any
    } else {
        Given::Values(found)
    }
}

/// `EXCLUDED.column`, which stands for the value that the insert names.
fn is_excluded(expr: &Expr, column: &Column) -> bool {
    matches!(unnest(expr), Expr::CompoundIdentifier(parts) if matches!(parts.as_slice(),
        [table, name] if table.value.eq_ignore_ascii_case("excluded")
            && name.value.eq_ignore_ascii_case(&column.name)))
}
