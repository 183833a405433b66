"""
What ``explain()`` finds out, as plain values.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, cast

from .audit import Unkeyed, Untracked


@dataclass(frozen=True)
class Input:
    """One thing of the request that enters the page's key, or does not."""

    #: ``"url"``, ``"query"``, ``"language"``, ``"time zone"``, ``"header"`` or ``"cookie"``.
    kind: str
    name: str
    #: ``None`` when the request has none. Secrets are not shown.
    value: str | None
    #: ``None``: not known, because the URL's recipe is not.
    in_key: bool | None
    why: str
    _raw: str | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Scope:
    """What the page can be expired by."""

    scope: str
    has_generation: bool
    #: The place that read it first, and the query that did, when the page was rendered.
    where: str | None = None
    query: str | None = None


@dataclass(frozen=True)
class Recipe:
    """What the stored pages of the URL vary on."""

    headers: tuple[str, ...]
    #: ``None``: the whole Cookie header.
    cookies: tuple[str, ...] | None
    #: The scopes that they carry beyond those of their path.
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """The page that answers."""

    key: str
    status: int
    stored_at: float
    expires_at: float
    #: Bytes of its body.
    size: int
    #: Pieces that are filled in for each visitor; the CSRF token's is ``"csrf_token"``.
    slots: tuple[str, ...]
    #: For how many seconds it may be served stale: while another request renders it, and in place
    #: of an error.
    stale_while_revalidate: int = 0
    stale_if_error: int = 0
    #: Since when it is stale; ``None`` while it is fresh.
    stale_since: float | None = None


@dataclass(frozen=True)
class Read:
    """A cookie that was read, and the file and line that read it first."""

    name: str
    where: str


@dataclass(frozen=True)
class SetCookie:
    """A cookie that the response sets, by which it belongs to one visitor."""

    name: str
    #: The request did not bring it: whoever does may get a page that can be stored.
    is_new: bool
    #: ``"the view"``, or ``"middleware"`` after it; ``None`` where requests are not watched.
    set_by: str | None


@dataclass(frozen=True)
class Written:
    """What a render has written although its page reads it: the page expires itself."""

    table: str
    #: Those that an ``UPDATE`` sets; none where that is not known, and of other statements.
    columns: tuple[str, ...]
    where: str | None


@dataclass(frozen=True)
class Rendering:
    """What became of the response when the view ran."""

    status: int
    #: Seconds that the page would be kept; ``None`` when it may not be stored.
    timeout: int | None
    #: Why it may not be stored.
    refusal: str | None
    recipe: Recipe | None
    cookies: tuple[Read, ...]
    #: Where all cookies were read at once, so that they cannot be told apart.
    all_cookies: str | None
    #: Where the session was used first, which counts as reading its cookie.
    session: str | None
    #: Where a CSRF token was asked for first; it is filled in for each visitor.
    csrf_token: str | None
    #: What was read and is not in the key of the page; where only this response of it may not be
    #: stored, what would not be.
    unkeyed: tuple[Unkeyed, ...] = ()
    #: The cookies by which the response belongs to one visitor.
    sets: tuple[SetCookie, ...] = ()
    #: What was found in Django's caches, with ``TRACK``, which does not know what it is made of.
    untracked: tuple[Untracked, ...] = ()
    #: What it reads, with ``TRACK``, and has written itself.
    written: tuple[Written, ...] = ()


@dataclass(frozen=True)
class Difference:
    """What makes the keys of two requests differ."""

    kind: str
    name: str
    here: str | None
    there: str | None


@dataclass(frozen=True)
class Explanation:
    """What ``explain()`` found out; ``str()`` tells it, ``as_dict()`` is for machines."""

    method: str
    url: str
    view: str | None
    #: What asks the cache: ``"middleware"``, ``"view"``.
    asked_by: tuple[str, ...]
    #: ``"hit"``, ``"stale"``, ``"miss"`` or ``"bypass"``.
    verdict: str
    #: ``"uri-miss"``, ``"vary-miss"``, ``"expired"`` …, or the rule that kept it from the cache.
    reason: str
    #: The scope that the reason is about.
    scope: str | None
    recipe: Recipe | None
    inputs: tuple[Input, ...]
    scopes: tuple[Scope, ...]
    recipe_key: str | None
    #: Under which the page is looked for; none while the recipe is unknown.
    page_keys: tuple[str, ...]
    page: Page | None
    rendering: Rendering | None
    #: The status of a response that came without a view, and where it points to.
    answered: tuple[int, str | None] | None
    #: The names of the request's cookies as the browser ordered them.
    cookie_order: tuple[str, ...]
    #: Middleware has changed the body of the page that was found, and does so with each hit.
    is_changed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As plain values, without secrets."""
        return cast(dict[str, Any], _without_private(asdict(self)))

    def differences(self, other: Explanation) -> tuple[Difference, ...]:
        """What of these two requests makes their keys differ; nothing when they share a page."""
        found = []
        mine = {(item.kind, item.name): item for item in self.inputs}
        others = {(item.kind, item.name): item for item in other.inputs}
        for kind, name in dict.fromkeys([*mine, *others]):
            here, there = mine.get((kind, name)), others.get((kind, name))
            if not any(item is not None and item.in_key for item in (here, there)):
                continue
            if (here and here._raw) != (there and there._raw):
                values = [item.value if item else None for item in (here, there)]
                found.append(Difference(kind, name, values[0], values[1]))
        if not found and self.page_keys and other.page_keys and self.page_keys != other.page_keys:
            found.append(Difference("cookie", "", None, None))
        return tuple(found)

    def __str__(self) -> str:
        from .telling import tell

        return tell(self)


def _without_private(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_private(item) for name, item in value.items() if not name.startswith("_")
        }
    if isinstance(value, list | tuple):
        return [_without_private(item) for item in value]
    return value
