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
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import cache, partial
from itertools import islice
from typing import Any, cast
from weakref import WeakKeyDictionary, ref

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_finished, request_started, setting_changed
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.backends.utils import CursorWrapper
from django.http import HttpRequest

from . import _core, by_value, commit, conf, durable, expiry, reads
from .by_value import Sought
from .lease import read_rows
from .visit import Visit, on_visit

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
    "viewcache_pendingexpiry": None,
    "auth_user": ["last_login"],
}


class _Making:
    """What the queries of this context are for: a page, once there is a lease."""

    __slots__ = ("began", "blind", "known", "read", "request", "rows", "spent", "visit")

    def __init__(self, began: int | None = None) -> None:
        self.visit: Visit | None = None
        #: Whose it is, where that is known.
        self.request: ref[HttpRequest] | None = None
        #: When it began, as the core counts; ``None`` where it may have read before.
        self.began = began
        #: The scopes that were read so far, before there was a lease or after.
        self.read: dict[str, None] = {}
        #: Why what was read so far is not all known.
        self.blind = ""
        #: What queries have read for which visit, so that it need not be looked at again.
        self.known: set[tuple[Any, ...]] = set()
        #: Commands spent on generations.
        self.spent = 0
        #: Rows that the page names; where there are too many, it reads their tables.
        self.rows: set[str] = set()


_making: ContextVar[_Making | None] = ContextVar("viewcache_making", default=None)
_inside: ContextVar[bool] = ContextVar("viewcache_inside", default=False)
#: Has a connection read since its transaction began?
_snapshots: WeakKeyDictionary[BaseDatabaseWrapper, bool] = WeakKeyDictionary()
#: The isolation level of each of the drivers' connections.
_levels: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
#: Tables that pages have read in this process, to be asked for at once.
_tables_read: dict[str, None] = {}
_TABLES_ASKED = 256
#: Scopes of which a page may have only so many (``TRACK_ROWS``).
_NAMED = ("row:", "value:")
#: New rows of an insert above which it counts for the whole table.
_NEW_ROWS = 24


# -- The statements -------------------------------------------------------------------------------


