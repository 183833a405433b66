"""
Counters for Prometheus, where ``prometheus_client`` is installed: ``django-viewcache[prometheus]``.

Importing this module begins to count, so import it once, in ``AppConfig.ready()``. How the counters
are exposed is the site's: ``prometheus_client.make_wsgi_app()``, ``django-prometheus``, or another.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter

from . import signals

HITS = Counter("viewcache_hits", "Requests that a cached page answered.")
MISSES = Counter("viewcache_misses", "Requests that found no page, by why.", ["reason"])
STORED = Counter("viewcache_stored", "Pages that were stored.")
EXPIRED = Counter("viewcache_expired_scopes", "Scopes that were expired, by their kind.", ["kind"])


def _hit(**kwargs: Any) -> None:
    HITS.inc()


def _missed(visit: Any, **kwargs: Any) -> None:
    # Reasons name scopes: a miss's after its code, a bypass's anywhere. A label for each of them
    # would be without bounds.
    reason = visit.reason.partition(" ")[0] if visit.status == "miss" else visit.status
    MISSES.labels(reason).inc()


def _stored(**kwargs: Any) -> None:
    STORED.inc()


def _expired(scopes: tuple[str, ...], **kwargs: Any) -> None:
    for scope in scopes:
        EXPIRED.labels(scope.partition(":")[0]).inc()


signals.page_hit.connect(_hit, dispatch_uid="viewcache.prometheus")
signals.page_missed.connect(_missed, dispatch_uid="viewcache.prometheus")
signals.page_stored.connect(_stored, dispatch_uid="viewcache.prometheus")
signals.pages_expired.connect(_expired, dispatch_uid="viewcache.prometheus")
