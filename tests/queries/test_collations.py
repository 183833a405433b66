"""
Two texts that a database calls equal are found by one value, in every collation that there is.
Characters are tried in pairs, and each within a word, where a collation may skip it.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from functools import cache
from urllib.parse import urlsplit

import pytest
from tracking import Site
from viewcache import databases

CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " "
WORDS = [
    *CHARACTERS,
    *(f"p{each}q" for each in CHARACTERS),
    *(f"p{each}" for each in CHARACTERS),
    *(one + other for one in string.ascii_lowercase for other in string.ascii_lowercase),
    *("p", "pq", "p1", "p01", "p007", "p7", "p10"),
]


@cache
def value_of(text: str) -> str | None:
    """The scope of the value; ``None`` for one that may be any."""
    found = databases.queries().analyse(
        "SELECT name FROM blog_tag WHERE slug = %s", "sqlite", (text,), False
    )[6]
    return found[0][3][0] if found else None


def unlike(equal: Iterable[list[str]]) -> list[list[str]]:
    """Those groups of equal texts that are not one value."""
    return [group for group in equal if len({value_of(text) for text in group} - {None}) > 1]


def test_every_collation_of_mariadb(tracked: Site, mariadb_server: str) -> None:
    import pymysql

    parts = urlsplit(mariadb_server)
    with (
        pymysql.connect(
            host=parts.hostname, port=parts.port or 0, user="root", charset="utf8mb4"
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE DATABASE collations")
        cursor.execute("USE collations")
        cursor.execute("SET group_concat_max_len = 100000")
        cursor.execute("CREATE TABLE words (number int, word varchar(9)) CHARACTER SET utf8mb4")
        cursor.executemany("INSERT INTO words VALUES (%s, %s)", list(enumerate(WORDS)))
        cursor.execute(
            "SELECT DISTINCT full_collation_name, character_set_name "
            "FROM information_schema.collation_character_set_applicability "
            # The character sets of Unicode have the same collations.
            "WHERE full_collation_name NOT REGEXP 'nopad|bin|ucs2|utf16|utf32|utf8mb3'"
        )
        collations = cursor.fetchall()
        wrong = {}
        for collation, characters in collations:
            cursor.execute(
                "SELECT GROUP_CONCAT(number) FROM words "
                f"GROUP BY CONVERT(word USING {characters}) COLLATE {collation} "
                "HAVING COUNT(*) > 1"
            )
            groups = [[WORDS[int(at)] for at in row[0].split(",")] for row in cursor.fetchall()]
            if found := unlike(groups):
                wrong[collation] = found[:5]
    assert wrong == {}
    assert len(collations) > 100


#: Those of the root collation and of the languages whose rules differ from it in Latin letters.
LANGUAGES = [
    "und",
    "az",
    "bs",
    "cs",
    "cy",
    "da",
    "de",
    "de-u-co-phonebk",
    "es-u-co-trad",
    "et",
    "fi",
    "fi-u-co-trad",
    "fil",
    "fr-CA",
    "hr",
    "hu",
    "is",
    "kl",
    "lt",
    "lv",
    "mt",
    "nb",
    "pl",
    "ro",
    "se",
    "sk",
    "sq",
    "sv",
    "sv-u-co-trad",
    "tr",
    "vi",
    "yo",
]


@pytest.mark.parametrize("more", ["", "-ka-shifted", "-kn"])
def test_collations_of_icu_that_hold_most_equal(
    tracked: Site, postgresql_server: str, more: str
) -> None:
    import psycopg

    wrong = {}
    with psycopg.connect(f"{postgresql_server}/postgres") as connection:
        connection.execute("CREATE TEMP TABLE words (number int, word text)")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO words VALUES (%s, %s)", list(enumerate(WORDS)))
        for language in LANGUAGES:
            name = language if "-u-" in language else f"{language}-u"
            connection.execute("DROP COLLATION IF EXISTS tried")
            connection.execute(
                "CREATE COLLATION tried (provider = icu, deterministic = false, "  # type: ignore[call-overload]
                f"locale = '{name}-ks-level1{more}')"
            )
            connection.execute("ALTER TABLE words ALTER word TYPE text COLLATE tried")
            rows = connection.execute(
                'SELECT array_agg(word COLLATE "C") FROM words GROUP BY word HAVING count(*) > 1'
            ).fetchall()
            connection.execute('ALTER TABLE words ALTER word TYPE text COLLATE "C"')
            if found := unlike(group for (group,) in rows):
                wrong[language] = found[:5]
    assert wrong == {}
