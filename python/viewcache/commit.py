"""
What open transactions are going to expire, and when they may: after the outermost commit.

With ``VIEWCACHE["DURABLE"]`` it is handed to the outbox just before that commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary, WeakSet, ref

from django.db import connections

from . import conf, outbox

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

#: Writes an expiry. True when the cache took it; what it raises is raised.
Write = Callable[[list[str]], bool]


class _Batch:
    """What one savepoint (or the transaction itself) has gathered; called after the commit."""

    def __init__(self, connection: BaseDatabaseWrapper, write: Write) -> None:
        self.connection = connection
        self.write = write
        self.savepoints = list(connection.savepoint_ids)
        self.scopes: dict[str, None] = {}

    def __call__(self) -> None:
        # The first of them writes for all: what is expired softly by itself.
        batches = [batch for batch in _batches.pop(self.connection, ()) if batch.scopes]
        written: dict[Write, list[str]] = {}
        for batch in batches:
            written.setdefault(batch.write, []).extend(batch.scopes)
            batch.scopes = {}
        _write(written, self.connection)


def _gathered(connection: BaseDatabaseWrapper) -> list[str]:
    # Django drops the callbacks of a savepoint that was rolled back, so the batches that are alive
    # are those that are committed.
    batches = list(_batches.get(connection, ()))
    return list(dict.fromkeys(scope for batch in batches for scope in batch.scopes))


def _write(
    written: Mapping[Write, Iterable[str]],
    connection: BaseDatabaseWrapper,
    *,
    begun: bool = False,
) -> None:
    """Have each of these write its scopes; has another transaction begun by now?"""
    taken, scopes = True, []
    for write, some in written.items():
        found = list(dict.fromkeys(some))
        scopes += found
        taken = write(found) and taken
    if not scopes:
        return
    if taken and begun:
        # Their rows are not deleted in a transaction of somebody's own, who may roll it back.
        outbox.leave(connection)
    elif taken:
        outbox.acknowledge(connection)
    elif outbox.is_on():
        outbox.owe(connection, scopes)


_batches: WeakKeyDictionary[BaseDatabaseWrapper, WeakSet[_Batch]] = WeakKeyDictionary()


#: What they hold: a request asks twice whether there is anything, and their own ``__len__()`` is
#: Python.
_held_by_batches: Mapping[Any, Any] = cast(Any, _batches).data


def gather(scopes: Iterable[str], connection: BaseDatabaseWrapper, write: Write) -> None:
    """
    Have these scopes written when the open transaction commits, once for all that it gathers.

    A rollback drops them; the rollback of a savepoint drops those that were gathered within it.
    """
    if not connection.in_atomic_block or not connection.commit_on_exit:
        _wait(scopes, connection, write)
        return
    batches = _batches.setdefault(connection, WeakSet())
    here = list(connection.savepoint_ids)
    batch = next(
        (
            item
            for item in batches
            if item.savepoints == here and item.scopes and item.write == write
        ),
        None,
    )
    if batch is None:
        batch = _Batch(connection, write)
        batches.add(batch)
        connection.on_commit(batch, robust=True)
        # First, because one that raises, of somebody else's, keeps those after it from running.
        connection.run_on_commit.insert(0, connection.run_on_commit.pop())
        if outbox.is_on():
            _follow(connection)
    batch.scopes.update(dict.fromkeys(scopes))


def dirty() -> set[str]:
    """The scopes that this thread's open transactions are going to expire."""
    found: set[str] = set()
    if not (_held_by_batches or _held_by_waiting):
        return found
    for connection in connections.all(initialized_only=True):
        gathered = _gathered(connection)
        if connection.in_atomic_block:
            found.update(gathered)
        elif not gathered:
            _batches.pop(connection, None)  # It was rolled back.
        found.update(_waiting.get(connection, ({}, None))[0])
    return found


# -- Transactions that Django does not manage -----------------------------------------------------

#: What was written while autocommit was off, or after a ``BEGIN`` of somebody's own. Nobody tells
#: when it is committed, so the connection's methods that end a transaction are followed, and
#: otherwise it is asked before and after each statement.
_waiting: WeakKeyDictionary[BaseDatabaseWrapper, tuple[dict[str, None], Write]] = (
    WeakKeyDictionary()
)


_held_by_waiting: Mapping[Any, Any] = cast(Any, _waiting).data


def _wait(scopes: Iterable[str], connection: BaseDatabaseWrapper, write: Write) -> None:
    if not in_transaction(connection):
        settle(connection)  # so that what it has kept is not taken for what is written here
        _write({write: scopes}, connection)
        return
    if connection not in _waiting:
        _waiting[connection] = ({}, write)
        if not conf.get().TRACK:  # which asks at each statement anyway
            # The first of them is the outermost; ``execute_wrapper()`` takes the last one off.
            connection.execute_wrappers.insert(0, _watch)
    waiting, _ = _waiting[connection]
    new = [scope for scope in dict.fromkeys(scopes) if scope not in waiting]
    waiting.update(dict.fromkeys(new))
    _follow(connection)
    if new and outbox.is_on() and not _has_failed(connection):
        # Nobody says when this transaction is going to be committed.
        outbox.keep(connection, new)


