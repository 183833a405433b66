"""
The admin's page of what is cached, and a button for the pages of any object.

``CachedPage`` has no table, so its views are this module's own; names, templates and permissions
are the admin's. Nothing is expired by a GET, and nothing before it was asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote as admin_quote
from django.contrib.admin.utils import unquote
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import ngettext

from . import _core, history, hit_counts, inventory, overview
from .expiry import expire
from .models import CachedPage

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

#: URLs on one page of the list.
_PER_PAGE = 100
#: Latest expiries that are shown under it.
_EXPIRIES = 25

_Order = Callable[[overview.Row], Any]
#: The columns: what they are called in the URL and on the page, and how they are sorted. Only the
#: first can be without a look at every page; the last is there where hits are counted.
_COLUMNS: list[tuple[str, str, _Order]] = [
    ("url", "URL", lambda row: (row.local, row.url)),
    ("pages", "Variants", lambda row: row.pages),
    ("age", "Age", lambda row: -row.oldest),
    ("size", "Size", lambda row: row.bytes),
    ("hits", "Hits", lambda row: row.hits),
]


def _scopes(scopes_of: Callable[[str], list[str]]) -> Callable[[str], None]:
    """A validator: the text names scopes of this kind."""

    def check(text: str) -> None:
        try:
            scopes_of(text)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    return check


class ExpireForm(forms.Form):
    """What to expire, by hand."""

    path = forms.CharField(
        required=False,
        validators=[_scopes(_core.scopes_of_path)],
        help_text="A path or full URL, such as /blog/. Its query does not matter.",
    )
    tree = forms.CharField(
        required=False,
        validators=[_scopes(_core.scopes_of_tree)],
        help_text="Likewise, with every path below it.",
    )
    tag = forms.CharField(
        required=False,
        validators=[_scopes(lambda tag: [_core.scope_of_tag(tag)])],
        help_text="A tag, such as blog.post:12.",
    )
    everything = forms.BooleanField(required=False, help_text="Every page of the site.")

    def clean(self) -> dict[str, Any]:
        """At least one of them."""
        given: dict[str, Any] = super().clean() or {}
        if not self.errors and not any(given.values()):
            raise forms.ValidationError("Name a path, a tree or a tag, or choose everything.")
        return given


@admin.register(CachedPage)
class CachedPageAdmin(_ModelAdmin):
    """What is cached: look at it, search, sort, expire."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or may_expire(request)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("", wrap(self.changelist_view), name="viewcache_cachedpage_changelist"),
            path("expire/", wrap(self.expire_view), name="viewcache_cachedpage_expire"),
        ]

    def _context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "media": self.media,
            "may_expire": may_expire(request),
        }

    # -- The list ---------------------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What is cached, a hundred URLs at a time."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        query, order = request.GET.get("q", ""), request.GET.get("o", "url")
        context = self._context(request, "What is cached")
        try:
            context |= _listed(query, order, request.GET.get("p"))
            context |= {"records": history.is_on(), "expiries": history.recent(_EXPIRIES)}
        except ImproperlyConfigured as error:
            context["fault"] = str(error)
        except Exception as error:
            context["fault"] = f"The cache does not answer ({type(error).__name__}: {error})."
        context |= {"query": query, "order": order, **(extra_context or {})}
        return TemplateResponse(request, "admin/viewcache/cachedpage/change_list.html", context)

    # -- Expire -----------------------------------------------------------------------------------

    def expire_view(self, request: HttpRequest) -> HttpResponse:
        """Ask what to expire; ask whether to; expire."""
        if not may_expire(request):
            raise PermissionDenied
        selected = request.POST.getlist("selected")
        if "one" in request.POST:
            selected = [request.POST["one"]]
        form = ExpireForm(request.POST or None) if not selected else None
        context = self._context(request, "Expire cached pages")
        back = reverse(f"{self.admin_site.name}:viewcache_cachedpage_changelist")
        if request.POST.get("from") == "list" and not selected:
            messages.warning(request, "Select the URLs to expire first.")
            return HttpResponseRedirect(back)
        if form is not None and not form.is_valid():
            template = "admin/viewcache/cachedpage/expire.html"
            return TemplateResponse(request, template, {**context, "form": form})
        kind = "tree" if request.POST.get("action") == "tree" else "path"
        what: dict[str, Any] = {kind: selected}
        if form is not None:
            what = {name: value for name, value in form.cleaned_data.items() if value}
        if request.POST.get("post") == "yes":
            _expire(request, what)
            return HttpResponseRedirect(back)
        template = "admin/viewcache/cachedpage/expire_confirmation.html"
        fields = [(name, value) for name, value in request.POST.items() if name in what]
        context |= {"what": _told(what), "selected": selected, "fields": fields, "action": kind}
        return TemplateResponse(request, template, context)


def may_expire(request: HttpRequest) -> bool:
    """May this user expire pages? It is the permission ``viewcache.expire_cachedpage``."""
    # The user may be of a model of the site's own.
    user: Any = request.user
    return bool(user.is_active and user.has_perm("viewcache.expire_cachedpage"))


