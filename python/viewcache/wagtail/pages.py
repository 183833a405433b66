"""
Which cached pages a page of Wagtail is seen on: its URLs, those above it, and its tags.

URLs are made from ``url_path`` and the sites in the database. Wagtail's own ``page.url`` asks a
list of sites that it keeps in the cache, where another process may have left one of before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.urls import NoReverseMatch, reverse
from wagtail.models import ReferenceIndex, Site
from wagtail.models.sites import SiteRootPath

from viewcache import _core
from viewcache.scopes import in_every_language, name_of, of_path, of_tree

#: ``wagtail.models.Page``, or what a site has put in its place (since Wagtail 8).
Page: Any = Site._meta.get_field("root_page").related_model


def tags(page: Any) -> list[str]:
    """The tags of one page, by which whatever it serves is expired: ``wagtailcore.page:12``."""
    return [f"{name_of(model)}:{page.pk}" for model in _models(page)]


def model_tags(page: Any) -> list[str]:
    """The tags of its type and of those that it inherits from, which a list of such pages has."""
    return [name_of(model) for model in _models(page)]


def _models(page: Any) -> list[type]:
    specific = page.specific_class or type(page)
    above = [model for model in specific._meta.get_parent_list() if issubclass(model, Page)]
    return [specific._meta.concrete_model, *above]


class Pages:
    """Finds the scopes of pages. For one change: what it asks the database it asks once."""

    def __init__(self) -> None:
        self._roots = list(_site_roots())
        # What Wagtail's methods take their sites from, where they are handed it.
        self._cache_object: Any = SimpleNamespace(_wagtail_cached_site_root_paths=self._roots)

    def of(self, page: Any, *, below: bool) -> list[str]:
        """The page at each of its URLs; with ``below`` everything under them, too."""
        found = []
        for url in self._urls(page):
            if below:
                found += of_tree(url)
            else:
                found += of_path(url)
                for path in page.specific_deferred.get_cached_paths():
                    found += of_path(url.rstrip("/") + "/" + path.lstrip("/"))
        return [*found, *map(_core.scope_of_tag, tags(page))]

    def above(self, page: Any) -> list[str]:
        """The pages above it, up to the roots of its sites: they may list it."""
        # By url_path, which tells where it is or was; the tree has moved before anybody is told.
        slugs = page.url_path.strip("/").split("/")
        paths = ["/" + "/".join(slugs[:depth]) + "/" for depth in range(1, len(slugs))]
        found = []
        for ancestor in Page.objects.filter(url_path__in=paths, depth__gt=1):
            found += self.of(ancestor, below=False)
        return found

    def sites(self, page: Any) -> list[str]:
        """The whole of each site that it is in, for what stands on each page: a menu."""
        roots = {root.root_path for root in self._roots_of(page)}
        found = []
        for root in Page.objects.filter(url_path__in=roots):
            found += self.of(root, below=True)
        return found

    def translations(self, page: Any) -> list[str]:
        """Its translations, which have links to it."""
        if not getattr(settings, "WAGTAIL_I18N_ENABLED", False):
            return []
        others = Page.objects.filter(translation_key=page.translation_key).exclude(pk=page.pk)
        return [scope for other in others for scope in self.of(other, below=False)]

    def showing(self, objects: Iterable[Any]) -> list[str]:
        """The pages that show these objects or link to them, as Wagtail's reference index knows."""
        return [scope for page in _users(objects) for scope in self.of(page, below=False)]

    # -- URLs -------------------------------------------------------------------------------------

    def _urls(self, page: Any) -> Iterable[str]:
        found: dict[str, None] = {}
        specific = page.specific_deferred
        for root in self._roots_of(page):
            found.update(dict.fromkeys(_reversed(page.url_path[len(root.root_path) :])))
        # A site's own classes may have other URLs.
        if type(specific).get_url_parts is not Page.get_url_parts:
            own = in_every_language(lambda: self._own_url(specific))
            found.update(dict.fromkeys(url for url in own if url))
        return found

    def _own_url(self, page: Any) -> str:
        parts = page.get_url_parts(self._cache_object)
        return (parts and parts[2]) or ""

    def _roots_of(self, page: Any) -> list[SiteRootPath]:
        return [root for root in self._roots if page.url_path.startswith(root.root_path)]


def _reversed(path: str) -> list[str]:
    """The URL of this path within a site: with ``i18n_patterns()`` one for each language."""
    try:
        urls = in_every_language(lambda: reverse("wagtail_serve", args=(path,)))
    except NoReverseMatch:
        return []  # a site without Wagtail's URLs
    return urls


def _site_roots() -> Iterator[SiteRootPath]:
    """As ``Site.get_site_root_paths()``, from the database."""
    i18n = getattr(settings, "WAGTAIL_I18N_ENABLED", False)
    for site in Site.objects.select_related("root_page__locale").order_by(
        "-root_page__url_path", "-is_default_site", "hostname"
    ):
        roots = (
            site.root_page.get_translations(inclusive=True).select_related("locale")
            if i18n
            else [site.root_page]
        )
        for root in roots:
            language = root.locale.language_code
            yield SiteRootPath(site.pk, root.url_path, site.root_url, language)


#: So many at once fit into a query, whatever the database.
_BATCH = 500


def _users(objects: Iterable[Any]) -> Iterator[Any]:
    """The pages that refer to these, directly or by way of snippets that do."""
    seen: set[tuple[int, str]] = set()
    left = [(_content_type(item), str(item.pk)) for item in objects]
    of_pages = _content_type(Page)
    while left:
        kind = left[0][0]
        batch = [key for key in left if key[0] == kind][:_BATCH]
        left = [key for key in left if key not in set(batch)]
        found = set(
            ReferenceIndex.objects.filter(
                to_content_type=kind, to_object_id__in=[pk for _, pk in batch]
            ).values_list("base_content_type", "object_id")
        )
        new = found - seen
        seen |= new
        left += [key for key in new if key[0] != of_pages]
        yield from Page.objects.filter(pk__in=[pk for of, pk in new if of == of_pages])


def _content_type(item: Any) -> int:
    """The number by which the reference index knows this object or model: that of its base."""
    parents = item._meta.get_parent_list()
    model = parents[-1] if parents else item
    return int(ContentType.objects.get_for_model(model, for_concrete_model=False).pk)
