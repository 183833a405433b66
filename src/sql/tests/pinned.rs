//! When rows are named, and when they only seem to be.

use super::{ALL, Dialect, check};

#[test]
fn a_key_in_the_condition_pins() {
    check(
        &ALL,
        &[
            ("SELECT * FROM t WHERE id = %s", "reads t [%0]"),
            ("select * from t where ID = %s", "reads t [%0]"),
            ("SELECT * FROM t WHERE t.id = %s", "reads t [%0]"),
            ("SELECT * FROM t WHERE %s = id", "reads t [%0]"),
            ("SELECT * FROM t WHERE (id = %s)", "reads t [%0]"),
            ("SELECT * FROM t WHERE ((id) = ((%s)))", "reads t [%0]"),
            ("SELECT * FROM t WHERE id = 5", "reads t ['5']"),
            ("SELECT * FROM t WHERE id = -5", "reads t ['-5']"),
            ("SELECT * FROM t WHERE id = '5'", "reads t ['5']"),
            (
                "SELECT * FROM t WHERE id IN (%s, %s, 7)",
                "reads t [%0 %1 '7']",
            ),
            (
                "SELECT * FROM t WHERE id IN ((%s), (%s))",
                "reads t [%0 %1]",
            ),
            ("SELECT * FROM t WHERE id IN %s", "reads t [%0]"),
            (
                "SELECT * FROM t WHERE a = %s AND id = %s AND b",
                "reads t [%1]",
            ),
            (
                "SELECT * FROM t WHERE (a = %s AND (id = %s AND b))",
                "reads t [%1]",
            ),
            (
                "SELECT * FROM t WHERE id IN (%s, %s) AND id = %s",
                "reads t [%2]",
            ),
            ("SELECT * FROM t WHERE id = %(pk)s", "reads t [%(pk)]"),
            (
                "SELECT * FROM t WHERE a = %(a)s AND id IN (%(b)s, %(a)s)",
                "reads t [%(b) %(a)]",
            ),
            ("SELECT * FROM t x WHERE x.id = %s", "reads t [%0]"),
            ("SELECT * FROM t AS x WHERE id = %s", "reads t [%0]"),
            ("SELECT * FROM public.t WHERE t.id = %s", "reads t [%0]"),
            (
                "SELECT COUNT(*) FROM t WHERE id = %s GROUP BY a HAVING COUNT(*) > 1",
                "reads t [%0]",
            ),
            (
                "SELECT DISTINCT a FROM t WHERE id = %s ORDER BY a LIMIT 5",
                "reads t [%0]",
            ),
            ("SELECT 1 AS a FROM t WHERE id = %s LIMIT 1", "reads t [%0]"),
            ("SELECT '100%%' FROM t WHERE id = %s", "reads t [%0]"),
            ("SELECT a %% 2 FROM t WHERE id = %s", "reads t [%0]"),
            (
                "SELECT a FROM t WHERE x IN (%s, %s) AND id = %s",
                "reads t [%2]",
            ),
        ],
    );
}

