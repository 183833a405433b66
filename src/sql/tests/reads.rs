//! Which tables a statement reads.

use super::{ALL, Dialect, check};

#[test]
fn a_table_is_met_wherever_it_stands() {
    check(
        &ALL,
        &[
            ("SELECT 1", ""),
            ("", ""),
            ("  ;; ", ""),
            ("-- SELECT * FROM t", ""),
            ("/* SELECT * FROM t */ SELECT 1", ""),
            ("SELECT 'SELECT * FROM u' FROM t", "reads t"),
            ("SELECT a FROM t -- , u\n", "reads t"),
            ("SELECT a FROM t, u, v", "reads t; reads u; reads v"),
            ("SELECT a << 1, (b >> 2) FROM t", "reads t"),
            ("SELECT (SELECT a FROM u) FROM t", "reads t; reads u"),
            (
                "SELECT CASE WHEN EXISTS (SELECT 1 FROM u) THEN 1 ELSE (SELECT 2 FROM v) END FROM t",
                "reads t; reads u; reads v",
            ),
            (
                "SELECT a FROM t WHERE b IN (SELECT c FROM u WHERE d = (SELECT e FROM v))",
                "reads t; reads u; reads v",
            ),
            (
                "SELECT a FROM t JOIN u ON u.x = (SELECT y FROM v LIMIT 1)",
                "reads t; reads u; reads v",
            ),
            (
                "SELECT a FROM t GROUP BY (SELECT b FROM u) HAVING MAX(c) > (SELECT d FROM v)",
                "reads t; reads u; reads v",
            ),
            (
                "SELECT a FROM t ORDER BY (SELECT b FROM u) LIMIT 5",
                "reads t; reads u",
            ),
            (
                "SELECT a FROM t LIMIT (SELECT b FROM u)",
                "reads t; reads u",
            ),
            (
                "SELECT a FROM t UNION SELECT a FROM u UNION ALL SELECT a FROM v",
                "reads t; reads u; reads v",
            ),
            (
                "(SELECT a FROM t) UNION (SELECT a FROM u)",
                "reads t; reads u",
            ),
            (
                "SELECT SUM(a) OVER (PARTITION BY (SELECT b FROM u) ORDER BY c) FROM t",
                "reads t; reads u",
            ),
            (
                "SELECT COALESCE((SELECT a FROM u), MAX((SELECT b FROM v))) FROM t",
                "reads t; reads u; reads v",
            ),
            ("SELECT a FROM t; SELECT b FROM u", "reads t; reads u"),
            ("SELECT a FROM t WHERE id = %s; SELECT b FROM t", "reads t"),
            ("SELECT * FROM main.t", "reads t"),
            ("SELECT * FROM T", "reads t"),
            ("SELECT * FROM somebody", "reads somebody"),
            ("WITH x AS (SELECT * FROM t) SELECT * FROM x", "reads t"),
            (
                "WITH x AS (SELECT * FROM t), y AS (SELECT * FROM x JOIN u ON 1 = 1) SELECT * FROM y",
                "reads t; reads u",
            ),
            (
                "WITH x AS (SELECT * FROM t WHERE id = %s) SELECT * FROM x",
                "reads t [%0]",
            ),
            (
                "SELECT * FROM (WITH x AS (SELECT * FROM t) SELECT * FROM x) y, u",
                "reads t; reads u",
            ),
            (
                "SELECT * FROM x, (WITH x AS (SELECT * FROM t) SELECT * FROM x) y",
                "reads t; reads x",
            ),
            ("WITH x AS (SELECT 1) SELECT * FROM public.x", "reads x"),
            (
                "WITH RECURSIVE x AS (SELECT a FROM t UNION ALL SELECT a FROM x) SELECT * FROM x",
                "reads t",
            ),
            // A name is in sight only after its definition; before it, the table of that name is meant.
            ("WITH t AS (SELECT * FROM t) SELECT * FROM t", "reads t"),
            (
                "WITH x AS (SELECT * FROM u), u AS (SELECT 1) SELECT * FROM x, u",
                "reads u",
            ),
            ("TABLE t", "reads t"),
            ("SELECT a FROM t FOR UPDATE", "reads t"),
        ],
    );
}