def watch(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """The wrapper around every statement (``django.db.connection.execute_wrapper``)."""
    if _inside.get():
        return execute(sql, params, many, context)
    connection: BaseDatabaseWrapper = context["connection"]
    if isinstance(context["cursor"].cursor, _Fetched):
        context["cursor"].cursor = context["cursor"].cursor.forget()
    if commit.is_waiting(connection):
        commit.settle(connection)
    if many and not isinstance(params, list | tuple):
        # An iterator is read once.
        params = list(params)
    reads, writes, others, numbered, begins, refused, by = _analyse(
        sql, connection.vendor, params, many
    )
    if (writes or numbered or refused) and durable.needs_transaction(connection, sql):
        with transaction.atomic(using=connection.alias):
            result = watch(execute, sql, params, many, context)
            # SQLite commits nothing while a statement that writes still has rows to give.
            cursor = context["cursor"]
            is_open = not isinstance(cursor.cursor, _Fetched)
            return _finished(cursor, connection, result) if is_open else result
    if by and getattr(context["cursor"].cursor, "name", None):
        # A cursor of the server's gives its rows one by one: none of them is looked at here.
        by = [(*each[:4], None, each[5]) for each in by]
    making = _making.get()
    unproven: list[Sought] = []
    if making is not None and (reads or others or refused):
        unproven = _read(making, connection, reads, others, refused, by)
    if begins:
        # MySQL has a word for one that sees the data of its beginning.
        _snapshots[connection] = "SNAPSHOT" in str(sql).upper()
    elif reads or others or refused:
        _snapshots[connection] = True
    if refused is not None and refused[1]:
        _warn_once(str(sql), refused[0])
        writes = [ANY_TABLE]
    # What SQLite reads while an earlier query is still open is as old as that one.
    whole = making is not None and connection.vendor == "sqlite"
    if not (writes or whole or unproven or begins is not None or commit.is_waiting(connection)):
        return execute(sql, params, many, context)
    try:
        result = execute(sql, params, many, context)
        if unproven:
            assert making is not None
            wrapper = context["cursor"]
            result = _finished(wrapper, connection, result)
            if not _prove(making, connection, unproven, wrapper.cursor):
                # Its rows may be older than the generations that bind the page now.
                if isinstance(wrapper.cursor, _Fetched):
                    wrapper.cursor = wrapper.cursor.forget()
                result = execute(sql, params, many, context)
        if begins is not None:
            with _quietly():
                commit.follow(connection, begins)
        if (writes or (whole and reads)) and not isinstance(context["cursor"].cursor, _Fetched):
            result = _finished(context["cursor"], connection, result)
        for table in numbered:
            writes += _new_rows(table, context["cursor"], connection, params, many)
        return result
    except BaseException:
        # Some of many may have been added.
        writes += [f"table:{table}" for table in numbered]
        raise
    finally:
        if writes or commit.is_waiting(connection):
            with _quietly():
                if writes:
                    expiry.on_commit(writes, connection, str(sql))
                if commit.is_waiting(connection):
                    commit.settle(connection)


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
    by: list[Any],
) -> list[Sought]:
    """
    Bind the page that is being made to what a query reads. Returns what the query finds by a value
    and has to prove, once it has run.
    """
    inner = making.visit
    written = connection.in_atomic_block or commit.is_waiting(connection)
    known = (inner, *reads)
    if known in making.known and not (written or others or refused or by):
        return []
    making.known.add(known)
    sought = [Sought(*each) for each in by]
    visits = [] if inner is None else [each for each in inner.around if each.lease is not None]
    reason = None if refused is None else f"query not understood: {refused[0]}"
    scopes = [ANY_TABLE, *reads]
    # Whoever does not know the rows reads their tables.
    with_tables = [*scopes, *(each.all_rows for each in sought)]
    for name in others:
        with _quietly():
            if not _is_table(connection.alias, name):
                reason = f"query reads {name}, which is no table"
    if written and not commit.dirty().isdisjoint(with_tables):
        # Nobody else sees it yet, and after a rollback nobody ever does.
        reason = "read what this transaction has written"
    making.read.update(dict.fromkeys(with_tables[1:]))
    making.blind = making.blind or reason or ""
    # What a transaction reads after its first read is as old as that one.
    late = bool(visits) and _is_late(connection)
    for visit in visits:
        if reason is not None:
            visit.refuse(reason)
        elif reads:
            with _quietly():
                _bind(making, visit, scopes, late=late)
    for scope in reads:
        if not scope.startswith("row:"):
            _tables_read.setdefault(scope)
    return _seek(making, connection, sought) if sought and visits and reason is None else []


def _seek(making: _Making, connection: BaseDatabaseWrapper, sought: list[Sought]) -> list[Sought]:
    """
    Bind the page to what a query finds by values, before it runs. Returns those whose rows the
    query itself has to show.
    """
    late = _is_late(connection)
    with _quietly():
        # All of them, before the first row is asked for.
        bound = [
            (each, [_bind(making, visit, each.scopes, late=late) for visit in _visits(making)])
            for each in sought
        ]
    unproven = []
    for each, exact in bound:
        if not any(exact):
            continue
        if each.key_at is not None and each.unique and _knows_a_row(making, each):
            unproven.append(each)
        else:
            _find(making, connection, each)
    return unproven


def _find(making: _Making, connection: BaseDatabaseWrapper, sought: Sought) -> None:
    """Ask which rows have the value, and bind the page to them, before its own query runs."""
    with _quietly():
        scopes = by_value.find(sought, connection)
        # In a transaction that may have been its first read.
        _snapshots[connection] = True
        late = _is_late(connection)
        for visit in _visits(making):
            if scopes is None:
                _bind(making, visit, [sought.all_rows], late=late)
            elif scopes:
                _bind(making, visit, scopes, late=late)


