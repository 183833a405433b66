"""
An explanation as a person would tell it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from . import conf
from .sessions import is_session

if TYPE_CHECKING:
    from .explanation import (
        Difference,
        Explanation,
        Input,
        Page,
        Recipe,
        Rendering,
        SetCookie,
        Written,
    )

#: Why there is no page. ``{scope}`` is what the reason is about.
MISSES = {
    "uri-miss": "no page of this URL is known: none was stored yet, or its recipe was evicted.",
    "vary-miss": (
        "the URL is known, and no page was stored for a request with these values (or it was "
        "evicted). What is in the key, below, is what this request would have to share."
    ),
    "expired": "the page was stored, and {scope} was expired since.",
    "soft-expired": "the page was stored, and {scope} was softly expired since.",
    "generation-gone": (
        "the page was stored, and the generation of {scope} is gone: the cache evicted or lost it."
    ),
    "closed": (
        "the page was stored, and {scope} was expired a moment ago or is about to be "
        "(SETTLE_SECONDS, DURABLE)."
    ),
    "timed-out": "the page was stored, and its time is over.",
    "damaged": "what lies under the page's key is no page of this request. It is overwritten.",
    "unsigned": (
        "what lies under the key was not signed with SECRET_KEY or one of SECRET_KEY_FALLBACKS: it "
        "was stored before SIGN was switched on, with another key, or by somebody else. It is "
        "overwritten."
    ),
    "not-public": "the request carries Authorization, and the page does not say it is public.",
}

#: What to do about a refusal that does not say it itself.
REFUSALS = {
    "method": "only GET and HEAD are cached.",
    "request body": "a request that carries a body is not cached.",
    "preview": "a preview of Wagtail's is not cached.",
    "dot segments": "a path with . or .. in it is not cached.",
    "path too long": "the path has more than 32 segments or 4096 bytes.",
    "text that is no text": "the request holds text that cannot be encoded.",
    "cache fault": "the cache failed; the log of viewcache says how.",
    "cache fault a moment ago": "the cache failed a moment ago, and is left alone for seconds.",
    "logged-in user": (
        "CacheMixin does not cache pages of logged-in users unless cache_authenticated is set."
    ),
    "nothing asks the cache": (
        "neither is viewcache's middleware in MIDDLEWARE, nor is the view decorated with "
        "viewcache's cache_page (on a class, on its dispatch)."
    ),
    "nothing stores it": "nothing stores it: UpdateCacheMiddleware is missing.",
    "left out": (
        "request._cache_update_cache is False: another cache_page, such as Django's own, answered, "
        "or code has asked for the page to be left out."
    ),
    "streaming": "the response is streaming.",
    "Authorization": "the request carries Authorization, and the response is not public.",
    "Set-Cookie": "the response sets a cookie, so it belongs to one visitor.",
    "session modified": "the view changed the session, so the response belongs to one visitor.",
    "session read before its generation": (
        "the session was loaded before it could be known how fresh it is, by a middleware or in a "
        "transaction; the next page is stored."
    ),
    "slot of another request": (
        "it has a piece of another visitor's page, which code has kept with the HTML around it, as "
        "cache.set() of what render_to_string() returned; keep the HTML without its slots."
    ),
    "slot in a header": "a header shows a piece that is each visitor's own.",
    "CSRF secret in the response": "the response shows the CSRF secret itself.",
    "CSRF token in a header": "a header shows the CSRF token; only the body is filled in.",
    "CSRF token in an attribute": "an attribute of the response holds the CSRF token.",
    "CSRF token in an encoded body": "the body is encoded, so its CSRF token cannot be filled in.",
    "CSRF token in a form that cannot be filled in": (
        "the body shows the CSRF token in base64 or backwards; show it as it is."
    ),
    "CSP nonce in a header": "a header beside the policy shows the CSP nonce.",
    "CSP nonce in an attribute": "an attribute of the response holds the CSP nonce.",
    "messages": "one-shot messages were shown or added; they are for one visitor, once.",
    "timeout 0": "its timeout is 0.",
    "no-generation": "the cache does not keep generations: is it the dummy cache, or down?",
    "closed": (
        "what it shows was expired a moment ago, or is about to be (SETTLE_SECONDS, DURABLE); "
        "when that is over, it is stored."
    ),
    "too-many-tags": "it carries more tags than a page may (512).",
}


def tell(explanation: Explanation) -> str:
    """All of it, for a terminal."""
    return "\n".join(_lines(explanation)).rstrip() + "\n"


def tell_differences(one: Explanation, other: Explanation) -> str:
    """What makes the keys of two requests differ, or that nothing does."""
    found = one.differences(other)
    lines = ["These two requests"]
    if found:
        lines[0] += " get different pages, because these inputs of the key differ:"
        lines += [f"  {_difference(item)}" for item in found]
    elif any(item.in_key is None for item in one.inputs):
        lines[0] += (
            " cannot be compared: what pages of this URL vary on is not known before one is "
            "stored. Add --render to find out."
        )
    elif one.inputs:
        lines[0] += " get the same page: no input of the key differs."
    else:
        lines[0] += " are not looked up in the cache."
    orders = one.cookie_order, other.cookie_order
    if not found and orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]):
        lines.append(
            "  Their cookies come in another order; viewcache puts them in one. (Stock Django "
            "keeps a page for each order.)"
        )
    return "\n".join(lines) + "\n"


def _difference(item: Difference) -> str:
    if not item.name and item.kind == "cookie":
        return "cookies of the same name, in another order or with other values"
    if item.here == item.there:
        return f"{_label(item.kind, item.name)}: another value"
    return f"{_label(item.kind, item.name)}: {_value(item.here)} and {_value(item.there)}"


def _lines(told: Explanation) -> Iterator[str]:
    yield f"{told.method} {told.url}"
    if told.view:
        yield f"  view      {told.view}"
    if told.asked_by:
        yield f"  asked by  {_and(f'the {name}' for name in told.asked_by)}"
    yield ""
    yield _verdict(told)
    if told.is_changed:
        yield "  CHANGED AGAIN BY A MIDDLEWARE: what it did to the page is stored with it, too."
        yield "    Put it before UpdateCacheMiddleware, or have it leave hits (with an Age) alone."
    if told.answered and told.asked_by:
        yield f"  No view is called: the site answers {_answer(told.answered)}."
    if told.rendering:
        yield ""
        yield from _rendering(told.rendering)
    if told.recipe:
        yield ""
        yield f"Recipe: stored pages of this URL vary on {_recipe(told.recipe)}."
    unknown = "In the key or not: unknown until a page of this URL is stored"
    unknown += "" if told.rendering else " (--render tells)"
    for title, in_key in (("In the key", True), ("Not in the key", False), (unknown, None)):
        yield from _inputs(title, [item for item in told.inputs if item.in_key is in_key])
    if told.scopes:
        yield ""
        yield "Scopes, by which the page can be expired"
        width = max(len(item.scope) for item in told.scopes)
        for item in told.scopes:
            has = (
                "has a generation" if item.has_generation else "no generation yet; a miss makes one"
            )
            where = f"; read at {_place(item.where)}" if item.where else ""
            whose = f"; {scope_name(item.scope)}" if is_session(item.scope) else ""
            yield f"  {item.scope.ljust(width)}  {has}{whose}{where}"
            if item.query:
                yield f"  {' ' * width}  by {_value(item.query)}"
    if told.recipe_key:
        yield ""
        yield "Keys in the cache"
        yield f"  recipe  {told.recipe_key}"
        for key in told.page_keys:
            yield f"  page    {key}"


def _verdict(told: Explanation) -> str:
    if told.page and told.verdict == "stale":
        return _stale(told.page, told.reason, told.scope)
    if told.page and told.verdict == "hit":
        now = time.time()
        return (
            f"HIT: stored {_duration(now - told.page.stored_at)} ago, good for another "
            f"{_duration(told.page.expires_at - now)}; status {told.page.status}, "
            f"{told.page.size} bytes"
            + (f", {len(told.page.slots)} slots filled per visitor" if told.page.slots else "")
            + "."
        )
    if told.answered and not told.asked_by:
        return f"NOT ASKED: the site answers {_answer(told.answered)} before the cache is asked."
    if told.verdict == "miss":
        missed = MISSES.get(told.reason, told.reason).format(scope=scope_name(told.scope))
        return f"MISS: {missed}{_until_error(told.page) if told.page else ''}"
    return f"NOT CACHED: {refusal(told.reason)}"


def scope_name(scope: str | None) -> str:
    """A scope as a person names it: nobody knows a session by its digest."""
    return "the visitor's session" if scope and is_session(scope) else str(scope)


def _stale(page: Page, reason: str, scope: str | None) -> str:
    since = page.stale_since or page.expires_at
    why = (
        f"{scope_name(scope)} was softly expired"
        if reason == "soft-expired"
        else "its time was over"
    )
    left = since + page.stale_while_revalidate - time.time()
    return (
        f"STALE: {why} {_duration(time.time() - since)} ago. For another {_duration(left)} it is "
        f"served while one request renders it anew.{_until_error(page)}"
    )


def _until_error(page: Page) -> str:
    """For how long it stands in for errors."""
    left = (page.stale_since or page.expires_at) + page.stale_if_error - time.time()
    return f" For another {_duration(left)} it is served where the view fails." if left > 0 else ""


def _answer(answered: tuple[int, str | None]) -> str:
    status, location = answered
    return f"{status} (to {location})" if location else str(status)


def refusal(reason: str, sets: Sequence[SetCookie] = ()) -> str:
    """Why something is not cached, as a sentence; by these cookies, if it is by any."""
    if sets:
        named = f"{'cookie' if len(sets) == 1 else 'cookies'} {_and(item.name for item in sets)}"
        return f"the response sets the {named}, so it belongs to one visitor."
    return REFUSALS.get(reason, f"{reason}.")


def _rendering(made: Rendering) -> Iterator[str]:
    yield f"Rendered now, and not stored: status {made.status}."
    if made.recipe is None:
        yield f"  It may not be stored: {refusal(made.refusal or '', made.sets)}"
        yield from _set_cookies(made.sets)
    else:
        yield f"  It may be stored, for {_duration(made.timeout or 0)}."
        yield f"  It varies on {_recipe(made.recipe)}."
    for read in made.cookies:
        yield f"  cookie {read.name} was read at {_place(read.where)}"
    if made.all_cookies:
        yield f"  all cookies were read at once at {_place(made.all_cookies)}"
    if made.session:
        yield f"  the session, and so its cookie, was used at {_place(made.session)}"
    if made.csrf_token:
        yield f"  a CSRF token (filled in for each visitor) was made at {_place(made.csrf_token)}"
    for item in made.unkeyed:
        yield f"  NOT IN THE KEY: {item.what}, read at {_place(item.where)}"
        yield f"    {item.advice}"
    for found in made.untracked:
        key = _value(repr(found.key))
        yield f"  NOT TRACKED: the cache key {key}, read at {_place(found.where)}"
        yield f"    {found.advice}"
    for each in made.written:
        yield from _written(each)
    if not conf.get().VARY_ON_READ:
        yield '  what reads cookies is not watched: VIEWCACHE["VARY_ON_READ"] is off'
    elif not (made.cookies or made.all_cookies or made.session):
        whole = made.recipe is not None and made.recipe.cookies is None
        yield "  no cookie was read" + (", but the response says Vary: Cookie" if whole else "")


def _written(each: Written) -> Iterator[str]:
    """By what the page expires itself, and how not to."""
    what = _and(f"{each.table}.{column}" for column in each.columns) if each.columns else each.table
    where = f" at {_place(each.where)}" if each.where else ""
    yield f"  THIS PAGE EXPIRES ITSELF: {what} written{where}"
    if each.columns:
        yield (
            f"    If pages may show it as it was, set QUIET = {{{each.table!r}: "
            f"{list(each.columns)}}}. It is then written by renders alone: a hit runs no view."
        )
    else:
        yield (
            "    Have a request of its own write it, or, if no page shows what is in that table, "
            f"set QUIET = {{{each.table!r}: None}}."
        )


def _set_cookies(sets: Sequence[SetCookie]) -> Iterator[str]:
    """Who sets them, and what to ask next where a visitor who has them may get another answer."""
    for item in sets:
        if item.set_by:
            yield f"  cookie {item.name} was set by {item.set_by}"
    if new := [item.name for item in sets if item.is_new]:
        given = "; ".join(f"{name}=value" for name in new)
        yield (
            f"  The request has no cookie {_and(new)}: ask again with --cookie '{given}' for what "
            "a visitor gets who has it."
        )


def _place(where: str) -> str:
    """File and line, from where Python finds the file."""
    where, _, rest = where.partition(", for ")
    if rest:
        return f"{_place(where)}, for {_place(rest)}"
    roots = [root.rstrip(os.sep) + os.sep for root in sys.path if root]
    found = max((root for root in roots if where.startswith(root)), key=len, default="")
    return where.removeprefix(found)


def _recipe(recipe: Recipe) -> str:
    if recipe.cookies is None:
        cookies = "the whole Cookie header"
    elif recipe.cookies:
        cookies = f"the cookies {_and(recipe.cookies)}"
    else:
        cookies = "no cookie"
    headers = f"the headers {_and(recipe.headers)}" if recipe.headers else "no header"
    return f"{cookies} and {headers}"


def _inputs(title: str, inputs: list[Input]) -> Iterator[str]:
    if not inputs:
        return
    yield ""
    yield title
    labels = [_label(item.kind, item.name) for item in inputs]
    values = [_value(item.value) for item in inputs]
    widths = max(map(len, labels)), min(max(map(len, values)), 40)
    for item, label, value in zip(inputs, labels, values, strict=True):
        why = f"  {item.why}" if item.in_key is not None and item.kind != "url" else ""
        yield f"  {label.ljust(widths[0])}  {value.ljust(widths[1])}{why}".rstrip()


def _label(kind: str, name: str) -> str:
    return name if kind == "url" else f"{kind} {name}".rstrip()


def _value(value: str | None) -> str:
    if value is None:
        return "(absent)"
    shown = value if value.isprintable() else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"


def _and(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _duration(seconds: float) -> str:
    """As exact as a person wants it."""
    for unit, length in (("day", 24 * 60 * 60), ("hour", 60 * 60), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{round(seconds / length)} {unit}s"
    return f"{max(0, round(seconds))} seconds"
