"""
``manage.py viewcache explain | why-expired | expire | list | stats | deliver | warm``: see the page
cache, and steer it.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import SUPPRESS, ArgumentParser
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import DisallowedHost, ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.urls import NoReverseMatch, reverse

from viewcache import _core, conf, expiry, inventory, outbox, telling, warming, why_expired
from viewcache.explaining import explain
from viewcache.management import listing
from viewcache.scopes import in_every_language, of_path, of_tree
from viewcache.store import Store
from viewcache.visitor import request_for

#: Paths that are expired by one command, and scopes that are named.
_BATCH = 5000
_SHOWN = 50

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Command(BaseCommand):
    help = "Sees and steers the page cache: why a page is the cached one, and what to expire."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        add_parser = partial(commands.add_parser, parents=[_djangos_options()])
        _explain_arguments(
            add_parser(
                "explain",
                help="why a URL's page is the cached one, or not",
                description=(
                    "Tells why a request gets a cached page, or why not: what its key is made of "
                    "and what was left out, by which scopes it can be expired, and with --against "
                    "what makes two visitors' pages differ. Changes nothing. The request goes "
                    "through the site's middleware; the view runs with --render only."
                ),
            )
        )

        _expire_arguments(
            add_parser(
                "expire",
                help="expire pages: every variant of them",
                description=(
                    "Expires pages, whatever their host, query, language or cookies: each is "
                    "rendered anew at its next request. All that is given is checked first, and "
                    "then expired by one command to the cache. A tag that no page has is an "
                    "error, and nothing is expired. Patterns, and views whose arguments are not "
                    "given, reach the paths that the inventory knows (see list)."
                ),
            )
        )

        listing.list_arguments(
            add_parser(
                "list",
                help="the URLs that are cached",
                description=(
                    "Lists the URLs whose pages would be served from the cache, with the number "
                    "of their pages (variants by language, cookies and other headers), the age of "
                    "the oldest and their size. It reads the records of all of them. What is "
                    "cached is known from the inventory, which holds VIEWCACHE['INVENTORY'] pages "
                    "and at most 32 of one URL. Changes nothing."
                ),
            )
        )

        listing.stats_arguments(
            add_parser(
                "stats",
                help="how much is cached",
                description=(
                    "Counts what is cached: URLs, pages, their size and age, their languages; "
                    "pages that are in the cache and not served any more; how full the inventory "
                    "is; and whether the settings allow early hits, or all that is in their way. "
                    "It reads the records of all pages that the inventory knows. Changes nothing."
                ),
            )
        )

        _warm_arguments(
            add_parser(
                "warm",
                help="render pages into the cache",
                description=(
                    "Renders URLs into the cache, as a visitor without cookies would get them: "
                    "those given, those of a file, those of the site's sitemap; those whose "
                    "language is not part of the URL, in each language. Fresh pages stay as "
                    "they are."
                ),
            )
        )

        _deliver_arguments(
            add_parser(
                "deliver",
                help="expire what changes still owe the cache (VIEWCACHE['DURABLE'])",
                description=(
                    "Expires what transactions have written down and the cache has not taken: "
                    "their process was killed, or the cache was down. Requests do the same; the "
                    "command is for a timer, and for sites that have few requests."
                ),
            )
        )

        why_expired.add_arguments(
            add_parser(
                "why-expired",
                help=why_expired.HELP,
                description=why_expired.DESCRIPTION,
            )
        )

    def handle(self, *args: Any, command: str, **options: Any) -> None:
        try:
            getattr(self, f"handle_{command.replace('-', '_')}")(**options)
        except CommandError:
            raise
        except DisallowedHost as error:
            raise CommandError(
                f"{error} Or give another: with --host where the URL names none, else in the URL "
                "(those of a sitemap have the host of the Sites table)."
            ) from error
        except (ValueError, LookupError, NoReverseMatch, ImproperlyConfigured) as error:
            raise CommandError(_one_line(error)) from error
        except Exception as error:
            if options.get("traceback"):
                raise
            raise CommandError(f"{type(error).__name__}: {_one_line(error)}") from error

    # -- explain ----------------------------------------------------------------------------------

    def handle_explain(
        self,
        *,
        url: str,
        cookie: str | None,
        header: list[str],
        host: str | None,
        method: str,
        against: str | None,
        render: bool,
        json: bool,
        **options: Any,
    ) -> None:
        request = partial(request_for, url, headers=header, host=host, method=method)
        found = explain(request(cookie=cookie), render=render)
        other = None
        if against is not None:
            other = explain(request(cookie=against), render=render)
        if json:
            told = found.as_dict()
            if other is not None:
                told["against"] = other.as_dict()
                told["differences"] = [vars(item) for item in found.differences(other)]
            self.stdout.write(_json(told))
            return
        self.stdout.write(telling.tell(found))
        if other is not None:
            self.stdout.write(telling.tell_differences(found, other))

    # -- why-expired ------------------------------------------------------------------------------

    def handle_why_expired(self, **options: Any) -> None:
        why_expired.handle(self, options)

    # -- expire -----------------------------------------------------------------------------------

    def handle_expire(
        self,
        *,
        path: list[str],
        tree: list[str],
        tag: list[str],
        view: list[str],
        view_args: list[str] | None,
        view_kwargs: list[str] | None,
        url_pattern: list[str],
        everything: bool,
        soft: bool,
        dry_run: bool,
        json: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        if (view_args or view_kwargs) and not view:
            raise CommandError("--args and --kwargs belong to a --view. Name it, too.")
        if not (path or tree or tag or view or url_pattern or everything):
            raise CommandError(
                "Nothing to expire was given. Give --path, --tree, --tag, --view or "
                "--url-pattern; to expire the whole site, --everything."
            )
        path = [*path, *_paths_of_views(view, view_args, _named(view_kwargs))]
        if url_pattern:
            path += _paths_of(inventory.read(listing.patterns(url_pattern)).pages)
        what: dict[str, Any] = {"tree": tree, "tag": tag, "everything": everything}
        scopes = _scopes(path, **what)
        _check_tags(tag)
        if _is_local():
            self.stderr.write("The cache is local memory: no page of another process is reached.")
        alive = len(Store().fetch([], conf.site().generation_keys(scopes))) if dry_run else 0
        if not dry_run:
            self._expire(list(dict.fromkeys(path)), what, soft, verbosity)
        if json:
            self.stdout.write(_json({"scopes": scopes, "expired": not dry_run}))
        elif verbosity > 0:
            can = f"; {alive} of them can have pages" if dry_run else ""
            done = "Would expire" if dry_run else "Expired"
            done += " softly" if soft else ""
            self.stdout.write(f"{done} {_count(scopes, 'scope')}{can}{':' if scopes else '.'}")
            shown = scopes if verbosity > 1 else scopes[:_SHOWN]
            for scope in shown:
                self.stdout.write(f"  {scope}")
            if more := len(scopes) - len(shown):
                self.stdout.write(f"  … and {more} more; --verbosity 2 names them.")

    def _expire(self, paths: list[str], what: dict[str, Any], soft: bool, verbosity: int) -> None:
        shows = verbosity == 1 and len(paths) > _BATCH and self.stdout.isatty()
        if paths[_BATCH:] == [] and (paths or any(what.values())):
            expiry.expire(path=paths, **what, soft=soft)
            return
        if any(what.values()):
            expiry.expire(**what, soft=soft)
        for start in range(0, len(paths), _BATCH):
            if shows:
                self.stdout.write(f"\r{start} of {len(paths)} paths\x1b[K", ending="")
            expiry.expire(path=paths[start : start + _BATCH], soft=soft)
        if shows:
            self.stdout.write("\r\x1b[K", ending="")

    # -- list, stats ------------------------------------------------------------------------------

    def handle_list(
        self,
        *,
        url_pattern: list[str],
        sort: str,
        limit: int | None,
        all: bool,
        json: bool,
        **options: Any,
    ) -> None:
        rows, known = listing.found_rows(url_pattern, sort, limit, stale=all)
        if json:
            now = time.time()
            self.stdout.write(_json([listing.as_dict(row, now) for row in rows]))
            return
        for line in listing.told_list(rows, known):
            self.stdout.write(line)

    def handle_stats(self, *, url_pattern: list[str], json: bool, **options: Any) -> None:
        found = listing.statistics(url_pattern)
        if json:
            self.stdout.write(_json(found))
            return
        for line in listing.told_statistics(found):
            self.stdout.write(line)

    # -- deliver ----------------------------------------------------------------------------------

    def handle_deliver(self, *, database: str | None, verbosity: int, **options: Any) -> None:
        if database is not None and database not in connections:
            raise CommandError(
                f"There is no database {database!r}. Known: {', '.join(connections)}."
            )
        count = outbox.deliver(database)
        if verbosity:
            self.stdout.write(f"Delivered what {count} transaction{'s' * (count != 1)} owed.")

    # -- warm -------------------------------------------------------------------------------------

    def handle_warm(
        self,
        *,
        urls: list[str],
        file: str | None,
        sitemap: str | None,
        language: list[str] | None,
        header: list[str],
        host: str | None,
        workers: int,
        verbosity: int,
        **options: Any,
    ) -> None:
        if workers < 1:
            raise CommandError("--workers takes a whole number, 1 or more.")
        given = [*urls, *_lines_of(file)]
        if sitemap is not None:
            given += warming.urls_of_sitemap(sitemap or warming.sitemap_path(), host=host)
        if not given:
            taken = [word for word in language or () if "/" in word]
            raise CommandError(
                f"No URL was given: --language has taken {taken[0]!r}. Give URLs before it."
                if taken
                else "No URL was given. Give URLs, --file or --sitemap."
            )
        requests = [
            request
            for url in dict.fromkeys(given)
            for request in warming.requests_for(url, language, headers=header, host=host)
        ]
        if _is_local():
            self.stderr.write("The cache is local memory: what is warmed ends with this command.")
        counts: Counter[str] = Counter()
        problems: list[str] = []
        shows = verbosity == 1 and self.stdout.isatty()
        for number, page in enumerate(warming.warm(requests, workers), 1):
            counts[page.outcome] += 1
            if page.status >= 400:
                problems.append(f"{page.url} ({page.status})")
            if shows:
                self.stdout.write(f"\r{number} of {len(requests)} pages\x1b[K", ending="")
            if verbosity > 1 or (verbosity and page.outcome == warming.NOT_STORED):
                reason = (
                    f" ({telling.refusal(page.reason)})".replace(".)", ")") if page.reason else ""
                )
                language_shown = f" [{page.language}]" if page.language else ""
                clear = "\r\x1b[K" if shows else ""
                self.stdout.write(f"{clear}{page.outcome}: {page.url}{language_shown}{reason}")
        if verbosity:
            clear = "\r\x1b[K" if shows else ""
            told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
            self.stdout.write(f"{clear}{_count(requests, 'page')}: {told}.")
        if problems:
            shown = ", ".join(problems[:5]) + (" …" if len(problems) > 5 else "")
            raise CommandError(f"{_count(problems, 'page')} answered with an error: {shown}")


def _djangos_options() -> ArgumentParser:
    """
    The options that every command of Django's has, for behind the name of ours, too: argparse takes
    them before it only. What is not given there leaves alone what was given before.
    """
    parser = ArgumentParser(add_help=False, argument_default=SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, choices=range(4), help=SUPPRESS)
    for name in ("--settings", "--pythonpath"):
        parser.add_argument(name, help=SUPPRESS)
    for name in ("--traceback", "--no-color", "--force-color", "--skip-checks"):
        parser.add_argument(name, action="store_true", help=SUPPRESS)
    return parser


def _deliver_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--database", metavar="ALIAS", help="of this database only (all)")


def _warm_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("urls", metavar="URL", nargs="*", help="paths or full URLs")
    parser.add_argument("--file", metavar="FILE", help="URLs, one a line; - is standard input")
    parser.add_argument(
        "--sitemap",
        metavar="PATH",
        nargs="?",
        const="",
        help="all URLs of the site's sitemap (the one of django.contrib.sitemaps, or /sitemap.xml)",
    )
    parser.add_argument(
        "--language",
        metavar="CODE",
        nargs="+",
        help="the languages of URLs that name none (all of LANGUAGES)",
    )
    parser.add_argument(
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="another header, such as 'Accept: text/html'; may be repeated",
    )
    parser.add_argument("--host", help="the host, where a URL names none (ALLOWED_HOSTS' first)")
    parser.add_argument(
        "--workers", metavar="N", type=int, default=1, help="how many render at once (1)"
    )


def _lines_of(file: str | None) -> list[str]:
    if file is None:
        return []
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _expire_arguments(parser: ArgumentParser) -> None:
    def several(name: str, metavar: str, text: str) -> None:
        parser.add_argument(
            name, metavar=metavar, nargs="+", action="extend", default=[], help=text
        )

    several("--path", "PATH", "paths or full URLs; their query does not matter")
    several("--tree", "PATH", "likewise, with every path below them")
    several("--tag", "TAG", "tags, such as blog.post:12")
    several(
        "--view",
        "NAME",
        "views by the names of their URLs, in every language; without the arguments that one "
        "needs, all of its pages that the inventory knows",
    )
    # BaseCommand keeps "args" for itself.
    parser.add_argument(
        "--args", dest="view_args", metavar="VALUE", nargs="+", help="the arguments of the views"
    )
    parser.add_argument(
        "--kwargs", dest="view_kwargs", metavar="NAME=VALUE", nargs="+", help="likewise, by name"
    )
    listing.pattern_argument(
        parser, "the paths, with whatever query, of cached URLs in which this occurs"
    )
    parser.add_argument("--everything", action="store_true", help="the whole site")
    parser.add_argument(
        "--soft",
        action="store_true",
        help="let pages that may be stale be served while one request renders them anew",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be expired")
    parser.add_argument("--json", action="store_true", help="for machines")


def _named(pairs: list[str] | None) -> dict[str, str] | None:
    if pairs is None:
        return None
    for pair in pairs:
        if not pair.partition("=")[0].isidentifier() or "=" not in pair:
            raise CommandError(f"{pair!r} names no argument. Give NAME=VALUE, such as pk=12.")
    return dict(pair.split("=", 1) for pair in pairs)


def _scopes(path: list[str], tree: list[str], tag: list[str], everything: bool) -> list[str]:
    found = [scope for item in path for scope in of_path(item)]
    found += [scope for item in [*tree, *(["/"] if everything else [])] for scope in of_tree(item)]
    return list(dict.fromkeys([*found, *map(_core.scope_of_tag, tag)]))


def _paths_of(pages: Iterable[inventory.Listed]) -> list[str]:
    # Scopes have paths decoded, and a path that is given is decoded.
    return [quote(page.path) for page in pages]


def _paths_of_views(
    names: list[str], args: list[str] | None, kwargs: dict[str, str] | None
) -> list[str]:
    """What views have for URLs with these arguments; without any, those that are cached."""
    paths, cached = [], []
    for name in names:
        try:
            paths += in_every_language(partial(reverse, name, args=args, kwargs=kwargs))
        except NoReverseMatch:
            if args is not None or kwargs is not None or not inventory.has_view(name):
                raise
            cached.append(name)
    if cached:
        paths += _paths_of(inventory.of_views(inventory.read().pages, cached))
    return paths


def _is_local() -> bool:
    """Is the cache this process's own?"""
    return isinstance(Store().generations, LocMemCache)