#[test]
fn what_only_looks_like_a_key_does_not() {
    check(
        &ALL,
        &[
            ("SELECT * FROM t", "reads t"),
            ("SELECT * FROM t WHERE id = %s OR 1 = 1", "reads t"),
            ("SELECT * FROM t WHERE (id = %s OR 1 = 1)", "reads t"),
            ("SELECT * FROM t WHERE a AND id = %s OR b", "reads t"),
            ("SELECT * FROM t WHERE NOT id = %s", "reads t"),
            ("SELECT * FROM t WHERE NOT (id = %s)", "reads t"),
            ("SELECT * FROM t WHERE (id = %s) IS NOT TRUE", "reads t"),
            ("SELECT * FROM t WHERE id NOT IN (%s)", "reads t"),
            ("SELECT * FROM t WHERE id <> %s", "reads t"),
            ("SELECT * FROM t WHERE id >= %s", "reads t"),
            ("SELECT * FROM t WHERE id = id", "reads t"),
            ("SELECT * FROM t WHERE id = other", "reads t"),
            ("SELECT * FROM t WHERE id = t.other", "reads t"),
            ("SELECT * FROM t WHERE id = %s + 1", "reads t"),
            ("SELECT * FROM t WHERE id = - %s", "reads t"),
            ("SELECT * FROM t WHERE id + 1 = %s", "reads t"),
            ("SELECT * FROM t WHERE id = ABS(%s)", "reads t"),
            ("SELECT * FROM t WHERE ABS(id) = %s", "reads t"),
            ("SELECT * FROM t WHERE id = NULL", "reads t"),
            ("SELECT * FROM t WHERE id IS NULL", "reads t"),
            ("SELECT * FROM t WHERE id IN (%s, other)", "reads t"),
            ("SELECT * FROM t WHERE id IN (%s, %s + 1)", "reads t"),
            ("SELECT * FROM t WHERE id BETWEEN %s AND %s", "reads t"),
            ("SELECT * FROM t WHERE id LIKE %s", "reads t"),
            ("SELECT * FROM t WHERE id = %s = 0", "reads t"),
            ("SELECT * FROM t WHERE id IN (%s) = 0", "reads t"),
            ("SELECT * FROM t WHERE (id, a) = (%s, %s)", "reads t"),
            ("SELECT * FROM t WHERE (id, a) IN ((%s, %s))", "reads t"),
            (
                "SELECT * FROM t WHERE CASE WHEN id = %s THEN 1 ELSE 1 END = 1",
                "reads t",
            ),
            ("SELECT * FROM t WHERE a = %s", "reads t"),
            ("SELECT * FROM t WHERE other.id = %s", "reads t"),
            ("SELECT * FROM t x WHERE t.id = %s", "reads t"),
            ("SELECT a FROM t HAVING id = %s", "reads t"),
            ("SELECT id = %s FROM t", "reads t"),
            ("SELECT * FROM t ORDER BY id = %s", "reads t"),
            ("SELECT * FROM pair WHERE id = %s", "reads pair"),
            ("SELECT * FROM stranger WHERE id = %s", "reads stranger"),
            ("SELECT * FROM t WHERE id = 5.0", "reads t"),
            ("SELECT * FROM t WHERE id = 1e3", "reads t"),
            ("SELECT * FROM t WHERE id = 'it''s'", "reads t"),
            ("SELECT * FROM t WHERE id = '100%%'", "reads t"),
            ("SELECT * FROM t WHERE id = CAST(%s AS boolean)", "reads t"),
            (
                "SELECT * FROM t WHERE id = CAST(%s AS decimal(3,1))",
                "reads t",
            ),
        ],
    );
}

#[test]
fn casts_that_change_nothing_pass() {
    check(
        &[Dialect::Postgres],
        &[
            ("SELECT * FROM t WHERE id = %s::int", "reads t [%0]"),
            ("SELECT * FROM t WHERE id = (%s)::bigint", "reads t [%0]"),
            (
                "SELECT * FROM t WHERE id = CAST(%s AS integer)",
                "reads t [%0]",
            ),
            ("SELECT * FROM t WHERE id = %s::uuid", "reads t [%0]"),
            ("SELECT * FROM t WHERE id = %s::varchar(3)", "reads t"),
            ("SELECT * FROM t WHERE id = %s::char", "reads t"),
            ("SELECT * FROM t WHERE id::text = %s", "reads t"),
            ("SELECT * FROM t WHERE id = ANY(%s)", "reads t [%0*]"),
            ("SELECT * FROM t WHERE id = ANY(%s::int[])", "reads t [%0*]"),
            (
                "SELECT * FROM t WHERE id = ANY((%(ids)s)::bigint[])",
                "reads t [%(ids)*]",
            ),
            ("SELECT * FROM t WHERE id = ANY(%s::numeric[])", "reads t"),
            ("SELECT * FROM t WHERE id = ALL(%s)", "reads t"),
            ("SELECT * FROM t WHERE id <> ANY(%s)", "reads t"),
            (
                "SELECT * FROM t WHERE id = ANY(SELECT a FROM u)",
                "reads t; reads u",
            ),
            (
                "SELECT * FROM t WHERE id IS NOT DISTINCT FROM %s",
                "reads t",
            ),
            ("SELECT * FROM t WHERE id = E'5'", "reads t"),
            ("SELECT * FROM t WHERE id = $1", "reads t [%0]"),
            ("SELECT * FROM t WHERE a = $2 AND id = $1", "reads t [%0]"),
        ],
    );
    check(
        &[Dialect::Sqlite],
        &[
            (
                "SELECT * FROM t WHERE id = CAST(%s AS INTEGER)",
                "reads t [%0]",
            ),
            ("SELECT * FROM t WHERE id = ?", "reads t [%0]"),
            ("SELECT * FROM t WHERE a = ? AND id = ?", "reads t [%1]"),
            ("SELECT * FROM t WHERE id = ?3", "reads t [%2]"),
            ("SELECT * FROM t WHERE id = %s COLLATE NOCASE", "reads t"),
            ("SELECT * FROM t WHERE id IS %s", "refused (reads): …"),
            ("SELECT * FROM t WHERE id = \"5\"", "reads t"),
        ],
    );
    check(
        &[Dialect::MySql],
        &[
            (
                "SELECT * FROM t WHERE id = CAST(%s AS SIGNED)",
                "reads t [%0]",
            ),
            ("SELECT * FROM t WHERE id = CAST(%s AS UNSIGNED)", "reads t"),
            ("SELECT * FROM t WHERE id = CAST(%s AS CHAR(1))", "reads t"),
            ("SELECT * FROM t WHERE id = \"5\"", "reads t"),
            ("SELECT * FROM t WHERE id <=> %s", "reads t"),
            ("SELECT * FROM t WHERE id = BINARY %s", "re…"),
        ],
    );
}

