"""
A change is committed between two queries of a page that is being made, or between its last query
and its store. Prints, for each case, whether the page that is served then is old.

``--break`` names a rule that is left out.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Callable
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--break", dest="broken", default="")
    asked = parser.parse_args()
    from shop import project

    project.configure(asked.database, asked.cache)
    from django.core.cache import cache
    from django.db import connection
    from viewcache import bindings, by_value, databases, fetched

    from shop.models import TABLES, Brand, Category, Item

    cache.clear()
    if asked.broken == "snapshots":
        databases.is_late = lambda connection: False  # type: ignore[assignment]
    elif asked.broken == "order":
        read_generations_last()
    elif asked.broken == "whole":
        fetched.finished = lambda wrapper, connection, result: result  # type: ignore[assignment]
    elif asked.broken == "row":
        by_value.find = lambda sought, connection: []
        by_value.shown = lambda sought, rows: None
    elif asked.broken == "proof":
        bindings.prove = lambda making, connection, unproven, cursor: True  # type: ignore[assignment]
    elif asked.broken == "early":
        take_every_generation_for_old()
    with connection.schema_editor() as editor:
        for model in TABLES:
            editor.create_model(model)
    category = Category.objects.create(name="c")
    for number in range(1, 4):
        brand = Brand.objects.create(pk=number, name="old", slug=f"b{number}")
        Item.objects.create(
            pk=number, name="old", slug=f"i{number}", brand=brand, category=category
        )
    print(json.dumps({"isolation": isolation(), **Cases().run()}))


def isolation() -> str:
    """What the server says of a transaction, and what it does: does it see what others commit?"""
    from django.db import connection, transaction

    from shop.models import Brand

    def change() -> None:
        Brand.objects.filter(pk=3).update(name="new")

    cases = Cases()
    with transaction.atomic():
        before = Brand.objects.get(pk=3).name
        cases.change = change
        cases.meanwhile()
        sees = Brand.objects.get(pk=3).name != before
        if connection.vendor == "sqlite":
            assert not sees
            return "snapshot"
        variable = {"postgresql": "SHOW transaction_isolation", "mysql": "SELECT @@tx_isolation"}
        with connection.cursor() as cursor:
            cursor.execute(variable[connection.vendor])
            level = str(cursor.fetchone()[0]).replace("-", " ").lower()
    assert sees == (level == "read committed"), level
    return level


def read_generations_last() -> None:
    """When the page is stored, after all of its data."""
    from viewcache import bindings, lease

    bind, entries = bindings.bind, lease.entries
    put_off: list[Callable[[], None]] = []

    def later(making: Any, visit: Any, scopes: list[str], *, late: bool) -> None:
        put_off.append(lambda: bind(making, visit, scopes, late=False))

    def first(*given: Any) -> Any:
        while put_off:
            put_off.pop()()
        return entries(*given)

    bindings.bind = later
    lease.entries = first


def take_every_generation_for_old() -> None:
    """As if this process had known it before the request began."""
    from viewcache import bindings

    begin = bindings.begin

    def later() -> None:
        begin()
        bindings.current.get().began = 1 << 62  # type: ignore[union-attr]

    bindings.begin = later  # type: ignore[assignment]


class Cases:
    def __init__(self) -> None:
        self.change: Callable[[], None] | None = None

    def meanwhile(self) -> None:
        """Somebody else commits a change, once."""
        change, self.change = self.change, None
        if change is None:
            return

        def work() -> None:
            from django.db import connection

            try:
                change()
            finally:
                connection.close()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    def run(self) -> dict[str, Any]:
        from django.db import transaction
        from viewcache import by_value

        from shop.models import Brand, Category, Item

        def two_tables() -> str:
            first = Brand.objects.get(pk=1).slug
            self.meanwhile()
            return first + Item.objects.get(pk=1).name

        def two_rows() -> str:
            first = Item.objects.get(pk=2).slug
            self.meanwhile()
            return first + Item.objects.get(pk=1).name

        def row_then_list() -> str:
            first = Item.objects.get(pk=2).slug
            self.meanwhile()
            return first + str(list(Item.objects.order_by("pk").values_list("name", flat=True)))

        def open_query() -> str:
            found = []
            for category in Category.objects.iterator(chunk_size=1):
                self.meanwhile()
                found.append(category.name + Item.objects.get(pk=1).name)
            return str(found)

        def open_cursor() -> str:
            from django.db import connection

            with connection.cursor() as cursor:
                cursor.execute("SELECT id FROM shop_brand ORDER BY id")
                cursor.fetchone()
                self.meanwhile()
                name = Item.objects.get(pk=1).name
                return f"{cursor.fetchall()} {name}"

        def before_store() -> str:
            found = Item.objects.get(pk=1).name
            self.meanwhile()
            return found

        def list_before_store() -> str:
            found = str(list(Item.objects.order_by("pk").values_list("name", flat=True)))
            self.meanwhile()
            return found

        def by_slug() -> str:
            found = Item.objects.get(slug="i1").name
            self.meanwhile()
            return found

        def by_slug_between() -> str:
            # The row is known, and the page's own query has not run.
            find = by_value.find

            def find_and_wait(*words: Any) -> Any:
                found = find(*words)
                self.meanwhile()
                return found

            by_value.find = find_and_wait
            try:
                return Item.objects.get(slug="i1").name
            finally:
                by_value.find = find

        def by_slug_of_row() -> str:
            first = Item.objects.get(slug="i3").slug
            self.meanwhile()
            return first + str(Item.objects.filter(slug="i1").values_list("name").first())

        def by_slug_hidden() -> str:
            found = Item.objects.filter(slug="i1", name="new").exists()
            self.meanwhile()
            return str(found)

        pages = [
            by_slug,
            by_slug_between,
            by_slug_of_row,
            by_slug_hidden,
            two_tables,
            two_rows,
            row_then_list,
            open_query,
            open_cursor,
            before_store,
            list_before_store,
        ]

        def move() -> None:
            """Another row has the slug."""
            with transaction.atomic():
                Item.objects.filter(pk=1).update(slug="i9")
                Item.objects.filter(pk=2).update(slug="i1", name="new")

        def move_back() -> None:
            Item.objects.filter(pk=2).update(slug="i2")
            Item.objects.filter(pk=1).update(slug="i1")

        changes = {
            "move": move,
            "update": lambda: Item.objects.filter(pk=1).update(name="new"),
            "all": lambda: Item.objects.update(name="new"),
            "save": lambda: Item(pk=1, name="new", slug="i1", brand_id=1, category_id=1).save(),
        }
        old, stored, reasons = [], 0, set()
        for page in pages:
            for way in ("plain", "atomic", "outside", "early"):
                for warm in (False, True):
                    for name, change in changes.items():
                        move_back()
                        Item.objects.update(name="old")
                        get = self.site(page, way, transaction)
                        path = f"/{page.__name__}/{way}/{warm}/{name}/"
                        if warm:
                            # The URL's scopes are known, its page is not.
                            get(path)
                            Item.objects.update(name="older")
                            Item.objects.update(name="old")
                        self.change = change
                        _, visit = get(path)
                        reasons.add(f"{visit.status} {visit.reason}" if visit else "")
                        self.change = None
                        served, visit = get(path)
                        stored += visit.status in ("hit", "stored")
                        if served != page():
                            old.append(path)
        move_back()
        old += [name for name in ("raw", "manual") if self.is_old_after(name, before_store)]
        return {"old": old, "stored": stored, "reasons": sorted(reasons)}

    def is_old_after(self, kind: str, page: Callable[[], str]) -> bool:
        """
        Is a page old that somebody else got between a write and its commit, where the transaction
        is none of Django's blocks?
        """
        from django.db import connection, transaction

        from shop.models import Item

        Item.objects.update(name="old")
        get = self.site(page, "plain", transaction)
        self.change = lambda: get(f"/{kind}/")
        if kind == "raw":
            with connection.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute("UPDATE shop_item SET name = 'new' WHERE id = 1")
                self.meanwhile()
                cursor.execute("COMMIT")
        else:
            transaction.set_autocommit(False)
            Item.objects.filter(pk=1).update(name="new")
            self.meanwhile()
            transaction.commit()
            # Nobody says another word on this connection until the page is served.
            self.change = lambda: get(f"/{kind}/")
            self.meanwhile()
            transaction.set_autocommit(True)
        served, _ = get(f"/{kind}/")
        return served != page()

    def site(self, page: Callable[[], str], way: str, transaction: Any) -> Callable[[str], Any]:
        from django.http import HttpResponse
        from django.test import RequestFactory
        from viewcache import bindings, pipeline
        from viewcache.decorators import cache_page
        from viewcache.middleware import CacheMiddleware

        def view(request: Any) -> HttpResponse:
            return HttpResponse(getattr(request, "seen", None) or page())

        def read_early(request: Any) -> HttpResponse:
            request.seen = page()
            return within(request)

        cached: Any = CacheMiddleware(view)
        if way == "atomic":
            cached = CacheMiddleware(transaction.atomic(view))
        elif way == "outside":
            # As ATOMIC_REQUESTS does around a view that caches itself.
            cached = transaction.atomic(cache_page(600)(view))
        elif way == "early":
            # As a middleware does that reads before the look-up.
            within, cached = cached, read_early

        def get(path: str) -> Any:
            request = RequestFactory().get(path)
            bindings.begin()
            try:
                return cached(request).content.decode(), pipeline.visit_of(request)
            finally:
                bindings.end()

        return get


if __name__ == "__main__":
    main()
