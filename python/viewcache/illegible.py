"""
Entries that a backend cannot decode: another serializer has written them, or they are damaged.

They make ``get_many()`` fail for all its keys, and nobody would ever overwrite them. So they are
absent, and deleted; for a generation that is an expiry.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.db import Error as DatabaseFault

from .backends import TRIED

logger = logging.getLogger("viewcache")

#: The packages of clients whose errors are not Python's own.
_CLIENTS = frozenset({"django_redis", "django_valkey", "glide", "pylibmc", "pymemcache"})
_CLIENTS |= {"redis", "valkey"}


def is_fault(error: Exception) -> bool:
    """
    Is this known for an error of the server, or of the way to it? Any other may come from what
    decodes an entry: a serializer raises what it likes.
    """
    return isinstance(error, (OSError, DatabaseFault)) or any(
        kind.__module__.partition(".")[0] in _CLIENTS for kind in type(error).__mro__
    )


def get_many(backend: BaseCache, keys: Sequence[str], *, keep: bool = False) -> dict[str, Any]:
    """``get_many()`` past what cannot be decoded, which is deleted unless it is to be kept."""
    try:
        return dict(backend.get_many(keys))
    except Exception as error:
        if is_fault(error):
            raise
        return get_each(backend, keys, error, keep=keep)


async def aget_many(backend: BaseCache, keys: Sequence[str]) -> dict[str, Any]:
    """As ``get_many``."""
    try:
        return dict(await backend.aget_many(keys))
    except Exception as error:
        if is_fault(error):
            raise
        found, illegible = await _aeach(backend, keys)
        if illegible:
            _tell(illegible, error)
            await backend.adelete_many(illegible)
        return found


def add(backend: BaseCache, key: str, value: Any, seconds: int | None) -> bool:
    """``add()`` in place of what cannot be decoded, too: files are read to see their age."""
    try:
        return bool(backend.add(key, value, seconds))
    except Exception as error:
        if is_fault(error):
            raise
        get_each(backend, [key], error)
        return bool(backend.add(key, value, seconds))


def get_each(
    backend: BaseCache, keys: Sequence[str], error: Exception, *, keep: bool = False
) -> dict[str, Any]:
    """
    What is under these keys, one by one, where one command for all has raised this, which is not
    known for a fault.
    """
    found, illegible = _each(backend, keys)
    if illegible and not keep:
        _tell(illegible, error)
        backend.delete_many(illegible)
    return found


def _each(backend: BaseCache, keys: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """
    What is under these keys, and the keys of what cannot be decoded. Raises what a fault raises.
    """
    # Nothing lies there to be decoded: if this raises, too, nobody waits for the other keys.
    backend.get(TRIED)
    found: dict[str, Any] = {}
    illegible: list[str] = []
    for key in keys:
        try:
            value = backend.get(key)
        except Exception as error:
            _note_illegible(key, error, illegible)
        else:
            _note_found(key, value, found)
    return found, illegible


async def _aeach(backend: BaseCache, keys: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """As ``_each``."""
    await backend.aget(TRIED)
    found: dict[str, Any] = {}
    illegible: list[str] = []
    for key in keys:
        try:
            value = await backend.aget(key)
        except Exception as error:
            _note_illegible(key, error, illegible)
        else:
            _note_found(key, value, found)
    return found, illegible


def _note_illegible(key: str, error: Exception, illegible: list[str]) -> None:
    if is_fault(error):
        raise error
    illegible.append(key)


def _note_found(key: str, value: Any, found: dict[str, Any]) -> None:
    if value is not None:
        found[key] = value


def _tell(keys: Sequence[str], error: Exception) -> None:
    logger.warning(
        "viewcache has deleted %d entries that the cache could not decode (%s: %s): %s. Was its "
        "serializer changed? If not, somebody else writes to the cache, or it is damaged.",
        len(keys),
        type(error).__name__,
        error,
        ", ".join(keys),
    )
