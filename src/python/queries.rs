//! Statements to scopes: what a page that ran them has read, and what they have written.

use std::collections::{BTreeSet, HashMap, HashSet};

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::parameters::{comparable, items, parameter, texts, value_text_of};
use crate::scope;
use crate::sql::{
    self, Analyser, Analysis, ByValue, Column, Control, Dialect, Findable, Given, Kind, PinTerm,
    Pins, Reach, TableWrite, WriteKind, row_text, row_texts, table_key, value_text,
};

/// The project's tables, and what is known of the statements that have been seen.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Queries {
    analyser: Analyser,
    /// Tables whose reads and writes count; `None` is all.
    tracked: Option<HashSet<String>>,
    /// Tables, or columns of them, whose writes change no page.
    quiet: HashMap<String, Option<HashSet<String>>>,
    /// Tables whose rows the database itself changes when one of these loses rows.
    cascades: HashMap<String, Vec<String>>,
    rows_limit: usize,
}

/// A column that rows are found by: its name, whether it is text (else integers or UUIDs), the
/// characters that it holds at most, and whether no two rows have the same value.
type FindableColumn = (String, bool, Option<usize>, bool);

/// Rows that are found by a value: table, column, value, the scopes of what is found by it, the
/// place of the primary key in a row of the result, and whether one row has it at most.
type Sought = (String, String, Py<PyAny>, Vec<String>, Option<usize>, bool);

/// Scopes read, scopes written, other names read (tables or views), tables whose new rows the
/// database numbers and the result shows, whether a transaction begins (`false`: the open one
/// ends), why the statement was not understood with whether it may write, and rows that are found
/// by a value, whose own scopes are not among those read.
type Found = (
    Vec<String>,
    Vec<String>,
    Vec<String>,
    Vec<String>,
    Option<bool>,
    Option<(String, bool)>,
    Vec<Sought>,
);

#[pymethods]
impl Queries {
    #[new]
    #[pyo3(signature = (tables, *, findable, tracked, quiet, cascades, pure_functions, rows_limit))]
    fn new(
        tables: Vec<(String, Option<String>)>,
        findable: Vec<(String, Vec<FindableColumn>)>,
        tracked: Option<Vec<String>>,
        quiet: HashMap<String, Option<Vec<String>>>,
        cascades: HashMap<String, Vec<String>>,
        pure_functions: Vec<String>,
        rows_limit: usize,
    ) -> Self {
        let cascades = cascades.into_iter().map(|(table, others)| {
            let others = others.iter().map(|other| table_key(other)).collect();
            (table_key(&table), others)
        });
        let quiet = quiet.into_iter().map(|(table, columns)| {
            let columns =
                columns.map(|names| names.iter().map(|name| name.to_lowercase()).collect());
            (table_key(&table), columns)
        });
        Self {
            analyser: Analyser::new(tables)
                .with_pure_functions(pure_functions)
                .with_findables(findable.into_iter().map(|(table, columns)| Findable {
                    table,
                    columns: columns.into_iter().map(column).collect(),
                })),
            tracked: tracked.map(|tables| tables.iter().map(|table| table_key(table)).collect()),
            quiet: quiet.collect(),
            cascades: cascades.collect(),
            rows_limit,
        }
    }

