"""
From what a person names (a path, a URL, an object, a model) to the scopes of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db.models import Model
from django.urls import NoReverseMatch
from django.utils.functional import Promise
from django.utils.translation import get_language, override

from . import _core


def several(given: Any) -> Iterable[Any]:
    """What was given: one (a string, an object, a model) or several of them."""
    # Lazy strings can be iterated over, too.
    is_one = isinstance(given, str | bytes | Promise | Model | type)
    return given if isinstance(given, Iterable) and not is_one else [given]


def name_of(item: str | Promise | Model | type[Model]) -> str:
    """The tag of an object (``blog.post:12``) or a model (``blog.post``); a string as it is."""
    if isinstance(item, str | Promise):
        return str(item)
    if isinstance(item, Model):
        return f"{item._meta.concrete_model._meta.label_lower}:{item.pk}"  # type: ignore[union-attr]
    if isinstance(item, type) and issubclass(item, Model):
        concrete = item._meta.concrete_model or item
        return concrete._meta.label_lower
    raise ValueError(
        f"{item!r} is not a tag. Give a string such as 'post:12', a model, or an instance of one."
    )


def saved(item: Any) -> Any:
    """This item. Raises ``ValueError`` for an object that has no key, not yet or not any more."""
    if isinstance(item, Model) and item.pk is None:
        raise ValueError(
            f"{item!r} is not saved, so no page shows it. Give one that is; to expire the pages of "
            "one that is to be deleted, before that."
        )
    return item


def of_tags(items: Iterable[str | Model | type[Model]]) -> list[str]:
    """The scopes of these tags, objects and models. Raises ``ValueError`` for anything else."""
    return [_core.scope_of_tag(name_of(item)) for item in items]


def text(path: object) -> str:
    """A path as text; lazy strings are evaluated. Raises ``ValueError`` for anything else."""
    if isinstance(path, str | Promise):
        return str(path)
    raise ValueError(f"{path!r} is not a path. Give a string such as '/blog/'.")


def of_path(path: str) -> list[str]:
    """The scopes of a path. Raises ``ValueError`` for what is none."""
    return _with_bare([scope for each in _meant(path) for scope in _core.scopes_of_path(each)])


def of_tree(path: str) -> list[str]:
    """The scopes of a path and all below it. Raises ``ValueError`` for what is none."""
    return _with_bare([scope for each in _meant(path) for scope in _core.scopes_of_tree(each)])


def _meant(path: str) -> list[str]:
    """
    What this path may mean: ``//host/path`` begins with a host (RFC 3986 section 4.2), as Django's
    own "view on site" takes it and ``get_absolute_url()`` of sites with several hosts has it; or it
    is a path with two slashes.
    """
    return [path, f"http:{path}"] if path.startswith("//") and "/" in path[2:] else [path]


def _with_bare(found: list[str]) -> list[str]:
    """
    These scopes, and those of the same paths without ``FORCE_SCRIPT_NAME``: where a proxy takes the
    prefix off, ``request.path`` has it under WSGI and has it not under ASGI.
    """
    if not (prefix := (settings.FORCE_SCRIPT_NAME or "").rstrip("/")):
        return found
    bare = []
    for scope in found:
        kind, _, path = scope.partition(":")
        if path == prefix or path.startswith(f"{prefix}/"):
            bare.append(f"{kind}:{path[len(prefix) :] or '/'}")
    return list(dict.fromkeys([*found, *bare]))


def object_scopes(obj: Model) -> list[str]:
    """The scopes of an object: its URL in every language, and its own tag."""
    if not isinstance(obj, Model):
        raise ValueError(f"{obj!r} is not a model instance. Give one that is saved.")
    found = [_core.scope_of_tag(name_of(obj))]
    get_url = getattr(obj, "get_absolute_url", None)
    if get_url is not None:
        found = [
            scope for url in in_every_language(get_url) for scope in of_path(text(url))
        ] + found
    return found


def languages() -> list[str]:
    """
    The languages that pages are made in: those of the site; the default, which need not be among
    them (a new project has ``en-us``, and ``LANGUAGES`` has ``en``); and the active one.
    """
    default = str(settings.LANGUAGE_CODE)
    codes = [code for code, _ in settings.LANGUAGES]
    return list(dict.fromkeys([*codes, default, get_language() or default]))


def in_every_language(url: Any) -> list[str]:
    """What this function returns in each language of the site, without repetitions."""
    if not settings.USE_I18N:
        return [str(url())]
    urls, error = [], None
    for code in languages():
        try:
            with override(code):
                urls.append(str(url()))
        except NoReverseMatch as missing:
            # Some URLs exist in some languages only.
            error = missing
    if error is not None and not urls:
        raise error
    return list(dict.fromkeys(urls))


def item_scopes(item: Any) -> list[str]:
    """The scopes of what a callable returned: a path or URL, ``tree:/…/``, or a tag."""
    if isinstance(item, Model | type):
        return [_core.scope_of_tag(name_of(item))]
    name = text(item)
    if name.startswith("tag:"):
        # Whatever it is: a tag may be named after a URL.
        return [_core.scope_of_tag(name.removeprefix("tag:"))]
    tree, path = name.removeprefix("tree:"), name.removeprefix("path:")
    if tree != name and _is_url(tree):
        return of_tree(tree)
    return of_path(path) if _is_url(path) else [_core.scope_of_tag(name)]


def _is_url(name: str) -> bool:
    return name.startswith("/") or "://" in name
