"""The counters for Prometheus."""

from __future__ import annotations

import pytest
import viewcache
from django.test import Client

pytestmark = pytest.mark.usefixtures("site")


def test_what_happens_is_counted() -> None:
    client = pytest.importorskip("prometheus_client")
    from viewcache import prometheus  # noqa: F401

    def value(name: str, **labels: str) -> float:
        return float(client.REGISTRY.get_sample_value(f"viewcache_{name}_total", labels) or 0)

    def values() -> list[float]:
        return [
            value("hits"),
            value("misses", reason="uri-miss"),
            value("misses", reason="expired"),
            value("stored"),
            value("expired_scopes", kind="path"),
        ]

    before = values()
    Client().get("/plain/")
    Client().get("/plain/")
    viewcache.expire(path="/plain/")
    Client().get("/plain/")
    assert [b - a for a, b in zip(before, values(), strict=True)] == [1, 1, 1, 2, 1]


def test_reasons_that_name_scopes_are_one() -> None:
    client = pytest.importorskip("prometheus_client")
    from viewcache import prometheus

    class Refused:
        status, reason = "bypass", "row:auth_user:12 read before the look-up"

    def value() -> float:
        found = client.REGISTRY.get_sample_value("viewcache_misses_total", {"reason": "bypass"})
        return float(found or 0)

    before = value()
    prometheus._missed(visit=Refused())
    assert value() - before == 1