#[test]
fn mysql_binds_some_operators_otherwise() {
    // `||` is OR there unless PIPES_AS_CONCAT is set, and XOR stands below AND.
    check(
        &[Dialect::MySql],
        &[
            ("SELECT * FROM t WHERE id = %s AND a || 1 = 1", "reads t"),
            ("SELECT * FROM t WHERE id = %s AND a XOR b", "reads t"),
            ("SELECT * FROM t WHERE id = %s AND a && b", "reads t"),
            ("SELECT * FROM t WHERE id = %s AND a AND b", "reads t [%0]"),
        ],
    );
    check(
        &[Dialect::Sqlite, Dialect::Postgres],
        &[(
            "SELECT * FROM t WHERE id = %s AND a || 'x' = 'y'",
            "reads t [%0]",
        )],
    );
}

#[test]
fn joins_pin_only_what_is_named() {
    check(
        &ALL,
        &[
            (
                "SELECT * FROM t JOIN u ON u.id = t.u_id WHERE t.id = %s",
                "reads t [%0]; reads u",
            ),
            (
                "SELECT * FROM t JOIN u ON u.id = t.u_id WHERE id = %s",
                "reads t; reads u",
            ),
            (
                "SELECT * FROM t, u WHERE t.id = %s AND u.id = %s",
                "reads t [%0]; reads u [%1]",
            ),
            (
                "SELECT * FROM t LEFT JOIN u ON u.id = t.u_id WHERE t.id = %s",
                "reads t [%0]; reads u",
            ),
            (
                "SELECT * FROM t LEFT JOIN u ON u.id = t.u_id WHERE u.id = %s",
                "reads t; reads u [%0]",
            ),
            (
                "SELECT * FROM t RIGHT JOIN u ON u.id = t.u_id WHERE t.id = %s",
                "reads t [%0]; reads u",
            ),
            (
                "SELECT * FROM t LEFT JOIN u ON u.t_id = t.id AND u.id = %s",
                "reads t; reads u [%0]",
            ),
            (
                "SELECT * FROM t LEFT JOIN u ON u.t_id = t.id AND t.id = %s",
                "reads t; reads u",
            ),
            (
                "SELECT * FROM t LEFT JOIN u ON u.t_id = t.id OR u.id = %s",
                "reads t; reads u",
            ),
            (
                "SELECT * FROM t RIGHT JOIN u ON u.t_id = t.id AND u.id = %s",
                "reads t; reads u",
            ),
            (
                "SELECT * FROM t JOIN u ON u.id = %s",
                "reads t; reads u [%0]",
            ),
            ("SELECT * FROM t JOIN u ON t.id = %s", "reads t; reads u"),
            (
                "SELECT * FROM t CROSS JOIN u WHERE u.id = 5",
                "reads t; reads u ['5']",
            ),
            (
                "SELECT * FROM t JOIN u USING (id) WHERE t.id = %s",
                "reads t [%0]; reads u",
            ),
            (
                "SELECT * FROM t NATURAL JOIN u WHERE t.id = %s",
                "reads t [%0]; reads u",
            ),
            (
                "SELECT * FROM t LEFT JOIN (u JOIN v ON v.u_id = u.id) ON u.id = t.u_id WHERE v.id = %s",
                "reads t; reads u; reads v [%0]",
            ),
        ],
    );
    check(
        &[Dialect::Postgres, Dialect::Sqlite],
        &[(
            "SELECT * FROM t FULL JOIN u ON u.t_id = t.id AND u.id = %s",
            "reads t; reads u",
        )],
    );
}

#[test]
fn a_table_that_comes_twice_is_judged_twice() {
    check(
        &ALL,
        &[
            (
                "SELECT * FROM t a JOIN t b ON b.id = a.t_id WHERE a.id = %s",
                "reads t",
            ),
            (
                "SELECT * FROM t a, t b WHERE a.id = %s AND b.id = %s",
                "reads t [%0 %1]",
            ),
            (
                "SELECT * FROM t WHERE id = %s AND a IN (SELECT b FROM t)",
                "reads t",
            ),
            (
                "SELECT * FROM t WHERE id = %s AND a = (SELECT b FROM t WHERE id = %s)",
                "reads t [%0 %1]",
            ),
            (
                "SELECT * FROM t WHERE id = %s UNION SELECT * FROM t WHERE id = %s",
                "reads t [%0 %1]",
            ),
            (
                "SELECT * FROM t WHERE id = %s UNION ALL SELECT * FROM t",
                "reads t",
            ),
            ("SELECT * FROM t x, u x WHERE x.id = %s", "reads t; reads u"),
            ("SELECT * FROM t, u t WHERE t.id = %s", "reads t; reads u"),
        ],
    );
}

