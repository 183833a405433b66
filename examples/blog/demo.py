#!/usr/bin/env python
"""The example blog over HTTP: pages are cached, a post is saved, every page is fresh.

    python examples/blog/demo.py

Needs Django and viewcache, and nothing else. A server of its own runs on a free port, with a
database in a temporary directory. The exit status is 0 when every page was cached, and every page
was fresh after the save. `BLOG_CACHE=stock` shows what Django's own page cache does instead.
"""

import contextlib
import http.client
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

MANAGE = Path(__file__).resolve().with_name("manage.py")
HERE = "127.0.0.1"

HOSTS = ("blog.example.com", "www.example.com")
LANGUAGES = ("en", "fr")
VISITORS = ("sessionid csrftoken _ga", "djdt csrftoken sessionid", "_ga djdt csrftoken")
OTHER_COOKIES = {"_ga": "GA1.1.{}.1763856000", "djdt": "hide{}"}

STARTS = 3  # another program may take the port that was free a moment ago
PATIENCE = 60  # seconds until the server answers; a loaded machine takes a few


class DemoError(Exception):
    """The show cannot go on; the text says why."""


@dataclass
class Row:
    """One visitor's look at one page, three times: first, again, and after the save."""

    visitor: int
    host: str
    path: str
    seen: list["Page"] = field(default_factory=list)

    @property
    def is_cached(self):
        first, second = self.seen[:2]
        return first.rendered_at == second.rendered_at

    @property
    def is_fresh(self):
        return self.seen[2].has_new_title


@dataclass
class Page:
    rendered_at: str
    has_new_title: bool


# The browser ---------------------------------------------------------------------------------


