"""
What of a request enters the key of its page, and what is left out; for ``explain()``.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.http import HttpRequest, parse_cookie

from . import _core, conf
from .explanation import Input, Recipe
from .policy import Area

#: Headers whose values are nobody's business but the visitor's; two cookies are, too.
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization"})


def inputs(
    request: HttpRequest,
    area: Area,
    recipe: Recipe | None,
    language: str | None,
    zone: str | None,
) -> Iterator[Input]:
    """What of this request enters the key of its page, what does not, and why."""
    for name, value in (
        ("method", request.method),
        ("scheme", request.scheme),
        ("host", request.get_host().lower()),
        ("path", request.path),
    ):
        yield _entering("url", name, value, "every page's key has it")
    if area.key_prefix:
        yield _entering("url", "key prefix", area.key_prefix, "the site's or the view's")
    if conf.get().RELEASE:
        yield _entering("url", "release", conf.get().RELEASE, 'VIEWCACHE["RELEASE"]')
    yield from _query(request, area.query)
    if language is not None:
        yield _entering("language", "", language, "USE_I18N is on")
    if zone is not None:
        yield _entering("time zone", "", zone, "USE_TZ is on")
    yield from _headers(request, recipe)
    yield from _cookies(request, recipe, area.cookies)


def _entering(kind: str, name: str, value: str | None, why: str) -> Input:
    return Input(kind, name, value, True, why, value)


def _query(request: HttpRequest, only: _core.Names | None) -> Iterator[Input]:
    values: dict[str, list[str]] = {}
    for name, value in _core.query_pairs(request.META.get("QUERY_STRING", "")):
        values.setdefault(name, []).append(value)
    ignored = _core.Names(list(conf.get().IGNORE_QUERY))
    for name, several in values.items():
        text = ", ".join(several)
        if only is not None:
            enters = only.matches(name)
            why = "the view names it" if enters else "the view does not name it in query=[…]"
        else:
            enters = not ignored.matches(name)
            why = "no rule leaves it out" if enters else 'VIEWCACHE["IGNORE_QUERY"] names it'
        yield Input("query", name, text, enters, why, repr(several))


def _headers(request: HttpRequest, recipe: Recipe | None) -> Iterator[Input]:
    given = {
        name[5:].replace("_", "-").lower(): value
        for name, value in dict.items(request.META)
        if name.startswith("HTTP_") and name not in ("HTTP_COOKIE", "HTTP_HOST")
    }
    taught = recipe.headers if recipe else ()
    for name in dict.fromkeys([*taught, *given]):
        value = given.get(name)
        if recipe is None:
            enters, why = None, "the URL's recipe is not known"
        elif name in taught:
            enters, why = True, "the response's Vary names it"
        elif name == "accept-language" and settings.USE_I18N:
            enters, why = False, "the language that was chosen is in the key instead"
        else:
            enters, why = False, "no response of this URL varied on it"
        yield Input("header", name, _shown_header(name, value), enters, why, value)


def _cookies(
    request: HttpRequest, recipe: Recipe | None, named: frozenset[str] | None
) -> Iterator[Input]:
    given: dict[str, str] = parse_cookie(dict.get(request.META, "HTTP_COOKIE", ""))
    ignored = _core.Names(list(conf.get().IGNORE_COOKIES))
    taught = (recipe.cookies or ()) if recipe else ()
    for name in dict.fromkeys([*taught, *given]):
        value = given.get(name)
        enters: bool | None
        if recipe is None:
            enters, why = None, "the URL's recipe is not known"
        elif ignored.matches(name):
            enters, why = False, 'VIEWCACHE["IGNORE_COOKIES"] names it'
        elif recipe.cookies is None:
            enters, why = True, "pages of this URL vary on the whole Cookie header"
        elif name in taught:
            enters = True
            why = "the view names it" if named and name in named else "it was read"
        elif named is not None:
            enters, why = False, "the view does not name it in cookies=[…]"
        else:
            enters, why = False, "nothing that made a page of this URL read it"
        yield Input("cookie", name, _shown_cookie(name, value), enters, why, value)


def _shown_header(name: str, value: str | None) -> str | None:
    return "(hidden)" if value and name in _SECRET_HEADERS else value


def _shown_cookie(name: str, value: str | None) -> str | None:
    secret = name in (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME)
    return "(hidden)" if value and secret else value
