"""
Pages that know what they read (``VIEWCACHE["TRACK"]``).

Every statement that Django sends passes ``execute_wrapper``. While a cacheable page is made, what
a statement reads becomes a scope of the page, and the scope's generation is read before the
statement runs. What a statement writes is expired: after the commit where there is a transaction,
else right after the statement.

The statement is parsed in Rust, once per text. What cannot be understood is not guessed: a page
that ran such a query is not stored, and such a write expires all tracked pages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any, cast
from weakref import WeakKeyDictionary

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_finished, request_started, setting_changed
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from . import _core, conf, expiry, pipeline, reads
from .pipeline import Visit

logger = logging.getLogger("viewcache.queries")

#: What every tracked page reads: expired when nobody knows what was written.
ANY_TABLE = "table:*"

#: Commands that the first render of a URL may spend on generations, beyond its look-up; later ones
#: know the URL's scopes beforehand. A render that needs more reads tables instead of rows.
COMMANDS = 6

#: Tables and columns whose changes are on no page: ``None`` is the whole table.
QUIET: dict[str, list[str] | None] = {
    "django_session": None,
    "django_admin_log": None,
    "django_migrations": None,
    "auth_user": ["last_login"],
}

#: Functions that Django itself defines in SQLite, or calls; they read nothing but their arguments.
PURE_FUNCTIONS: tuple[str, ...] = ()


class _Making:
    """What the queries of this context are for: a page, once there is a lease."""

    __slots__ = ("early", "spent", "visit")

    def __init__(self) -> None:
        self.visit: Visit | None = None
        #: The first table that was read before there was a lease.
        self.early = ""
        #: Commands spent on generations.
        self.spent = 0


_making: ContextVar[_Making | None] = ContextVar("viewcache_making", default=None)
_inside: ContextVar[bool] = ContextVar("viewcache_inside", default=False)
#: Connections in a transaction that has read: what it reads later is as old as its first read.
_snapshots: WeakKeyDictionary[BaseDatabaseWrapper, bool] = WeakKeyDictionary()
#: Tables that pages have read in this process, to be asked for at once.
_tables_read: dict[str, None] = {}
_TABLES_ASKED = 256
#: Parameters of an insert (each row has one at least) above which it counts for the whole table.
_NEW_ROWS = 24


# -- The statements -------------------------------------------------------------------------------


def watch(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """The wrapper around every statement (``django.db.connection.execute_wrapper``)."""
    if _inside.get():
        return execute(sql, params, many, context)
    connection: BaseDatabaseWrapper = context["connection"]
    reads, writes, others, numbered, begins, refused = _analyse(
        sql, connection.vendor, params, many
    )
    snapshot = _snapshots.get(connection, False)
    if begins:
        _snapshots[connection] = False
    elif reads or refused or others:
        _snapshots[connection] = connection.in_atomic_block
    making = _making.get()
    if making is not None:
        _read(making, connection, reads, others, refused, snapshot)
    try:
        return execute(sql, params, many, context)
    finally:
        if refused is not None and refused[1]:
            _warn_once(str(sql), refused[0])
            writes = [ANY_TABLE]
        for table in numbered:
            writes += _new_rows(table, context["cursor"], params, many)
        if writes:
            with _quietly():
                expiry.on_commit(writes, connection)


def _analyse(sql: Any, vendor: str, params: Any, many: bool) -> Any:
    if not isinstance(sql, str):
        # psycopg's composed statements, as Django's PostgreSQL backend makes some of its own.
        sql = sql.as_string(None) if hasattr(sql, "as_string") else str(sql)
    return queries().analyse(sql, vendor, params, many)


def _read(
    making: _Making,
    connection: BaseDatabaseWrapper,
    reads: list[str],
    others: list[str],
    refused: tuple[str, bool] | None,
    snapshot: bool,
) -> None:
    if making.visit is None:
        making.early = making.early or next(iter(reads), "")
        return
    visits = [visit for visit in making.visit.around if visit.lease is not None]
    if not visits:
        return
    reason = None if refused is None else f"query not understood: {refused[0]}"
    for name in others:
        with _quietly():
            if not _is_table(connection.alias, name):
                reason = f"query reads {name}, which is no table"
    # What a transaction reads after its first read is as old as that one.
    late = snapshot and _has_snapshots(connection)
    for visit in visits:
        if reason is not None:
            visit.refuse(reason)
        elif reads:
            with _quietly():
                _bind(making, visit, [ANY_TABLE, *reads], late=late)
    for scope in reads:
        if not scope.startswith("row:"):
            _tables_read.setdefault(scope)


def _bind(making: _Making, visit: Visit, scopes: list[str], *, late: bool) -> None:
    """The visit's page reads these scopes: bind it to their generations, or refuse it."""
    lease = visit.lease
    assert lease is not None
    unread = lease.unread_of(scopes)
    if unread and (late or making.spent >= COMMANDS):
        # The next render of this URL knows these rows beforehand; this one reads tables.
        lease.expect(scopes, remember=True)
        scopes = _coarse(scopes)
        unread = lease.unread_of(scopes)
    if unread and late:
        lease.expect(scopes, remember=True)
        visit.refuse("read inside a transaction that had read before", teach=True)
        return
    if unread and not making.spent:
        lease.expect([*_tables_read, *_all_tables()][:_TABLES_ASKED], remember=False)
    making.spent += pipeline.read_rows(visit, scopes)