def _follow(connection: BaseDatabaseWrapper) -> None:
    if "commit" not in vars(connection):
        followed: Any = connection
        followed.commit = partial(_commit, ref(connection))
        followed.rollback = partial(_rollback, ref(connection))
        followed.set_autocommit = partial(_set_autocommit, ref(connection))
        followed.close = partial(_close, ref(connection))


def _commit(connection: ref[BaseDatabaseWrapper]) -> None:
    """The connection's ``commit()``, what comes just before it, and what waits for it."""
    found = connection()
    assert found is not None
    if outbox.is_on() and (scopes := _gathered(found)):
        try:
            outbox.keep(found, scopes)
        except BaseException:
            # Django rolls back where the commit fails with an error of the database, only.
            found.rollback()
            raise
    try:
        type(found).commit(found)
    except BaseException:
        # The row is rolled back with the rest; where its owner tries again, it is delivered twice.
        outbox.leave(found)
        raise
    _end(found)


def _rollback(connection: ref[BaseDatabaseWrapper]) -> None:
    """
    The connection's ``rollback()``. What waits is expired all the same: MySQL may have committed it
    before, with a statement that commits by itself.
    """
    found = connection()
    assert found is not None
    try:
        type(found).rollback(found)
    finally:
        outbox.leave(found)
    _end(found)


def _set_autocommit(
    connection: ref[BaseDatabaseWrapper], autocommit: bool, *args: Any, **kwargs: Any
) -> None:
    """The connection's ``set_autocommit()``: switching it on commits in SQLite and in MySQL."""
    found = connection()
    assert found is not None
    was_on = found.autocommit
    try:
        type(found).set_autocommit(found, autocommit, *args, **kwargs)
    finally:
        # Also where a callback of somebody's raises: by then it is committed.
        if found.autocommit and not was_on:
            _end(found)
        else:
            settle(found)


def _close(connection: ref[BaseDatabaseWrapper]) -> None:
    """The connection's ``close()``. A transaction or a pipeline of psycopg's has ended unheard."""
    found = connection()
    assert found is not None
    try:
        type(found).close(found)
    finally:
        settle(found)


def _watch(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Around each statement while something waits: it may be the one that ends the transaction."""
    connection: BaseDatabaseWrapper = context["connection"]
    settle(connection)
    try:
        return execute(sql, params, many, context)
    finally:
        settle(connection)


def is_waiting(connection: BaseDatabaseWrapper) -> bool:
    """Is there anything to write once somebody's own transaction is over?"""
    return bool(_held_by_waiting) and connection in _waiting


def settle(connection: BaseDatabaseWrapper) -> None:
    """Write what waits, if the transaction that it waited for is over (rolled back or not)."""
    if connection in _waiting and not in_transaction(connection):
        _write(_taken(connection), connection)


def settle_all() -> None:
    """The same, of all connections of this thread."""
    if _held_by_waiting:
        for connection in connections.all(initialized_only=True):
            settle(connection)


def _taken(connection: BaseDatabaseWrapper) -> Mapping[Write, Iterable[str]]:
    """What has waited, which waits no more."""
    scopes, write = _waiting.pop(connection)
    with suppress(ValueError):  # Somebody has taken all wrappers off.
        connection.execute_wrappers.remove(_watch)
    return {write: scopes}


def _has_failed(connection: BaseDatabaseWrapper) -> bool:
    """Does the transaction that is open take no more statements?"""
    raw: Any = connection.connection
    return connection.vendor == "postgresql" and raw.info.transaction_status == 3


#: MySQL's open transactions that a ``BEGIN`` of somebody's own began, by the drivers' connections.
#: Of the drivers one does not tell whether one is open, and another only after it has written.
_begun: WeakSet[Any] = WeakSet()


def follow(connection: BaseDatabaseWrapper, begins: bool) -> None:
    """A statement has begun a transaction, or has ended the one that was open."""
    if connection.vendor == "mysql":
        # Beginning another ends the one that was open.
        _end(connection, begun=begins)
        if begins:
            _follow(connection)
            _begun.add(connection.connection)


def _end(connection: BaseDatabaseWrapper, *, begun: bool = False) -> None:
    """What was written before is committed, even where the next transaction has begun already."""
    if connection.vendor != "mysql":
        settle(connection)
        return
    _begun.discard(connection.connection)
    if connection in _waiting and not connection.in_atomic_block:
        _write(_taken(connection), connection, begun=begun)


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Is a transaction open, whoever began it?"""
    raw: Any = connection.connection
    if raw is None:
        return False
    if connection.vendor == "sqlite":
        return bool(raw.in_transaction)
    if connection.vendor == "postgresql":
        # psycopg's numbers: active, in a transaction, in one that has failed.
        return raw.info.transaction_status in (1, 2, 3)
    return connection.in_atomic_block or not connection.autocommit or raw in _begun
