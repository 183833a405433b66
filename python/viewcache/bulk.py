"""
``with viewcache.expiring(…)``: what a block changes behind the signals' back.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Model

from . import commit, expiry, history, outbox, scopes, signals
from .store import Store


class expiring:  # noqa: N801 - as Django's atomic()
    """
    Expire these once the block is over and committed::

        with viewcache.expiring("tag:blog.post", "tree:/feeds/"):
            cursor.execute("UPDATE blog_post SET …")

    Takes paths and URLs, ``"tree:/…/"``, and tags: with or without ``tag:``, or as the instance or
    model that they are named after. ``using`` is the database that the block changes.

    Inside a transaction the expiry waits for its commit, and a rollback drops it; without one it
    follows the block, also when the block raises: half of it may have been committed. With
    ``VIEWCACHE["DURABLE"]`` a block outside of a transaction becomes one; not so under
    ``async with``, which Django has no transactions for.

    Raises ``ValueError`` for what is none of these, before the block is run, and what the cache
    raises when it is down and no transaction is open.
    """

    def __init__(self, *what: str | Model | type[Model], using: str | None = None) -> None:
        if not what:
            raise ValueError(
                "expiring() was given nothing to expire. Give tags, paths, models or instances, "
                "such as expiring('tag:blog.post')."
            )
        self.scopes = list(
            dict.fromkeys(s for item in what for s in scopes.item_scopes(scopes.saved(item)))
        )
        self.using = using or DEFAULT_DB_ALIAS
        self._opened: list[ExitStack] = []

    def __enter__(self) -> None:
        opened = ExitStack()
        connection = connections[self.using]
        if outbox.is_on() and not commit.in_transaction(connection):
            opened.enter_context(transaction.atomic(using=self.using))
        if connection.in_atomic_block:
            expiry.on_commit(self.scopes, connection)
        else:
            opened.push(self._write)
        self._opened.append(opened)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.pop().__exit__(kind, error, trace)

    def _write(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        connection = connections[self.using]
        if error is not None or commit.in_transaction(connection):
            # The block's own error is the one to raise; a transaction that it began may be open.
            expiry.on_commit(self.scopes, connection)
            return
        Store().write(history.expiry(self.scopes))
        signals.expired(self.scopes)

    async def __aenter__(self) -> None:
        """Nothing is open yet."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # In the thread that Django's other sync code runs in: a transaction may be open there.
        await sync_to_async(self._over)(kind, error, trace)

    def _over(self, *raised: Any) -> None:
        connection = connections[self.using]
        if connection.in_atomic_block:
            expiry.on_commit(self.scopes, connection)
        else:
            self._write(*raised)
