"""
The write path: what to expire, when, and in one command.

Inside a transaction an expiry waits for the commit of the outermost block; what a transaction
gathers is written once. A rolled back transaction or savepoint takes its expiries with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.urls import reverse
from django.utils.functional import Promise

from . import _core, commit, conf, history, kinds, signals
from . import scopes as scopes_of
from .store import Store

logger = logging.getLogger("viewcache.expiry")

Paths = str | Promise | Iterable[str | Promise]


class Expiry(NamedTuple):
    """What an expiry did."""

    #: The scopes that were expired, as text: ``path:/blog/``, ``tree:/``, ``tag:post:12``.
    scopes: tuple[str, ...]
    #: It waits for the commit of the transaction that is open.
    waits: bool


def expire(
    *,
    path: Paths | None = None,
    tree: Paths | None = None,
    tag: str | Model | type[Model] | Iterable[str | Model | type[Model]] | None = None,
    view: str | None = None,
    args: Sequence[Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    obj: Model | Iterable[Model] | None = None,
    everything: bool = False,
    soft: bool = False,
    using: str | None = None,
) -> Expiry:
    """
    Expire pages: every variant of them, whatever their host, query, language or cookies.

    * ``path``: a path or full URL, or several. Its query is ignored.
    * ``tree``: likewise, with every path below it.
    * ``tag``: a tag, or several.
    * ``view``, ``args``, ``kwargs``: as for ``reverse()``; in every language where URLs have one.
    * ``obj``: a model instance, or several: its ``get_absolute_url()`` in every language, and
      its own tag.
    * ``everything``: the whole site.

    Any of them together are one command to the cache. With ``soft`` a page whose view allows it
    (``stale_while_revalidate``, ``stale_if_error``) may still be served for that long while one
    request renders it anew; all others are expired as without. It costs a command for each path,
    tree and tag, and two more; in a cache that cannot count atomically (the database, files) it is
    the same as without.

    Inside a transaction (of the database ``using``) it waits for the commit, and a fault of the
    cache is logged. Raises ``ValueError`` for what is no path, tag, view or saved object,
    ``NoReverseMatch`` for an unknown view, ``viewcache.store.UnconfirmedError`` where the cache did
    not take the write although it raised nothing, and whatever the backend raises when it is down.
    """
    scopes = _scopes(path, tree, tag, view, args, kwargs, obj, everything)
    connection = transaction.get_connection(using)
    if connection.in_atomic_block:
        on_commit(scopes, connection, soft=soft)
        return Expiry(tuple(scopes), waits=True)
    _write(scopes, soft=soft)
    signals.expired(scopes)
    return Expiry(tuple(scopes), waits=False)


async def aexpire(
    *,
    path: Paths | None = None,
    tree: Paths | None = None,
    tag: str | Model | type[Model] | Iterable[str | Model | type[Model]] | None = None,
    view: str | None = None,
    args: Sequence[Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    obj: Model | Iterable[Model] | None = None,
    everything: bool = False,
    soft: bool = False,
    using: str | None = None,
) -> Expiry:
    """As ``expire``, without blocking the event loop."""
    scopes = _scopes(path, tree, tag, view, args, kwargs, obj, everything)
    # A transaction is open in the thread that Django's other sync code runs in, if anywhere; here
    # only where DJANGO_ALLOW_ASYNC_UNSAFE is set.
    if _aexpire(scopes, using, soft) or await sync_to_async(_aexpire)(scopes, using, soft):
        return Expiry(tuple(scopes), waits=True)
    if soft:
        await Store().asoften(conf.site().expiry(scopes))
    else:
        await Store().awrite(history.expiry(scopes))
    await signals.aexpired(scopes)
    return Expiry(tuple(scopes), waits=False)


def _aexpire(scopes: list[str], using: str | None, soft: bool) -> bool:
    """Leave these scopes to the commit of the transaction that is open in this thread, if any."""
    connection = transaction.get_connection(using)
    if connection.in_atomic_block:
        on_commit(scopes, connection, soft=soft)
    return bool(connection.in_atomic_block)


# -- What -----------------------------------------------------------------------------------------


def _scopes(
    path: Paths | None,
    tree: Paths | None,
    tag: Any,
    view: str | None,
    args: Sequence[Any] | None,
    kwargs: dict[str, Any] | None,
    obj: Any,
    everything: bool,
) -> list[str]:
    if (args is not None or kwargs is not None) and view is None:
        raise ValueError("args and kwargs were given without a view. Name the view, too.")
    if path is tree is tag is view is obj is None and not everything:
        raise ValueError(
            "Nothing to expire was given. Give path, tree, tag, view or obj; to expire the whole "
            "site, call expire(everything=True)."
        )
    scopes: list[str] = []
    for item in _several(path):
        scopes += scopes_of.of_path(scopes_of.text(item))
    for item in _several(tree):
        scopes += scopes_of.of_tree(scopes_of.text(item))
    for item in _several(tag):
        scopes.append(_core.scope_of_tag(scopes_of.name_of(scopes_of.saved(item))))
    if view is not None:
        if not isinstance(view, str) and not callable(view):
            raise ValueError(f"{view!r} is not a view. Give one name, such as 'blog:post'.")
        found = scopes_of.in_every_language(lambda: reverse(view, args=args, kwargs=kwargs))
        scopes += [scope for url in found for scope in scopes_of.of_path(url)]
    for item in _several(obj):
        scopes += scopes_of.object_scopes(scopes_of.saved(item))
    if everything:
        scopes += _core.scopes_of_tree("/")
    return list(dict.fromkeys(scopes))


def _several(given: Any) -> Iterable[Any]:
    return () if given is None else scopes_of.several(given)


# -- When -----------------------------------------------------------------------------------------


def _write(scopes: list[str], *, soft: bool) -> None:
    if soft:
        # Not on record: it leaves a count, and no new generation that would lead to the record.
        Store().soften(conf.site().expiry(scopes))
    else:
        Store().write(history.expiry(scopes))


def on_commit(
    scopes: Iterable[str],
    connection: BaseDatabaseWrapper,
    statement: str = "",
    *,
    soft: bool = False,
) -> None:
    """
    Expire these scopes when the transaction commits; at once where there is none. The statement
    that changed what they guard is for the record.

    A cache that is down then is logged at error level: the change is committed, and nobody is
    there to whom an exception would be of use.
    """
    scopes = list(scopes)
    history.note(scopes, statement)
    # A durable expiry is a hard one, because it may be delivered by whoever knows only its scopes;
    # and a transaction that Django does not manage has one way to write for all that it gathers.
    soft = soft and connection.commit_on_exit and not conf.get().DURABLE
    commit.gather(scopes, connection, soften_or_log if soft else write_or_log)


def soften_or_log(scopes: list[str]) -> bool:
    """As ``write_or_log``, for a soft expiry."""
    return write_or_log(scopes, soft=True)


def write_or_log(scopes: list[str], *, soft: bool = False) -> bool:
    """Write an expiry; a fault is logged at error level. True when the cache took it."""
    try:
        _write(scopes, soft=soft)
    except ImproperlyConfigured:
        raise
    except Exception as error:
        if isinstance(error, DatabaseError) and kinds.has_no_table(Store().generations):
            # As while ``migrate`` runs before ``createcachetable``, and in each run of the tests.
            logger.debug("viewcache has nothing to expire: the cache has no table yet.")
            return True
        logger.exception(
            "viewcache could not expire %s. %s",
            ", ".join(scopes[:20]) + (" …" if len(scopes) > 20 else ""),
            "It is kept in the database, and tried again."
            if conf.get().DURABLE
            else "Pages may be old until their timeout; expire again when the cache is back.",
        )
        return False
    signals.expired(scopes)
    return True
