"""
Statements that are run to their end at once, and what their results show.
"""

from __future__ import annotations

from typing import Any, cast

from django.db.backends.base.base import BaseDatabaseWrapper

from . import _core, databases
from ._core import Fetched

#: New rows of an insert above which it counts for the whole table.
_NEW_ROWS = 24


def finished(wrapper: Any, connection: BaseDatabaseWrapper, result: Any) -> Any:
    """
    Have a statement run to its end: SQLite commits one that writes only then, and keeps to the
    data of one that reads until then. And which rows are new is among what an insert returns.
    """
    raw = wrapper.cursor
    if getattr(raw, "description", None) is None:
        return result
    # SQLite tells here what a statement runs into at its end, such as a foreign key of no row.
    with connection.wrap_database_errors:
        try:
            fetched = Fetched(raw, type(connection.features.empty_fetchmany_value))
        except cast(Any, connection).Database.ProgrammingError:
            if connection.vendor != "postgresql":
                raise
            return result  # psycopg: a statement without rows that has a description
    wrapper.cursor = fetched
    return fetched if result is raw else result


def new_rows(
    table: str, wrapper: Any, connection: BaseDatabaseWrapper, params: Any, many: bool
) -> list[str]:
    """
    The rows that an insert added, where the database numbered them: a page may have shown that
    there was none.
    """
    raw = wrapper.cursor
    if isinstance(raw, Fetched):
        key = databases.keys().get(table)
        names = [column[0] for column in raw.description or ()]
        rows = raw.rows or []
        if key not in names or len(rows) > _NEW_ROWS:
            return [f"table:{table}"]
        keys = [row[names.index(key)] for row in rows]
        if not all(isinstance(number, int) for number in keys):
            return [f"table:{table}"]
        return [scope for number in keys for scope in _core.new_rows(table, number, 1)]
    last = getattr(raw, "lastrowid", None)
    count = max(
        getattr(raw, "rowcount", -1), 1 if connection.vendor == "sqlite" else len(params or ())
    )
    if (
        many
        or connection.vendor == "postgresql"
        or not isinstance(last, int)
        or not 0 < count <= _NEW_ROWS
    ):
        return [f"table:{table}"]
    return _core.new_rows(table, last, count)
