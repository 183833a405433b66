"""
What a database does not know: pages that depend on something else, or on the clock.
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone

from . import bindings, lease, policy
from .request import djangos
from .scopes import of_tags


def depends_on(*names: str | Model | type[Model]) -> None:
    """
    The page that is being made depends on these: ``depends_on("feed:weather")`` in whatever reads
    that feed, however far from the view. A name is a tag (see ``tag()``), so
    ``expire(tag="feed:weather")`` expires every such page.

    Call it **before** reading. Needs no request, but ``VIEWCACHE["TRACK"]``, since it is tracking
    that knows which page is being made; else, and where no page is, it does nothing. Raises
    ``ValueError`` for what is no tag.
    """
    scopes = of_tags(names)
    visit = bindings.visit_of_context(scopes)
    if visit is not None:
        lease.read(visit, scopes)


async def adepends_on(*names: str | Model | type[Model]) -> None:
    """As ``depends_on``, for async code."""
    scopes = of_tags(names)
    visit = bindings.visit_of_context(scopes)
    if visit is not None:
        await lease.aread(visit, scopes)


def expires_at(request: HttpRequest, moment: datetime) -> None:
    """
    The page of this request is not served from this moment on, whatever its timeout:
    ``expires_at(request, post.publish_at)``. Of several moments the first counts; after one that
    is over, the page is not stored.

    Raises ``TypeError`` for what is no request and no ``datetime``, and ``ValueError`` for a naive
    moment where the site has time zones (``USE_TZ``), as a comparison of the two would.
    """
    request = djangos(request, "expires_at()")
    if not isinstance(moment, datetime):
        raise TypeError(f"expires_at() was given {moment!r}; expected a datetime.")
    now = timezone.now()
    if timezone.is_naive(moment) != timezone.is_naive(now):
        raise ValueError(f"{moment!r} is naive or aware where django.utils.timezone.now() is not.")
    policy.end_at(request, moment.timestamp())
