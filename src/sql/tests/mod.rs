//! Tests of the analysis, by rule and by statement.

// A table of statements is as long as it is.
#![allow(clippy::too_many_lines)]

mod captured;
mod limits;
mod pinned;
mod reads;
mod refusals;
mod values;
mod writes;

use super::{
    Analyser, Analysis, Column, Control, Dialect, Findable, Given, Kind, PinTerm, Pins, Reach,
    Refusal, WriteKind,
};

pub(super) const ALL: [Dialect; 3] = [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql];

/// An analyser that knows the tables of the statements below.
pub(super) fn analyser() -> Analyser {
    let by_id = [
        "t",
        "u",
        "v",
        "blog_post",
        "blog_comment",
        "blog_tag",
        "blog_author",
        "blog_post_tags",
        "auth_user",
        "auth_group",
        "Doc x",
        "Post",
    ];
    let others = [
        ("blog_story", Some("post_ptr_id")),
        ("blog_profile", Some("user_id")),
        ("pair", None),
        ("news", Some("id")),
    ];
    Analyser::new(
        by_id
            .into_iter()
            .map(|table| (table, Some("id")))
            .chain(others)
            .map(|(table, key)| (table.to_owned(), key.map(str::to_owned))),
    )
    .with_findables([news()])
}

/// A table whose rows are found by a unique slug, by another that is not unique, and by a number.
pub(super) fn news() -> Findable {
    let column = |name: &str, kind, unique| Column {
        name: name.to_owned(),
        kind,
        unique,
    };
    Findable {
        table: "news".to_owned(),
        columns: vec![
            column("slug", Kind::Text(Some(50)), true),
            column("topic", Kind::Text(None), false),
            column("number", Kind::Key, true),
        ],
    }
}

fn terms(terms: &[PinTerm]) -> String {
    let texts: Vec<String> = terms
        .iter()
        .map(|term| match term {
            PinTerm::Literal(text) => format!("'{text}'"),
            PinTerm::Param(position) => format!("%{position}"),
            PinTerm::NamedParam(name) => format!("%({name})"),
            PinTerm::ParamList(position) => format!("%{position}*"),
            PinTerm::NamedParamList(name) => format!("%({name})*"),
        })
        .collect();
    format!(" [{}]", texts.join(" "))
}

fn name_of(column: usize) -> String {
    news()
        .columns
        .get(column)
        .map_or_else(String::new, |column| column.name.clone())
}

/// An analysis as text, one fact a line.
pub(super) fn lines(outcome: Result<&Analysis, &Refusal>) -> Vec<String> {
    let analysis = match outcome {
        Ok(analysis) => analysis,
        Err(refusal) => {
            let kind = if refusal.may_write {
                "may write"
            } else {
                "reads"
            };
            return vec![format!("refused ({kind}): {}", refusal.reason)];
        }
    };
    let mut lines = Vec::new();
    for read in &analysis.reads {
        let pins = match &read.pins {
            Pins::None => String::new(),
            Pins::Rows(rows) => terms(rows),
            Pins::Value(by) => format!(
                " by {}{}{}",
                name_of(by.column),
                terms(std::slice::from_ref(&by.term)),
                by.key_at
                    .map(|at| format!(" key at {at}"))
                    .unwrap_or_default()
            ),
        };
        lines.push(format!("reads {}{pins}", read.table));
    }
    for write in &analysis.writes {
        let verb = match write.kind {
            WriteKind::Insert => "inserts",
            WriteKind::Upsert => "upserts",
            WriteKind::Update => "updates",
            WriteKind::Delete => "deletes",
            WriteKind::Schema => "defines",
        };
        let columns = write
            .columns
            .as_ref()
            .map(|columns| format!("({})", columns.join(" ")))
            .unwrap_or_default();
        let reach = match &write.reach {
            Reach::Added(Pins::None | Pins::Value(_)) => " new".to_owned(),
            Reach::Added(Pins::Rows(rows)) => format!(" new{}", terms(rows)),
            Reach::Rows(rows) => terms(rows),
            Reach::Table => " all".to_owned(),
        };
        let given = match &write.given {
            _ if write.reach == Reach::Table => String::new(),
            Given::Nothing => String::new(),
            Given::Any => " gives any".to_owned(),
            Given::Values(values) => {
                let told = values.iter().map(|(column, term)| {
                    format!(" {}{}", name_of(*column), terms(std::slice::from_ref(term)))
                });
                format!(" gives{}", told.collect::<String>())
            }
        };
        lines.push(format!("{verb} {}{columns}{reach}{given}", write.table));
    }
    for control in &analysis.control {
        lines.push(match control {
            Control::Begin => "begin".to_owned(),
            Control::Commit => "commit".to_owned(),
            Control::Rollback => "rollback".to_owned(),
            Control::Savepoint(name) => format!("savepoint {name}"),
            Control::Release(name) => format!("release {name}"),
            Control::RollbackTo(name) => format!("rollback to {name}"),
        });
    }
    for (flag, name) in [
        (analysis.volatile, "volatile"),
        (analysis.catalogue, "catalogue"),
    ] {
        if flag {
            lines.push(name.to_owned());
        }
    }
    lines
}

/// What is said of a statement, on one line.
pub(super) fn say(text: &str, dialect: Dialect) -> String {
    let outcome = analyser().analyse(text, dialect);
    lines(outcome.as_deref().map_err(|refusal| &**refusal)).join("; ")
}

/// Check a table of statements and what is said of them, in some dialects.
pub(super) fn check(dialects: &[Dialect], table: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for dialect in dialects {
        for (text, expected) in table {
            let said = say(text, *dialect);
            let fits = match expected.strip_suffix('…') {
                Some(start) => said.starts_with(start),
                None => said == *expected,
            };
            if !fits {
                wrong.push(format!(
                    "{dialect:?}: {text}\n  said:     {said}\n  expected: {expected}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
