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
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache, partial
from typing import Any, cast

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_finished, request_started, setting_changed
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.backends.utils import CursorWrapper

from . import bindings, commit, conf, databases, durable, expiry, fetched, reads
from ._core import Fetched
from .by_value import Sought
from .visit import Follower, follow

logger = logging.getLogger("viewcache.queries")

# -- The statements -------------------------------------------------------------------------------


def watch(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """The wrapper around every statement (``django.db.connection.execute_wrapper``)."""
    if databases.inside.get():
        return execute(sql, params, many, context)
    connection: BaseDatabaseWrapper = context["connection"]
    wrapper = context["cursor"]
    if isinstance(wrapper.cursor, Fetched):
        wrapper.cursor = wrapper.cursor.forget()
    if waits := commit.is_waiting(connection):
        commit.settle(connection)
        waits = commit.is_waiting(connection)
    reads = None if waits or many else databases.plain(sql, connection.vendor, params)
    if reads is None:
        return _watch(execute, sql, params, many, context)
    making = bindings.current.get()
    is_written = connection.in_atomic_block
    if making is not None and (is_written or (making.visit, reads) not in making.known):
        bindings.read(making, connection, reads, written=is_written)
    databases.note_read(connection)
    result = execute(sql, params, many, context)
    if making is not None and connection.vendor == "sqlite":
        # What SQLite reads while an earlier query is still open is as old as that one.
        result = fetched.finished(wrapper, connection, result)
    return result


def _watch(
    execute: Callable[..., Any],
    sql: Any,
    params: Any,
    many: bool,
    context: dict[str, Any],
) -> Any:
    """As ``watch``, for a statement that does anything."""
    connection: BaseDatabaseWrapper = context["connection"]
    wrapper = context["cursor"]
    if many and not isinstance(params, list | tuple):
        # An iterator is read once.
        params = list(params)
    reads, writes, others, numbered, begins, refused, by = databases.analyse(
        sql, connection.vendor, params, many
    )
    if (writes or numbered or refused) and durable.needs_transaction(connection, sql):
        with transaction.atomic(using=connection.alias):
            result = watch(execute, sql, params, many, context)
            # SQLite commits nothing while a statement that writes still has rows to give.
            is_open = not isinstance(wrapper.cursor, Fetched)
            return fetched.finished(wrapper, connection, result) if is_open else result
    if by and getattr(wrapper.cursor, "name", None):
        # A cursor of the server's gives its rows one by one: none of them is looked at here.
        by = [(*each[:4], None, each[5]) for each in by]
    making = bindings.current.get()
    unproven: list[Sought] = []
    if making is not None and (reads or others or refused):
        written = connection.in_atomic_block or commit.is_waiting(connection)
        unproven = bindings.read(making, connection, reads, others, refused, by, written=written)
    if begins:
        # MySQL has a word for one that sees the data of its beginning.
        databases.note_read(connection, has_read="SNAPSHOT" in str(sql).upper())
    elif reads or others or refused:
        databases.note_read(connection)
    if refused is not None and refused[1]:
        # Values may stand in the text: no two need be the same, and one may be megabytes.
        _warn_once(str(sql)[:500], refused[0])
        writes = [bindings.ANY_TABLE]
    # As above.
    whole = making is not None and connection.vendor == "sqlite"
    if not (writes or whole or unproven or begins is not None or commit.is_waiting(connection)):
        return execute(sql, params, many, context)
    try:
        result = execute(sql, params, many, context)
        if unproven:
            assert making is not None
            result = fetched.finished(wrapper, connection, result)
            if not bindings.prove(making, connection, unproven, wrapper.cursor):
                # Its rows may be older than the generations that bind the page now.
                if isinstance(wrapper.cursor, Fetched):
                    wrapper.cursor = wrapper.cursor.forget()
                result = execute(sql, params, many, context)
        if begins is not None:
            with databases.quietly():
                commit.follow(connection, begins)
        if (writes or (whole and reads)) and not isinstance(wrapper.cursor, Fetched):
            result = fetched.finished(wrapper, connection, result)
        for table in numbered:
            writes += fetched.new_rows(table, wrapper, connection, params, many)
        return result
    except BaseException:
        # Some of many may have been added.
        writes += [f"table:{table}" for table in numbered]
        raise
    finally:
        if writes or commit.is_waiting(connection):
            with databases.quietly():
                if writes:
                    expiry.on_commit(writes, connection, str(sql))
                if commit.is_waiting(connection):
                    commit.settle(connection)


@lru_cache(maxsize=256)
def _warn_once(sql: str, reason: str) -> None:
    logger.warning(
        "viewcache cannot tell what a statement writes (%s), so it expires all tracked pages: %s",
        reason,
        sql,
    )


#: Statements that may begin or end a transaction in MySQL.
_MAY_CONTROL = re.compile(
    r"(?:\s|#[^\n]*\n|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:BEGIN|START|COMMIT|ROLLBACK|CREATE|ALTER|DROP|RENAME|TRUNCATE)\b",
    re.IGNORECASE | re.DOTALL,
)


def watch_transactions(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """
    The wrapper around MySQL's statements without ``TRACK``: its drivers do not tell whether a
    transaction is open that a ``BEGIN`` of somebody's own began.
    """
    result = execute(sql, params, many, context)
    if _MAY_CONTROL.match(str(sql)) and not databases.inside.get():
        connection: BaseDatabaseWrapper = context["connection"]
        begins = databases.analyse(sql, connection.vendor, None, False)[4]
        if begins is not None:
            with databases.quietly():
                commit.follow(connection, begins)
    return result


# -- What passes no wrapper -----------------------------------------------------------------------

#: Methods of the drivers' cursors that run statements without a word to Django.
_UNTOLD = frozenset({"copy", "copy_expert", "copy_from", "copy_to", "executescript", "stream"})
_cursor_callproc = CursorWrapper.callproc


def _callproc(self: CursorWrapper, procname: str, params: Any = None, kparams: Any = None) -> Any:
    """``CursorWrapper.callproc``; what a procedure does is known to nobody."""
    return _tell(
        self, f"CALL {procname}()", lambda: _cursor_callproc(self, procname, params, kparams)
    )


def _untold(name: str) -> property:
    """This method of the driver's cursor, which ``CursorWrapper.__getattr__`` would hand out."""

    def get(wrapper: CursorWrapper) -> Any:
        found = getattr(wrapper.cursor, name)
        if name == "copy" and hasattr(wrapper.cursor, "stream"):
            return partial(_copy, wrapper, found)  # psycopg's; the data is sent before it is left
        return partial(_run_untold, wrapper, found)

    return property(get)


def _run_untold(wrapper: CursorWrapper, method: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    return _tell(wrapper, args[0] if args else "COPY", lambda: method(*args, **kw))


@contextmanager
def _copy(
    wrapper: CursorWrapper, method: Callable[..., Any], *args: Any, **kw: Any
) -> Iterator[Any]:
    with ExitStack() as opened:
        yield _tell(wrapper, args[0], lambda: opened.enter_context(method(*args, **kw)))
    with databases.quietly():
        commit.settle(wrapper.db)


def _tell(wrapper: CursorWrapper, statement: Any, run: Callable[[], Any]) -> Any:
    """Run it as ``watch`` runs a statement."""
    if watch not in wrapper.db.execute_wrappers:
        return run()
    if not isinstance(statement, str) and not hasattr(statement, "as_string"):
        statement = "COPY"  # psycopg2's copy_from() is given a file
    context = {"connection": wrapper.db, "cursor": wrapper}
    return watch(lambda *args: run(), statement, None, False, context)


# -- Switching it on ------------------------------------------------------------------------------


def connect() -> None:
    """
    Watch every connection, where the settings ask for it, and else the transactions of MySQL;
    called once the models are loaded.
    """
    if not conf.get().TRACK:
        connection_created.connect(_follow_connection, dispatch_uid="viewcache.queries")
        for connection in connections.all(initialized_only=True):
            _follow_connection(connection=connection)
        return
    connection_created.connect(_watch_connection, dispatch_uid="viewcache.queries")
    request_started.connect(bindings.begin, dispatch_uid="viewcache.queries")
    request_finished.connect(bindings.end, dispatch_uid="viewcache.queries")
    for connection in connections.all(initialized_only=True):
        _watch_connection(connection=connection)
    cast(Any, CursorWrapper).callproc = _callproc
    for name in _UNTOLD:
        setattr(CursorWrapper, name, _untold(name))
    follow(Follower(bindings.begin_if_untold, bindings.ask, bindings.attach))
    reads.on_apart(bindings.aside)


def disconnect() -> None:
    """Watch no more."""
    connection_created.disconnect(dispatch_uid="viewcache.queries")
    request_started.disconnect(dispatch_uid="viewcache.queries")
    request_finished.disconnect(dispatch_uid="viewcache.queries")
    for connection in connections.all(initialized_only=True):
        for wrapper in (watch, watch_transactions):
            if wrapper in connection.execute_wrappers:
                connection.execute_wrappers.remove(wrapper)
    cast(Any, CursorWrapper).callproc = _cursor_callproc
    for name in _UNTOLD & vars(CursorWrapper).keys():
        delattr(CursorWrapper, name)
    follow(None)
    reads.on_apart(None)


def _watch_connection(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if watch not in connection.execute_wrappers:
        connection.execute_wrappers.append(watch)


def _follow_connection(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if connection.vendor == "mysql" and watch_transactions not in connection.execute_wrappers:
        # The outermost: ``execute_wrapper()`` takes the last one off.
        connection.execute_wrappers.insert(0, watch_transactions)


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("VIEWCACHE", "CACHES", "INSTALLED_APPS", "DATABASES"):
        databases.forget()
    if setting == "VIEWCACHE" and apps.ready:
        disconnect()
        # The one who asks for the settings is told what is wrong with them.
        with suppress(ImproperlyConfigured):
            connect()


setting_changed.connect(_forget, dispatch_uid="viewcache.queries")