    /// What a statement reads and writes.
    #[pyo3(signature = (text, vendor, params, many))]
    fn analyse(
        &self,
        text: &str,
        vendor: &str,
        params: Option<&Bound<'_, PyAny>>,
        many: bool,
    ) -> PyResult<Found> {
        let analysis = match self.analyser.analyse(text, Dialect::from_vendor(vendor)) {
            Ok(analysis) => analysis,
            Err(refusal) => {
                let why = (refusal.reason.clone(), refusal.may_write);
                return Ok((
                    Vec::new(),
                    Vec::new(),
                    Vec::new(),
                    Vec::new(),
                    None,
                    Some(why),
                    Vec::new(),
                ));
            }
        };
        let sets = match params {
            Some(params) if many => params.try_iter()?.collect::<PyResult<Vec<_>>>()?,
            Some(params) => vec![params.clone()],
            None => Vec::new(),
        };
        let mut reads = BTreeSet::new();
        let mut others = Vec::new();
        let mut sought = Vec::new();
        self.reads(&analysis, &sets, &mut reads, &mut others, &mut sought);
        let mut writes = BTreeSet::new();
        let mut numbered = Vec::new();
        self.writes(
            &analysis,
            Dialect::from_vendor(vendor),
            &sets,
            &mut writes,
            &mut numbered,
        );
        let begins = match analysis.control.last() {
            Some(Control::Begin) => Some(true),
            Some(Control::Commit | Control::Rollback) => Some(false),
            // In MySQL the definition of a table ends the transaction.
            _ => (analysis.writes.iter())
                .any(|write| write.kind == WriteKind::Schema)
                .then_some(false),
        };
        Ok((
            reads.into_iter().collect(),
            writes.into_iter().collect(),
            others,
            numbered,
            begins,
            None,
            sought,
        ))
    }

    /// The statement, where it is a query of known tables and nothing else, as most are.
    fn plain(&self, py: Python<'_>, text: &str, vendor: &str) -> PyResult<Option<Plain>> {
        let Ok(analysis) = self.analyser.analyse(text, Dialect::from_vendor(vendor)) else {
            return Ok(None);
        };
        let reads = analysis.reads.iter();
        let reads: Vec<_> = reads.filter(|read| self.counts(&read.table)).collect();
        let is_plain = analysis.writes.is_empty()
            && analysis.control.is_empty()
            && !reads.is_empty()
            && reads.iter().all(|read| {
                self.analyser.is_table(&read.table) && !matches!(read.pins, Pins::Value(_))
            });
        if !is_plain {
            return Ok(None);
        }
        let mut always = Vec::new();
        let mut pinned = Vec::new();
        for read in reads {
            always.push(scope::of_table(&read.table));
            match &read.pins {
                Pins::Rows(terms) => pinned.push((read.table.clone(), terms.clone())),
                _ => always.push(scope::of_rows(&read.table)),
            }
        }
        Ok(Some(Plain {
            always: PyTuple::new(py, always)?.unbind(),
            pinned,
            rows_limit: self.rows_limit,
        }))
    }
}

/// A query of known tables and nothing else: what it reads depends on its parameters, if on anything.
#[pyclass(frozen, module = "viewcache._core")]
pub struct Plain {
    /// The scopes that it reads whatever its parameters are.
    always: Py<PyTuple>,
    /// Tables of which it reads the rows that its parameters name.
    pinned: Vec<(String, Vec<PinTerm>)>,
    rows_limit: usize,
}

#[pymethods]
impl Plain {
    /// The scopes that it reads with these parameters.
    fn reads<'py>(
        &self,
        py: Python<'py>,
        params: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let always = self.always.bind(py);
        if self.pinned.is_empty() {
            return Ok(always.clone());
        }
        let sets = params.map(std::slice::from_ref).unwrap_or_default();
        let mut scopes: Vec<Bound<'py, PyAny>> = always.iter().collect();
        for (table, terms) in &self.pinned {
            let rows = row_scopes(table, rows(terms, sets, self.rows_limit));
            scopes.extend(rows.map(|row| PyString::new(py, &row).into_any()));
        }
        PyTuple::new(py, scopes)
    }
}

impl Queries {
    fn counts(&self, table: &str) -> bool {
        !matches!(self.quiet.get(table), Some(None))
            && self
                .tracked
                .as_ref()
                .is_none_or(|tracked| tracked.contains(table))
    }

