"""
Tags: names that a page carries wherever it lives, so that it can be expired by them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from string import Formatter
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.db.models import Model
from django.http import HttpRequest

from . import lease, reads, scopes
from .request import djangos
from .visit import Visit, expect, visit_of

View = TypeVar("View", bound=Callable[..., Any])


def tag(request: HttpRequest, *tags: str | Model | type[Model]) -> bool:
    """
    The page that is being made for this request carries these tags.

    Call it **before** reading the data that the tag stands for: the tag's generation is read here.
    A tag is a string of 1 to 250 characters, a model instance (``blog.post:12``) or a model class
    (``blog.post``). Without a cache around it, it does nothing.

    Returns True when a generation was read only now: what the page has read of that data before is
    not guarded, and must be read again. (The first request of a URL gets True, later ones know the
    tags of the URL beforehand.) Raises ``ValueError`` for what is no tag, ``TypeError`` for what
    is no request.
    """
    read = scopes.of_tags(tags)
    visit = _visit(request, "tag()")
    return visit is not None and lease.read(visit, read)


async def atag(request: HttpRequest, *tags: str | Model | type[Model]) -> bool:
    """As ``tag``, for async views."""
    read = scopes.of_tags(tags)
    visit = _visit(request, "atag()")
    return visit is not None and await lease.aread(visit, read)


def tagged(*tags: str | type[Model] | Callable[..., Any]) -> Callable[[View], View]:
    """
    The pages of this view, sync or async, carry these tags.

    ``{name}`` in a tag is filled in from the arguments of the URL (``@tagged("post:{pk}")``); a
    model is its tag, as for ``tag()``; a callable is called with the view's arguments and returns
    one. Stands outside or inside ``cache_page``.

    Raises ``TypeError`` for anything else, ``ValueError`` for a tag whose braces are not in pairs,
    and, when the view is called, for one that names no argument of it.
    """
    if not tags or not all(isinstance(item, str) or callable(item) for item in tags):
        raise TypeError(f"tagged() was given {tags!r}; expected tags, such as @tagged('posts').")
    for item in tags:
        if isinstance(item, str):
            _check_braces(item)

    def names(request: HttpRequest, args: Any, kwargs: Any) -> list[Any]:
        return [_named(item, request, args, kwargs) for item in tags]

    def decorate(view: View) -> View:
        async def awrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            djangos(request, "tagged()")
            await atag(request, *names(request, args, kwargs))
            return await view(request, *args, **kwargs)

        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            djangos(request, "tagged()")
            tag(request, *names(request, args, kwargs))
            return view(request, *args, **kwargs)

        wrapping: Any = awrapper if iscoroutinefunction(view) else wrapper
        return cast(View, wraps(view)(wrapping))

    return decorate


def _check_braces(name: str) -> None:
    try:
        [*Formatter().parse(name)]
    except ValueError as error:
        raise ValueError(
            f"The tag {name!r} cannot be filled in: {error}. A brace of its own is written twice."
        ) from None


def _named(item: Any, request: HttpRequest, args: Any, kwargs: dict[str, Any]) -> Any:
    """This tag for this call of the view."""
    if isinstance(item, str):
        return _filled(item, kwargs)
    if isinstance(item, type) and issubclass(item, Model):
        # It can be called as well, and would make an object of the request.
        return item
    return item(request, *args, **kwargs)


def _filled(name: str, kwargs: dict[str, Any]) -> str:
    try:
        return name.format(**kwargs)
    except (IndexError, KeyError) as missing:
        raise ValueError(
            f"The tag {name!r} names {missing}, which is no argument of this view. It has: "
            f"{', '.join(kwargs) or 'none by name'}."
        ) from None


def _visit(request: HttpRequest, whose: str) -> Visit | None:
    request = djangos(request, whose)
    seen = reads.of(request)
    if seen is not None and seen.is_paused:
        return None
    return visit_of(request) or expect(request)