def _check_tags(tags: list[str]) -> None:
    """A page that is served has its tags' generations: a tag without one is nobody's."""
    scopes = dict.fromkeys(_core.scope_of_tag(tag) for tag in tags)
    keys = conf.site().generation_keys(list(scopes))
    found = Store().fetch([], keys) if keys else {}
    unknown = [tag for tag, key in zip(dict.fromkeys(tags), keys, strict=True) if key not in found]
    if unknown:
        named = ", ".join(repr(tag) for tag in unknown)
        raise CommandError(
            f"No cached page has the tag {named}; nothing was expired. Spell it as in the code "
            "or as a model's, such as blog.post:12."
        )


def _count(things: Sequence[Any], what: str) -> str:
    return f"{len(things)} {what}{'s' if len(things) != 1 else ''}"


def _explain_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="a path such as /blog/?page=2, or a full URL")
    parser.add_argument("--cookie", metavar="'A=1; B=2'", help="the Cookie header of the visitor")
    parser.add_argument(
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="another header, such as 'Accept-Language: fr'; may be repeated",
    )
    parser.add_argument("--host", help="the host, where the URL names none (ALLOWED_HOSTS' first)")
    parser.add_argument("--method", choices=METHODS, type=str.upper, default="GET")
    parser.add_argument(
        "--against",
        metavar="'B=2; A=1'",
        help="the Cookie header of a second visitor: what makes their pages differ?",
    )
    parser.add_argument(
        "--render",
        action="store_true",
        help="run the view, too: which cookies are read, and where; may the page be stored?",
    )
    parser.add_argument("--json", action="store_true", help="for machines")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _one_line(error: Exception) -> str:
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split())
