"""
Querysets whose bulk writes expire pages: Django sends no signal for these.

Give a model the manager::

    class Post(models.Model):
        objects = viewcache.querysets.ExpiringManager()

    Post.objects.expiring().filter(author=author).update(status="draft")

or have all bulk writes of a queryset of your own expire::

    class PostQuerySet(ExpiringMixin, models.QuerySet): …
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Any, cast

from django.db import connections, models, transaction
from django.db.models import Model, QuerySet

from . import expiry, receivers, scopes

#: Objects that are looked up by one query.
_AT_ONCE = 500


class ExpiringMixin:
    """
    ``update()``, ``bulk_create()``, ``bulk_update()`` and ``delete()``, and their async forms,
    expire the pages of what they change, after the commit.

    What these are, ``VIEWCACHE["EXPIRE_ON_SAVE"]`` says for the model; otherwise each object's
    ``get_absolute_url()``, its tag and its model's. The objects are read for that before the change
    and, by ``update()``, after it. ``expiring()`` with names reads none.
    """

    #: Scopes to expire instead of those of each object.
    _viewcache_scopes: tuple[str, ...] | None = None
    #: Django's bulk methods call each other: the outermost answers for all.
    _viewcache_answers = True

    def expiring(self, *what: str | Model | type[Model]) -> Any:
        """
        This queryset; with ``what`` its bulk writes expire that (paths, ``"tree:/…/"``, tags,
        instances, models), and not what each object is shown on.
        """
        found = cast(Any, self)._chain()
        if what:
            found._viewcache_scopes = tuple(
                s for item in what for s in scopes.item_scopes(scopes.saved(item))
            )
        return found

    def update(self, **values: Any) -> int:
        """Update, and expire what the rows were shown on before and are shown on now."""
        change = partial(cast(Any, super()).update, **values)
        return cast(int, self._change(change, self._rows, again=True))

    update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete, and expire what the rows were shown on."""
        return cast(
            "tuple[int, dict[str, int]]", self._change(cast(Any, super()).delete, self._rows)
        )

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Create, and expire what the new objects are shown on."""
        objs = list(objs)
        change = partial(cast(Any, super()).bulk_create, objs, *args, **kwargs)
        return cast("list[Any]", self._change(change, after=objs))

    def bulk_update(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> int:
        """Update, and expire what the objects were shown on before and are shown on now."""
        objs = list(objs)
        change = partial(cast(Any, super()).bulk_update, objs, *args, **kwargs)
        before = partial(self._stored, [obj.pk for obj in objs])
        return cast(int, self._change(change, before, after=objs))

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    # -- How --------------------------------------------------------------------------------------

    def _change(
        self,
        change: Callable[[], Any],
        before: Callable[[], Iterable[Model]] = tuple,
        after: Iterable[Model] = (),
        *,
        again: bool = False,
    ) -> Any:
        """Make the change, and expire what the rows before and after it are shown on."""
        if not self._viewcache_answers:
            return change()
        cast(Any, self)._for_write = True
        alias = cast(Any, self).db
        named = self._viewcache_scopes
        with transaction.atomic(using=alias):
            keys, found = [], dict.fromkeys(named or ())
            for row in before() if named is None else ():
                keys.append(row.pk)
                found.update(dict.fromkeys(receivers.scopes_of(row)))
            self._viewcache_answers = False
            try:
                result = change()
            finally:
                self._viewcache_answers = True
            if named is None:
                for row in self._stored(keys) if again else after:
                    found.update(dict.fromkeys(receivers.scopes_of(row)))
            if found:
                expiry.on_commit(found, connections[alias])
            return result

    def _rows(self) -> Iterable[Model]:
        """The rows as they are, with all of their columns."""
        query = cast(Any, self).query
        if query.is_sliced or query.combinator:
            return ()  # what Django refuses, it refuses by itself
        found = cast(Any, self)._chain().order_by().values_list("pk", flat=True)
        return self._stored(list(dict.fromkeys(found)))

    def _stored(self, keys: Sequence[Any]) -> Iterator[Model]:
        manager = cast(Any, self).model._base_manager.using(cast(Any, self).db)
        for start in range(0, len(keys), _AT_ONCE):
            yield from manager.filter(pk__in=keys[start : start + _AT_ONCE])

    def _clone(self) -> Any:
        clone = cast(Any, super())._clone()
        clone._viewcache_scopes = self._viewcache_scopes
        clone._viewcache_answers = self._viewcache_answers
        return clone


class ExpiringQuerySet(ExpiringMixin, QuerySet[Any]):
    """A queryset whose bulk writes expire pages."""


class ExpiringManager(models.Manager[Any]):
    """A manager with ``expiring()``; without it, bulk writes expire nothing, as Django's."""

    def expiring(self, *what: str | Model | type[Model]) -> ExpiringQuerySet:
        """A queryset whose bulk writes expire pages: see ``ExpiringMixin.expiring()``."""
        queryset: Any = self.get_queryset()
        kind = type(queryset)
        if not issubclass(kind, ExpiringMixin):
            queryset.__class__ = _expiring(cast(Hashable, kind))
        return cast(ExpiringQuerySet, queryset.expiring(*what))


@cache
def _expiring(kind: Any) -> type[QuerySet[Any]]:
    return type(f"Expiring{kind.__name__}", (ExpiringMixin, kind), {})
