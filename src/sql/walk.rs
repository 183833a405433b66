//! One parsed statement: the tables it reads and writes, and how.
//!
//! The parser's own visitor walks the whole tree, so a table named anywhere (a sub-query in a `CASE` in an `ON`) is
//! met, and what is met without being understood is an unpinned read. Pins are the exception that has to be earned: the
//! entries of a `FROM` are judged when the visitor enters the statement that the `FROM` belongs to, and remembered by the
//! address of their name until the visitor comes by.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Function, Ident, Merge, ObjectName,
    Query, Select, SelectItem, SetExpr, SqliteOnConflict, Statement, TableFactor, TableWithJoins,
    Update, UpdateTableFromKind, Visit, Visitor,
};

use super::names::{
    fold, is_catalogue, is_dual, is_keyword, last_ident, may_be_key, table_key, table_of,
};
use super::pins::{Binding, Terms};
use super::values::{Findable, Given};
use super::{
    Analyser, Analysis, Dialect, Pins, Reach, Refusal, TableRead, TableWrite, WriteKind, functions,
};

/// What a name of a table, met at some address, is.
enum Place {
    Target,
    Read(Pins),
}

/// The `WITH` of one query: its names, and the one whose body is being walked.
struct Frame {
    ctes: Vec<(String, usize)>,
    recursive: bool,
    current: Option<usize>,
}

pub(super) struct Walker<'a> {
    pub(super) analyser: &'a Analyser,
    pub(super) terms: Terms<'a>,
    /// Rows of the statement's `VALUES` were dropped before it was parsed.
    pub(super) shortened: bool,
    /// The `SELECT` whose result is that of the statement, by its address.
    top: Option<usize>,
    places: HashMap<usize, Place>,
    frames: Vec<Frame>,
    reads: BTreeMap<String, Pins>,
    writes: Vec<TableWrite>,
    volatile: bool,
    catalogue: bool,
}

pub(super) type Flow = ControlFlow<Refusal>;

fn address<T>(of: &T) -> usize {
    std::ptr::from_ref(of).addr()
}

/// The `SELECT` that gives the rows of the statement.
fn top(statement: &Statement) -> Option<usize> {
    match statement {
        Statement::Query(query) => match query.body.as_ref() {
            SetExpr::Select(select) => Some(address(select.as_ref())),
            _ => None,
        },
        _ => None,
    }
}

/// Walk one statement and add what it does to `analysis`.
pub(super) fn walk(
    statement: &Statement,
    analyser: &Analyser,
    terms: Terms<'_>,
    shortened: bool,
    analysis: &mut Analysis,
) -> Result<(), Refusal> {
    let mut walker = Walker {
        analyser,
        terms,
        shortened,
        top: top(statement),
        places: HashMap::new(),
        frames: Vec::new(),
        reads: BTreeMap::new(),
        writes: Vec::new(),
        volatile: false,
        catalogue: false,
    };
    if let ControlFlow::Break(refusal) = statement.visit(&mut walker) {
        return Err(refusal);
    }
    for (table, pins) in walker.reads {
        analysis.add_read(TableRead { table, pins });
    }
    analysis.writes.append(&mut walker.writes);
    analysis.volatile |= walker.volatile;
    analysis.catalogue |= walker.catalogue;
    Ok(())
}

