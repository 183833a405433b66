"""
What ``TRACK`` knows of the databases: the project's tables, and whether a transaction that is open
still sees what there is now.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any, cast
from weakref import WeakKeyDictionary

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.db import BaseDatabaseCache
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from . import _core, by_value, commit, conf

#: Tables and columns whose changes are on no page: ``None`` is the whole table.
QUIET: dict[str, list[str] | None] = {
    "django_session": None,
    "django_admin_log": None,
    "django_migrations": None,
    "viewcache_pendingexpiry": None,
    "auth_user": ["last_login"],
}

inside: ContextVar[bool] = ContextVar("viewcache_inside", default=False)
#: The isolation level of each of the drivers' connections.
_levels: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


@contextmanager
def quietly() -> Iterator[None]:
    """Our own statements (the database may be the cache) are nobody's."""
    token = inside.set(True)
    try:
        yield
    finally:
        inside.reset(token)


# -- The tables -----------------------------------------------------------------------------------


@cache
def queries() -> _core.Queries:
    """The project's tables and primary keys, compiled."""
    tables: list[tuple[str, str | None]] = []
    tracked: set[str] = set()
    wanted = conf.get().TRACK
    for model in apps.get_models(include_auto_created=True):
        if not model._meta.managed:
            continue
        key = model._meta.pk
        tables.append((model._meta.db_table, getattr(key, "column", None)))
        labels = {model._meta.app_label, model._meta.label, model._meta.label_lower}
        if isinstance(wanted, bool) or not labels.isdisjoint(wanted):
            tracked.add(model._meta.db_table)
            for field in model._meta.local_many_to_many:
                if not isinstance(cast(Any, field.remote_field).through, str):
                    tracked.add(field.m2m_db_table())
    quiet = dict(QUIET)
    for table, columns in conf.get().QUIET.items():
        known = quiet.get(table, [])
        quiet[table] = None if columns is None or known is None else [*known, *columns]
    for alias in settings.CACHES:
        backend = caches[alias]
        if isinstance(backend, BaseDatabaseCache):
            quiet[cast(Any, backend)._table] = None
    return _core.Queries(
        tables,
        findable=by_value.findable(),
        tracked=None if isinstance(wanted, bool) else sorted(tracked),
        quiet=quiet,
        cascades=_cascades(),
        pure_functions=conf.get().PURE_FUNCTIONS,
        rows_limit=conf.get().TRACK_ROWS,
    )


def _cascades() -> dict[str, list[str]]:
    """
    The tables that the database changes by itself when a row of a table is deleted (``DB_CASCADE``
    and its like, of Django 6.1).
    """
    found: dict[str, dict[str, None]] = {}
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.local_fields:
            on_delete = getattr(field.remote_field, "on_delete", None)
            if getattr(on_delete, "on_delete_sql", None) is not None:
                other = cast(Any, field.remote_field).model
                if isinstance(other, str):
                    continue  # no model of the project, as the checks of Django say
                target = other._meta.db_table
                found.setdefault(target, {})[model._meta.db_table] = None
    for table, others in found.items():
        waiting = list(others)
        while waiting:
            for further in found.get(waiting.pop(), ()):
                if further not in others:
                    found[table][further] = None
                    waiting.append(further)
    return {table: list(others) for table, others in found.items()}


@cache
def keys() -> dict[str, str | None]:
    """The column of each table's primary key."""
    return {
        _core.table_name(model._meta.db_table): getattr(model._meta.pk, "column", None)
        for model in apps.get_models(include_auto_created=True)
    }


@cache
def all_tables() -> tuple[str, ...]:
    """The scopes of the project's tables, for the first render of a process."""
    names = (
        _core.table_name(model._meta.db_table)
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed
    )
    found = {
        _core.table_name(table): (f"values:{_core.table_name(table)}",)
        for table, _ in by_value.findable()
    }
    return tuple(
        scope for name in names for scope in (f"table:{name}", f"rows:{name}", *found.get(name, ()))
    )


