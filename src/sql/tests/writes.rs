//! Which tables a statement writes, and which rows.

use super::{ALL, Dialect, analyser, check};

#[test]
fn inserts() {
    check(
        &ALL,
        &[
            ("INSERT INTO t (a) VALUES (%s)", "inserts t new"),
            (
                "INSERT INTO t (a, id) VALUES (%s, %s)",
                "inserts t new [%1]",
            ),
            (
                "INSERT INTO t (id, a) VALUES (%s, %s), (7, %s), (NULL, %s)",
                "inserts t all",
            ),
            ("INSERT INTO t (id, a) VALUES (NULL, %s)", "inserts t new"),
            (
                "INSERT INTO t (id, a) VALUES (DEFAULT, %s)",
                "inserts t new",
            ),
            (
                "INSERT INTO t (id) VALUES ((SELECT MAX(id) FROM u))",
                "reads u; inserts t all",
            ),
            ("INSERT INTO t (id) VALUES (%s + 1)", "inserts t all"),
            ("INSERT INTO t VALUES (%s, %s)", "inserts t all"),
            (
                "INSERT INTO t (a) SELECT a FROM u WHERE id = %s",
                "reads u [%0]; inserts t new",
            ),
            (
                "INSERT INTO t (id, a) SELECT id, a FROM u",
                "reads u; inserts t all",
            ),
            (
                "INSERT INTO t (a) SELECT a FROM t",
                "reads t; inserts t new",
            ),
            (
                "INSERT INTO stranger (id) VALUES (%s)",
                "inserts stranger new",
            ),
            ("insert into T (A) values (%s)", "inserts t new"),
            (
                "INSERT INTO t (a) VALUES ('DELETE FROM u')",
                "inserts t new",
            ),
        ],
    );
    check(
        &[Dialect::Sqlite, Dialect::Postgres],
        &[
            ("INSERT INTO t DEFAULT VALUES", "inserts t new"),
            (
                "INSERT INTO t (a) VALUES (%s) RETURNING (SELECT MAX(a) FROM u)",
                "reads u; inserts t new",
            ),
            (
                "INSERT INTO t (a) VALUES (%s) ON CONFLICT DO NOTHING",
                "inserts t new",
            ),
            (
                "INSERT INTO t (a) VALUES (%s) ON CONFLICT (a) DO UPDATE SET a = 1",
                "upserts t all",
            ),
            (
                "INSERT INTO t (id, a) VALUES (%s, %s) ON CONFLICT (a) DO UPDATE SET a = 1",
                "upserts t all",
            ),
            (
                "INSERT INTO t (id, a) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET a = 1",
                "upserts t [%0]",
            ),
            (
                "INSERT INTO t (id, a) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET id = 1",
                "upserts t all",
            ),
            (
                "INSERT INTO t (id, a) VALUES (%s, %s), (NULL, 1) ON CONFLICT (id) DO UPDATE SET a = 1",
                "upserts t all",
            ),
            (
                "INSERT INTO stranger (id) VALUES (%s) ON CONFLICT (id) DO UPDATE SET a = 1",
                "upserts stranger all",
            ),
            (
                "WITH x AS (SELECT a FROM u) INSERT INTO t (a) SELECT a FROM x",
                "reads u; inserts t new",
            ),
        ],
    );
    check(
        &[Dialect::Sqlite],
        &[
            ("REPLACE INTO t (a) VALUES (%s)", "upserts t all"),
            (
                "INSERT OR REPLACE INTO t (id, a) VALUES (%s, %s)",
                "upserts t all",
            ),
            (
                "INSERT OR IGNORE INTO t (id, a) VALUES (%s, %s)",
                "inserts t new [%0]",
            ),
            (
                "INSERT INTO t (rowid, a) VALUES (%s, %s)",
                "inserts t new [%0]",
            ),
        ],
    );
    check(
        &[Dialect::MySql],
        &[
            ("REPLACE INTO t (a) VALUES (%s)", "upserts t all"),
            ("INSERT IGNORE INTO t (a) VALUES (%s)", "inserts t new"),
            (
                "INSERT INTO t (a, b, id) VALUES (%s, _binary %s, %s)",
                "inserts t new [%2]",
            ),
            (
                "UPDATE t SET a = _binary %s WHERE t.id = %s",
                "updates t(a) [%1]",
            ),
            (
                "INSERT LOW_PRIORITY INTO t (a) VALUES (%s)",
                "inserts t new",
            ),
            (
                "INSERT DELAYED IGNORE INTO t (a) VALUES (%s)",
                "inserts t new",
            ),
            ("INSERT t (a) VALUES (%s)", "inserts t new"),
            ("REPLACE t (a) VALUES (%s)", "upserts t all"),
            (
                "REPLACE LOW_PRIORITY INTO t (a) VALUES (%s)",
                "upserts t all",
            ),
            ("INSERT INTO t SET a = %s, id = %s", "inserts t new [%1]"),
            (
                "INSERT INTO t (id) VALUES (%s) ON DUPLICATE KEY UPDATE a = VALUES(a)",
                "upserts t all",
            ),
        ],
    );
    check(
        &[Dialect::Postgres],
        &[
            (
                "INSERT INTO t (id, a) SELECT * FROM UNNEST((%s)::bigint[], (%s)::varchar[])",
                "inserts t new [%0*]",
            ),
            (
                "INSERT INTO t (a, id) SELECT * FROM UNNEST((%s)::bigint[], (%s)::uuid[])",
                "inserts t new [%1*]",
            ),
            ("COPY t FROM STDIN", "inserts t all"),
            (
                "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET a = u.a WHEN NOT MATCHED THEN INSERT (a) VALUES (u.a)",
                "reads u; upserts t all",
            ),
        ],
    );
}

