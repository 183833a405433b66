//! The bounds, the memory, names and rows.

use std::sync::Arc;

use super::{ALL, Dialect, analyser, say};
use crate::sql::memo::{BYTES, ENTRIES};
use crate::sql::{
    Analyser, MAX_CHAIN, MAX_PINS, MAX_TEXT, PinTerm, Pins, Reach, row_bucket, row_text, row_texts,
    table_key,
};

#[test]
fn long_lists_are_not_pinned() {
    let list = |count: usize| {
        format!(
            "SELECT * FROM t WHERE id IN ({})",
            vec!["%s"; count].join(", ")
        )
    };
    let analysis = analyser()
        .analyse(&list(MAX_PINS), Dialect::Sqlite)
        .unwrap();
    assert!(matches!(&analysis.reads[0].pins, Pins::Rows(rows) if rows.len() == MAX_PINS));
    let analysis = analyser()
        .analyse(&list(MAX_PINS + 1), Dialect::Sqlite)
        .unwrap();
    assert_eq!(analysis.reads[0].pins, Pins::None);
}

#[test]
fn bulk_inserts_are_shortened_and_still_counted() {
    let insert = |rows: usize| {
        format!(
            "INSERT INTO t (id, a) VALUES {} ON CONFLICT (a) DO UPDATE SET a = (SELECT b FROM u WHERE u.id = %s)",
            vec!["(%s, %s)"; rows].join(", ")
        )
    };
    assert_eq!(
        say(&insert(3), Dialect::Sqlite),
        "reads u [%6]; upserts t all"
    );
    assert_eq!(
        say(&insert(50_000), Dialect::Sqlite),
        "reads u [%100000]; upserts t all"
    );
    let plain = |rows: usize| {
        format!(
            "INSERT INTO t (id, a) VALUES {}",
            vec!["(%s, %s)"; rows].join(",")
        )
    };
    let analysis = analyser().analyse(&plain(256), Dialect::MySql).unwrap();
    assert!(
        matches!(&analysis.writes[0].reach, Reach::Added(Pins::Rows(rows)) if rows.len() == 256)
    );
    assert_eq!(say(&plain(257), Dialect::MySql), "inserts t all");
    let unnumbered = plain(5_000).replace("(id, a)", "(b, a)");
    assert_eq!(say(&unnumbered, Dialect::Postgres), "inserts t new");
    let literals = format!(
        "INSERT INTO t (id) VALUES {}",
        (0..600)
            .map(|n| format!("({n})"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    assert_eq!(say(&literals, Dialect::Postgres), "inserts t all");
}

#[test]
fn deep_and_long_statements_are_refused_or_read_but_never_break() {
    let deep = [
        ("SELECT 1 FROM t WHERE ", "(", "a", ")"),
        ("SELECT ", "abs(", "1", ")"),
        ("SELECT 1 FROM ", "(SELECT 1 FROM ", "t", ") x"),
        (
            "SELECT 1 FROM t WHERE ",
            "a IN (SELECT a FROM t WHERE ",
            "a",
            ")",
        ),
        ("SELECT 1 FROM t WHERE ", "NOT ", "a", ""),
        ("SELECT ", "CASE WHEN a THEN ", "1", " END"),
        ("", "(", "SELECT 1", ")"),
        ("SELECT ", "- ", "1", ""),
        ("SELECT 1 FROM ", "(", "t", ")"),
        (
            "EXPLAIN ANALYZE SELECT 1 FROM ",
            "(SELECT 1 FROM ",
            "t",
            ") x",
        ),
    ];
    for dialect in ALL {
        for (start, open, middle, close) in deep {
            for depth in [10, 40, 100, 3_000] {
                let text = format!(
                    "{start}{}{middle}{}",
                    open.repeat(depth),
                    close.repeat(depth)
                );
                let _ = analyser().analyse(&text, dialect);
            }
        }
        for (link, count) in [
            (" OR ", 900),
            (" AND ", 900),
            (" + ", 900),
            (" OR ", 100_000),
            (" || ", 100_000),
        ] {
            let text = format!("SELECT 1 FROM t WHERE {}", vec!["a = %s"; count].join(link));
            assert_eq!(
                analyser().analyse(&text, dialect).is_ok(),
                count <= MAX_CHAIN,
                "{dialect:?} {link} {count}"
            );
        }
        let unions = vec!["SELECT a FROM t"; 5_000].join(" UNION ALL ");
        assert!(analyser().analyse(&unions, dialect).is_err());
        let long = format!("SELECT '{}' FROM t", "x".repeat(MAX_TEXT));
        assert!(!analyser().analyse(&long, dialect).unwrap_err().may_write);
    }
}

#[test]
fn a_bulk_update_is_wide_and_not_deep() {
    let cases = vec!["WHEN (\"t\".\"id\" = %s) THEN %s"; 2_000].join(" ");
    let text = format!(
        "UPDATE t SET a = CASE {cases} ELSE NULL END WHERE t.id IN ({})",
        vec!["%s"; 500].join(", ")
    );
    let analysis = analyser().analyse(&text, Dialect::Postgres).unwrap();
    assert!(
        matches!(&analysis.writes[0].reach, Reach::Rows(rows) if rows[0] == PinTerm::Param(4_000))
    );
}

#[test]
fn any_bytes_are_taken() {
    // Every prefix of statements with each kind of quote, and characters of several bytes.
    let texts = [
        "SELECT 'ä', \"é\", `ü`, [ö], $tag$ ß $tag$, E'\\'' FROM t -- ñ\n/* ő */ WHERE id = %s AND b = %(x)s AND c %% 2 = $1",
        "INSERT INTO t (a) VALUES (%s, 'ß'), (%s), (%",
        "WITH x(a) AS (VALUES (1)) SELECT * FROM x; ROLLBACK TO SAVEPOINT \"s\"; CREATE TABLE t AS SELECT 1",
        "DROP TABLE IF EXISTS a.b, c CASCADE; ALTER TABLE t RENAME TO u; COPY (SELECT 1) TO STDOUT",
    ];
    for text in texts {
        for (end, _) in text.char_indices() {
            for dialect in ALL {
                let _ = analyser().analyse(&text[..end], dialect);
                let _ = analyser().analyse(&text[end..], dialect);
            }
        }
    }
}

#[test]
fn the_memory_is_bounded_and_shared() {
    let analyser = Arc::new(analyser());
    let first = analyser
        .analyse("SELECT * FROM t", Dialect::Sqlite)
        .unwrap();
    let again = analyser
        .analyse("SELECT * FROM t", Dialect::Sqlite)
        .unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let analyser = Arc::clone(&analyser);
            std::thread::spawn(move || {
                for number in 0..2_000 {
                    let text = format!("SELECT {number} FROM t WHERE id = {thread}");
                    assert!(analyser.analyse(&text, Dialect::Sqlite).is_ok());
                    let used = analyser
                        .analyse("SELECT * FROM t", Dialect::Sqlite)
                        .unwrap();
                    assert_eq!(used.reads.len(), 1);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let (entries, bytes) = analyser.memos[0].size();
    assert!(
        entries <= ENTRIES && bytes <= BYTES,
        "{entries} entries, {bytes} bytes"
    );
    // In use all the time, so it was never dropped.
    assert!(Arc::ptr_eq(
        &first,
        &analyser
            .analyse("SELECT * FROM t", Dialect::Sqlite)
            .unwrap()
    ));
}

#[test]
fn inserts_of_any_length_share_one_memory() {
    let analyser = analyser();
    for rows in 20_000..20_005 {
        let text = format!("INSERT INTO t (a) VALUES {}", vec!["(%s)"; rows].join(", "));
        assert!(analyser.analyse(&text, Dialect::MySql).is_ok());
    }
    assert_eq!(analyser.memos[2].size().0, 1);
}

#[test]
fn one_table_has_one_key() {
    for name in [
        "blog_post",
        "BLOG_POST",
        "\"blog_post\"",
        "public.blog_post",
        "\"public\".\"Blog_Post\"",
        "`blog_post`",
    ] {
        assert_eq!(table_key(name), "blog_post", "{name}");
    }
    assert_eq!(table_key("tenant\".\"blog_post"), "blog_post");
    let long = "ä".repeat(40);
    assert_eq!(table_key(&long), table_key(&long[..62]));
    // Two models that would share a key without sharing the column are never pinned.
    let analyser = Analyser::new([
        ("a.t".to_owned(), Some("id".to_owned())),
        ("b.t".to_owned(), Some("code".to_owned())),
    ]);
    let analysis = analyser
        .analyse("SELECT * FROM a.t WHERE t.id = %s", Dialect::Postgres)
        .unwrap();
    assert_eq!(analysis.reads[0].pins, Pins::None);
}

#[test]
fn one_row_has_one_text() {
    for (value, text) in [
        ("5", Some("5")),
        ("05", Some("5")),
        ("-5", Some("-5")),
        ("-05", Some("-5")),
        ("0", Some("0")),
        ("-0", Some("0")),
        (
            "12345678-1234-5678-1234-567812345678",
            Some("12345678123456781234567812345678"),
        ),
        (
            "ABCDEF78123456781234567812345678",
            Some("abcdef78123456781234567812345678"),
        ),
        (
            "00000000000000000000000000000005",
            Some("00000000000000000000000000000005"),
        ),
        ("", None),
        ("-", None),
        ("+5", None),
        (" 5", None),
        ("5.0", None),
        ("5e0", None),
        ("abc", None),
        ("٥", None),
        ("True", None),
        ("None", None),
    ] {
        assert_eq!(row_text(value).as_deref(), text, "{value}");
    }
}

#[test]
fn rows_are_all_known_or_none() {
    let terms = [
        PinTerm::Literal("7".to_owned()),
        PinTerm::Param(0),
        PinTerm::ParamList(1),
    ];
    let values = |term: &PinTerm| match term {
        PinTerm::Param(0) => Some(vec!["3".to_owned()]),
        PinTerm::ParamList(1) => Some(vec!["3".to_owned(), "12".to_owned()]),
        _ => None,
    };
    assert_eq!(
        row_texts(&terms, values),
        Some(vec!["12".to_owned(), "3".to_owned(), "7".to_owned()])
    );
    assert_eq!(row_texts(&[PinTerm::Param(9)], values), None);
    assert_eq!(row_texts(&[PinTerm::Literal("x".to_owned())], values), None);
    assert_eq!(Pins::None.rows(values), None);
}

#[test]
fn buckets_are_stable_and_even() {
    // Known answers: a change of these leaves generations behind that nobody expires.
    assert_eq!(
        [1, 2, 3, 4].map(|pk| row_bucket("blog_post", &pk.to_string(), 256)),
        KNOWN
    );
    assert_eq!(row_bucket("t", "1", 0), 0);
    let mut counts = [0_u32; 64];
    for pk in 0..6_400 {
        counts[row_bucket("t", &pk.to_string(), 64) as usize] += 1;
    }
    assert!(
        counts.iter().all(|count| (50..160).contains(count)),
        "{counts:?}"
    );
    assert_ne!(
        row_bucket("ab", "c", u32::MAX),
        row_bucket("a", "bc", u32::MAX)
    );
}

const KNOWN: [u32; 4] = [238, 81, 70, 118];
