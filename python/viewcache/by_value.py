"""
Rows that a page finds by another column than their key: ``Post.objects.get(slug="hello")``.

Such a page is old when a row comes to have the value, or when the row that has it changes. The
first is a scope of the value, which every write that gives a column a value expires. The second is
the scope of the row, and which row that is only the database knows: it is asked with a query of our
own, before the page's. Where the scope of a row is known beforehand, from an earlier render, the
page's query itself says whether that is the row still, and nothing is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, cast

from django.apps import apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from . import _core

#: Rows of one value above which the page reads their table. A column that is not unique has them.
ROWS = 8

#: Fields whose values are compared as texts, and as keys are.
_TEXTS = frozenset({"CharField", "SlugField", "TextField"})
_KEYS = frozenset(
    {
        "AutoField",
        "BigAutoField",
        "BigIntegerField",
        "IntegerField",
        "PositiveBigIntegerField",
        "PositiveIntegerField",
        "PositiveSmallIntegerField",
        "SmallAutoField",
        "SmallIntegerField",
        "UUIDField",
    }
)
_PLAIN = r"[A-Za-z_][A-Za-z0-9_ ]*"


class Sought(NamedTuple):
    """What a query finds by a value, as the core tells it."""

    #: The table, as it is named in the database.
    table: str
    column: str
    value: Any
    #: Those of the value: expired when a row comes to have it.
    scopes: list[str]
    #: Where in a row of the result the primary key stands.
    key_at: int | None
    #: No two rows have the value.
    unique: bool

    @property
    def all_rows(self) -> str:
        """The scope of any row of the table."""
        return f"rows:{_core.table_name(self.table)}"

    @property
    def any_row(self) -> str:
        """What the scopes of all its rows begin with."""
        return f"row:{_core.table_name(self.table)}:"

    def row(self, key: Any) -> str | None:
        """The scope of the row with this key, where it can be named."""
        return _core.row_scope(self.table, str(key)) if _is_key(key) else None


def find(sought: Sought, connection: BaseDatabaseWrapper) -> list[str] | None:
    """
    The scopes of the rows that have the value now; ``None`` where they are many or have keys that
    name no scope.
    """
    quote = connection.ops.quote_name
    key = _keys()[_core.table_name(sought.table)]
    statement = (
        f"SELECT {quote(key)} FROM {quote(sought.table)} "
        f"WHERE {quote(sought.column)} = %s LIMIT {ROWS + 1}"
    )
    # The driver's cursor: this is no query of the site's, to be counted or logged with its own.
    cursor = connection.create_cursor()
    try:
        if _hides_rows(connection, cursor, sought.table):
            return None
        cursor.execute(statement, [sought.value])
        rows = cursor.fetchall()
    except cast(Any, connection).Database.Error:
        # The page's own query is going to say what is wrong.
        return None
    finally:
        cursor.close()
    if not all(isinstance(row, tuple) for row in rows):
        return None  # somebody has given the connection rows of another class
    scopes = [scope for row in rows if (scope := sought.row(row[0])) is not None]
    return scopes if len(scopes) == len(rows) <= ROWS else None


def _hides_rows(connection: BaseDatabaseWrapper, cursor: Any, table: str) -> bool:
    """
    Has the table row-level security? A row with the value may then be hidden from whoever asks,
    and be shown once it has changed.
    """
    if connection.vendor != "postgresql":
        return False
    place = (connection.alias, table)
    if place not in _hiding:
        cursor.execute(
            "SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = to_regclass(%s)",
            [connection.ops.quote_name(table)],
        )
        _hiding[place] = cursor.fetchone() != (False,)
    return _hiding[place]


def shown(sought: Sought, rows: Sequence[Any] | None) -> str | None:
    """The scope of the row that a result shows to have the value; ``None`` where it does not."""
    if sought.key_at is None or not sought.unique or not rows:
        return None
    if not all(isinstance(row, tuple) for row in rows):
        return None
    key = rows[0][sought.key_at]
    return sought.row(key) if all(row[sought.key_at] == key for row in rows) else None


def _is_key(key: Any) -> bool:
    return isinstance(key, int | str) or type(key).__name__ == "UUID"


# -- What is known of the models ------------------------------------------------------------------


def findable() -> list[tuple[str, list[tuple[str, bool, int | None, bool]]]]:
    """
    Tables whose rows are found by a value, for the core: the columns that are unique, and slugs;
    whether each is text, how many characters it has at most, and whether it is unique.
    """
    found = []
    for model in _models():
        columns = [column for field in model._meta.local_concrete_fields for column in _of(field)]
        if columns and re.fullmatch(_PLAIN, model._meta.db_table):
            found.append((model._meta.db_table, columns))
    return found


def _models() -> Iterator[type[models.Model]]:
    for model in apps.get_models(include_auto_created=True):
        # A primary key of several columns has none.
        key: Any = model._meta.pk
        if model._meta.managed and not model._meta.proxy and getattr(key, "column", None):
            yield model


#: Whether tables have row-level security, by the alias of the database and the table.
_hiding: dict[tuple[str, str], bool] = {}


@cache
def _keys() -> dict[str, str]:
    """The column of the primary key of each table, by the name that the core gives the table."""
    return {_core.table_name(each._meta.db_table): str(each._meta.pk.column) for each in _models()}


def forget() -> None:
    """The settings have changed, and with them perhaps the models."""
    _keys.cache_clear()
    _hiding.clear()


def _of(field: Any) -> Iterator[tuple[str, bool, int | None, bool]]:
    if field.primary_key or getattr(field, "generated", False):
        return
    unique = field.unique or any(
        isinstance(constraint, models.UniqueConstraint)
        and constraint.fields == (field.name,)
        and constraint.condition is None
        for constraint in field.model._meta.constraints
    )
    target = field
    while target.remote_field is not None:
        if isinstance(target.remote_field.model, str):
            return  # no model of the project, as the checks of Django say
        target = target.target_field
    kind = target.get_internal_type()
    is_known = kind in _TEXTS or kind in _KEYS
    if not is_known or not (unique or isinstance(field, models.SlugField)):
        return
    if re.fullmatch(_PLAIN, field.column):
        is_text = kind in _TEXTS
        limit = target.max_length if is_text and kind != "TextField" else None
        yield field.column, is_text, limit, unique