#[test]
fn a_sub_query_speaks_for_itself() {
    check(
        &ALL,
        &[
            (
                "SELECT * FROM t WHERE id IN (SELECT t_id FROM u WHERE id = %s)",
                "reads t; reads u [%0]",
            ),
            (
                "SELECT * FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = %s AND t.id = %s)",
                "reads t; reads u [%0]",
            ),
            (
                "SELECT * FROM (SELECT * FROM t WHERE id = %s) x",
                "reads t [%0]",
            ),
            (
                "SELECT * FROM (SELECT * FROM t) x WHERE x.id = %s",
                "reads t",
            ),
            (
                "SELECT * FROM (SELECT * FROM t) t WHERE t.id = %s",
                "reads t",
            ),
            ("SELECT * FROM t WHERE id = (SELECT %s)", "reads t"),
            (
                "SELECT (SELECT a FROM u WHERE u.id = %s) FROM t WHERE t.id = %s",
                "reads t [%1]; reads u [%0]",
            ),
            (
                "SELECT * FROM t WHERE id = %s AND EXISTS (SELECT 1 FROM u WHERE t.id = u.id)",
                "reads t [%0]; reads u",
            ),
        ],
    );
}

#[test]
fn renamed_columns_are_not_the_key() {
    check(
        &[Dialect::Postgres],
        &[("SELECT * FROM t AS x(a, id) WHERE x.id = %s", "reads t")],
    );
}

#[test]
fn names_are_compared_as_the_database_does() {
    check(
        &[Dialect::Postgres],
        &[
            ("SELECT * FROM \"T\" WHERE \"T\".id = %s", "reads t [%0]"),
            ("SELECT * FROM \"T\" WHERE T.id = %s", "reads t"),
            ("SELECT * FROM t WHERE \"ID\" = %s", "reads t"),
            ("SELECT * FROM t WHERE ID = %s", "reads t [%0]"),
            (
                "SELECT * FROM t AS \"X\", u AS x WHERE x.id = %s",
                "reads t; reads u [%0]",
            ),
            (
                "SELECT * FROM \"Post\" WHERE \"id\" = %s",
                "reads post [%0]",
            ),
        ],
    );
    check(
        &[Dialect::Sqlite],
        &[
            ("SELECT * FROM [t] WHERE [t].[ID] = %s", "reads t [%0]"),
            ("SELECT * FROM `t` WHERE `T`.\"id\" = %s", "reads t [%0]"),
            (
                "SELECT * FROM t AS X, u AS x WHERE x.id = %s",
                "reads t; reads u",
            ),
        ],
    );
    check(
        &[Dialect::MySql],
        &[
            ("SELECT * FROM `t` WHERE `t`.`ID` = %s", "reads t [%0]"),
            ("SELECT * FROM t AS X WHERE x.id = %s", "reads t"),
            ("SELECT * FROM db.t WHERE t.id = %s", "reads t [%0]"),
        ],
    );
}

#[test]
fn doubtful_positions_pin_nothing() {
    check(
        &ALL,
        &[
            ("SELECT '%s' FROM t WHERE id = %s", "reads t"),
            ("SELECT '%s' FROM t WHERE id = 5", "reads t ['5']"),
            ("SELECT '%%s' FROM t WHERE id = %s", "reads t [%0]"),
            ("SELECT a /* %s */ FROM t WHERE id = %s", "reads t"),
            ("SELECT a -- %s\n FROM t WHERE id = %s", "reads t"),
            ("SELECT '%(x)s' FROM t WHERE id = %(x)s", "reads t"),
            ("SELECT %s FROM t WHERE id = %(x)s", "reads t"),
        ],
    );
    check(
        &[Dialect::Sqlite],
        &[
            ("SELECT ? FROM t WHERE id = %s", "reads t"),
            ("SELECT :a FROM t WHERE id = ?", "reads t"),
            ("SELECT ?2 FROM t WHERE id = ?", "reads t"),
        ],
    );
    check(
        &[Dialect::Postgres],
        &[
            ("SELECT a %b FROM t WHERE id = %s", "reads t"),
            ("SELECT $1 FROM t WHERE id = %s", "reads t"),
            ("SELECT $$ %s $$ FROM t WHERE id = %s", "reads t"),
        ],
    );
}
