"""
``VIEWCACHE["DURABLE"]`` outside of transactions: a change that would be committed by itself gets a
transaction, which its row of the outbox is part of.

Django gives one to ``delete()``, ``bulk_create()``, ``bulk_update()`` and changes of many-to-many
relations. A plain ``save()`` has none: it commits with its statement, before ``post_save`` is sent.
And with ``TRACK`` any statement may expire pages; ``queries.py`` asks here for those.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, cast

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from . import commit, outbox, receivers

_save_base = Model.save_base
#: Statements that change rows, and that a transaction can hold. After comments and brackets.
_CHANGES = re.compile(
    r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:INSERT|UPDATE|DELETE|MERGE|REPLACE|WITH)\b",
    re.IGNORECASE | re.DOTALL,
)


def needs_transaction(connection: BaseDatabaseWrapper, sql: object) -> bool:
    """Would this statement be committed by itself, and with it what it makes old be lost?"""
    return outbox.is_on() and _is_free(connection) and _CHANGES.match(str(sql)) is not None


def _is_free(connection: BaseDatabaseWrapper) -> bool:
    """Would what runs here be committed by itself?"""
    # With autocommit off there is a transaction once it is needed. Where it is not open yet, a
    # block would be SQLite's whole transaction, and its end a commit.
    return (
        not connection.in_atomic_block
        and connection.get_autocommit()
        and not commit.in_transaction(connection)
    )


def _durable_save_base(self: Model, *args: Any, **kwargs: Any) -> None:
    """``Model.save_base()``, with ``post_save`` inside the transaction of the change."""
    # raw, force_insert, force_update, using: as Django names them.
    given = kwargs.get("using") or (args[3] if len(args) > 3 else None)
    using = given or router.db_for_write(type(self), instance=self)
    if not (receivers.is_received(type(self)) and _is_free(connections[using])):
        _save_base(self, *args, **kwargs)
        return
    with transaction.atomic(using=using):
        _save_base(self, *args, **kwargs)


def connect() -> None:
    """Give saves a transaction, where the settings ask for it."""
    cast(Any, Model).save_base = _durable_save_base if outbox.is_on() else _save_base


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "VIEWCACHE" and apps.ready:
        # The one who asks for the settings is told what is wrong with them.
        with suppress(ImproperlyConfigured):
            connect()


setting_changed.connect(_forget, dispatch_uid="viewcache.durable")