def _expire(request: HttpRequest, what: dict[str, Any]) -> None:
    """Expire, and say so; a cache that is down is told, not an error page."""
    try:
        scopes = expire(**what).scopes
    except Exception as error:
        messages.error(
            request, f"Nothing was expired ({type(error).__name__}: {error}). Try again later."
        )
        return
    told = ngettext("%d scope was expired: %s.", "%d scopes were expired: %s.", len(scopes))
    shown = ", ".join(scopes[:5]) + (", …" if len(scopes) > 5 else "")
    messages.success(request, told % (len(scopes), shown))


def _told(what: dict[str, Any]) -> list[str]:
    """What is about to be expired, a line for each."""
    told = []
    for kind, value in what.items():
        for item in [value] if isinstance(value, str | bool) else value:
            told.append(
                {
                    "path": f"{item}",
                    "tree": f"{item} and every path below it",
                    "tag": f"every page with the tag {item}",
                    "everything": "every page of the site",
                }[kind]
            )
    return told


# -- Rows -----------------------------------------------------------------------------------------


def _listed(query: str, order: str, number: str | None) -> dict[str, Any]:
    known = inventory.read()
    words = query.lower().split()
    pages = [page for page in known.pages if all(word in page.url.lower() for word in words)]
    name, reverse_order = order.removeprefix("-"), order.startswith("-")
    columns = _COLUMNS if hit_counts.is_on() else _COLUMNS[:-1]
    chosen = next((column for column in columns if column[0] == name), columns[0])
    if chosen is columns[0]:
        # The URLs are known without the pages: only those that are shown are read.
        rows = overview.listed_rows(pages)
        shown = _page(sorted(rows, key=chosen[2], reverse=reverse_order), number)
        urls = {row.url for row in shown}
        found = {row.url: row for row in overview.rows(page for page in pages if page.url in urls)}
        results = [found.get(row.url, row) for row in shown]
    else:
        shown = _page(sorted(overview.rows(pages), key=chosen[2], reverse=reverse_order), number)
        results = list(shown)
    now = time.time()
    return {
        "page": shown,
        "page_range": list(shown.paginator.get_elided_page_range(shown.number)),
        "columns": [
            {
                "title": title,
                "order": f"-{key}" if order == key else key,
                "sorted": None if key != chosen[0] else ("desc" if reverse_order else "asc"),
            }
            for key, title, _ in columns
        ],
        "has_hits": hit_counts.is_on(),
        "results": [_result(row, now) for row in results],
        "known": known,
        "nearly_full": known.taken > known.places * 3 // 4,
    }


def _page(rows: list[overview.Row], number: str | None) -> Page[overview.Row]:
    return Paginator(rows, _PER_PAGE).get_page(number)


def _result(row: overview.Row, now: float) -> dict[str, Any]:
    is_there = row.newest > 0
    return {
        "row": row,
        "value": quote(row.path),
        "age": overview.seconds(now - row.oldest) if is_there else "-",
        "size": overview.size(row.bytes) if is_there else "-",
        "state": "cached" if row.pages else ("old" if is_there else "gone"),
    }


# -- The pages of an object -----------------------------------------------------------------------


class ExpirePagesMixin(_ModelAdmin):
    """
    For a ``ModelAdmin``: an action "Expire cached pages", and a button of that name on the page of
    each object, for users with the permission ``viewcache.expire_cachedpage``.

    What is expired is what ``expire(obj=…)`` expires: the object's ``get_absolute_url()`` in every
    language, and its tag. A ``ModelAdmin`` with a ``change_form_template`` of its own can include
    ``admin/viewcache/expire_pages_button.html`` in its object tools.
    """

    change_form_template = "admin/viewcache/change_form.html"
    actions: Any = ("expire_cached_pages",)

    @admin.action(description="Expire cached pages", permissions=["expire_pages"])
    def expire_cached_pages(self, request: HttpRequest, queryset: QuerySet[Model]) -> None:
        """Expire the pages of the chosen objects."""
        _expire(request, {"obj": list(queryset)})

    def has_expire_pages_permission(self, request: HttpRequest) -> bool:
        """May this user expire pages?"""
        return may_expire(request)

    def get_urls(self) -> list[URLPattern]:
        options = self.opts
        name = f"{options.app_label}_{options.model_name}_expire_pages"
        view = self.admin_site.admin_view(self.expire_pages_view)
        return [path("<path:object_id>/expire-pages/", view, name=name), *super().get_urls()]

    def expire_pages_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Expire the pages of one object: the button, which is a form that posts."""
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404(f"There is no {self.opts.verbose_name} {object_id!r}.")
        if not may_expire(request) or not self.has_view_permission(request, found):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        _expire(request, {"obj": found})
        options = self.opts
        return HttpResponseRedirect(
            reverse(
                f"{self.admin_site.name}:{options.app_label}_{options.model_name}_change",
                args=[admin_quote(found.pk)],
            )
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        options = self.opts
        name = f"{self.admin_site.name}:{options.app_label}_{options.model_name}_expire_pages"
        url = reverse(name, args=[object_id]) if may_expire(request) else None
        context = {"expire_pages_url": url, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)