def _new_rows(table: str, cursor: Any, params: Any, many: bool) -> list[str]:
    """
    The rows that an insert added, where the database says how it numbered them: a page may have
    shown that there was none (SQLite gives a number again once its row is deleted).
    """
    last = getattr(cursor, "lastrowid", None)
    if not isinstance(last, int):
        return []
    rows = 1 if params is None else sum(map(len, params)) if many else len(params)
    if rows > _NEW_ROWS:
        return [f"table:{table}"]
    return _core.new_rows(table, last, rows)


def _coarse(scopes: Iterable[str]) -> list[str]:
    """Rows as the tables that they are of."""
    return list(
        dict.fromkeys(
            f"rows:{scope[4:].rpartition(':')[0]}" if scope.startswith("row:") else scope
            for scope in scopes
        )
    )


# -- The page that is being made ------------------------------------------------------------------


def begin(**kwargs: Any) -> None:
    """A request begins: what is queried before its look-up is noted."""
    _making.set(_Making())


def end(**kwargs: Any) -> None:
    """A request is over: its context makes nothing any more."""
    _making.set(None)


def attach(visit: Visit) -> None:
    """From here on, this context's queries are for this visit's page."""
    making = _making.get()
    if making is None:
        making = _Making()
        _making.set(making)
    making.visit = visit
    if making.early:
        visit.refuse(f"{making.early} read before the look-up")
    elif any(
        _snapshots.get(connection, False) and _has_snapshots(connection)
        for connection in _open_transactions()
    ):
        visit.refuse("looked up inside a transaction that had read before")


@contextmanager
def aside() -> Iterator[None]:
    """What is queried within is not part of the page."""
    token = _making.set(None)
    try:
        yield
    finally:
        _making.reset(token)


@contextmanager
def _quietly() -> Iterator[None]:
    """Our own statements (the database may be the cache) are nobody's."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


# -- What is known of the databases ---------------------------------------------------------------


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
        tracked=None if isinstance(wanted, bool) else sorted(tracked),
        quiet=quiet,
        pure_functions=PURE_FUNCTIONS,
        rows_limit=conf.get().TRACK_ROWS,
    )


@cache
def _all_tables() -> tuple[str, ...]:
    """The scopes of the project's tables, for the first render of a process."""
    names = (
        _core.table_name(model._meta.db_table)
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed
    )
    return tuple(scope for name in names for scope in (f"table:{name}", f"rows:{name}"))


@cache
def _is_table(alias: str, name: str) -> bool:
    """Is this a table? What a view shows changes when its tables do, and it names none."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        found = connection.introspection.get_table_list(cursor)
    return any(_core.table_name(item.name) == name and item.type in ("t", "p") for item in found)


def _has_snapshots(connection: BaseDatabaseWrapper) -> bool:
    """Does a transaction of this database see the data as of its first read?"""
    if connection.vendor == "sqlite":
        return True
    level = str(
        connection.settings_dict.get("OPTIONS", {}).get("isolation_level", "read committed")
    )
    # psycopg's numbers: 2 is repeatable read, 3 serializable (IsolationLevel is 1-based).
    return level.lower().replace("-", " ") not in ("read committed", "read uncommitted", "1")


def _open_transactions() -> list[BaseDatabaseWrapper]:
    return [item for item in connections.all(initialized_only=True) if item.in_atomic_block]


@cache
def _warn_once(sql: str, reason: str) -> None:
    logger.warning(
        "viewcache cannot tell what a statement writes (%s), so it expires all tracked pages: %s",
        reason,
        sql[:500],
    )


# -- Switching it on ------------------------------------------------------------------------------


def connect() -> None:
    """Watch every connection, where the settings ask for it; called once the models are loaded."""
    if not conf.get().TRACK:
        return
    connection_created.connect(_watch_connection, dispatch_uid="viewcache.queries")
    request_started.connect(begin, dispatch_uid="viewcache.queries")
    request_finished.connect(end, dispatch_uid="viewcache.queries")
    for connection in connections.all(initialized_only=True):
        _watch_connection(connection=connection)
    pipeline.on_lease(attach)
    reads.on_apart(aside)


def disconnect() -> None:
    """Watch no more."""
    connection_created.disconnect(dispatch_uid="viewcache.queries")
    request_started.disconnect(dispatch_uid="viewcache.queries")
    request_finished.disconnect(dispatch_uid="viewcache.queries")
    for connection in connections.all(initialized_only=True):
        if watch in connection.execute_wrappers:
            connection.execute_wrappers.remove(watch)
    pipeline.on_lease(None)
    reads.on_apart(None)


def _watch_connection(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if watch not in connection.execute_wrappers:
        connection.execute_wrappers.append(watch)


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("VIEWCACHE", "CACHES", "INSTALLED_APPS", "DATABASES"):
        queries.cache_clear()
        _is_table.cache_clear()
        _all_tables.cache_clear()
    if setting == "VIEWCACHE" and apps.ready:
        disconnect()
        # The one who asks for the settings is told what is wrong with them.
        with suppress(ImproperlyConfigured):
            connect()


setting_changed.connect(_forget, dispatch_uid="viewcache.queries")