#: Whether what has this name in schemas that are not searched is a table; a statement may name it
#: with its schema.
_ELSEWHERE = """
    SELECT DISTINCT c.relkind IN ('r', 'p', 'f')
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE lower(c.relname) = %s AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND NOT pg_catalog.pg_table_is_visible(c.oid)
"""


@lru_cache(maxsize=1024)
def is_table(alias: str, name: str) -> bool:
    """Is this a table? What a view shows changes when its tables do, and it names none."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        listed = connection.introspection.get_table_list(cursor)
        found = [item.type in ("t", "p") for item in listed if _core.table_name(item.name) == name]
        if connection.vendor == "postgresql":
            cursor.execute(_ELSEWHERE, [name])
            found += [each for (each,) in cursor.fetchall()]
    return bool(found) and all(found)


# -- Transactions ---------------------------------------------------------------------------------


#: Set on a connection that has read since its transaction began. Every query does so.
_READ = "_viewcache_has_read"


def note_read(connection: BaseDatabaseWrapper, has_read: bool = True) -> None:
    """The connection has read: what its transaction reads from here on may be as old as that."""
    connection.__dict__[_READ] = has_read


def is_late(connection: BaseDatabaseWrapper) -> bool:
    """Is what is read now as old as an earlier read of the transaction that is open?"""
    if not commit.in_transaction(connection):
        return False
    # Without TRACK nobody has seen.
    has_read = not conf.get().TRACK or bool(connection.__dict__.get(_READ))
    if connection.vendor == "sqlite":
        options = connection.settings_dict.get("OPTIONS", {})
        # Who begins with the lock for writing is the only one who changes anything.
        mode = str(options.get("transaction_mode") or "").upper()
        return mode not in ("IMMEDIATE", "EXCLUSIVE") and has_read
    if connection.vendor == "postgresql":
        return _isolation(connection) not in ("read committed", "read uncommitted")
    # MySQL's has the level as text, None for the server's.
    level = getattr(connection, "isolation_level", None)
    return level not in ("read committed", "read uncommitted") and has_read


def _isolation(connection: BaseDatabaseWrapper) -> str:
    """The isolation level of PostgreSQL's transactions: the settings or the server may name it."""
    raw: Any = connection.connection
    level = _levels.get(raw)
    if level is None:
        if connection.needs_rollback or raw.info.transaction_status != 2:
            return ""
        with quietly(), connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            level = _levels[raw] = str(cursor.fetchone()[0])
    return level


#: By database and text, the queries that do nothing else; ``None`` for other statements. Every
#: statement asks for it, and what is at hand is quicker than what has to be made.
_plain: dict[tuple[str, str], _core.Plain | None] = {}
_PLAIN_KEPT, _PLAIN_LENGTH = 1024, 4096


def plain(sql: Any, vendor: str, params: Any) -> tuple[str, ...] | None:
    """The scopes that a query of known tables reads; ``None`` for any other statement."""
    if type(sql) is not str:
        return None
    key = vendor, sql
    try:
        found = _plain[key]
    except KeyError:
        found = queries().plain(sql, vendor)
        if len(sql) <= _PLAIN_LENGTH:
            if len(_plain) >= _PLAIN_KEPT:
                _plain.clear()
            _plain[key] = found
    return None if found is None else found.reads(params)


def analyse(sql: Any, vendor: str, params: Any, many: bool) -> Any:
    """What a statement does, as the core tells it."""
    if not isinstance(sql, str):
        # psycopg's composed statements, as Django's PostgreSQL backend makes some of its own.
        sql = sql.as_string(None) if hasattr(sql, "as_string") else str(sql)
    return queries().analyse(sql, vendor, params, many)


def forget() -> None:
    """The settings have changed, and with them perhaps the models."""
    queries.cache_clear()
    _plain.clear()
    is_table.cache_clear()
    all_tables.cache_clear()
    keys.cache_clear()
    by_value.forget()
