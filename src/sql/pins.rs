//! Which tables of one `FROM` have their rows named by primary key.
//!
//! A table is pinned only when every row of it that can reach the result is named, so each doubt unpins:
//!
//! * The condition is a conjunct of `WHERE` itself: `pk = term`, `term = pk`, `pk IN (terms)` or (PostgreSQL)
//!   `pk = ANY (array parameter)`. `WHERE` filters what the joins made, so it holds for any kind of join: a row of another
//!   key may change the joined rows only to ones that the condition drops.
//! * Or it is a conjunct of the `ON` of an inner or left join, about the table that this join adds on the right: rows that
//!   fail it never match. (The left side of a left join comes through unmatched, so its `ON` says nothing about that.)
//! * A term is a placeholder, an integer, a string without anything that could be an escape, or one of these cast to an
//!   integer, UUID or unbounded text type, which change no value that has one spelling.
//! * The column is qualified by the table's own name in this `FROM`, which no other entry has; or it is not
//!   qualified and the table is the only entry.

use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Ident, JoinConstraint,
    JoinOperator, ObjectName, SelectItem, TableAlias, TableFactor, TableWithJoins, UnaryOperator,
    Value,
};

use super::names::{fold, is_column, last_ident};
use super::values::{ByValue, Findable};
use super::{Dialect, MAX_PINS, PinTerm, Pins};

/// What a judgement needs to know besides the statement.
pub(super) struct Terms<'a> {
    pub(super) dialect: Dialect,
    /// Names of the `%(name)s` placeholders; empty where they are positional.
    pub(super) names: &'a [String],
    /// The positions of the parameters are sure.
    pub(super) countable: bool,
    /// Nothing in the statement binds otherwise than the parser thinks.
    pub(super) reliable: bool,
}

/// One entry of a `FROM`.
pub(super) struct Binding<'a> {
    /// The table's name, for an entry that is a table.
    pub(super) table: Option<&'a ObjectName>,
    /// The name that columns are qualified by.
    name: Option<String>,
    /// The entry's columns have the table's names.
    judgeable: bool,
    /// The `ON` of the join that adds this very entry on its right.
    on: Option<&'a Expr>,
}

/// `column = one of terms`.
struct Equality<'a> {
    qualifier: Option<&'a Ident>,
    column: &'a Ident,
    terms: Vec<PinTerm>,
    /// It is `column = ?`, without a cast.
    plain: bool,
}

impl Binding<'_> {
    /// Whether a written name means this entry.
    pub(super) fn is_named(&self, name: &ObjectName, dialect: Dialect) -> bool {
        last_ident(name).map(|ident| fold(ident, dialect)) == self.name && self.name.is_some()
    }
}

