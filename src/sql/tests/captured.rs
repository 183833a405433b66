//! What Django's own compilers write.

use std::fmt::Write as _;
use std::path::Path;

use super::{Dialect, analyser, lines};

fn compare(file: &str, dialect: Dialect) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/sql")
        .join(file);
    let kept = std::fs::read_to_string(&path).expect("the fixture is there");
    let analyser = analyser();
    let mut fresh = String::new();
    let mut statements = 0;
    for line in kept.lines().filter(|line| !line.starts_with('=')) {
        fresh.push_str(line);
        fresh.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        statements += 1;
        let outcome = analyser.analyse(line, dialect);
        assert_eq!(
            outcome,
            analyser.analyse(line, dialect),
            "remembered otherwise: {line}"
        );
        for fact in lines(outcome.as_deref().map_err(|refusal| &**refusal)) {
            writeln!(fresh, "= {fact}").expect("a string takes it");
        }
    }
    assert!(statements > 100, "{file} holds {statements} statements");
    if std::env::var_os("SQL_FIXTURES").is_some() {
        std::fs::write(&path, &fresh).expect("the fixture can be written");
        return;
    }
    for (kept, fresh) in kept.lines().zip(fresh.lines()) {
        assert_eq!(kept, fresh, "in {file}");
    }
    assert_eq!(kept.len(), fresh.len(), "in {file}");
}

#[test]
fn sqlite() {
    compare("sqlite.txt", Dialect::Sqlite);
}

#[test]
fn postgres() {
    compare("postgres.txt", Dialect::Postgres);
}

#[test]
fn mysql() {
    compare("mysql.txt", Dialect::MySql);
}
