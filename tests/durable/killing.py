"""
Kill a writer at each of its steps, and look at what the next requests are served.

A step is a statement, a commit or a command to the cache; a writer is a process of its own that
kills itself (SIGKILL) before or after one of them. Pages are served by another process. Prints, for
each step, whether the change was committed, and which of the next requests was served an old page.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "queries"))

from shop import project

REQUESTS = 3


class Steps:
    """Counts the steps of this process, and kills it at one of them."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self.count = 0
        self.says: Callable[[str], object] = lambda name: None

    def step(self, name: str) -> None:
        self.count += 1
        if self.count == self.kill_at:
            self.says(name)
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        self.step(f"before {name}")
        yield
        self.step(f"after {name}")

    def watch(self, kind: Any, name: str) -> None:
        """Count each call of this method."""
        method = getattr(kind, name)

        def watched(instance: Any, *args: Any, **kwargs: Any) -> Any:
            with self.around(name):
                return method(instance, *args, **kwargs)

        setattr(kind, name, watched)

    def execute(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        with self.around(str(sql)[:40]):
            return execute(sql, params, many, context)


# -- What is written ------------------------------------------------------------------------------


def save() -> None:
    from shop.models import Brand

    brand = Brand.objects.get(pk=1)
    brand.name += "'"
    brand.save()


def save_atomic() -> None:
    from django.db import transaction

    with transaction.atomic():
        save()


def create() -> None:
    from shop.models import Brand

    Brand.objects.create(name="new", slug=f"new{Brand.objects.count()}")


def nested() -> None:
    from django.db import transaction

    with transaction.atomic():
        save()
        try:
            with transaction.atomic():
                create()
                raise KeyError
        except KeyError:
            pass
        with transaction.atomic():
            create()


def by_hand() -> None:
    import viewcache
    from django.db import transaction
    from shop.models import Brand

    with transaction.atomic():
        Brand.objects.filter(pk=1).update(name=Brand.objects.get(pk=1).name + "+")
        viewcache.expire(path="/page/")


def delete() -> None:
    from shop.models import Brand

    create()
    Brand.objects.order_by("pk").last().delete()  # type: ignore[union-attr]


def update() -> None:
    from django.db.models import Value
    from django.db.models.functions import Concat
    from shop.models import Brand

    Brand.objects.filter(pk=1).update(name=Concat("name", Value("-")))


def raw() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_brand SET name = name || '~' WHERE id = 1")
        cursor.execute(
            "INSERT INTO shop_brand (name, slug) SELECT 'raw', 'raw' || count(*) FROM shop_brand"
        )


def own_transaction() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE shop_brand SET name = name || '*' WHERE id = 1")
        cursor.execute("COMMIT")


def without_autocommit() -> None:
    from django.db import transaction

    transaction.set_autocommit(False)
    save()
    transaction.commit()


WRITES = {
    function.__name__: function
    for function in (
        save,
        save_atomic,
        create,
        nested,
        by_hand,
        delete,
        update,
        raw,
        own_transaction,
        without_autocommit,
    )
}


# -- The processes --------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--write", required=True, choices=WRITES)
    parser.add_argument("--durable", action="store_true")
    parser.add_argument("--track", action="store_true")
    parser.add_argument("--no-cache", action="store_true", help="the writer reaches no cache")
    parser.add_argument("--break", dest="broken", default="", help="a part that is left out")
    asked = parser.parse_args()
    named = {"TRACK": True} if asked.track else {"EXPIRE_ON_SAVE": {"shop.Brand": "pages.of"}}
    project.configure(
        asked.database,
        asked.cache,
        VIEWCACHE={**named, "DURABLE": asked.durable},
        ROOT_URLCONF="pages",
        MIDDLEWARE=[
            "viewcache.middleware.UpdateCacheMiddleware",
            "viewcache.middleware.FetchFromCacheMiddleware",
        ],
    )
    print(json.dumps(Killing(asked).run()))


class Killing:
    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked

    def run(self) -> dict[str, Any]:
        self.prepare()
        server = Process(self.serve)
        found: list[dict[str, Any]] = []
        steps = 0
        while True:
            steps += 1
            before = server.ask("fill")
            assert before == server.ask("truth")
            told = self.kill(steps)
            served = [server.ask("get") for _ in range(REQUESTS)]
            truth = server.ask("truth")
            found.append(
                {
                    "step": told,
                    "committed": truth != before,
                    "old": [number for number, body in enumerate(served) if body != truth],
                }
            )
            if told == "end":
                break
        rows = server.ask("rows")
        server.end()
        return {"steps": found, "rows": rows}

    def prepare(self) -> None:
        """In a process of its own, so that no connection is inherited."""

        def make() -> None:
            from django.core.management import call_command
            from django.db import connection
            from shop.models import Brand

            call_command("migrate", run_syncdb=True, verbosity=0)
            Brand.objects.create(pk=1, name="brand", slug="brand")
            with connection.cursor() as cursor:
                for statement in connection.ops.sequence_reset_sql(_NoStyle(), [Brand]):
                    cursor.execute(statement)

        assert os.waitpid(fork(make), 0)[1] == 0

    def kill(self, step: int) -> str:
        """A writer that is killed at this step; which one it was, or ``"end"``."""
        reads, writes = os.pipe()

        def write() -> None:
            from django.core.cache.backends.redis import RedisCache
            from django.db import connections

            connection = connections["default"]
            steps = Steps(step)
            steps.says = lambda name: os.write(writes, name.encode())
            if self.asked.no_cache:
                from django.conf import settings

                settings.CACHES["default"]["LOCATION"] = "redis://127.0.0.1:1"
            if self.asked.broken == "close":
                from viewcache.store import Store

                Store.close = lambda self, entries: None  # type: ignore[method-assign]
            elif self.asked.broken == "saves":
                from django.db.models import Model
                from viewcache import durable

                Model.save_base = durable._save_base  # type: ignore[method-assign]
            for name in ("get_many", "set", "set_many", "add"):
                steps.watch(RedisCache, name)
            steps.watch(type(connection), "_commit")
            connection.execute_wrappers.insert(0, steps.execute)
            WRITES[self.asked.write]()

        child = fork(write)
        os.close(writes)
        _, status = os.waitpid(child, 0)
        with os.fdopen(reads) as pipe:
            name = pipe.read()
        assert os.WIFSIGNALED(status) == bool(name), f"{name}: {status}"
        assert name or status == 0
        return name or "end"

    def serve(self, line: str) -> Any:
        """The process that serves."""
        import pages
        from django.core.cache import cache
        from django.test import Client
        from viewcache import bindings, outbox, pipeline
        from viewcache.models import PendingExpiry

        match line:
            case "fill":
                # A scope that a killed writer has closed opens by time; a test does not wait.
                cache.clear()
                PendingExpiry.objects.all().delete()
                answers = [Client().get("/page/") for _ in range(3)]
                visit = pipeline.visit_of(answers[-1].wsgi_request)  # type: ignore[attr-defined]
                assert visit is not None
                assert visit.status == "hit", (visit.status, visit.reason)
                return answers[-1].content.decode()
            case "get":
                if self.asked.no_cache:
                    # As a process that begins, or when it is time.
                    outbox._Clock.looked = 0
                    outbox.LOOK_SECONDS = 0
                return Client().get("/page/").content.decode()
            case "rows":
                return PendingExpiry.objects.count()
        with bindings.aside():
            return pages.text()


class _NoStyle:
    def __getattr__(self, name: str) -> Callable[[str], str]:
        return str


class Process:
    """A process that answers lines."""

    def __init__(self, answer: Callable[[str], Any]) -> None:
        there, mine = os.pipe(), os.pipe()

        def serve() -> None:
            with os.fdopen(there[0]) as lines, os.fdopen(mine[1], "w") as answers:
                for line in lines:
                    print(json.dumps(answer(line.strip())), file=answers, flush=True)

        self.pid = fork(partial(_closing, [there[1], mine[0]], serve))
        os.close(there[0])
        os.close(mine[1])
        self.lines, self.answers = os.fdopen(there[1], "w"), os.fdopen(mine[0])

    def ask(self, line: str) -> Any:
        print(line, file=self.lines, flush=True)
        return json.loads(self.answers.readline())

    def end(self) -> None:
        self.lines.close()
        os.waitpid(self.pid, 0)


def _closing(descriptors: list[int], function: Callable[[], object]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
    function()


def fork(function: Callable[[], object]) -> int:
    """A child that calls this and ends. This process itself opens no connection."""
    if child := os.fork():
        return child
    status = 1
    try:
        function()
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