def _prove(
    making: _Making, connection: BaseDatabaseWrapper, unproven: list[Sought], cursor: Any
) -> bool:
    """
    Does a result show the rows that the page knew beforehand? If not, the page is bound to those
    that there are, and the query is to be run again.
    """
    proven = True
    for each in unproven:
        row = by_value.shown(each, cursor.rows if isinstance(cursor, _Fetched) else None)
        leases = [visit.lease for visit in _visits(making)]
        has_room = row in making.rows or len(making.rows) < conf.get().TRACK_ROWS
        if (
            row is not None
            and has_room
            and not any(lease.unread_of([row]) for lease in leases if lease is not None)
        ):
            with _quietly():
                for visit in _visits(making):
                    _bind(making, visit, [row], late=True)
        else:
            proven = False
            _find(making, connection, each)
    return proven


def _visits(making: _Making) -> list[Visit]:
    """The visits whose pages are being made."""
    around = () if making.visit is None else making.visit.around
    return [visit for visit in around if visit.lease is not None]


def _knows_a_row(making: _Making, sought: Sought) -> bool:
    """Has an earlier render taught the scope of a row of this table?"""
    leases = [visit.lease for visit in _visits(making)]
    return all(lease.has_read_any(sought.any_row) for lease in leases if lease is not None)


def _bind(making: _Making, visit: Visit, scopes: list[str], *, late: bool) -> bool:
    """
    The visit's page reads these scopes: bind it to their generations, or refuse it. False when it
    reads tables in their place.
    """
    lease = visit.lease
    assert lease is not None
    rows = making.rows.union(scope for scope in scopes if scope.startswith(_NAMED))
    exact = True
    if len(rows) > conf.get().TRACK_ROWS:
        scopes, exact = coarse(scopes), False
    else:
        making.rows = rows
    unread = lease.unread_of(scopes)
    if unread and (late or making.spent >= COMMANDS):
        # The next render of this URL knows these rows beforehand; this one reads tables.
        lease.expect(scopes, remember=True)
        scopes, exact = coarse(scopes), False
        unread = lease.unread_of(scopes)
    if unread and late:
        lease.expect(scopes, remember=True)
        visit.refuse("read inside a transaction that had read before", teach=True)
        return exact
    if unread and not making.spent:
        lease.expect([*_tables_read, *_all_tables()][:_TABLES_ASKED], remember=False)
    making.spent += read_rows(visit, scopes)
    return exact


class _Fetched:
    """A database cursor whose rows have been fetched, and are handed out from here."""

    def __init__(self, cursor: Any, kind: Callable[[Iterable[Any]], Any]) -> None:
        self._cursor = cursor
        #: MySQL's drivers give tuples of rows, the others lists; Django waits for an empty one.
        self._kind = kind
        self.rows: list[Any] | None = cursor.fetchall()
        self._left = iter(self.rows or ())

    def forget(self) -> Any:
        """The cursor as it was, for its next statement."""
        self._left = iter(())
        return self._cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __iter__(self) -> Iterator[Any]:
        return self._left

    def __next__(self) -> Any:
        return next(self._left)

    def fetchone(self) -> Any:
        return next(self._left, None)

    def fetchmany(self, size: int | None = None) -> Any:
        return self._kind(islice(self._left, size or self._cursor.arraysize))

    def fetchall(self) -> Any:
        return self._kind(self._left)


def _finished(wrapper: Any, connection: BaseDatabaseWrapper, result: Any) -> Any:
    """
    Have a statement run to its end: SQLite commits one that writes only then, and keeps to the
    data of one that reads until then. And which rows are new is among what an insert returns.
    """
    raw = wrapper.cursor
    if getattr(raw, "description", None) is None:
        return result
    try:
        fetched = _Fetched(raw, type(connection.features.empty_fetchmany_value))
    except cast(Any, connection).Database.Error:
        return result  # psycopg: a statement without rows that has a description
    wrapper.cursor = fetched
    return fetched if result is raw else result


def _new_rows(
    table: str, wrapper: Any, connection: BaseDatabaseWrapper, params: Any, many: bool
) -> list[str]:
    """
    The rows that an insert added, where the database numbered them: a page may have shown that
    there was none.
    """
    raw = wrapper.cursor
    if isinstance(raw, _Fetched):
        key = _keys().get(table)
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


