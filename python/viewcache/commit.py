"""
What open transactions are going to expire, and when they may: after the outermost commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary, WeakSet

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
    batches = _batches.setdefault(connection, WeakSet())
    here = list(connection.savepoint_ids)
    batch = next((item for item in batches if item.savepoints == here and item.scopes), None)
    if batch is None:
        batch = _Batch(connection, write)
        batches.add(batch)
        connection.on_commit(batch, robust=True)
    batch.scopes.update(dict.fromkeys(scopes))


def dirty() -> set[str]:
    """The scopes that this thread's open transactions are going to expire."""
    if not _batches:
        return set()
    return {
        scope
        for connection in connections.all(initialized_only=True)
        if connection.in_atomic_block
        for batch in list(_batches.get(connection, ()))
        for scope in batch.scopes
    }