#[test]
fn common_table_expressions_hide_only_their_own_name() {
    check(
        &[Dialect::Postgres],
        &[
            (
                "SELECT ENCODE(DIGEST(a, 'sha256'), 'hex') FROM t",
                "reads t",
            ),
            ("WITH \"T\" AS (SELECT 1) SELECT * FROM t", "reads t"),
            ("WITH T AS (SELECT 1) SELECT * FROM t", ""),
            ("WITH t AS (SELECT 1) SELECT * FROM \"t\"", ""),
            (
                "WITH x AS MATERIALIZED (SELECT * FROM t) SELECT * FROM x",
                "reads t",
            ),
            ("WITH x AS (TABLE t) SELECT * FROM x", "refused (reads): …"),
        ],
    );
    check(
        &[Dialect::Sqlite],
        &[("WITH \"T\" AS (SELECT 1) SELECT * FROM t", "")],
    );
    check(
        &[Dialect::MySql],
        &[("WITH T AS (SELECT 1) SELECT * FROM t", "reads t")],
    );
}

#[test]
fn postgres() {
    check(
        &[Dialect::Postgres],
        &[
            (
                "SELECT * FROM t WHERE id = %s FOR UPDATE OF t SKIP LOCKED",
                "reads t [%0]",
            ),
            (
                "SELECT * FROM t WHERE id = %s FOR NO KEY UPDATE",
                "reads t [%0]",
            ),
            (
                "SELECT * FROM t WHERE id = %s FOR KEY SHARE",
                "reads t [%0]",
            ),
            ("SELECT * FROM ONLY t", "reads t"),
            (
                "SELECT * FROM ONLY t JOIN ONLY u ON u.id = t.u_id, ONLY v WHERE t.id = %s",
                "reads t [%0]; reads u; reads v",
            ),
            ("SELECT * FROM t FETCH FIRST 5 ROWS ONLY", "reads t"),
            (
                "SELECT * FROM ROWS FROM (generate_series(1, 2), f())",
                "refused…",
            ),
            (
                "SELECT * FROM t, LATERAL (SELECT * FROM u WHERE u.t_id = t.id) x",
                "reads t; reads u",
            ),
            ("SELECT * FROM t TABLESAMPLE SYSTEM (10)", "reads t"),
            ("SELECT ARRAY(SELECT a FROM t)", "reads t"),
            ("SELECT DISTINCT ON (a) a FROM t", "reads t"),
            ("SELECT * FROM generate_series(1, 5) g", ""),
            ("SELECT * FROM t, unnest(t.a) x", "reads t"),
            (
                "SELECT * FROM jsonb_to_recordset(%s) AS x(a int, b text)",
                "",
            ),
            (
                "SELECT * FROM t, jsonb_array_elements(t.data) e WHERE t.id = %s",
                "reads t [%0]",
            ),
            ("SELECT relname FROM pg_class", "catalogue"),
            (
                "SELECT * FROM pg_catalog.pg_tables, information_schema.tables",
                "catalogue",
            ),
            ("SELECT * FROM public.pg_mine", "reads pg_mine"),
            (
                "SELECT * FROM t WHERE data ? %s AND id = %s",
                "reads t [%1]",
            ),
            (
                "SELECT * FROM t WHERE data @> %s::jsonb AND id = %s",
                "reads t [%1]",
            ),
            ("SELECT * FROM t WHERE a ~* %s", "reads t"),
            ("SELECT * FROM t WHERE a =%s AND id=%s", "reads t [%1]"),
            ("SELECT NOW(), CURRENT_DATE, random()", "volatile"),
            (
                "SELECT a AT TIME ZONE 'UTC', EXTRACT(YEAR FROM a) FROM t",
                "reads t",
            ),
            ("VALUES (1, 2), (3, 4)", ""),
            ("SELECT * FROM (VALUES (1, (SELECT a FROM t))) x", "reads t"),
            (
                "DECLARE \"c\" NO SCROLL CURSOR WITH HOLD FOR SELECT * FROM t WHERE id = %s",
                "reads t [%0]",
            ),
            ("FETCH FORWARD 100 FROM \"c\"", ""),
            ("CLOSE \"c\"", ""),
            ("COPY t TO STDOUT", "reads t"),
            (
                "COPY (SELECT * FROM t WHERE id = 3) TO STDOUT WITH CSV",
                "reads t ['3']",
            ),
            ("EXPLAIN SELECT * FROM t", "volatile"),
            (
                "EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM t",
                "reads t; volatile",
            ),
            ("SHOW search_path", "volatile"),
            ("SET search_path TO x", ""),
            ("SELECT U&'d\\0061t' FROM t", "reads t"),
            ("SELECT $tag$ FROM u $tag$ FROM t", "reads t"),
            ("SELECT a /* /* nested */ FROM u */ FROM t", "reads t"),
            (
                "SELECT setval(pg_get_serial_sequence('\"t\"','id'), coalesce(max(\"id\"), 1)) FROM \"t\"",
                "reads t; volatile",
            ),
        ],
    );
}

