"""Django's decision without its key is Django's decision."""

from __future__ import annotations

from typing import Any
from unittest import mock

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.middleware import cache as middleware
from django.template.response import SimpleTemplateResponse
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from viewcache import asking

directives = st.sampled_from(
    [
        *("public", "private", "no-cache", "no-store", "max-age=0", "max-age=60", 'max-age="60"'),
        *("Private", 'private="Set-Cookie"', "s-maxage=9", "must-revalidate", "max-age=x", ""),
    ]
)
varies = st.none() | st.sampled_from(["Cookie", "*", "Accept, cookie", "Accept-Language", " * ,a"])
headers = st.dictionaries(
    st.sampled_from(["authorization", "cookie", "accept"]), st.sampled_from(["", "a=1", "ü"])
)


class Recorder:
    """A cache that notes what it is told, but for the keys."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def set(self, key: str, value: Any, timeout: Any = None, version: Any = None) -> None:
        if isinstance(value, HttpResponseBase):
            self.told.append(("page", timeout))
        else:
            self.told.append(("headers", None))


class Asked(middleware.UpdateCacheMiddleware):
    """As the policy asks."""

    recorder: Recorder

    @property
    def cache(self) -> Any:
        return self.recorder

    def _should_update_cache(self, request: Any, response: Any) -> bool:
        return True


def _outcome(ask: Any, response: Any, given: dict[str, str], timeouts: Any) -> Any:
    asked = Asked(lambda request: response)
    asked.recorder = Recorder()
    asked.cache_timeout, asked.page_timeout = timeouts
    try:
        made = ask(asked, RequestFactory().get("/a/?b=c", headers=given), response)
    except Exception as error:
        return type(error)
    if hasattr(made, "render"):
        made.render()
    return asked.recorder.told, dict(made.items()), made.status_code, made.content


@given(
    st.lists(directives, max_size=3),
    varies,
    st.sampled_from([200, 200, 304, 404, 500]),
    st.booleans(),
    st.booleans(),
    headers,
    st.tuples(st.sampled_from([600, 0, None, 0.5]), st.sampled_from([None, 30, 0])),
)
def test_the_decision_is_djangos(
    control: list[str],
    vary: str | None,
    status: int,
    sets_cookie: bool,
    renders: bool,
    given_headers: dict[str, str],
    timeouts: Any,
) -> None:
    def response() -> Any:
        if renders:
            made: Any = SimpleTemplateResponse("t", status=status)
            made.resolve_template = lambda name: mock.Mock(render=lambda *args: "body")
        else:
            made = HttpResponse("body", status=status)
        if control:
            made.headers["Cache-Control"] = ", ".join(control)
        if vary is not None:
            made.headers["Vary"] = vary
        if sets_cookie:
            made.set_cookie("a", "b")
        return made

    assert asking._without_key is not None
    with mock.patch("django.utils.cache.time.time", return_value=1.0):
        theirs = _outcome(
            lambda asked, *args: asked.process_response(*args), response(), given_headers, timeouts
        )
        ours = _outcome(asking.decide, response(), given_headers, timeouts)
    assert ours == theirs


def _key_is_made() -> bool:
    with mock.patch("django.utils.cache._generate_cache_key", return_value="") as made:
        _outcome(asking.decide, HttpResponse("a"), {}, (600, None))
    return bool(made.called)


def test_no_key_is_made() -> None:
    assert not _key_is_made()


def test_names_of_djangos_module_are_those_of_the_moment() -> None:
    with mock.patch.object(middleware, "patch_response_headers") as patched:
        _outcome(asking.decide, HttpResponse("a"), {}, (600, None))
    assert patched.called


def test_a_patched_django_is_asked_as_it_is() -> None:
    real: Any = middleware.learn_cache_key  # type: ignore[attr-defined]
    with mock.patch.object(middleware, "learn_cache_key", lambda *a, **k: real(*a, **k)):
        assert _key_is_made()

    def patched(self: Any, request: Any, response: Any) -> Any:
        response.headers["X-Patched"] = "yes"
        return response

    with mock.patch.object(middleware.UpdateCacheMiddleware, "process_response", patched):
        _, sent, *_ = _outcome(asking.decide, HttpResponse("a"), {}, (600, None))
        assert sent["X-Patched"] == "yes"


def test_a_function_of_another_shape_is_not_taken_apart() -> None:
    def decides(self: Any, request: Any, response: Any) -> Any:
        return response

    assert asking._made(decides) is None
    assert asking._made(None) is None