#[test]
fn updates() {
    check(
        &ALL,
        &[
            ("UPDATE t SET a = %s", "updates t(a) all"),
            (
                "UPDATE t SET a = %s, B = %s WHERE id = %s",
                "updates t(a b) [%2]",
            ),
            (
                "UPDATE t SET a = %s WHERE t.id IN (%s, %s)",
                "updates t(a) [%1 %2]",
            ),
            ("UPDATE t SET a = %s WHERE b = %s", "updates t(a) all"),
            ("UPDATE t SET a = %s WHERE id = %s OR b", "updates t(a) all"),
            ("UPDATE t SET id = %s WHERE id = %s", "updates t(id) all"),
            ("UPDATE t SET ID = %s WHERE id = %s", "updates t(id) all"),
            (
                "UPDATE t SET a = (SELECT b FROM u) WHERE id = %s",
                "reads u; updates t(a) [%0]",
            ),
            (
                "UPDATE t SET a = 1 WHERE id IN (SELECT id FROM u)",
                "reads u; updates t(a) all",
            ),
            (
                "UPDATE stranger SET a = 1 WHERE id = 5",
                "updates stranger(a) all",
            ),
            (
                "UPDATE auth_user SET last_login = %s WHERE auth_user.id = %s",
                "updates auth_user(last_login) [%1]",
            ),
        ],
    );
    check(
        &[Dialect::Sqlite, Dialect::Postgres],
        &[
            (
                "UPDATE t SET a = u.a FROM u WHERE u.id = t.u_id AND t.id = %s",
                "reads u; updates t(a) [%0]",
            ),
            (
                "UPDATE t SET a = u.a FROM u WHERE u.id = %s",
                "reads u [%0]; updates t(a) all",
            ),
            (
                "UPDATE t AS x SET a = 1 WHERE x.id = %s",
                "updates t(a) [%0]",
            ),
            (
                "UPDATE t SET a = y.a FROM t y WHERE y.id = 3 AND t.id = 4",
                "reads t ['3']; updates t(a) ['4']",
            ),
            (
                "UPDATE t SET (a, b) = (1, 2) WHERE id = %s",
                "updates t(a b) [%0]",
            ),
            (
                "UPDATE t SET (a, id) = (1, 2) WHERE id = %s",
                "updates t(a id) all",
            ),
            (
                "WITH x AS (SELECT 1) UPDATE t SET a = 1 WHERE id = %s",
                "updates t(a) [%0]",
            ),
        ],
    );
    check(
        &[Dialect::Sqlite],
        &[
            (
                "UPDATE t SET rowid = 5 WHERE id = 4",
                "updates t(rowid) all",
            ),
            (
                "UPDATE OR REPLACE t SET a = 5 WHERE id = 4",
                "updates t(a) all",
            ),
            (
                "UPDATE OR IGNORE t SET a = 5 WHERE id = 4",
                "updates t(a) ['4']",
            ),
        ],
    );
    check(
        &[Dialect::MySql],
        &[
            (
                "UPDATE t SET a = 1 WHERE id = %s ORDER BY a LIMIT 1",
                "updates t(a) [%0]",
            ),
            (
                "UPDATE t JOIN u ON u.id = t.u_id SET t.a = 1 WHERE t.id = %s",
                "updates t [%0]; updates u all",
            ),
            (
                "UPDATE IGNORE t SET a = 1 WHERE id = %s",
                "updates t(a) [%0]",
            ),
            ("UPDATE LOW_PRIORITY IGNORE t SET a = 1", "updates t(a) all"),
            ("UPDATE t, u SET t.a = 1, u.b = 2 WHERE u.id = t.id", "re…"),
        ],
    );
}

