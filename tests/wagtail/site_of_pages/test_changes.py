"""Without images, documents, snippets and settings there is no fault, and pages are followed."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from viewcache import signals
from wagtail.models import Locale, Page, Site

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_is_no_page_expires_nothing_and_a_page_does(caplog: Any) -> None:
    locale = Locale.objects.create(language_code="en")
    kind = ContentType.objects.get_for_model(Page)
    page = Page.add_root(instance=Page(title="Home", slug="home", locale=locale, content_type=kind))
    Site.objects.create(hostname="testserver", root_page=page, is_default_site=True)
    expired: set[str] = set()

    def note(scopes: Any, **kwargs: Any) -> None:
        expired.update(scopes)

    signals.pages_expired.connect(note)
    try:
        Group.objects.create(name="editors")
        assert expired == set()
        page.title = "Start"
        page.save()
    finally:
        signals.pages_expired.disconnect(note)
    assert f"tag:wagtailcore.page:{page.pk}" in expired
    assert "path:/" in expired
    assert caplog.text == ""