impl Walker<'_> {
    pub(super) fn dialect(&self) -> Dialect {
        self.terms.dialect
    }

    fn judge(
        &self,
        binding: &Binding<'_>,
        all: &[Binding<'_>],
        selection: Option<&Expr>,
        projection: Option<&[SelectItem]>,
    ) -> Pins {
        let Some((name, table)) = binding.table.and_then(|name| Some((name, table_of(name)?)))
        else {
            return Pins::None;
        };
        let Some(key) = self.analyser.primary_key(&table) else {
            return Pins::None;
        };
        let pins = self.terms.judge(binding, all, selection, key);
        match self.analyser.findable(&table) {
            Some(findable) if pins == Pins::None && findable.is_called(name, self.dialect()) => {
                let terms = &self.terms;
                terms.judge_value(binding, all, selection, findable, key, projection)
            }
            _ => pins,
        }
    }

    /// Judge a `FROM` whose every entry is read.
    fn judge_reads(
        &mut self,
        from: &[&TableWithJoins],
        selection: Option<&Expr>,
        projection: Option<&[SelectItem]>,
    ) {
        let Some(bindings) = self.terms.bindings(from) else {
            return;
        };
        for binding in &bindings {
            if let Some(name) = binding.table {
                let pins = self.judge(binding, &bindings, selection, projection);
                self.places.insert(address(name), Place::Read(pins));
            }
        }
    }

    /// What is known of finding rows of this table by a value.
    pub(super) fn findable(&self, name: &ObjectName) -> Option<&Findable> {
        self.analyser.findable(&table_of(name)?)
    }

    fn read(&mut self, table: String, pins: Pins) {
        match self.reads.entry(table) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(pins);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let both = std::mem::take(entry.get_mut()).and(pins);
                entry.insert(both);
            }
        }
    }

    /// Whether an unqualified name is that of a common table expression in sight.
    fn is_cte(&self, name: &ObjectName) -> bool {
        let ([_], Some(ident)) = (name.0.as_slice(), last_ident(name)) else {
            return false;
        };
        let folded = fold(ident, self.dialect());
        self.frames.iter().rev().any(|frame| {
            frame
                .ctes
                .iter()
                .position(|(cte, _)| *cte == folded)
                .is_some_and(|index| match frame.current {
                    // In sight from the query itself, from later names, and from its own body where the `WITH` is recursive.
                    None => true,
                    Some(current) => index < current || (frame.recursive && index == current),
                })
        })
    }

    pub(super) fn write(
        &mut self,
        name: &ObjectName,
        kind: WriteKind,
        reach: Reach,
        columns: Option<Vec<String>>,
        given: Given,
    ) -> Flow {
        let Some(table) = table_of(name) else {
            return refuse("the name of a written table is computed");
        };
        self.places.insert(address(name), Place::Target);
        self.writes.push(TableWrite {
            table,
            kind,
            reach,
            columns,
            given,
        });
        Flow::Continue(())
    }

    /// Whether an assignment may give a row another primary key.
    pub(super) fn moves_key(&self, assignments: &[Assignment], key: Option<&str>) -> bool {
        let Some(key) = key else { return false };
        assignments
            .iter()
            .flat_map(|assignment| targets(&assignment.target))
            .any(|column| {
                last_ident(column).is_none_or(|ident| may_be_key(ident, key, self.dialect()))
            })
    }

    fn update(&mut self, update: &Update) -> Flow {
        let mut from = vec![&update.table];
        match &update.from {
            Some(UpdateTableFromKind::AfterSet(tables)) => from.extend(tables),
            Some(UpdateTableFromKind::BeforeSet(_)) => {
                return refuse("an update with FROM before SET");
            }
            None => {}
        }
        self.judge_reads(&from, update.selection.as_ref(), None);
        let Some(written) = self.terms.bindings(&[&update.table]) else {
            return refuse("an update of tables that are joined in a way that is not understood");
        };
        let several = written.len() > 1;
        if !written.iter().any(|binding| binding.table.is_some()) {
            return refuse("an update of no plain table");
        }
        // With several tables, whose column is assigned is not told apart: all of them are written.
        let columns = (!several).then(|| {
            update
                .assignments
                .iter()
                .flat_map(|assignment| targets(&assignment.target))
                .map(|column| {
                    last_ident(column).map_or_else(String::new, |ident| ident.value.to_lowercase())
                })
                .collect::<Vec<_>>()
        });
        for binding in &written {
            let Some(name) = binding.table else { continue };
            let key = table_of(name)
                .and_then(|table| self.analyser.primary_key(&table))
                .map(str::to_owned);
            let unsure = update.or == Some(SqliteOnConflict::Replace)
                || self.moves_key(&update.assignments, key.as_deref());
            let reach = match self.places.remove(&address(name)) {
                Some(Place::Read(Pins::Rows(terms))) if !unsure => Reach::Rows(terms),
                _ => Reach::Table,
            };
            let given = match self.findable(name) {
                Some(_) if several => Given::Any,
                Some(findable) => findable.assigned(&update.assignments, &self.terms, false),
                None => Given::Nothing,
            };
            self.write(name, WriteKind::Update, reach, columns.clone(), given)?;
        }
        Flow::Continue(())
    }

    fn delete(&mut self, delete: &Delete) -> Flow {
        let (FromTable::WithFromKeyword(first) | FromTable::WithoutKeyword(first)) = &delete.from;
        let mut from: Vec<&TableWithJoins> = first.iter().collect();
        if let Some(using) = &delete.using {
            from.extend(using);
        }
        self.judge_reads(&from, delete.selection.as_ref(), None);
        let of_first: Vec<&TableWithJoins> = first.iter().collect();
        let Some(mut written) = self.terms.bindings(&of_first) else {
            return refuse("a delete from tables that are joined in a way that is not understood");
        };
        if !delete.tables.is_empty() {
            // MySQL's `DELETE a FROM a JOIN b`: those named, when each is surely one of the entries; else all of them.
            let named: Option<Vec<usize>> = delete
                .tables
                .iter()
                .map(|table| {
                    written
                        .iter()
                        .position(|binding| binding.is_named(table, self.dialect()))
                })
                .collect();
            if let Some(named) = named {
                let mut index = 0_usize;
                written.retain(|_| {
                    index = index.saturating_add(1);
                    named.contains(&index.saturating_sub(1))
                });
            }
        }
        if !written.iter().any(|binding| binding.table.is_some()) {
            return refuse("a delete from no plain table");
        }
        for binding in &written {
            let Some(name) = binding.table else { continue };
            let reach = match self.places.remove(&address(name)) {
                Some(Place::Read(Pins::Rows(terms))) => Reach::Rows(terms),
                _ => Reach::Table,
            };
            self.write(name, WriteKind::Delete, reach, None, Given::Nothing)?;
        }
        Flow::Continue(())
    }

    fn merge(&mut self, merge: &Merge) -> Flow {
        match &merge.table {
            TableFactor::Table {
                name, args: None, ..
            } => self.write(name, WriteKind::Upsert, Reach::Table, None, Given::Any),
            _ => refuse("a merge into no plain table"),
        }
    }

    fn function(&mut self, name: &ObjectName) -> Flow {
        match function_name(name, self.dialect()) {
            Some(known) if self.analyser.is_pure(&known) => {
                self.volatile |= functions::is_volatile(&known);
                Flow::Continue(())
            }
            _ => Flow::Break(Refusal::function(&name.to_string())),
        }
    }

    /// `SELECT … INTO t`: a new table in PostgreSQL, a file or a variable in MySQL.
    fn into(&mut self, select: &Select) -> Flow {
        let Some(into) = &select.into else {
            return Flow::Continue(());
        };
        if self.dialect() != Dialect::Postgres {
            return refuse("SELECT … INTO a file or a variable");
        }
        for target in &into.targets {
            let ident = match target {
                Expr::Identifier(ident) => Some(ident),
                Expr::CompoundIdentifier(parts) => parts.last(),
                _ => None,
            };
            let Some(ident) = ident else {
                return refuse("SELECT … INTO something that is no table");
            };
            self.writes.push(TableWrite {
                table: table_key(&ident.value),
                kind: WriteKind::Schema,
                reach: Reach::Table,
                columns: None,
                given: Given::Any,
            });
        }
        Flow::Continue(())
    }
}