#[test]
fn deletes() {
    check(
        &ALL,
        &[
            ("DELETE FROM t", "deletes t all"),
            ("DELETE FROM t WHERE id = %s", "deletes t [%0]"),
            ("DELETE FROM t WHERE id IN (%s, %s)", "deletes t [%0 %1]"),
            ("DELETE FROM t WHERE a = %s", "deletes t all"),
            (
                "DELETE FROM t WHERE id IN (SELECT t_id FROM u WHERE id = %s)",
                "reads u [%0]; deletes t all",
            ),
            ("DELETE FROM t WHERE NOT id = %s", "deletes t all"),
        ],
    );
    check(
        &[Dialect::Postgres],
        &[
            ("DELETE FROM ONLY t WHERE id = %s", "deletes t [%0]"),
            (
                "DELETE FROM t USING u WHERE u.id = t.u_id AND t.id = %s",
                "reads u; deletes t [%0]",
            ),
            (
                "WITH x AS (DELETE FROM t WHERE id = %s RETURNING *) SELECT * FROM x, u",
                "reads u; deletes t [%0]",
            ),
            (
                "WITH x AS (UPDATE t SET a = 1 RETURNING *), y AS (INSERT INTO u (a) SELECT a FROM x) SELECT 1",
                "updates t(a) all; inserts u new",
            ),
            (
                "WITH t AS (SELECT 1) DELETE FROM t WHERE id = 4",
                "deletes t ['4']",
            ),
        ],
    );
    check(
        &[Dialect::MySql],
        &[
            (
                "DELETE t FROM t JOIN u ON u.id = t.u_id WHERE t.id = %s",
                "reads u; deletes t [%0]",
            ),
            (
                "DELETE `t` FROM `t` INNER JOIN `u` ON (`t`.`u_id` = `u`.`id`) WHERE `u`.`a` = %s",
                "reads u; deletes t all",
            ),
            (
                "DELETE x, y FROM t x JOIN u y ON y.id = x.u_id",
                "deletes t all; deletes u all",
            ),
            (
                "DELETE LOW_PRIORITY QUICK IGNORE FROM t WHERE id = %s",
                "deletes t [%0]",
            ),
            (
                "DELETE FROM t USING t JOIN u ON u.id = t.u_id WHERE t.id = %s",
                "reads t; reads u; deletes t all",
            ),
            ("DELETE FROM t WHERE id = %s LIMIT 1", "deletes t [%0]"),
        ],
    );
}

