"""
What editors change, and what is expired for it.

Pages are followed by the signals of their rows, which publishing, unpublishing, moving, copying,
deleting and a site's own code have in common, and by Wagtail's own, which come when the tree is
in order. Several in one transaction are one expiry, after its commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, wraps
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model, signals
from wagtail.models import Locale, PageViewRestriction, Site
from wagtail.signals import page_published, page_unpublished, post_page_move

from viewcache import _core
from viewcache.expiry import logger, on_commit
from viewcache.scopes import of_tags

from .pages import Page, Pages, model_tags

#: Where a page keeps, between ``pre_save`` and ``post_save``, its row of before.
_BEFORE = "_viewcache_page_before"

#: What pages other than its own show of a page.
_SHOWN_ELSEWHERE = ("title", "url_path", "live", "show_in_menus")

#: What saving a draft writes to the row of the page: visitors see none of it.
_OF_DRAFTS = frozenset(
    (
        "draft_title",
        "has_unpublished_changes",
        "latest_revision",
        "latest_revision_id",
        "latest_revision_created_at",
        "locked",
        "locked_at",
        "locked_by",
        "locked_by_id",
    )
)

Receiver = Callable[..., None]


def connect() -> None:
    """Connect the receivers; called once the models are loaded."""
    for signal, receiver, sender in (
        (signals.pre_save, _page_is_saved, None),
        (signals.post_save, _page_was_saved, None),
        (signals.pre_delete, _page_is_deleted, None),
        (page_published, _page_was_published, None),
        (page_unpublished, _page_was_published, None),
        (post_page_move, _page_was_moved, None),
        (signals.post_save, _restriction_changed, PageViewRestriction),
        (signals.pre_delete, _restriction_changed, PageViewRestriction),
        (signals.m2m_changed, _restriction_changed, PageViewRestriction.groups.through),
        *((signal, _site_changed, sender) for signal in _CHANGES for sender in (Site, Locale)),
        *((signal, _object_changed, None) for signal in _CHANGES),
    ):
        name = f"viewcache.wagtail.{receiver.__name__}"
        signal.connect(receiver, sender=sender, dispatch_uid=name)


#: Before a deletion, while it is known yet what shows the object.
_CHANGES = (signals.post_save, signals.pre_delete)


def _never_raises(receiver: Receiver) -> Receiver:
    """A fault here breaks nothing that the editor does: it is logged, and everything is expired."""

    @wraps(receiver)
    def wrapper(sender: Any, instance: Any, **kwargs: Any) -> None:
        if kwargs.get("raw"):
            return
        try:
            receiver(sender, instance, **kwargs)
        except ImproperlyConfigured:
            raise
        except Exception:
            logger.exception(
                "viewcache could not tell which pages show %r; the whole site is expired.", instance
            )
            _expire(_core.scopes_of_tree("/"), kwargs.get("using"))

    return wrapper


def _expire(scopes: Iterable[str], using: str | None) -> None:
    on_commit(dict.fromkeys(scopes), connections[using or DEFAULT_DB_ALIAS])


# -- Pages ----------------------------------------------------------------------------------------


@_never_raises
def _page_is_saved(sender: type[Model], instance: Any, **kwargs: Any) -> None:
    if not isinstance(instance, Page) or instance._state.adding:
        return
    fields = kwargs.get("update_fields")
    if fields is not None and _OF_DRAFTS.issuperset(fields):
        return
    instance.__dict__[_BEFORE] = Page.objects.filter(pk=instance.pk).first()


@_never_raises
def _page_was_saved(sender: type[Model], instance: Any, **kwargs: Any) -> None:
    if not isinstance(instance, Page):
        return
    fields = kwargs.get("update_fields")
    if fields is not None and _OF_DRAFTS.issuperset(fields):
        return
    _expire(changed(instance.__dict__.pop(_BEFORE, None), instance), kwargs.get("using"))


@_never_raises
def _page_is_deleted(sender: type[Model], instance: Any, **kwargs: Any) -> None:
    # Once for each: the row of its own type is deleted, too, and that of its base always.
    if type(instance) is Page:
        _expire(changed(instance, None), kwargs.get("using"))


@_never_raises
def _page_was_published(sender: Any, instance: Any, **kwargs: Any) -> None:
    # Once more, now that what belongs to the page is saved, too.
    pages = Pages()
    _expire([*pages.of(instance, below=False), *pages.above(instance)], kwargs.get("using"))


@_never_raises
def _page_was_moved(sender: Any, instance: Any, **kwargs: Any) -> None:
    # Among its siblings: the row says nothing of it, and lists and menus have another order. And
    # from elsewhere: the URLs of the pages below are written after the signals of its own row.
    pages = Pages()
    scopes = [*pages.of(instance, below=True), *pages.above(instance)]
    before = _at(instance, kwargs["url_path_before"])
    scopes += [*pages.of(before, below=True), *pages.above(before)]
    if getattr(instance, "show_in_menus", False):
        scopes += pages.sites(instance)
    _expire(scopes, kwargs.get("using"))


def _at(page: Any, url_path: str) -> Any:
    """This page where it was."""
    former = Page.objects.get(pk=page.pk)
    former.url_path = url_path
    return former


def changed(before: Any, after: Any) -> list[str]:
    """
    The scopes of what a change of a page makes old: the page before and after it, ``None`` where
    there is none.

    Always the page, the pages above it, its translations, and what carries the tag of it or its
    type. When its title, URL or state changes: all below it and what links to it, too, and where
    it is in menus, its sites.
    """
    states = [page for page in (before, after) if page is not None]
    moved = len({page.url_path for page in states}) > 1
    renamed = len(states) == 1 or _elsewhere(before) != _elsewhere(after)
    pages = Pages()
    scopes: list[str] = []
    if renamed:
        # With another URL, those below it have others, too.
        concerned = _with_those_below(states[-1]) if moved else states[-1:]
        scopes += pages.showing(concerned)
    if not moved and not any(page.live for page in states):
        return scopes  # nobody has seen more of it than links to it
    scopes += pages.translations(states[-1])
    for page in states:
        scopes += pages.of(page, below=renamed)
        scopes += pages.above(page)
        scopes += map(_core.scope_of_tag, model_tags(page))
    if renamed:
        for page in concerned:
            scopes += map(_core.scope_of_tag, model_tags(page))
        if any(getattr(page, "show_in_menus", False) for page in (*concerned, *states)):
            scopes += [scope for page in states for scope in pages.sites(page)]
    return scopes


def _elsewhere(page: Any) -> tuple[Any, ...]:
    """What pages other than its own show of this one."""
    return tuple(getattr(page, name, None) for name in _SHOWN_ELSEWHERE)


def _with_those_below(page: Any) -> list[Any]:
    return list(Page.objects.filter(path__startswith=page.path))


# -- What stands on many pages --------------------------------------------------------------------


@_never_raises
def _restriction_changed(sender: Any, instance: Any, **kwargs: Any) -> None:
    if not isinstance(instance, PageViewRestriction):
        return
    pages = Pages()
    scopes = []
    # An alias has the restrictions of what it is one of.
    aliases = Page.objects.filter(alias_of__path__startswith=instance.page.path)
    for page in (instance.page, *aliases):
        scopes += [*pages.of(page, below=True), *pages.above(page)]
        for concerned in _with_those_below(page):
            scopes += map(_core.scope_of_tag, model_tags(concerned))
    _expire(scopes, kwargs.get("using"))


@_never_raises
def _site_changed(sender: Any, instance: Any, **kwargs: Any) -> None:
    _expire(_core.scopes_of_tree("/"), kwargs.get("using"))


@_never_raises
def _object_changed(sender: Any, instance: Any, **kwargs: Any) -> None:
    if _is_setting(instance):
        # The first page that asks for settings makes them, so no page was without.
        if not kwargs.get("created"):
            _site_changed(sender, instance, **kwargs)
    elif _is_chosen(instance):
        scopes = of_tags([instance, type(instance)])
        _expire([*scopes, *Pages().showing([instance])], kwargs.get("using"))


def _is_setting(instance: Any) -> bool:
    """Settings of a site (``wagtail.contrib.settings``) stand in headers and footers."""
    if not apps.is_installed("wagtail.contrib.settings"):
        return False
    from wagtail.contrib.settings.models import AbstractSetting

    return isinstance(instance, AbstractSetting)


def _is_chosen(instance: Any) -> bool:
    """Is it what editors choose for pages: an image, a document, a snippet?"""
    return isinstance(instance, _chosen_models())


@cache
def _chosen_models() -> tuple[type, ...]:
    found: list[type] = []
    if apps.is_installed("wagtail.images"):
        from wagtail.images import get_image_model

        found.append(get_image_model())
    if apps.is_installed("wagtail.documents"):
        from wagtail.documents import get_document_model

        found.append(get_document_model())
    if apps.is_installed("wagtail.snippets"):
        from wagtail.snippets.models import get_snippet_models

        found += get_snippet_models()
    return tuple(found)