def coarse(scopes: Iterable[str]) -> list[str]:
    """Rows, and what is found by values, as the tables that they are of."""
    return list(dict.fromkeys(map(_coarser, scopes)))


def _coarser(scope: str) -> str:
    kind, _, rest = scope.partition(":")
    if kind in ("row", "value"):
        rest = rest.rpartition(":")[0]
    return f"rows:{rest}" if kind in ("row", "value", "values") else scope


# -- The page that is being made ------------------------------------------------------------------


def begin(**kwargs: Any) -> None:
    """A request begins: what is queried before its look-up is noted."""
    was_open = any(_is_late(each) for each in connections.all(initialized_only=True))
    _making.set(_Making(None if was_open else conf.site().moment()))
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            _snapshots.pop(connection, None)


def begin_if_untold(request: HttpRequest) -> None:
    """
    The same, of a request whose beginning this context may not have been told: Django 5.2 runs the
    receivers of an async signal in tasks, and what they set ends with those.
    """
    if not conf.get().TRACK:
        return
    making = _making.get()
    if making is None or (making.request is not None and making.request() is not request):
        begin()
        making = _making.get()
    assert making is not None
    making.request = ref(request)


def end(**kwargs: Any) -> None:
    """A request is over: its context makes nothing any more."""
    _making.set(None)


def ask(visit: Visit) -> None:
    """What was read before the look-up is what the page reads: it is asked for with the page."""
    making = _making.get()
    if making is not None:
        visit.tags += _read_before(making)


def _read_before(making: _Making) -> list[str]:
    """The scopes that were read before the look-up."""
    if not making.read:
        return []
    making.rows.update(scope for scope in making.read if scope.startswith("row:"))
    are_many = len(making.rows) > conf.get().TRACK_ROWS
    return [*(coarse(making.read) if are_many else making.read), ANY_TABLE]


def attach(visit: Visit) -> None:
    """From here on, this context's queries are for this visit's page."""
    making = _making.get()
    if making is None:
        making = _Making()
        _making.set(making)
    making.visit = visit
    lease = visit.lease
    if any(_is_late(connection) for connection in connections.all(initialized_only=True)):
        visit.refuse("looked up inside a transaction that had read before")
    elif making.blind:
        visit.refuse(f"{making.blind} (before the look-up)")
    elif (before := _read_before(making)) and lease is not None:
        # It may have changed since, unless this process knows of the same generation from before.
        young = before[0] if making.began is None else lease.younger_than(making.began, before)
        if young is not None:
            visit.refuse(f"{young} read before the look-up")


def visit_of_context(scopes: list[str]) -> Visit | None:
    """The visit whose page is being made here and now, and depends on these scopes."""
    making = _making.get()
    if making is None:
        return None
    making.read.update(dict.fromkeys(scopes))
    return making.visit


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
                target = cast(Any, field.remote_field).model._meta.db_table
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
def _keys() -> dict[str, str | None]:
    """The column of each table's primary key."""
    return {
        _core.table_name(model._meta.db_table): getattr(model._meta.pk, "column", None)
        for model in apps.get_models(include_auto_created=True)
    }


@cache
def _all_tables() -> tuple[str, ...]:
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


@cache
def _is_table(alias: str, name: str) -> bool:
    """Is this a table? What a view shows changes when its tables do, and it names none."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        found = connection.introspection.get_table_list(cursor)
    return any(_core.table_name(item.name) == name and item.type in ("t", "p") for item in found)


def _is_late(connection: BaseDatabaseWrapper) -> bool:
    """Is what is read now as old as an earlier read of the transaction that is open?"""
    if not commit.in_transaction(connection):
        return False
    if connection.vendor == "sqlite":
        options = connection.settings_dict.get("OPTIONS", {})
        # Who begins with the lock for writing is the only one who changes anything.
        mode = str(options.get("transaction_mode") or "").upper()
        return mode not in ("IMMEDIATE", "EXCLUSIVE") and _snapshots.get(connection, False)
    if connection.vendor == "postgresql":
        return _isolation(connection) not in ("read committed", "read uncommitted")
    # MySQL's has the level as text, None for the server's.
    level = getattr(connection, "isolation_level", None)
    return level not in ("read committed", "read uncommitted") and _snapshots.get(connection, False)


def _isolation(connection: BaseDatabaseWrapper) -> str:
    """The isolation level of PostgreSQL's transactions: the settings or the server may name it."""
    raw: Any = connection.connection
    level = _levels.get(raw)
    if level is None:
        if connection.needs_rollback or raw.info.transaction_status != 2:
            return ""
        with _quietly(), connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            level = _levels[raw] = str(cursor.fetchone()[0])
    return level