#[test]
fn definitions_write_the_table() {
    check(
        &ALL,
        &[
            ("CREATE TABLE t (id int)", "defines t all"),
            ("CREATE TABLE IF NOT EXISTS t (id int)", "defines t all"),
            (
                "CREATE TEMPORARY TABLE t AS SELECT * FROM u",
                "reads u; defines t all",
            ),
            ("ALTER TABLE t ADD COLUMN a int", "defines t all"),
            ("ALTER TABLE t RENAME TO u", "defines t all; defines u all"),
            ("ALTER TABLE t RENAME COLUMN a TO b", "defines t all"),
            ("DROP TABLE t", "defines t all"),
            (
                "DROP TABLE IF EXISTS t, u CASCADE",
                "defines t all; defines u all",
            ),
            ("CREATE UNIQUE INDEX i ON t (a)", "defines t all"),
            ("DROP INDEX i", ""),
            ("CREATE VIEW v AS SELECT * FROM t", "defines v all"),
            ("DROP VIEW v", "defines v all"),
            ("DROP TRIGGER x", ""),
        ],
    );
    check(
        &[Dialect::Postgres],
        &[
            ("DROP DATABASE IF EXISTS \"test_site\" WITH (FORCE)", ""),
            (
                "TRUNCATE t, \"u\" RESTART IDENTITY;",
                "defines t all; defines u all",
            ),
            ("TRUNCATE TABLE ONLY public.t *", "defines t all"),
            ("SELECT * INTO u FROM t", "reads t; defines u all"),
            (
                "CREATE MATERIALIZED VIEW v AS SELECT * FROM t",
                "defines v all",
            ),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "defines v all"),
            (
                "CREATE INDEX CONCURRENTLY \"i\" ON \"t\" USING gin (to_tsvector('english', a))",
                "defines t all",
            ),
            (
                "ALTER TABLE \"t\" ALTER COLUMN \"a\" TYPE integer USING \"a\"::integer",
                "defines t all",
            ),
            (
                "SET CONSTRAINTS \"c\" IMMEDIATE; SET CONSTRAINTS \"c\" DEFERRED",
                "",
            ),
            ("CREATE EXTENSION IF NOT EXISTS hstore", ""),
            ("LOCK TABLE t IN EXCLUSIVE MODE", ""),
            ("VACUUM t", ""),
        ],
    );
    check(
        &[Dialect::MySql],
        &[
            (
                "RENAME TABLE t TO u, v TO w",
                "defines t all; defines u all; defines v all; defines w all",
            ),
            ("TRUNCATE t", "defines t all"),
            (
                "LOAD DATA LOCAL INFILE 'f' INTO TABLE t (a, b)",
                "defines t all",
            ),
            (
                "RENAME TABLE IF EXISTS t TO u",
                "defines t all; defines u all",
            ),
            ("DROP INDEX i ON t", "defines t all"),
            ("LOCK TABLES t WRITE", ""),
            (
                "SET STATEMENT max_statement_time = 1 FOR UPDATE t SET a = 1 WHERE id = %s",
                "updates t(a) [%0]",
            ),
            (
                "SET STATEMENT max_statement_time = 1 FOR TRUNCATE t",
                "defines t all",
            ),
            ("SET STATEMENT a = 1", "refused…"),
            (
                "BEGIN NOT ATOMIC UPDATE t SET a = 1 WHERE id = 1; END",
                "refused…",
            ),
        ],
    );
}

#[test]
fn transactions() {
    check(
        &ALL,
        &[
            ("BEGIN", "begin"),
            ("START TRANSACTION", "begin"),
            ("COMMIT", "commit"),
            ("ROLLBACK", "rollback"),
            ("SAVEPOINT \"s1_x1\"", "savepoint s1_x1"),
            ("RELEASE SAVEPOINT \"s1_x1\"", "release s1_x1"),
            ("RELEASE s1", "release s1"),
            ("ROLLBACK TO SAVEPOINT \"s1_x1\"", "rollback to s1_x1"),
            ("ROLLBACK TO s1", "rollback to s1"),
            (
                "BEGIN; UPDATE t SET a = 1 WHERE id = 3; COMMIT;",
                "updates t(a) ['3']; begin; commit",
            ),
            ("BEGIN IMMEDIATE", "begin"),
            ("-- a comment\nBEGIN", "begin"),
        ],
    );
}

#[test]
fn the_result_is_about_the_rows_of_an_insert_that_is_the_whole_statement() {
    let insert = "INSERT INTO t (a) VALUES (1)";
    for (text, expected) in [
        (insert.to_owned(), true),
        (format!("-- a remark\n{insert};"), true),
        (format!("{insert}; {insert}"), false),
        (format!("{insert}; SELECT 99"), false),
        (
            format!("WITH x AS ({insert} RETURNING id) SELECT 99"),
            false,
        ),
        (
            format!("WITH x AS ({insert} RETURNING id) INSERT INTO u (a) SELECT id FROM x"),
            false,
        ),
        ("UPDATE t SET a = 1".to_owned(), false),
    ] {
        let found = analyser().analyse(&text, Dialect::Postgres);
        let is_insert = found.map(|analysis| analysis.is_insert);
        assert_eq!(is_insert.ok(), Some(expected), "{text}");
    }
}