@dataclass
class Browser:
    """Just enough of one: it keeps its cookies and can fill in a form."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path, host=HERE, order=0):
        return self.request("GET", path, host, order)

    def post(self, path, **fields):
        """Send a form; the page at `path` must have given the CSRF cookie before."""
        fields["csrfmiddlewaretoken"] = self.cookies["csrftoken"]
        return self.request("POST", path, HERE, 0, urllib.parse.urlencode(fields))

    def request(self, method, path, host, order, body=None):
        headers = {"Host": host, "Cookie": self.cookie_header(order)}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        with contextlib.closing(http.client.HTTPConnection(HERE, self.port, timeout=30)) as server:
            server.request(method, path, body, headers)
            response = server.getresponse()
            text = response.read().decode()
        if response.status >= 400:
            raise DemoError(f"{method} {path} answered {response.status} {response.reason}")
        for cookie in response.headers.get_all("Set-Cookie", ()):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return text

    def cookie_header(self, order):
        """The cookies, in another order for every `order`."""
        pairs = [f"{name}={value}" for name, value in self.cookies.items()]
        turn = order % len(pairs) if pairs else 0
        return "; ".join(pairs[turn:] + pairs[:turn])


# The server ----------------------------------------------------------------------------------


@contextlib.contextmanager
def site():
    """A fresh blog behind a real server; its port."""
    with tempfile.TemporaryDirectory(prefix="viewcache-demo-") as directory:
        log = Path(directory, "server.log")
        environ = os.environ | {
            "BLOG_DATABASE": str(Path(directory, "blog.sqlite3")),
            "BLOG_CACHE_PREFIX": Path(directory).name,  # a shared Redis keeps earlier shows
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "DEBUG": "1",
        }
        environ.pop("DATABASE_URL", None)
        manage("migrate", "--verbosity=0", environ=environ)
        manage("seed", environ=environ)
        server, port = start(environ, log)
        try:
            yield port
        except DemoError as error:
            tail = log.read_text().splitlines()[-20:]
            raise DemoError("\n".join([str(error), "The server's last words:", *tail])) from error
        finally:
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def manage(*arguments, environ):
    done = subprocess.run(
        [sys.executable, MANAGE, *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise DemoError(f"manage.py {arguments[0]} failed:\n{done.stdout}")


def start(environ, log):
    for _ in range(STARTS):
        port = free_port()
        command = [sys.executable, MANAGE, "runserver", "--noreload", f"{HERE}:{port}"]
        with log.open("w") as output:
            server = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            if is_up(server, port):
                return server, port
        except BaseException:
            server.kill()
            server.wait()
            raise
        server.kill()
        server.wait()
    raise DemoError(f"The server did not start:\n{log.read_text()}")


def free_port():
    with socket.create_server((HERE, 0)) as probe:
        return probe.getsockname()[1]


def is_up(server, port):
    """Wait until the server takes connections; False when it has ended or takes too long."""
    deadline = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HERE, port), timeout=1):
            return server.poll() is None
        time.sleep(0.1)
    return False


# The show ------------------------------------------------------------------------------------


def show(port):
    """Let all visitors look three times; the rows that they saw."""
    slug, title = second_page_post(port)
    new_title = f"{title}, revised"
    visitors = [visitor(port, number, names, slug) for number, names in enumerate(VISITORS, 1)]
    rows = [
        Row(number, host, f"/{language}/{page}")
        for number, host, language, page in product(
            range(len(VISITORS)), HOSTS, LANGUAGES, (f"posts/{slug}/", "posts/?page=2")
        )
    ]

    def look(order):
        for row in rows:
            text = visitors[row.visitor].get(row.path, row.host, order)
            stamp = re.search(r'id="rendered-at">([\d:.]+)<', text)[1]
            row.seen.append(Page(stamp, new_title in text))

    look(order=0)
    look(order=1)
    save(port, slug, new_title)
    look(order=2)
    return title, rows


def second_page_post(port):
    """The slug and the title of a post that stands on the second page of the list."""
    text = Browser(port).get("/en/posts/?page=2")
    return re.search(r'<h2><a href="/en/posts/([\w-]+)/">([^<]+)<', text).groups()


def visitor(port, number, names, slug):
    """A browser with the cookies of these names, in this order; the site gives out its own."""
    browser = Browser(port)
    browser.get("/en/language/")
    if "sessionid" in names:
        browser.post(f"/en/posts/{slug}/keep/")
    given = browser.cookies
    for name, value in OTHER_COOKIES.items():
        given[name] = value.format(number)
    browser.cookies = {name: given[name] for name in names.split()}
    return browser


def save(port, slug, title):
    """Save the post as an editor does: log in, open the form, send it."""
    editor = Browser(port)
    editor.get("/en/login/")
    editor.post("/en/login/", username="editor", password="editor")
    editor.get(f"/en/posts/{slug}/edit/")
    editor.post(f"/en/posts/{slug}/edit/", title=title, body="A new text, a moment old.")


# What a person reads -------------------------------------------------------------------------


def report(title, rows):
    """Print the table and the verdict; whether all was well."""
    heads = ("visitor's cookies", "host", "language", "page", "first", "second", "after the save")
    lines = [cells(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]

    print(f'\nThe post "{title}" is saved between the second and the third request.')
    print("Visitors send their cookies in another order each time.\n")
    print_line(heads, widths)
    print_line(["─" * width for width in widths], widths)
    last = None
    for row, line in zip(rows, lines, strict=True):
        if row.visitor == last:
            line = ("", *line[1:])
        last = row.visitor
        print_line(line, widths, ok=row.is_cached and row.is_fresh)

    cached, fresh = sum(row.is_cached for row in rows), sum(row.is_fresh for row in rows)
    all_well = cached == fresh == len(rows)
    verdict = f"{cached} of {len(rows)} were cached, {fresh} of {len(rows)} fresh after one save."
    print(f"\n{painted(verdict, all_well)}")
    return all_well


def cells(row):
    first, second, third = (page.rendered_at[:-3] for page in row.seen)
    _, language, page = row.path.split("/", 2)
    return (
        VISITORS[row.visitor],
        row.host,
        language,
        "?page=2" if "?" in page else "the post",
        first,
        f"{second} {'cached' if row.is_cached else 'NOT CACHED'}",
        f"{third} {'fresh' if row.is_fresh else 'OLD'}",
    )


def print_line(line, widths, ok=True):
    text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
    print(text if ok else painted(text, ok))


def painted(text, ok):
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\033[{32 if ok else 31}m{text}\033[0m"


def print_how_to_open():
    command = shlex.join([relative(sys.executable), relative(MANAGE)])
    print("\nTo open the site in a browser:\n")
    print(f"    {command} migrate")
    print(f"    {command} seed")
    print(f"    {command} runserver\n")
    print("and go to http://127.0.0.1:8000/ (log in as editor, password editor).")


def relative(path):
    """The path as one would type it here."""
    here = Path.cwd()
    return str(Path(path).relative_to(here) if Path(path).is_relative_to(here) else path)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up, as for Ctrl-C
    print("Starting the example blog ...", flush=True)
    try:
        with site() as port:
            all_well = report(*show(port))
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print_how_to_open()
    return 0 if all_well else 1


if __name__ == "__main__":
    sys.exit(main())
