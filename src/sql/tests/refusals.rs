//! What is refused, and whether it may write.

use super::{ALL, Dialect, analyser, check};
use crate::sql::{Analyser, Cause};

#[test]
fn functions_that_are_not_known() {
    check(
        &ALL,
        &[
            (
                "SELECT my_function(a) FROM t",
                "refused (may write): the function my_function …",
            ),
            (
                "SELECT a FROM t WHERE b = app.f(a)",
                "refused (may write): the function app.f …",
            ),
            (
                "INSERT INTO t (a) VALUES (f())",
                "refused (may write): the function f …",
            ),
            (
                "SELECT a FROM t ORDER BY f(a)",
                "refused (may write): the function f …",
            ),
            (
                "SELECT * FROM f(1)",
                "refused (may write): the function f …",
            ),
        ],
    );
    check(
        &[Dialect::Postgres],
        &[
            ("SELECT pg_catalog.lower(a) FROM t", "reads t"),
            (
                "SELECT mine.lower(a) FROM t",
                "refused (may write): the function mine.lower …",
            ),
            (
                "SELECT \"LOWER\"(a) FROM t",
                "refused (may write): the function…",
            ),
            (
                "SELECT query_to_xml('select * from t', true, true, '')",
                "refused (may write): the function…",
            ),
            (
                "SELECT * FROM dblink('x', 'delete from t') AS x(a int)",
                "refused (may write): the function…",
            ),
            (
                "CREATE TABLE x AS SELECT f(a) FROM t",
                "refused (may write): the function f …",
            ),
            (
                "EXPLAIN ANALYZE SELECT f(a) FROM t",
                "refused (may write): the function f …",
            ),
        ],
    );
}

#[test]
fn functions_can_be_declared() {
    let analyser = Analyser::new([]).with_pure_functions(["My_Function".to_owned()]);
    assert!(
        analyser
            .analyse("SELECT my_function(a) FROM t", Dialect::Sqlite)
            .is_ok()
    );
    let refusal = analyser
        .analyse("SELECT other(a) FROM t", Dialect::Sqlite)
        .unwrap_err();
    assert_eq!(refusal.cause, Cause::Function("other".to_owned()));
}

#[test]
fn statements_whose_effect_is_hidden() {
    for text in [
        "CALL f()",
        "DO $$ BEGIN DELETE FROM t; END $$",
        "EXECUTE p",
        "TRUNCATE t CASCADE",
        "DROP SCHEMA x CASCADE",
        "CREATE FUNCTION f() RETURNS int AS $$ DELETE FROM t $$ LANGUAGE sql",
        "CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM u; END",
        "ALTER TYPE e RENAME VALUE 'a' TO 'b'",
        "ALTER TABLE t ATTACH PARTITION u FOR VALUES IN (1)",
        "PREPARE TRANSACTION 'x'",
        "COMMIT PREPARED 'x'",
        "GIBBERISH",
        "UPDATE t SET",
        "INSERT INTO t VALUES",
        "SELECT 1; GIBBERISH",
        "; nonsense ;",
        "5",
    ] {
        for dialect in ALL {
            let refusal = analyser().analyse(text, dialect).expect_err(text);
            assert!(refusal.may_write, "{dialect:?}: {text}");
        }
    }
}

#[test]
fn an_unknown_read_is_told_from_an_unknown_write() {
    let reads = [
        "SELECT * FROM t WHERE ??? ~~~ (",
        "SELECT a FROM t WHERE ) b",
        "SELECT a b c d FROM t FOR UPDATE OF (",
        "WITH x AS (SELECT 1) SELECT FROM WHERE",
        "SELECT 'DELETE' FROM t WHERE ) -- UPDATE t",
        "SELECT replace(a, 'x', 'y') FROM WHERE t",
        "SELECT count(*), max(a) FROM t WHERE a IN (1, 2) ) AND b",
        "SELECT a, (SELECT 1) FROM t WHERE ) b = (SELECT 1) AND c - (d) > (e)",
        "SELECT \"a\" FROM t WHERE \"u\".\"b\" = (\"t\".\"c\") )",
    ];
    let writes = [
        "WITH x AS (DELETE FROM t RETURNING *) SELECT FROM WHERE",
        "SELECT a INTO u FROM WHERE",
        "SELECT f(a) FROM WHERE",
        "SELECT f (a) FROM WHERE",
        "SELECT s.f(a) FROM WHERE",
        "SELECT a FROM WHERE; DELETE FROM t",
        "SELECT a FROM t WHERE x = UPDATE )",
        "MAYBE a SELECT",
    ];
    for dialect in ALL {
        for text in reads {
            let refusal = analyser().analyse(text, dialect).expect_err(text);
            assert!(!refusal.may_write, "{dialect:?}: {text}");
        }
        for text in writes {
            let refusal = analyser().analyse(text, dialect).expect_err(text);
            assert!(refusal.may_write, "{dialect:?}: {text}");
        }
    }
    for (dialect, text) in [
        (Dialect::Postgres, "SELECT \"f\"(a) FROM WHERE"),
        (Dialect::Sqlite, "SELECT \"s\".\"f\" (a) FROM WHERE"),
        (Dialect::MySql, "SELECT `f` (a) FROM WHERE"),
    ] {
        let refusal = analyser().analyse(text, dialect).expect_err(text);
        assert!(refusal.may_write, "{dialect:?}: {text}");
    }
}

#[test]
fn quotes_that_the_server_may_read_otherwise() {
    check(
        &[Dialect::MySql],
        &[
            ("SELECT 'it\\'s' FROM t", "refused (reads): a backslash…"),
            (
                "SELECT a FROM t WHERE a = '\\' OR 1=1 -- '",
                "refused (reads): a backslash…",
            ),
            ("SELECT 'a\\\\' FROM t WHERE id = %s", "reads t [%0]"),
            (
                "SELECT /*! a FROM u, */ b FROM t",
                "refused (reads): a conditional…",
            ),
            ("SELECT a FROM t INTO OUTFILE 'x'", "refused (may write): …"),
            ("SELECT a INTO @x FROM t", "refused (may write): …"),
        ],
    );
    check(
        &ALL,
        &[
            ("SELECT 'open FROM t", "refused (reads): a quote…"),
            (
                "DELETE FROM t WHERE a = 'open",
                "refused (may write): a quote…",
            ),
        ],
    );
}

#[test]
fn other_databases_have_no_grammar() {
    check(
        &[Dialect::Generic],
        &[
            (
                "SELECT * FROM t",
                "refused (reads): no grammar for this database",
            ),
            (
                "DELETE FROM t",
                "refused (may write): no grammar for this database",
            ),
        ],
    );
    assert_eq!(Dialect::from_vendor("oracle"), Dialect::Generic);
    assert_eq!(Dialect::from_vendor("postgresql"), Dialect::Postgres);
}
