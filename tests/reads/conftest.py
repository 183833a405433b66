"""What was read of a request's cookies, and a site whose pages show what they read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest
from viewcache import reads


class Seen:
    """What reading a request in some way comes to."""

    def __init__(self, make: Callable[..., HttpRequest]) -> None:
        self.make = make

    def __call__(
        self, read: Callable[[Any], Any], cookie: str | None = "a=1; b=2", **headers: str
    ) -> tuple[set[str], bool]:
        """The names of the cookies that were read, and whether all of them were."""
        if cookie is not None:
            headers["cookie"] = cookie
        request = self.make("/", headers=headers)
        watched = reads.watch(request)
        assert reads.watch(request) is watched
        read(request)
        return set(watched.names), watched.all is not None


@pytest.fixture(params=["wsgi", "asgi", "audited wsgi", "audited asgi"])
def seen(request: pytest.FixtureRequest, settings: Any, rf: Any, async_rf: Any) -> Seen:
    """An audit sees more, and of the cookies the same."""
    settings.VIEWCACHE = {"AUDIT": "audited" in request.param}
    return Seen((rf if "wsgi" in request.param else async_rf).get)


@pytest.fixture
def seen_wsgi(rf: Any) -> Seen:
    return Seen(rf.get)


@pytest.fixture
def seen_asgi(async_rf: Any) -> Seen:
    return Seen(async_rf.get)
