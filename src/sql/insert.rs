//! Inserts: which rows they add.
//!
//! The rows matter beside the table: a page may have looked for one by its key and shown that there was none. The keys of
//! rows that the database numbers itself are not in the text. Whoever runs the statement can learn them (the cursor's
//! `lastrowid`, the rows of `RETURNING`); without that, a page that looked for a key before it was given out stays old.

use sqlparser::ast::{
    AssignmentTarget, ConflictTarget, Expr, Ident, Insert, OnConflictAction, OnInsert, SelectItem,
    SetExpr, SqliteOnConflict, TableFactor, TableObject, TableWithJoins, Value,
};

use super::names::{is_column, last_ident, may_be_key, table_of};
use super::values::Given;
use super::walk::{Flow, Walker, refuse};
use super::{MAX_PINS, PinTerm, Pins, Reach, WriteKind};

/// The key of one inserted row.
enum Key {
    Named(PinTerm),
    /// The database gives it out.
    Numbered,
}

impl Key {
    fn named(self) -> Option<PinTerm> {
        match self {
            Self::Named(term) => Some(term),
            Self::Numbered => None,
        }
    }
}

impl Walker<'_> {
    pub(super) fn insert(&mut self, insert: &Insert) -> Flow {
        let TableObject::TableName(name) = &insert.table else {
            return refuse("an insert into no plain table");
        };
        if insert.multi_table_insert_type.is_some()
            || insert.overwrite
            || insert.partitioned.is_some()
        {
            return refuse("an insert that no dialect here has");
        }
        let key = table_of(name)
            .and_then(|table| self.analyser.primary_key(&table))
            .map(str::to_owned);
        let rows = key.as_deref().map_or(Some(vec![Key::Numbered]), |key| {
            self.inserted_rows(insert, key)
        });
        let replaces = insert.replace_into || insert.or == Some(SqliteOnConflict::Replace);
        let (kind, reach) = match &insert.on {
            _ if replaces => (WriteKind::Upsert, Reach::Table),
            Some(OnInsert::DuplicateKeyUpdate(_)) => (WriteKind::Upsert, Reach::Table),
            Some(OnInsert::OnConflict(conflict)) => match &conflict.action {
                OnConflictAction::DoNothing => (WriteKind::Insert, added(rows)),
                OnConflictAction::DoUpdate(update) => {
                    // A conflict on the primary key is about a row that the statement names.
                    let on_key = match (&conflict.conflict_target, &key) {
                        (Some(ConflictTarget::Columns(columns)), Some(key)) => {
                            matches!(columns.as_slice(), [column] if is_column(column, key, self.dialect()))
                                && !self.moves_key(&update.assignments, Some(key))
                        }
                        _ => false,
                    };
                    // Not if the database numbers one of them: that row is new and not named.
                    let named = rows.and_then(|rows| {
                        rows.into_iter().map(Key::named).collect::<Option<Vec<_>>>()
                    });
                    let reach = named.filter(|_| on_key).map_or(Reach::Table, Reach::Rows);
                    (WriteKind::Upsert, reach)
                }
            },
            Some(_) => return refuse("an insert with a clause that is not known"),
            None => (WriteKind::Insert, added(rows)),
        };
        let given = match self.findable(name) {
            Some(findable) => {
                let inserted = findable.inserted(insert, &self.terms, self.shortened);
                match &insert.on {
                    Some(OnInsert::OnConflict(conflict)) => match &conflict.action {
                        OnConflictAction::DoUpdate(update) => {
                            let terms = &self.terms;
                            inserted.and(findable.assigned(&update.assignments, terms, true))
                        }
                        OnConflictAction::DoNothing => inserted,
                    },
                    _ => inserted,
                }
            }
            None => Given::Nothing,
        };
        self.write(name, kind, reach, None, given)
    }

    /// The keys of the rows that an insert adds; nothing if they cannot be known.
    fn inserted_rows(&self, insert: &Insert, key: &str) -> Option<Vec<Key>> {
        let is_key = |ident: Option<&Ident>| {
            ident.is_some_and(|ident| may_be_key(ident, key, self.dialect()))
        };
        if !insert.assignments.is_empty() {
            let mut keys = insert.assignments.iter().filter(|assignment| {
                matches!(&assignment.target, AssignmentTarget::ColumnName(column) if is_key(last_ident(column)))
            });
            return match (keys.next(), keys.next()) {
                (None, _) => Some(vec![Key::Numbered]),
                (Some(assignment), None) => Some(vec![self.row_term(&assignment.value)?]),
                _ => None,
            };
        }
        let Some(source) = insert.source.as_deref() else {
            // `DEFAULT VALUES`
            return Some(vec![Key::Numbered]);
        };
        let mut indices = (0_usize..)
            .zip(&insert.columns)
            .filter(|(_, column)| is_key(last_ident(column)));
        let index = match (indices.next(), indices.next()) {
            (Some((index, _)), None) => index,
            // Without a list of columns the key may be any of the values.
            (None, _) if !insert.columns.is_empty() => return Some(vec![Key::Numbered]),
            _ => return None,
        };
        match source.body.as_ref() {
            SetExpr::Values(values) if !self.shortened && values.rows.len() <= MAX_PINS => values
                .rows
                .iter()
                .map(|row| self.row_term(row.content.get(index)?))
                .collect(),
            // Django's bulk insert on PostgreSQL: `SELECT * FROM UNNEST((%s)::integer[], …)`.
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
                ) if joins.is_empty() => {
                    let term = self.terms.list_term(array_exprs.get(index)?)?;
                    Some(vec![Key::Named(term)])
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The key of one inserted row; `NULL` and `DEFAULT` let the database give it out.
    fn row_term(&self, value: &Expr) -> Option<Key> {
        match value {
            Expr::Value(value) if value.value == Value::Null => Some(Key::Numbered),
            Expr::Identifier(ident)
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("DEFAULT") =>
            {
                Some(Key::Numbered)
            }
            value => self.terms.term(value).map(Key::Named),
        }
    }
}

/// New rows: those that are named, unless they cannot be known.
fn added(rows: Option<Vec<Key>>) -> Reach {
    let Some(rows) = rows else {
        return Reach::Table;
    };
    let count = rows.len();
    let terms: Vec<PinTerm> = rows.into_iter().filter_map(Key::named).collect();
    if !terms.is_empty() && terms.len() < count {
        // Some are named and some are not.
        return Reach::Table;
    }
    Reach::Added(if terms.is_empty() {
        Pins::None
    } else {
        Pins::Rows(terms)
    })
}
