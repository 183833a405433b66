"""What tracking costs the cache, counted by a real Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from backends import Backend
from blog.models import Author, Comment, Post, Tag
from django.contrib.auth.models import Group, User
from django.db import transaction
from tracking import Site, sent
from viewcache import bindings

pytestmark = pytest.mark.parametrize("backend", ["redis"], indirect=True)


@pytest.fixture
def tags() -> list[int]:
    found = Tag.objects.bulk_create(Tag(name=f"t{n}", slug=f"t{n}") for n in range(300))
    return [tag.pk for tag in found]


def rows(keys: list[int]) -> Callable[..., str]:
    """A view that reads these rows one by one."""
    return lambda request: ",".join(Tag.objects.get(pk=key).name for key in keys)


def extra(commands: dict[str, int], untracked: dict[str, int]) -> int:
    return sum(commands.values()) - sum(untracked.values())


def cold_and_warm(server: Any, site: Site, view: Any, url: str) -> list[dict[str, int]]:
    """The commands of a first render, and of two hits."""
    get = site.serve(view)
    found = []
    for _ in range(3):
        with sent(server) as commands:
            get(url)
        found.append(commands)
    assert site.status == "hit"
    return found


@pytest.mark.parametrize("count", [1, 63, 64, 65, 300])
@pytest.mark.usefixtures("transactional_db")
def test_a_hit_costs_what_it_cost_and_a_cold_miss_at_most_eight_more(
    backend: Backend, settings: Any, tracked: Site, tags: list[int], count: int
) -> None:
    view = rows(tags[:count])
    settings.VIEWCACHE = {}
    untracked = cold_and_warm(backend.server, tracked, view, "/untracked/")
    tracked.track()
    cold, *hits = cold_and_warm(backend.server, tracked, view, f"/tracked/{count}/")
    assert hits == [{"mget": 1}] * 2 == untracked[1:]
    assert extra(cold, untracked[0]) <= 8
    # Another URL over the same rows finds their generations there.
    cold, *hits = cold_and_warm(backend.server, tracked, view, f"/again/{count}/")
    assert hits == [{"mget": 1}] * 2
    assert extra(cold, untracked[0]) <= 8


@pytest.mark.parametrize("known", [(), ("blog_author",), ("blog_author", "blog_tag")])
@pytest.mark.usefixtures("transactional_db")
def test_tables_that_no_page_has_read_before_cost_no_command_each(
    backend: Backend,
    settings: Any,
    tracked: Site,
    tags: list[int],
    known: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = {f"{kind}:{table}": None for table in known for kind in ("table", "rows")}
    monkeypatch.setattr(bindings, "_tables_read", read)
    number = tags[0]

    def view(request: Any) -> str:
        found = [Author.objects.exists(), Tag.objects.get(pk=number), Post.objects.count()]
        found += [Comment.objects.count(), Tag.objects.get(slug="t7"), Tag.objects.count()]
        return str([*found, User.objects.filter(pk=number).first(), Group.objects.first()])

    settings.VIEWCACHE = {}
    untracked = cold_and_warm(backend.server, tracked, view, "/untracked/")
    tracked.track()
    cold, *hits = cold_and_warm(backend.server, tracked, view, "/tracked/")
    assert hits == [{"mget": 1}] * 2
    assert extra(cold, untracked[0]) <= 8


def test_a_page_of_many_rows_is_cached_and_fresh(
    backend: Backend, tracked: Site, tags: list[int]
) -> None:
    get = tracked.serve(rows(tags))
    for number in range(4):
        Tag.objects.filter(pk=tags[250]).update(name=f"new{number}")
        assert f"new{number}" in get()
        assert tracked.status == "stored"
        get()
        assert tracked.status == "hit"


def test_a_page_that_reads_other_rows_each_time_keeps_its_look_up_bounded(
    backend: Backend, tracked: Site, tags: list[int]
) -> None:
    turn = iter(range(100))

    def view(request: Any) -> str:
        start = next(turn) * 10
        return ",".join(Tag.objects.get(pk=tags[n % 300]).name for n in range(start, start + 100))

    get = tracked.serve(view)
    for _ in range(40):
        get()
        assert tracked.status == "stored"
        Tag.objects.create(name="x", slug=f"x{next(turn)}")
        Tag.objects.filter(slug__startswith="x").delete()
        Tag.objects.update(name="y")
    with sent(backend.server) as commands:
        get()
    assert sum(commands.values()) <= 12


def test_the_generations_of_a_table_are_bounded(backend: Backend, tracked: Site) -> None:
    from viewcache import _core, conf

    site = conf.site()
    scopes = {_core.new_rows("blog_tag", n, 1)[0] for n in range(1, 50_001)}
    assert len(scopes) == 4096
    assert len(site.generation_keys(sorted(scopes))) == 4096
    odd = {
        scope
        for n in range(20_000)
        for scope in _queries().analyse(
            "SELECT name FROM blog_tag WHERE id = %s", "sqlite", [f"{n:032x}"], False
        )[0]
        if scope.startswith("row:")
    }
    assert len(odd) <= 4096


def _queries() -> Any:
    from viewcache import databases

    return databases.queries()


def one_row() -> None:
    Tag.objects.filter(slug="t1").update(name="a")


def many_tables() -> None:
    with transaction.atomic():
        author = Author.objects.create(name="a", slug="a")
        post = Post.objects.create(title="p", slug="p", body="b", author=author)
        post.tags.set(Tag.objects.all()[:50])
        with transaction.atomic():
            Tag.objects.update(name="z")
        post.tags.clear()
        Tag.objects.filter(slug__startswith="t2").delete()


def rolled_back() -> None:
    with transaction.atomic():
        Tag.objects.update(name="z")
        transaction.set_rollback(True)


@pytest.mark.parametrize(("write", "cost"), [(one_row, 1), (many_tables, 1), (rolled_back, 0)])
def test_a_transaction_costs_one_command_whatever_it_wrote(
    backend: Backend, tracked: Site, tags: list[int], write: Callable[[], None], cost: int
) -> None:
    write_once = sent(backend.server)
    with write_once as commands:
        write()
    assert sum(commands.values()) == cost, commands