impl Visitor for Walker<'_> {
    type Break = Refusal;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        let here = address(query);
        if let Some(frame) = self.frames.last_mut()
            && let Some(index) = frame.ctes.iter().position(|(_, body)| *body == here)
        {
            frame.current = Some(index);
        }
        let (ctes, recursive) = match &query.with {
            Some(with) => (
                with.cte_tables
                    .iter()
                    .map(|cte| {
                        (
                            fold(&cte.alias.name, self.dialect()),
                            address(cte.query.as_ref()),
                        )
                    })
                    .collect(),
                with.recursive,
            ),
            None => (Vec::new(), false),
        };
        self.frames.push(Frame {
            ctes,
            recursive,
            current: None,
        });
        if !query.pipe_operators.is_empty() {
            return refuse("a pipe operator");
        }
        // `TABLE t` keeps its name as text, so the visitor does not show it.
        let mut open = vec![query.body.as_ref()];
        while let Some(body) = open.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => {
                    open.extend([left.as_ref(), right.as_ref()]);
                }
                SetExpr::Table(table) => match &table.table_name {
                    Some(name) => self.read(table_key(name), Pins::None),
                    None => return refuse("TABLE without a name"),
                },
                _ => {}
            }
        }
        Flow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> Flow {
        self.frames.pop();
        let here = address(query);
        if let Some(frame) = self.frames.last_mut()
            && frame.ctes.iter().any(|(_, body)| *body == here)
        {
            frame.current = None;
        }
        Flow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        self.into(select)?;
        let foreign = !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || select.value_table_mode.is_some();
        if !foreign {
            let from: Vec<&TableWithJoins> = select.from.iter().collect();
            let is_top = self.top == Some(address(select));
            let projection = is_top.then_some(select.projection.as_slice());
            self.judge_reads(&from, select.selection.as_ref(), projection);
        }
        Flow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> Flow {
        match statement {
            Statement::Query(_) => Flow::Continue(()),
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Merge(merge) => self.merge(merge),
            _ => refuse("a kind of statement that is not known"),
        }
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> Flow {
        if is_keyword(name) {
            return refuse("a keyword stands where a table's name should be");
        }
        let pins = match self.places.get(&address(name)) {
            Some(Place::Target) => return Flow::Continue(()),
            Some(Place::Read(pins)) => pins.clone(),
            None => Pins::None,
        };
        if self.is_cte(name) || is_dual(name, self.dialect()) {
            return Flow::Continue(());
        }
        let Some(table) = table_of(name) else {
            return refuse("the name of a table is computed");
        };
        if is_catalogue(name, self.dialect()) && !self.analyser.is_table(&table) {
            self.catalogue = true;
        } else {
            self.read(table, pins);
        }
        Flow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        match factor {
            TableFactor::Table {
                name,
                args: Some(_),
                ..
            } => {
                // A function in FROM: its name is no table's.
                self.places.insert(address(name), Place::Target);
                self.function(name)
            }
            TableFactor::Function { name, .. } => self.function(name),
            TableFactor::Table { .. }
            | TableFactor::Derived { .. }
            | TableFactor::TableFunction { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::JsonTable { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::NestedJoin { .. } => Flow::Continue(()),
            _ => refuse("an entry of FROM that no dialect here has"),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        match expr {
            Expr::Function(Function { name, .. }) => self.function(name),
            Expr::Identifier(ident) if ident.quote_style.is_none() => {
                self.volatile |= functions::is_clock(&ident.value);
                Flow::Continue(())
            }
            _ => Flow::Continue(()),
        }
    }
}

pub(super) fn refuse(reason: &str) -> Flow {
    Flow::Break(Refusal::unparsed(reason.to_owned()))
}

fn targets(target: &AssignmentTarget) -> &[ObjectName] {
    match target {
        AssignmentTarget::ColumnName(column) => std::slice::from_ref(column),
        AssignmentTarget::Tuple(columns) => columns.as_slice(),
    }
}

/// A function's name as the list has it: unqualified, or qualified by PostgreSQL's own schema.
fn function_name(name: &ObjectName, dialect: Dialect) -> Option<String> {
    let parts: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
    let ident = match parts?.as_slice() {
        [ident] => *ident,
        [schema, ident] if dialect == Dialect::Postgres && schema.value == "pg_catalog" => *ident,
        _ => return None,
    };
    Some(if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_ascii_lowercase()
    })
}
