//! Rows that are found by a value, and the values that writes give.

use super::{ALL, check};
use crate::sql::{Dialect, Kind, value_text};

#[test]
fn a_row_is_found_by_a_value_of_a_known_column() {
    check(
        &ALL,
        &[
            (
                "SELECT news.id, news.title FROM news WHERE news.slug = %s LIMIT 21",
                "reads news by slug [%0] key at 0",
            ),
            (
                "SELECT a.name, news.id FROM news INNER JOIN u a ON (news.u_id = a.id) \
                 WHERE (a.x = %s AND news.slug = %s)",
                "reads news by slug [%1] key at 1; reads u",
            ),
            (
                "SELECT title FROM news WHERE %s = slug FOR UPDATE",
                "reads news by slug [%0]",
            ),
            (
                "SELECT * FROM news WHERE slug = %s",
                "reads news by slug [%0]",
            ),
            (
                "SELECT COUNT(*) FROM (SELECT id FROM news WHERE number = %s) q",
                "reads news by number [%0]",
            ),
            // A unique column says more than one that is not, a key more than any value.
            (
                "SELECT id FROM news WHERE topic = %s AND slug = %s",
                "reads news by slug [%1] key at 0",
            ),
            (
                "SELECT id FROM news WHERE slug = %s AND id = %s",
                "reads news [%1]",
            ),
            (
                "SELECT u.id FROM u LEFT JOIN news ON (news.slug = %s)",
                "reads news by slug [%0]; reads u",
            ),
        ],
    );
}

#[test]
fn what_is_not_surely_one_value_of_one_table_is_not_found_by_it() {
    check(
        &ALL,
        &[
            ("SELECT id FROM news WHERE slug = 'a'", "reads news"),
            ("SELECT id FROM news WHERE UPPER(slug) = %s", "reads news"),
            ("SELECT id FROM news WHERE slug = UPPER(%s)", "reads news"),
            ("SELECT id FROM news WHERE slug LIKE %s", "reads news"),
            ("SELECT id FROM news WHERE slug IN (%s, %s)", "reads news"),
            ("SELECT id FROM news WHERE NOT (slug = %s)", "reads news"),
            (
                "SELECT id FROM news WHERE slug = %s OR topic = %s",
                "reads news",
            ),
            ("SELECT id FROM news WHERE title = %s", "reads news"),
            ("SELECT id FROM other.news WHERE slug = %s", "reads news"),
            (
                "SELECT u.id FROM u LEFT JOIN news ON (news.u_id = u.id AND u.slug = %s)",
                "reads news; reads u",
            ),
            (
                "SELECT news.id FROM news JOIN news b ON (news.up = b.id) WHERE news.slug = %s",
                "reads news",
            ),
            // One that may be run again must do nothing but read.
            (
                "SELECT id, CURRENT_TIMESTAMP FROM news WHERE slug = %s",
                "reads news; volatile",
            ),
            (
                "SELECT id FROM news WHERE slug = %s; SELECT 1",
                "reads news",
            ),
            (
                "UPDATE u SET a = 1 WHERE id IN (SELECT u_id FROM news WHERE slug = %s)",
                "reads news; updates u(a) all",
            ),
        ],
    );
}

#[test]
fn a_write_says_which_values_it_gives() {
    check(
        &ALL,
        &[
            (
                "UPDATE news SET title = %s WHERE id = %s",
                "updates news(title) [%1]",
            ),
            (
                "UPDATE news SET title = %s, slug = %s WHERE id = %s",
                "updates news(title slug) [%2] gives slug [%1]",
            ),
            (
                "UPDATE news SET SLUG = 'a', number = NULL WHERE id = 1",
                "updates news(slug number) ['1'] gives slug ['a']",
            ),
            (
                "UPDATE news SET slug = topic WHERE id = 1",
                "updates news(slug) ['1'] gives any",
            ),
            (
                "UPDATE news SET slug = CASE WHEN id = 1 THEN %s ELSE slug END WHERE id IN (1, 2)",
                "updates news(slug) ['1' '2'] gives any",
            ),
            (
                "UPDATE news SET slug = UPPER(%s) WHERE id = 1",
                "updates news(slug) ['1'] gives any",
            ),
            (
                "UPDATE news SET slug = 5 WHERE id = 1",
                "updates news(slug) ['1'] gives any",
            ),
            (
                "INSERT INTO news (slug, topic, number) VALUES (%s, %s, NULL), (%s, 'b', %s)",
                "inserts news new gives slug [%0] slug [%2] topic [%1] topic ['b'] number [%3]",
            ),
            // A column that is not named has a default.
            (
                "INSERT INTO news (slug, topic) VALUES (%s, %s)",
                "inserts news new gives any",
            ),
            (
                "INSERT INTO news (slug, topic, number) SELECT a, b, c FROM u",
                "reads u; inserts news new gives any",
            ),
            ("DELETE FROM news WHERE id = %s", "deletes news [%0]"),
        ],
    );
    check(
        &[Dialect::Sqlite, Dialect::Postgres],
        &[
            (
                "INSERT INTO news (id, slug, topic, number) VALUES (%s, %s, %s, %s) \
                 ON CONFLICT (id) DO UPDATE SET slug = EXCLUDED.slug",
                "upserts news [%0] gives slug [%1] topic [%2] number [%3]",
            ),
            (
                "INSERT INTO news (id, slug, topic, number) VALUES (%s, %s, %s, %s) \
                 ON CONFLICT (id) DO UPDATE SET slug = EXCLUDED.topic",
                "upserts news [%0] gives any",
            ),
        ],
    );
    check(
        &[Dialect::Postgres],
        &[
            (
                "INSERT INTO news (slug, topic, number) \
                 SELECT * FROM UNNEST((%s)::varchar[], (%s)::text[], (%s)::integer[])",
                "inserts news new gives slug [%0*] topic [%1*] number [%2*]",
            ),
            (
                "INSERT INTO news (slug, topic, number) \
                 SELECT * FROM UNNEST((%s)::varchar(3)[], (%s)::text[], (%s)::integer[])",
                "inserts news new gives any",
            ),
        ],
    );
}

#[test]
fn texts_that_a_collation_may_hold_equal_are_one_value() {
    let text =
        |value: &str| value_text(value, Kind::Text(Some(20))).map(std::borrow::Cow::into_owned);
    for (one, other) in [
        ("Hello-World", "hello-world"),
        ("hello", "hello  "),
        ("a_b", "ab"),
        ("wine", "VINE"),
        ("jury", "ivri"),
        ("cache", "cace"),
        ("man", "nan"),
        ("city", "citi"),
        ("page-007", "page-7"),
        ("", " "),
    ] {
        assert_eq!(text(one), text(other), "{one:?} {other:?}");
        assert!(text(one).is_some());
    }
    for (one, other) in [("post-1", "post-2"), ("post-1", "post-10"), ("a", "b")] {
        assert_ne!(text(one), text(other));
    }
    for value in [
        "é",
        "ß",
        "a\u{200b}b",
        "a\0",
        "tab\t",
        "longer than twenty characters",
    ] {
        assert_eq!(text(value), None, "{value:?}");
    }
    assert_eq!(value_text("05", Kind::Key).as_deref(), Some("5"));
    assert_eq!(value_text("5.0", Kind::Key), None);
}