impl Terms<'_> {
    /// The entries of a `FROM`; nothing when it joins in a way that is not understood.
    pub(super) fn bindings<'a>(&self, from: &[&'a TableWithJoins]) -> Option<Vec<Binding<'a>>> {
        let mut bindings = Vec::new();
        for tables in from {
            self.bind(tables, &mut bindings)?;
        }
        Some(bindings)
    }

    fn bind<'a>(&self, tables: &'a TableWithJoins, bindings: &mut Vec<Binding<'a>>) -> Option<()> {
        self.bind_factor(&tables.relation, None, bindings)?;
        for join in &tables.joins {
            let on = match &join.join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::CrossJoin(constraint)
                | JoinOperator::StraightJoin(constraint)
                | JoinOperator::Left(constraint)
                | JoinOperator::LeftOuter(constraint) => match constraint {
                    JoinConstraint::On(on) => Some(on),
                    _ => None,
                },
                JoinOperator::Right(_)
                | JoinOperator::RightOuter(_)
                | JoinOperator::FullOuter(_) => None,
                _ => return None,
            };
            self.bind_factor(&join.relation, on, bindings)?;
        }
        Some(())
    }

    fn bind_factor<'a>(
        &self,
        factor: &'a TableFactor,
        on: Option<&'a Expr>,
        bindings: &mut Vec<Binding<'a>>,
    ) -> Option<()> {
        let aliased = |alias: &'a Option<TableAlias>| {
            alias.as_ref().map(|alias| fold(&alias.name, self.dialect))
        };
        let binding = match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                json_path: None,
                ..
            } => Binding {
                table: Some(name),
                name: aliased(alias)
                    .or_else(|| last_ident(name).map(|ident| fold(ident, self.dialect))),
                judgeable: alias
                    .as_ref()
                    .is_none_or(|alias| alias.columns.is_empty() && alias.at.is_none()),
                on,
            },
            TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } => {
                return self.bind(table_with_joins, bindings);
            }
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::JsonTable { alias, .. }
            | TableFactor::XmlTable { alias, .. } => Binding {
                table: None,
                name: aliased(alias),
                judgeable: false,
                on: None,
            },
            _ => return None,
        };
        bindings.push(binding);
        Some(())
    }

    /// The pins of one entry, given the whole `FROM`, its `WHERE` and the table's primary key.
    pub(super) fn judge(
        &self,
        binding: &Binding<'_>,
        all: &[Binding<'_>],
        selection: Option<&Expr>,
        primary_key: &str,
    ) -> Pins {
        let mut best: Option<Vec<PinTerm>> = None;
        for equality in self.equalities(binding, all, selection) {
            if is_column(equality.column, primary_key, self.dialect)
                && best
                    .as_ref()
                    .is_none_or(|best| equality.terms.len() < best.len())
            {
                best = Some(equality.terms);
            }
        }
        best.map_or(Pins::None, Pins::Rows)
    }

    /// The value by which the rows of one entry are found, of a column that rows may be found by.
    ///
    /// `projection`: what the result consists of, for a query whose result is that of the statement.
    pub(super) fn judge_value(
        &self,
        binding: &Binding<'_>,
        all: &[Binding<'_>],
        selection: Option<&Expr>,
        findable: &Findable,
        primary_key: &str,
        projection: Option<&[SelectItem]>,
    ) -> Pins {
        let mut best: Option<ByValue> = None;
        for equality in self.equalities(binding, all, selection) {
            let [term @ (PinTerm::Param(_) | PinTerm::NamedParam(_))] = equality.terms.as_slice()
            else {
                continue;
            };
            let columns = (0_usize..).zip(&findable.columns);
            for (column, known) in columns {
                let better = best.as_ref().is_none_or(|best| {
                    known.unique && !findable.columns.get(best.column).is_some_and(|c| c.unique)
                });
                if equality.plain && better && is_column(equality.column, &known.name, self.dialect)
                {
                    best = Some(ByValue {
                        column,
                        term: term.clone(),
                        key_at: None,
                    });
                }
            }
        }
        let Some(mut found) = best else {
            return Pins::None;
        };
        found.key_at = self.place_of_key(binding, all, projection.unwrap_or_default(), primary_key);
        Pins::Value(found)
    }

    /// Where in a row of the result an entry's primary key stands.
    fn place_of_key(
        &self,
        binding: &Binding<'_>,
        all: &[Binding<'_>],
        projection: &[SelectItem],
        primary_key: &str,
    ) -> Option<usize> {
        for (at, item) in (0_usize..).zip(projection) {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item
            else {
                // A `*` is any number of columns.
                return None;
            };
            if let Some((qualifier, column)) = column_of(expr)
                && self.is_of(binding, all, qualifier)
                && is_column(column, primary_key, self.dialect)
            {
                return Some(at);
            }
        }
        None
    }

    /// Whether a column with this qualifier is surely one of this entry.
    fn is_of(&self, binding: &Binding<'_>, all: &[Binding<'_>], qualifier: Option<&Ident>) -> bool {
        match qualifier {
            Some(qualifier) => binding.name.as_ref() == Some(&fold(qualifier, self.dialect)),
            None => all.len() == 1,
        }
    }

    /// What holds of every row of one entry that can reach the result: its columns and what they equal.
    fn equalities<'a>(
        &self,
        binding: &Binding<'a>,
        all: &[Binding<'_>],
        selection: Option<&'a Expr>,
    ) -> Vec<Equality<'a>> {
        let same = all
            .iter()
            .filter(|other| other.name == binding.name)
            .count();
        if !self.reliable || !binding.judgeable || binding.name.is_none() || same != 1 {
            return Vec::new();
        }
        [selection, binding.on]
            .into_iter()
            .flatten()
            .flat_map(conjuncts)
            .filter_map(|conjunct| self.equality(conjunct))
            .filter(|equality| self.is_of(binding, all, equality.qualifier))
            .collect()
    }

    fn equality<'a>(&self, expr: &'a Expr) -> Option<Equality<'a>> {
        let mut plain = false;
        let (column, terms) = match expr {
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq,
                right,
            } => {
                let (column, other) = match column_of(left) {
                    Some(column) => (column, right),
                    None => (column_of(right)?, left),
                };
                plain = matches!(unnest(other), Expr::Value(_));
                (column, vec![self.term(other)?])
            }
            Expr::InList {
                expr,
                list,
                negated: false,
            } if !list.is_empty() && list.len() <= MAX_PINS => {
                let terms = list
                    .iter()
                    .map(|term| self.term(term))
                    .collect::<Option<Vec<_>>>()?;
                (column_of(expr)?, terms)
            }
            Expr::AnyOp {
                left,
                compare_op: BinaryOperator::Eq,
                right,
                ..
            } if self.dialect == Dialect::Postgres => {
                (column_of(left)?, vec![self.list_term(right)?])
            }
            _ => return None,
        };
        Some(Equality {
            qualifier: column.0,
            column: column.1,
            terms,
            plain,
        })
    }

    /// A value that the text or a parameter gives; nothing for whatever is computed.
    pub(super) fn term(&self, expr: &Expr) -> Option<PinTerm> {
        match unnest(expr) {
            Expr::Value(value) => match &value.value {
                Value::Placeholder(text) => self.placeholder(text),
                Value::Number(text, false) => whole(text).map(PinTerm::Literal),
                Value::SingleQuotedString(text) if !text.contains(['\'', '\\', '%']) => {
                    Some(PinTerm::Literal(text.clone()))
                }
                _ => None,
            },
            Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr,
            } => match unnest(expr) {
                Expr::Value(value) => match &value.value {
                    Value::Number(text, false) => {
                        whole(text).map(|text| PinTerm::Literal(format!("-{text}")))
                    }
                    _ => None,
                },
                _ => None,
            },
            Expr::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                format: None,
            } if keeps_value(data_type, self.dialect) => self.term(expr),
            _ => None,
        }
    }

    /// An array parameter: `%s` or `%s::int[]`.
    pub(super) fn list_term(&self, expr: &Expr) -> Option<PinTerm> {
        let inner = match unnest(expr) {
            Expr::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                format: None,
            } => match data_type {
                DataType::Array(
                    ArrayElemTypeDef::SquareBracket(element, _)
                    | ArrayElemTypeDef::AngleBracket(element)
                    | ArrayElemTypeDef::Parenthesis(element),
                ) if keeps_value(element, self.dialect) => unnest(expr),
                _ => return None,
            },
            other => other,
        };
        let Expr::Value(value) = inner else {
            return None;
        };
        let Value::Placeholder(text) = &value.value else {
            return None;
        };
        match self.placeholder(text)? {
            PinTerm::Param(position) => Some(PinTerm::ParamList(position)),
            PinTerm::NamedParam(name) => Some(PinTerm::NamedParamList(name)),
            other => Some(other),
        }
    }

    fn placeholder(&self, text: &str) -> Option<PinTerm> {
        let sign = if self.dialect == Dialect::Postgres {
            '$'
        } else {
            '?'
        };
        let position = text
            .strip_prefix(sign)?
            .parse::<usize>()
            .ok()?
            .checked_sub(1)?;
        if !self.countable {
            return None;
        }
        if self.names.is_empty() {
            return Some(PinTerm::Param(position));
        }
        self.names.get(position).cloned().map(PinTerm::NamedParam)
    }
}

