"""
``manage.py viewcache explain | expire``: see the page cache, and steer it.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from functools import partial
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost, ImproperlyConfigured
from django.core.handlers.wsgi import WSGIRequest
from django.core.management.base import BaseCommand, CommandError
from django.urls import NoReverseMatch, reverse

from viewcache import _core, conf, expiry, telling
from viewcache.explain import explain
from viewcache.scopes import in_every_language
from viewcache.store import Store

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Command(BaseCommand):
    help = "Sees and steers the page cache: why a page is the cached one, and what to expire."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        _explain_arguments(
            commands.add_parser(
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
            commands.add_parser(
                "expire",
                help="expire pages: every variant of them",
                description=(
                    "Expires pages, whatever their host, query, language or cookies: each is "
                    "rendered anew at its next request. All that is given is checked first, and "
                    "then expired by one command to the cache."
                ),
            )
        )

    def handle(self, *args: Any, command: str, **options: Any) -> None:
        try:
            getattr(self, f"handle_{command}")(**options)
        except CommandError:
            raise
        except DisallowedHost as error:
            raise CommandError(f"{error} Or give another with --host.") from error
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
        found = explain(request_for(url, cookie, header, host, method), render=render)
        other = None
        if against is not None:
            other = explain(request_for(url, against, header, host, method), render=render)
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
        everything: bool,
        dry_run: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        if (view_args or view_kwargs) and not view:
            raise CommandError("--args and --kwargs belong to a --view. Name it, too.")
        if not (path or tree or tag or view or everything):
            raise CommandError(
                "Nothing to expire was given. Give --path, --tree, --tag or --view; to expire the "
                "whole site, --everything."
            )
        named = _named(view_kwargs)
        for name in view:
            url = partial(reverse, name, args=view_args, kwargs=named)
            path = [*path, *in_every_language(url)]
        what: dict[str, Any] = {"path": path, "tree": tree, "tag": tag, "everything": everything}
        if dry_run:
            scopes = _scopes(**what)
            found = Store().fetch([], conf.site().generation_keys(scopes))
            told = f"Would expire {_count(scopes)}; {len(found)} of them can have pages:"
        else:
            scopes = list(expiry.expire(**what).scopes)
            told = f"Expired {_count(scopes)}:"
        if verbosity > 0:
            self.stdout.write(told)
            for scope in scopes:
                self.stdout.write(f"  {scope}")


def _expire_arguments(parser: ArgumentParser) -> None:
    def several(name: str, metavar: str, text: str) -> None:
        parser.add_argument(
            name, metavar=metavar, nargs="+", action="extend", default=[], help=text
        )

    several("--path", "PATH", "paths or full URLs; their query does not matter")
    several("--tree", "PATH", "likewise, with every path below them")
    several("--tag", "TAG", "tags, such as blog.post:12")
    several("--view", "NAME", "views by the names of their URLs, in every language")
    # BaseCommand keeps "args" for itself.
    parser.add_argument(
        "--args", dest="view_args", metavar="VALUE", nargs="+", help="the arguments of the views"
    )
    parser.add_argument(
        "--kwargs", dest="view_kwargs", metavar="NAME=VALUE", nargs="+", help="likewise, by name"
    )
    parser.add_argument("--everything", action="store_true", help="the whole site")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be expired")


def _named(pairs: list[str] | None) -> dict[str, str] | None:
    if pairs is None:
        return None
    for pair in pairs:
        if not pair.partition("=")[0].isidentifier() or "=" not in pair:
            raise CommandError(f"{pair!r} names no argument. Give NAME=VALUE, such as pk=12.")
    return dict(pair.split("=", 1) for pair in pairs)


def _scopes(path: list[str], tree: list[str], tag: list[str], everything: bool) -> list[str]:
    found = [scope for item in path for scope in _core.scopes_of_path(item)]
    found += [
        scope
        for item in [*tree, *(["/"] if everything else [])]
        for scope in _core.scopes_of_tree(item)
    ]
    return list(dict.fromkeys([*found, *map(_core.scope_of_tag, tag)]))


def _count(scopes: list[str]) -> str:
    return f"{len(scopes)} scope{'s' if len(scopes) != 1 else ''}"


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


# -- Requests -------------------------------------------------------------------------------------


def request_for(
    url: str,
    cookie: str | None = None,
    headers: list[str] | None = None,
    host: str | None = None,
    method: str = "GET",
) -> WSGIRequest:
    """The request that a visitor would send; ``CommandError`` for what is no URL or header."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise CommandError(f"{url!r} is no URL: {error}.") from error
    if parts.scheme not in ("", "http", "https") or not (parts.path or parts.netloc):
        raise CommandError(f"{url!r} is no URL of this site. Give a path such as /blog/.")
    if not parts.netloc and not parts.path.startswith("/"):
        raise CommandError(f"{url!r} is a relative path. Begin it with a slash.")
    if bool(parts.netloc) != bool(parts.scheme):
        raise CommandError(f"{url!r} has no scheme. Give https://{parts.netloc}{parts.path}.")
    scheme = parts.scheme or ("https" if settings.SECURE_SSL_REDIRECT else "http")
    host = host or parts.netloc.rpartition("@")[2] or _first_host()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote_to_bytes(parts.path or "/").decode("latin-1"),
        "QUERY_STRING": parts.query,
        "SERVER_NAME": parts.hostname or "localhost",
        "SERVER_PORT": str(port or (443 if scheme == "https" else 80)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": host,
        "wsgi.url_scheme": scheme,
        "wsgi.input": BytesIO(),
    }
    if scheme == "https" and settings.SECURE_PROXY_SSL_HEADER:
        name, value = settings.SECURE_PROXY_SSL_HEADER
        environ[name] = value
    for line in headers or ():
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise CommandError(f"{line!r} is no header. Give 'Name: value'.")
        name = name.strip().upper().replace("-", "_")
        plain = name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        environ[name if plain else f"HTTP_{name}"] = value.strip()
    if cookie is not None:
        environ["HTTP_COOKIE"] = cookie
    return WSGIRequest(environ)


def _first_host() -> str:
    """A host that the site answers to."""
    for host in settings.ALLOWED_HOSTS:
        if host != "*":
            return str(host).lstrip(".")
    return "localhost"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _one_line(error: Exception) -> str:
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split())
