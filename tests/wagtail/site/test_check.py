"""The system check that names the app."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.checks import run_checks


def _ids() -> set[str | None]:
    return {found.id for found in run_checks(tags=["viewcache"])}


def test_wagtail_without_the_app(settings: Any, monkeypatch: Any) -> None:
    assert "viewcache.W014" not in _ids()
    # Wagtail's own apps cannot be made ready a second time.
    monkeypatch.delitem(apps.app_configs, "viewcache_wagtail")
    assert "viewcache.W014" in _ids()
    settings.VIEWCACHE = {"TRACK": True}
    assert "viewcache.W014" not in _ids()
