"""
Every code block in README.md and docs/ is run, in the order of its page.

A page's Python blocks share one namespace; ``python manage.py …`` in its console blocks runs in the
same process, on the example blog with its posts, and what the page shows of the output is compared
(``…`` stands for anything). An HTML comment before a block says what else it is:

* ``<!-- settings -->``: settings of a site; they are checked, and put back;
* ``<!-- settings kept -->``: they stay for the rest of the page;
* ``<!-- raises: ValueError -->``: it raises this;
* ``<!-- not run: why -->``: it is not run. The reason is printed at the end of the test run.

``<!-- python`` … ``-->`` is a block that readers do not see: what the others take for granted, and
what they must have done.

A page that says ``<!-- a project of its own -->`` starts from an empty directory instead. Its
commands run there, ``<!-- file: news/models.py -->`` writes a file, ``<!-- at the end of: … -->``
adds to one, and ``<!-- server -->`` leaves a command running.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
import io
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.core.cache import caches
from django.core.management import call_command, get_commands
from django.core.management.base import CommandError
from django.template import engines
from django.test import override_settings
from django.utils.module_loading import import_string
from viewcache import conf

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

#: Languages whose blocks are no code.
PROSE = ("text",)
OWN_PROJECT = "<!-- a project of its own -->"
PATIENCE = 60  # seconds until a server answers; a loaded machine takes a few


# -- Reading the pages ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A block of a page."""

    page: Path
    #: Of its first line of code.
    line: int
    language: str
    text: str
    #: What the comment before it says.
    marker: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