/// The conditions that all hold where `condition` does. A loop: a chain of `AND` is as deep as it is long.
fn conjuncts(condition: &Expr) -> Vec<&Expr> {
    let mut found = Vec::new();
    let mut open = vec![condition];
    while let Some(expr) = open.pop() {
        match unnest(expr) {
            Expr::BinaryOp {
                left,
                op: BinaryOperator::And,
                right,
            } => open.extend([left.as_ref(), right.as_ref()]),
            other => found.push(other),
        }
    }
    found
}

pub(super) fn unnest(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// A column and its qualifier. With a schema before the qualifier it is left alone: which entry it means is not sure.
fn column_of(expr: &Expr) -> Option<(Option<&Ident>, &Ident)> {
    match unnest(expr) {
        Expr::Identifier(column) => Some((None, column)),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [qualifier, column] => Some((Some(qualifier), column)),
            _ => None,
        },
        _ => None,
    }
}

/// A whole number as one spelling; `1e3`, `0x10` and `5.0` are left alone.
fn whole(text: &str) -> Option<String> {
    let plain =
        !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.to_owned())
}

/// Whether a cast to this type leaves an integer or a UUID what it was, or is an error.
fn keeps_value(data_type: &DataType, dialect: Dialect) -> bool {
    match data_type {
        DataType::Integer(None)
        | DataType::BigInt(None)
        | DataType::Int(None)
        | DataType::Uuid
        | DataType::Text => true,
        // An error where the value does not fit; elsewhere it may be cut.
        DataType::Int4(None)
        | DataType::Int8(None)
        | DataType::SmallInt(None)
        | DataType::Int2(None)
        | DataType::Varchar(None)
        | DataType::CharacterVarying(None) => dialect == Dialect::Postgres,
        DataType::Signed | DataType::SignedInteger => dialect == Dialect::MySql,
        _ => false,
    }
}
