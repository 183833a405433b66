"""Many at once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import viewcache
from backends import close_connections
from battery.served import Served
from django.http import HttpRequest, HttpResponse

#: The `add` of Django's file cache is a look and then a write, and the tests' database has one
#: connection for all threads.
SHARED = pytest.mark.parametrize("backend", ["locmem", "redis", "memcached"], indirect=True)


def at_once(count: int, site: Any) -> list[Any]:
    """What so many visitors get who come together."""
    begin = threading.Barrier(count)
    found: list[Any] = []

    def visit() -> None:
        begin.wait()
        found.append(type(site.client)().get("/page/"))
        close_connections()

    threads = [threading.Thread(target=visit) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


class Slow:
    """A render that others come in the middle of: it ends when enough have come, or after a bit."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0

    def __call__(self, request: HttpRequest, number: int) -> HttpResponse:
        with self.lock:
            self.count += 1
            mine = self.count
        threading.Event().wait(0.2)
        return HttpResponse(str(mine))


@SHARED
@pytest.mark.case(81)
def test_many_misses_are_one_render(served: Served) -> None:
    slow = Slow()
    site = served(slow)
    assert {response.content for response in at_once(20, site)} == {b"1"}
    assert slow.count == 1


@SHARED
@pytest.mark.case(82)
def test_after_an_expiry_nobody_is_served_the_old_page(served: Served) -> None:
    slow = Slow()
    site = served(slow)
    at_once(1, site)
    viewcache.expire(path="/page/")
    assert {response.content for response in at_once(10, site)} == {b"2"}


@SHARED
@pytest.mark.case(43, 81)
def test_who_waits_is_not_sent_the_cookie_of_whom_they_waited_for(served: Served) -> None:
    lock, count = threading.Lock(), [0]

    def sets(request: HttpRequest, number: int) -> HttpResponse:
        with lock:
            count[0] += 1
            mine = str(count[0])
        threading.Event().wait(0.05)
        response = HttpResponse(mine)
        response.set_cookie("who", mine)
        return response

    responses = at_once(8, served(sets))
    assert len({response.content for response in responses}) == 8
    for response in responses:
        assert response.cookies["who"].value == response.content.decode()


@pytest.mark.case(83)
@pytest.mark.parametrize("how", ["raises", "500", "private"])
def test_a_render_that_fails_after_an_expiry_brings_no_old_page_back(
    served: Served, how: str
) -> None:
    def view(request: HttpRequest, number: int) -> HttpResponse:
        if number == 2 and how == "raises":
            raise RuntimeError("the second render fails")
        response = HttpResponse(str(number), status=500 if (number, how) == (2, "500") else 200)
        if number == 2 and how == "private":
            response["Cache-Control"] = "private"
        return response

    site = served(view)
    assert site.pages({}, {}) == [1, 1]
    viewcache.expire(path="/page/")
    failed = site.get()
    assert failed.content != b"1"
    assert failed.status_code == (200 if how == "private" else 500)
    assert site.pages({}, {}) == [3, 3]
