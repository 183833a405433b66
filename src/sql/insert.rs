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
use super::walk::{Flow, Walker, refuse};
use super::{MAX_PINS, PinTerm, Pins, Reach, WriteKind};

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
        let rows = key.as_deref().map_or(Reach::Added(Pins::None), |key| {
            self.inserted_rows(insert, key)
        });
        let replaces = insert.replace_into || insert.or == Some(SqliteOnConflict::Replace);
        let (kind, reach) = match &insert.on {
            _ if replaces => (WriteKind::Upsert, Reach::Table),
            Some(OnInsert::DuplicateKeyUpdate(_)) => (WriteKind::Upsert, Reach::Table),
            Some(OnInsert::OnConflict(conflict)) => match &conflict.action {
                OnConflictAction::DoNothing => (WriteKind::Insert, rows),
                OnConflictAction::DoUpdate(update) => {
                    // A conflict on the primary key is about a row that the statement names.
                    let on_key = match (&conflict.conflict_target, &key) {
                        (Some(ConflictTarget::Columns(columns)), Some(key)) => {
                            matches!(columns.as_slice(), [column] if is_column(column, key, self.dialect()))
                                && !self.moves_key(&update.assignments, Some(key))
                        }
                        _ => false,
                    };
                    match rows {
                        Reach::Added(Pins::Rows(terms)) if on_key => {
                            (WriteKind::Upsert, Reach::Rows(terms))
                        }
                        _ => (WriteKind::Upsert, Reach::Table),
                    }
                }
            },
            Some(_) => return refuse("an insert with a clause that is not known"),
            None => (WriteKind::Insert, rows),
        };
        self.write(name, kind, reach, None)
    }

    /// What an insert adds: rows that it names, rows that the database numbers, or rows that cannot be known.
    fn inserted_rows(&self, insert: &Insert, key: &str) -> Reach {
        let is_key = |ident: Option<&Ident>| {
            ident.is_some_and(|ident| may_be_key(ident, key, self.dialect()))
        };
        let mut terms = Vec::new();
        if !insert.assignments.is_empty() {
            for assignment in &insert.assignments {
                if let AssignmentTarget::ColumnName(column) = &assignment.target
                    && is_key(last_ident(column))
                    && !self.row_term(&assignment.value, &mut terms)
                {
                    return Reach::Table;
                }
            }
            return added(terms);
        }
        if insert.source.is_none() {
            // `DEFAULT VALUES`
            return Reach::Added(Pins::None);
        }
        let index = insert
            .columns
            .iter()
            .position(|column| is_key(last_ident(column)));
        let Some(index) = index else {
            // Without a list of columns the key may be any of the values.
            return if insert.columns.is_empty() {
                Reach::Table
            } else {
                Reach::Added(Pins::None)
            };
        };
        match insert.source.as_deref().map(|query| query.body.as_ref()) {
            Some(SetExpr::Values(values)) if !self.shortened && values.rows.len() <= MAX_PINS => {
                for row in &values.rows {
                    if !row
                        .content
                        .get(index)
                        .is_some_and(|value| self.row_term(value, &mut terms))
                    {
                        return Reach::Table;
                    }
                }
                added(terms)
            }
            // Django's bulk insert on PostgreSQL: `SELECT * FROM UNNEST((%s)::integer[], …)`.
            Some(SetExpr::Select(select)) => {
                let arrays = match (select.projection.as_slice(), select.from.as_slice()) {
                    (
                        [SelectItem::Wildcard(_)],
                        [
                            TableWithJoins {
                                relation: TableFactor::UNNEST { array_exprs, .. },
                                joins,
                            },
                        ],
                    ) if joins.is_empty() => array_exprs.as_slice(),
                    _ => return Reach::Table,
                };
                match arrays
                    .get(index)
                    .and_then(|array| self.terms.list_term(array))
                {
                    Some(term) => added(vec![term]),
                    None => Reach::Table,
                }
            }
            _ => Reach::Table,
        }
    }

    /// Note the key of one inserted row; false when it cannot be known. `NULL` and `DEFAULT` let the database number it.
    fn row_term(&self, value: &Expr, terms: &mut Vec<PinTerm>) -> bool {
        match value {
            Expr::Value(value) if value.value == Value::Null => true,
            Expr::Identifier(ident)
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("DEFAULT") =>
            {
                true
            }
            value => self
                .terms
                .term(value)
                .map(|term| terms.push(term))
                .is_some(),
        }
    }
}

fn added(terms: Vec<PinTerm>) -> Reach {
    Reach::Added(if terms.is_empty() {
        Pins::None
    } else {
        Pins::Rows(terms)
    })
}