#[test]
fn sqlite() {
    check(
        &[Dialect::Sqlite],
        &[
            ("SELECT * FROM t WHERE a REGEXP %s", "reads t"),
            ("SELECT * FROM t WHERE a GLOB %s", "reads t"),
            ("SELECT * FROM t INDEXED BY i WHERE id = %s", "refused…"),
            ("SELECT * FROM t NOT INDEXED WHERE id = %s", "refused…"),
            ("SELECT 5 IN t", "refused…"),
            ("SELECT * FROM t WHERE a MATCH %s", "reads t"),
            (
                "SELECT * FROM t, json_each(t.data) WHERE t.id = %s",
                "reads t [%0]",
            ),
            ("SELECT name FROM sqlite_master", "catalogue"),
            ("PRAGMA table_info(\"t\")", "volatile"),
            ("PRAGMA foreign_keys = ON", "volatile"),
            ("SELECT django_date_trunc(%s, a, %s, %s) FROM t", "reads t"),
            ("SELECT * FROM t WHERE a LIKE %s ESCAPE '\\'", "reads t"),
            ("SELECT * FROM \"a\"\"b\"", "reads a\"b"),
            ("SELECT * FROM [a b]", "reads a b"),
            ("EXPLAIN QUERY PLAN SELECT * FROM t", "volatile"),
            ("SELECT a FROM t /* open", "reads t"),
            ("SELECT a FROM t /* /* no nesting */", "reads t"),
        ],
    );
}

#[test]
fn mysql() {
    check(
        &[Dialect::MySql],
        &[
            (
                "SELECT * FROM `t` FORCE INDEX (`i`) WHERE id = %s",
                "reads t [%0]",
            ),
            (
                "SELECT * FROM t STRAIGHT_JOIN u ON u.id = t.u_id",
                "reads t; reads u",
            ),
            ("SELECT a FROM t LOCK IN SHARE MODE", "re…"),
            ("SELECT a FROM t # , u\n WHERE id = %s", "reads t [%0]"),
            ("SELECT 5--3 FROM t", "reads t"),
            ("SELECT * FROM t WHERE a LIKE BINARY %s", "re…"),
            (
                "SELECT TABLE_NAME FROM information_schema.tables",
                "catalogue",
            ),
            (
                "SELECT GROUP_CONCAT(a ORDER BY b SEPARATOR ',') FROM t",
                "reads t",
            ),
            (
                "SELECT CHAR(%s USING utf16), CONVERT(a USING utf8mb4) FROM t WHERE id = %s",
                "reads t [%1]",
            ),
            (
                "SELECT * FROM t WHERE a = _binary %s AND id = %s",
                "reads t [%1]",
            ),
            ("SELECT _binary'a' FROM t", "reads t"),
            ("SELECT UUID_V4(), UUID_V7() FROM t", "reads t; volatile"),
            (
                "SET STATEMENT max_statement_time = 1, sort_buffer_size = 9 FOR SELECT (a) FROM t",
                "reads t",
            ),
            ("SELECT @@sql_mode", ""),
            ("SELECT 1 FROM DUAL", ""),
            ("SELECT HIGH_PRIORITY SQL_NO_CACHE a FROM t", "re…"),
            (
                "SELECT * FROM t PARTITION (p0) WHERE id = %s",
                "reads t [%0]",
            ),
            (
                "SELECT * FROM { OJ t LEFT JOIN u ON u.id = t.u_id }",
                "refused…",
            ),
            ("SELECT DATE_ADD(a, INTERVAL 1 DAY) FROM t", "reads t"),
            ("EXPLAIN ANALYZE SELECT * FROM t", "reads t; volatile"),
            ("ANALYZE SELECT * FROM t", "reads t; volatile"),
            ("ANALYZE TABLE t", "volatile"),
            ("SHOW TABLES", "volatile"),
            ("DESCRIBE t", "volatile"),
        ],
    );
}
