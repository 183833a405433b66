"""
What Wagtail serves is tagged with the page that served it, whatever the URL: that of another
site, of another language, or of one of the page's own routes (``RoutablePageMixin``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest
from wagtail import hooks

from viewcache.tags import tag

from .pages import tags

Serve = Callable[[Any, HttpRequest, Any, Any], Any]


@hooks.register("on_serve_page", order=-100)  # type: ignore[untyped-decorator, unused-ignore]
def tag_what_is_served(serve: Serve) -> Serve:
    """Around all that serves a page: its tags are read before its data is."""

    def tagged(page: Any, request: HttpRequest, args: Any, kwargs: Any) -> Any:
        if tag(request, *tags(page)):
            # Wagtail has read the page to find it, before its tags were.
            try:
                page.refresh_from_db()
            except type(page).DoesNotExist as error:
                raise Http404 from error
            if not page.live:
                raise Http404
        return serve(page, request, args, kwargs)

    return tagged