    fn reads(
        &self,
        analysis: &Analysis,
        sets: &[Bound<'_, PyAny>],
        reads: &mut BTreeSet<String>,
        others: &mut Vec<String>,
        sought: &mut Vec<Sought>,
    ) {
        for read in &analysis.reads {
            if !self.counts(&read.table) {
                continue;
            }
            if !self.analyser.is_table(&read.table) {
                others.push(read.table.clone());
            }
            reads.insert(scope::of_table(&read.table));
            let rows = match &read.pins {
                Pins::Rows(terms) => rows(terms, sets, self.rows_limit),
                Pins::Value(by) => {
                    if let Some(found) = self.sought(&read.table, by, sets) {
                        sought.push(found);
                        continue;
                    }
                    None
                }
                Pins::None => None,
            };
            reads.extend(row_scopes(&read.table, rows));
        }
    }

    fn writes(
        &self,
        analysis: &Analysis,
        dialect: Dialect,
        sets: &[Bound<'_, PyAny>],
        writes: &mut BTreeSet<String>,
        numbered: &mut Vec<String>,
    ) {
        for write in &analysis.writes {
            let table = &write.table;
            // A row that is replaced is deleted, too.
            if matches!(write.kind, WriteKind::Delete | WriteKind::Upsert) {
                let others = self.cascades.get(table).into_iter().flatten();
                let counted = others.filter(|other| self.counts(other));
                writes.extend(counted.map(|other| scope::of_table(other)));
            }
            let only_quiet = match (self.quiet.get(table), &write.columns) {
                (Some(Some(quiet)), Some(columns)) => {
                    columns.iter().all(|column| quiet.contains(column))
                }
                _ => false,
            };
            if !self.counts(table) || only_quiet {
                continue;
            }
            if write.reach != Reach::Table {
                self.values(write, sets, writes);
            }
            let (named, has_numbered) = match &write.reach {
                Reach::Added(Pins::None | Pins::Value(_)) => (Some(Vec::new()), true),
                Reach::Added(Pins::Rows(terms)) => self.added(terms, dialect, sets),
                Reach::Rows(terms) => (rows(terms, sets, self.rows_limit), false),
                Reach::Table => (None, false),
            };
            if has_numbered && analysis.is_insert {
                numbered.push(table.clone());
            }
            match named.filter(|_| !has_numbered || analysis.is_insert) {
                Some(rows) => {
                    writes.insert(scope::of_rows(table));
                    writes.extend(rows.iter().map(|row| scope::of_row(table, row)));
                }
                None => drop(writes.insert(scope::of_table(table))),
            }
        }
    }

    /// What is found by this value, where it can be judged.
    fn sought(&self, table: &str, by: &ByValue, sets: &[Bound<'_, PyAny>]) -> Option<Sought> {
        let findable = self.analyser.findable(table)?;
        let column = findable.columns.get(by.column)?;
        let [set] = sets else { return None };
        let (value, _) = parameter(set, &by.term)?;
        let text = comparable(&value, column.kind)?;
        Some((
            findable.table.clone(),
            column.name.clone(),
            value.unbind(),
            vec![
                scope::of_value(table, &column.name, &text),
                scope::of_values(table),
            ],
            by.key_at,
            column.unique,
        ))
    }

    /// The scopes of the values that a write gives to columns that rows are found by.
    fn values(&self, write: &TableWrite, sets: &[Bound<'_, PyAny>], writes: &mut BTreeSet<String>) {
        let known = match &write.given {
            Given::Nothing => return,
            Given::Values(values) => self.given(&write.table, values, sets),
            Given::Any => None,
        };
        match known {
            Some(scopes) => writes.extend(scopes),
            None => drop(writes.insert(scope::of_values(&write.table))),
        }
    }

    /// `None` where one of the values cannot be judged, or they are too many.
    fn given(
        &self,
        table: &str,
        values: &[(usize, PinTerm)],
        sets: &[Bound<'_, PyAny>],
    ) -> Option<BTreeSet<String>> {
        let findable = self.analyser.findable(table)?;
        let mut scopes = BTreeSet::new();
        for (at, term) in values {
            let column = findable.columns.get(*at)?;
            let mut add = |text: &str| {
                scopes.insert(scope::of_value(table, &column.name, text));
            };
            if let PinTerm::Literal(text) = term {
                add(&value_text(text, column.kind)?);
                continue;
            }
            if sets.is_empty() {
                return None;
            }
            for set in sets {
                for item in items(set, term)? {
                    // Nothing is equal to a NULL.
                    if !item.is_none() {
                        add(&comparable(&item, column.kind)?);
                    }
                }
            }
        }
        (scopes.len() <= self.rows_limit).then_some(scopes)
    }

    /// The rows that an insert gives keys to, `None` when they are not known or too many; and
    /// whether it leaves one to the database.
    ///
    /// A text that is no number and no UUID is left out: no page names a row by one. But in `MySQL` the
    /// number 5 is equal to the text `5abc`.
    fn added(
        &self,
        terms: &[PinTerm],
        dialect: Dialect,
        sets: &[Bound<'_, PyAny>],
    ) -> (Option<Vec<String>>, bool) {
        let mut rows = BTreeSet::new();
        let mut unnamed = false;
        let mut add = |text: &str| {
            if let Some(row) = row_text(text) {
                rows.insert(row.into_owned());
                return true;
            }
            let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
            dialect != Dialect::MySql && digits < 32 && text.trim().parse::<f64>().is_err()
        };
        let known = terms.iter().all(|term| {
            if let PinTerm::Literal(text) = term {
                return add(text);
            }
            sets.iter().all(|set| {
                items(set, term).is_some_and(|items| {
                    items.iter().all(|item| {
                        unnamed |= item.is_none();
                        item.is_none() || value_text_of(item).is_some_and(|text| add(&text))
                    })
                })
            })
        });
        let few = known && rows.len() <= self.rows_limit;
        (few.then(|| rows.into_iter().collect()), unnamed)
    }
}

fn column((name, is_text, limit, unique): FindableColumn) -> Column {
    Column {
        name,
        kind: if is_text {
            Kind::Text(limit)
        } else {
            Kind::Key
        },
        unique,
    }
}

/// The rows that these terms name, over all sets of parameters; `None` when one is not known,
/// or there are more than `limit`.
fn rows(terms: &[PinTerm], sets: &[Bound<'_, PyAny>], limit: usize) -> Option<Vec<String>> {
    let mut rows = BTreeSet::new();
    if sets.is_empty() {
        rows.extend(row_texts(terms, |_| None)?);
    }
    for set in sets {
        rows.extend(row_texts(terms, |term| texts(set, term))?);
        if rows.len() > limit {
            return None;
        }
    }
    (rows.len() <= limit).then(|| rows.into_iter().collect())
}

/// The scopes of these rows of a table; where they are not known, that of any.
fn row_scopes(table: &str, rows: Option<Vec<String>>) -> impl Iterator<Item = String> + '_ {
    let any = rows.is_none().then(|| scope::of_rows(table));
    let named = rows.into_iter().flatten();
    named.map(|row| scope::of_row(table, &row)).chain(any)
}

/// The scopes of the rows around the one that the database numbered last: an insert may have added
/// `count` of them, and a page may have shown that one of them was missing.
#[pyfunction]
pub fn new_rows(table: &str, last: i64, count: u32) -> Vec<String> {
    let near = i64::from(count.saturating_sub(1));
    (last.saturating_sub(near)..=last.saturating_add(near))
        .map(|row| scope::of_row(table, &row.to_string()))
        .collect()
}

/// The name by which a table is known in scopes, however it is quoted or qualified.
#[pyfunction]
pub fn table_name(name: &str) -> String {
    sql::table_key(name)
}

/// The scope of a row by the text of its primary key; nothing for a key that names none.
#[pyfunction]
pub fn row_scope(table: &str, key: &str) -> Option<String> {
    Some(scope::of_row(&table_key(table), &row_text(key)?))
}
