"""
What open transactions are going to expire, and when they may: after the outermost commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary, WeakSet, ref

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

Write = Callable[[list[str]], object]


class _Batch:
    """What one savepoint (or the transaction itself) has gathered; called after the commit."""

    def __init__(self, connection: BaseDatabaseWrapper, write: Write) -> None:
        self.connection = connection
        self.write = write
        self.savepoints = list(connection.savepoint_ids)
        self.scopes: dict[str, None] = {}

    def __call__(self) -> None:
        # Django drops the callbacks of a savepoint that was rolled back, so the batches that are
        # alive are those that were committed. The first of them writes for all.
        scopes: dict[str, None] = {}
        for batch in list(_batches.get(self.connection, ())):
            scopes.update(batch.scopes)
            batch.scopes = {}
        if scopes:
            self.write(list(scopes))


_batches: WeakKeyDictionary[BaseDatabaseWrapper, WeakSet[_Batch]] = WeakKeyDictionary()


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
    batch = next((item for item in batches if item.savepoints == here and item.scopes), None)
    if batch is None:
        batch = _Batch(connection, write)
        batches.add(batch)
        connection.on_commit(batch, robust=True)
        # First, because one that raises, of somebody else's, keeps those after it from running.
        connection.run_on_commit.insert(0, connection.run_on_commit.pop())
    batch.scopes.update(dict.fromkeys(scopes))


def dirty() -> set[str]:
    """The scopes that this thread's open transactions are going to expire."""
    if not _batches and not _waiting:
        return set()
    opened = connections.all(initialized_only=True)
    found = {
        scope
        for connection in opened
        if connection.in_atomic_block
        for batch in list(_batches.get(connection, ()))
        for scope in batch.scopes
    }
    for connection in opened:
        found.update(_waiting.get(connection, ({}, None))[0])
    return found


# -- Transactions that Django does not manage -----------------------------------------------------

#: What was written while autocommit was off, or after a ``BEGIN`` of somebody's own. Nobody tells
#: when it is committed, so the connection's own ``commit()`` is followed, and else it is asked.
_waiting: WeakKeyDictionary[BaseDatabaseWrapper, tuple[dict[str, None], Write]] = (
    WeakKeyDictionary()
)


def _wait(scopes: Iterable[str], connection: BaseDatabaseWrapper, write: Write) -> None:
    if not in_transaction(connection):
        write(list(scopes))
        return
    waiting, _ = _waiting.setdefault(connection, ({}, write))
    waiting.update(dict.fromkeys(scopes))
    if "commit" not in vars(connection):
        cast(Any, connection).commit = partial(_commit, ref(connection))


def _commit(connection: ref[BaseDatabaseWrapper]) -> None:
    """The connection's ``commit()``, and what waits for it."""
    found = connection()
    assert found is not None
    type(found).commit(found)
    _end(found)


def is_waiting(connection: BaseDatabaseWrapper) -> bool:
    """Is there anything to write once somebody's own transaction is over?"""
    return connection in _waiting


def settle(connection: BaseDatabaseWrapper) -> None:
    """Write what waits, if the transaction that it waited for is over (rolled back or not)."""
    if connection in _waiting and not in_transaction(connection):
        scopes, write = _waiting.pop(connection)
        write(list(scopes))


#: MySQL's open transactions that a ``BEGIN`` of somebody's own began, by the drivers' connections.
#: Of the drivers one does not tell whether one is open, and another only after it has written.
_begun: WeakSet[Any] = WeakSet()


def follow(connection: BaseDatabaseWrapper, begins: bool) -> None:
    """A statement has begun a transaction, or has ended the one that was open."""
    if connection.vendor == "mysql":
        # Beginning another ends the one that was open.
        _end(connection)
        if begins:
            _begun.add(connection.connection)


def _end(connection: BaseDatabaseWrapper) -> None:
    """What was written before is committed, even where the next transaction has begun already."""
    if connection.vendor != "mysql":
        settle(connection)
        return
    _begun.discard(connection.connection)
    if connection in _waiting and not connection.in_atomic_block:
        scopes, write = _waiting.pop(connection)
        write(list(scopes))


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