_PARTS = re.compile(
    r"^<!--[ ]python\n(?P<hidden>.*?)^-->"
    r"|^[ ]*<!--[ ](?P<marker>[^\n]+?)[ ]-->\n"
    r"|^(?P<indent>[ ]*)(?P<fence>```+)(?P<language>[^\n]*)\n(?P<text>.*?)^[ ]*(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in its order."""
    source = page.read_text()
    marker, end = "", 0
    for part in _PARTS.finditer(source):
        if source[end : part.start()].strip():
            marker = ""
        end = part.end()
        if part["marker"]:
            marker = part["marker"]
            continue
        name = "hidden" if part["hidden"] is not None else "text"
        line = source.count("\n", 0, part.start(name)) + 1
        text = part[name]
        if part["indent"]:
            text = re.sub(rf"^{part['indent']}", "", text, flags=re.MULTILINE)
        yield Block(
            page,
            line,
            "python" if name == "hidden" else part["language"].strip(),
            text,
            "" if name == "hidden" else marker,
        )
        marker = ""


def is_code(block: Block) -> bool:
    # Those in braces are directives of Sphinx.
    return block.language not in PROSE and not block.language.startswith("{")


# -- Comparing what commands say ------------------------------------------------------------------


def commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that the page shows."""
    text = re.sub(r"\s*\\\n\s*", " ", text)
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        # A comment after a command is for the reader.
        yield re.sub(r"\s+# .*$", "", command), output


def is_as_shown(output: str, shown: str) -> bool:
    """Is this the output that the page shows? Nothing shown is nothing asked."""
    if not shown.strip():
        return True
    wanted = "\n".join(line.rstrip() for line in shown.strip().splitlines())
    pattern = re.escape(wanted).replace("…", ".*")
    given = "\n".join(line.rstrip() for line in output.strip().splitlines())
    return re.fullmatch(pattern, given, re.DOTALL) is not None


# -- A page about the example blog ----------------------------------------------------------------


class BlogPage:
    """Runs the blocks of a page in this process, on the example blog."""

    def __init__(self, kept: contextlib.ExitStack) -> None:
        self.namespace: dict[str, Any] = {"__name__": "page"}
        self.kept = kept

    def run(self, block: Block) -> str:
        """Run a block; what was done with it."""
        kind, _, rest = block.marker.partition(": ")
        match block.language, kind:
            case "python", "":
                self.python(block)
                return "run"
            case "python", "raises":
                with pytest.raises(import_string(rest) if "." in rest else getattr(builtins, rest)):
                    self.python(block)
                return "run"
            case "python", "settings" | "settings kept":
                self.settings(block, keep=kind == "settings kept")
                return "checked as settings"
            case "console", "":
                for command, shown in commands(block.text):
                    output = self.command(command)
                    assert is_as_shown(output, shown), f"{block.where}: $ {command}\n{output}"
                return "run"
            case "html+django", "":
                engines["django"].from_string(block.text)
                return "compiled as templates"
        raise AssertionError(f"{block.where}: nobody knows how to run {block.language!r}")

    def python(self, block: Block) -> None:
        source = "\n" * (block.line - 1) + block.text
        code = compile(source, str(block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

        async def awaited() -> None:
            await eval(code, self.namespace)

        if code.co_flags & inspect.CO_COROUTINE:
            async_to_sync(awaited)()
        else:
            exec(code, self.namespace)

    def settings(self, block: Block, *, keep: bool) -> None:
        given: dict[str, Any] = {"__name__": "settings"}
        exec(compile("\n" * (block.line - 1) + block.text, str(block.page), "exec"), given)
        found = {name: value for name, value in given.items() if name.isupper()}
        assert found, f"{block.where}: no setting"
        for name, value in found.items():
            if isinstance(value, list):
                found[name] = [item for item in value if item is not ...]
        for name in found.get("MIDDLEWARE", ()):
            import_string(name)
        found.pop("INSTALLED_APPS", None)
        if not keep:
            found.pop("MIDDLEWARE", None)
        with contextlib.ExitStack() as put_back:
            put_back.enter_context(override_settings(**found))
            for label, urls in conf.get().EXPIRE_ON_SAVE.items():
                apps.get_model(label)
                if isinstance(urls, str):
                    import_string(urls)
            for alias in found.get("CACHES", ()):
                _ = caches[alias]
            if keep:
                self.kept.push(put_back.pop_all())

    def command(self, command: str) -> str:
        words = shlex.split(command)
        assert words[:2] == ["python", "manage.py"], f"{command!r} is no command of the blog"
        assert words[2] in get_commands(), f"there is no command {words[2]!r}"
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            try:
                call_command(*words[2:], stdout=out)
            except CommandError as error:
                out.write(f"CommandError: {error}")
        return out.getvalue()


# -- A page with a project of its own -------------------------------------------------------------


class OwnPage:
    """Runs the blocks of a page as a reader would, in an empty directory."""

    def __init__(self, kept: contextlib.ExitStack, home: Path) -> None:
        self.where = home
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DJANGO_", "BLOG_", "CACHE_", "COV_", "PYTEST_"))
        }
        self.environment["PYTHONWARNINGS"] = "error"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        self.server: subprocess.Popen[bytes] | None = None
        self.server_command = ""
        kept.callback(self.stop)

    def run(self, block: Block) -> str:
        """Run a block; what was done with it."""
        kind, _, rest = block.marker.partition(": ")
        match block.language, kind:
            case _, "file":
                path = self.where / rest
                assert path.parent.is_dir(), f"{block.where}: {rest} lies nowhere"
                path.write_text(block.text)
                self.restart()
                return "written to a file and used"
            case _, "at the end of":
                path = self.where / rest
                path.write_text(f"{path.read_text()}\n{block.text}")
                self.restart()
                return "written to a file and used"
            case "console", "server":
                [(command, _)] = commands(block.text)
                self.server_command = command
                self.restart()
                return "run"
            case "console", "":
                for command, shown in commands(block.text):
                    output = self.command(command.replace("8000", self.port))
                    output = output.replace(self.port, "8000")
                    assert is_as_shown(output, shown), f"{block.where}: $ {command}\n{output}"
                return "run"
        raise AssertionError(f"{block.where}: nobody knows how to run {block.language!r}")

    def command(self, command: str) -> str:
        words = shlex.split(command)
        if words[0] == "cd":
            self.where /= words[1]
            assert self.where.is_dir()
            return ""
        if words[0] == "curl":
            return self.curl(words[1:])
        done = subprocess.run(
            self.program(words),
            cwd=self.where,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        return done.stdout

    @staticmethod
    def program(words: list[str]) -> list[str]:
        known = {"python": [sys.executable], "django-admin": [sys.executable, "-m", "django"]}
        return [*known[words[0]], *words[1:]]

    @staticmethod
    def curl(words: list[str]) -> str:
        """Enough of curl: not every machine has it."""
        cookie = words.pop(words.index("--cookie") + 1) if "--cookie" in words else None
        request = urllib.request.Request(words[-1])
        if cookie is not None:
            request.add_header("Cookie", cookie)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return str(response.read().decode())

    def restart(self) -> None:
        """What runserver does by itself when a file changes."""
        if not self.server_command:
            return
        self.stop()
        command = [*self.program(shlex.split(self.server_command)), "--noreload", self.port]
        self.server = subprocess.Popen(
            command,
            cwd=self.where,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            assert self.server.poll() is None, f"$ {self.server_command} has ended"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", int(self.port)), timeout=1).close()
                return
            time.sleep(0.05)
        raise AssertionError(f"$ {self.server_command} does not answer")

    def stop(self) -> None:
        if self.server is not None:
            self.server.terminate()
            self.server.wait(timeout=PATIENCE)
            self.server = None


# -- The tests ------------------------------------------------------------------------------------


@pytest.fixture
def blog(transactional_db: None) -> None:
    """Posts, comments and users. Real transactions, so that expiries do not wait for a rollback."""
    call_command("seed", stdout=io.StringIO())


@pytest.fixture
def kept() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


OWN = [page for page in PAGES if OWN_PROJECT in page.read_text()]
BLOG = [page for page in PAGES if page not in OWN]


@pytest.mark.parametrize("page", BLOG, ids=named)
@pytest.mark.usefixtures("blog")
def test_page_about_the_blog(
    page: Path, kept: contextlib.ExitStack, request: pytest.FixtureRequest, ledger: Any
) -> None:
    cache = {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": request.node.nodeid,
    }
    kept.enter_context(override_settings(CACHES={"default": cache}))
    run(page, BlogPage(kept), ledger)


@pytest.mark.parametrize("page", OWN, ids=named)
def test_page_with_a_project_of_its_own(
    page: Path, kept: contextlib.ExitStack, tmp_path: Path, ledger: Any
) -> None:
    run(page, OwnPage(kept, tmp_path), ledger)


def run(page: Path, runner: BlogPage | OwnPage, ledger: Any) -> None:
    """Run the blocks of a page in their order."""
    for block in blocks(page):
        kind, _, reason = block.marker.partition(": ")
        if not is_code(block):
            assert not block.marker, f"{block.where}: {block.marker!r} before what is no code"
        elif kind == "not run":
            assert len(reason) > 10, f"{block.where}: why is it not run?"
            ledger.note_not_run(block.where, reason)
        else:
            ledger.note(runner.run(block))


LINKS = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#[^)\s]*)?\)")
LINKED = [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.md", "SECURITY.md"))]


@pytest.mark.parametrize("page", LINKED, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINKS.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_a_block_is_read_with_its_line_and_its_marker(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Text\n\n<!-- not run: because -->\n```console\n$ a\n```\n\n"
        "<!-- python\nx = 1\n-->\n- item:\n\n  ```python\n  y = 1\n  ```\n"
    )
    found = [(item.line, item.language, item.text, item.marker) for item in blocks(page)]
    assert found == [
        (5, "console", "$ a\n", "not run: because"),
        (9, "python", "x = 1\n", ""),
        (14, "python", "y = 1\n", ""),
    ]


def test_a_marker_counts_for_the_block_right_after_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- settings -->\n\nText\n\n```python\nx\n```\n")
    assert [item.marker for item in blocks(page)] == [""]


def test_output_is_compared() -> None:
    assert is_as_shown("a 12 b\nc\n", "a … b\nc")
    assert is_as_shown("a\nb\nc", "a\n…\nc")
    assert is_as_shown("whatever", "")
    assert not is_as_shown("a\nb", "a")
    text = "$ one --x \\\n    y\nout\n$ two  # comment\n"
    assert list(commands(text)) == [("one --x y", "out\n"), ("two", "")]