@cache
def _warn_once(sql: str, reason: str) -> None:
    logger.warning(
        "viewcache cannot tell what a statement writes (%s), so it expires all tracked pages: %s",
        reason,
        sql[:500],
    )


# -- What passes no wrapper -----------------------------------------------------------------------

#: Methods of the drivers' cursors that run statements without a word to Django.
_UNTOLD = frozenset({"copy", "copy_expert", "copy_from", "copy_to", "executescript", "stream"})
_cursor_callproc = CursorWrapper.callproc
_cursor_getattr = cast(Any, CursorWrapper).__getattr__


def _callproc(self: CursorWrapper, procname: str, params: Any = None, kparams: Any = None) -> Any:
    """``CursorWrapper.callproc``; what a procedure does is known to nobody."""
    return _tell(
        self, f"CALL {procname}()", lambda: _cursor_callproc(self, procname, params, kparams)
    )


def _getattr(self: CursorWrapper, name: str) -> Any:
    """``CursorWrapper.__getattr__``, which hands out the methods of the driver's cursor."""
    found = _cursor_getattr(self, name)
    if name == "copy" and hasattr(self.cursor, "stream"):
        return partial(_copy, self, found)  # psycopg's; the data is sent before it is left
    return partial(_run_untold, self, found) if name in _UNTOLD else found


def _run_untold(wrapper: CursorWrapper, method: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    return _tell(wrapper, args[0] if args else "COPY", lambda: method(*args, **kw))


@contextmanager
def _copy(
    wrapper: CursorWrapper, method: Callable[..., Any], *args: Any, **kw: Any
) -> Iterator[Any]:
    with ExitStack() as opened:
        yield _tell(wrapper, args[0], lambda: opened.enter_context(method(*args, **kw)))
    with _quietly():
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
    """Watch every connection, where the settings ask for it; called once the models are loaded."""
    if not conf.get().TRACK:
        return
    connection_created.connect(_watch_connection, dispatch_uid="viewcache.queries")
    request_started.connect(begin, dispatch_uid="viewcache.queries")
    request_finished.connect(end, dispatch_uid="viewcache.queries")
    for connection in connections.all(initialized_only=True):
        _watch_connection(connection=connection)
    cast(Any, CursorWrapper).callproc = _callproc
    cast(Any, CursorWrapper).__getattr__ = _getattr
    on_visit(ask, attach)
    reads.on_apart(aside)


def disconnect() -> None:
    """Watch no more."""
    connection_created.disconnect(dispatch_uid="viewcache.queries")
    request_started.disconnect(dispatch_uid="viewcache.queries")
    request_finished.disconnect(dispatch_uid="viewcache.queries")
    for connection in connections.all(initialized_only=True):
        if watch in connection.execute_wrappers:
            connection.execute_wrappers.remove(watch)
    cast(Any, CursorWrapper).callproc = _cursor_callproc
    cast(Any, CursorWrapper).__getattr__ = _cursor_getattr
    on_visit(None, None)
    reads.on_apart(None)


def _watch_connection(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if watch not in connection.execute_wrappers:
        connection.execute_wrappers.append(watch)


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("VIEWCACHE", "CACHES", "INSTALLED_APPS", "DATABASES"):
        queries.cache_clear()
        _is_table.cache_clear()
        _all_tables.cache_clear()
        _keys.cache_clear()
        by_value.forget()
    if setting == "VIEWCACHE" and apps.ready:
        disconnect()
        # The one who asks for the settings is told what is wrong with them.
        with suppress(ImproperlyConfigured):
            connect()


setting_changed.connect(_forget, dispatch_uid="viewcache.queries")
