"""
Directives that write what the code knows: ``setting-list``, ``command-help``, ``refusal-list``.
"""

import inspect
import io
import re
from collections.abc import Mapping
from typing import Any

from django.core.management import load_command_class
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from viewcache import conf, telling


class _Written(SphinxDirective):
    """A directive that stands for reStructuredText."""

    def lines(self) -> list[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        parent = nodes.Element()
        # RST directives inside Markdown: through the reStructuredText parser.
        from docutils.frontend import get_default_settings
        from docutils.parsers.rst import Parser
        from docutils.utils import new_document

        settings = get_default_settings(Parser())
        settings.env = self.env
        document = new_document("", settings)
        Parser().parse("\n".join(StringList(self.lines(), "")), document)
        parent += document.children
        return parent.children


class SettingList(_Written):
    """Each setting with its type, its default and what its comment says."""

    def lines(self) -> list[str]:
        found = []
        source = inspect.getsource(conf.Settings)
        for name, kind in conf.Settings.__annotations__.items():
            default = getattr(conf.Settings, name)
            comment = re.search(rf"((?:^    #:[^\n]*\n)+)    {name}:", source, re.MULTILINE)
            text = " ".join(
                line.strip()[2:].strip() for line in (comment[1] if comment else "").splitlines()
            )
            found += [
                f"``{name}``",
                f"    ``{kind}``. Default: {self.default(default)}",
                "",
                f"    {text}",
                "",
            ]
        return found

    @staticmethod
    def default(value: Any) -> str:
        if isinstance(value, Mapping):
            value = dict(value)
        if isinstance(value, tuple) and len(value) > 5:
            return ", ".join(f"``{part}``" for part in value) + "."
        if isinstance(value, int) and not isinstance(value, bool):
            return f"``{value:_}``."
        return f"``{list(value) if isinstance(value, tuple) else value!r}``."


class CommandHelp(_Written):
    """What ``manage.py viewcache <command> --help`` prints."""

    required_arguments = 1

    def lines(self) -> list[str]:
        parser = load_command_class("viewcache", "viewcache").create_parser(
            "manage.py", "viewcache"
        )
        for action in parser._subparsers._group_actions:
            out = io.StringIO()
            action.choices[self.arguments[0]].print_help(out)
        return ["::", "", *(f"    {line}" for line in out.getvalue().splitlines()), ""]


class RefusalList(_Written):
    """Why there is no page (``misses``), or why there may be none (``refusals``), and in words."""

    required_arguments = 1

    def lines(self) -> list[str]:
        table = {"misses": telling.MISSES, "refusals": telling.REFUSALS}[self.arguments[0]]
        found = []
        for code, text in table.items():
            text = text.replace("{scope}", "the scope")
            text = re.sub(r"\b(\w+\._\w+)\b|(?<![\w`])(--\w+)", r"``\1\2``", text)
            found += [f"``{code}``", f"    {text[0].upper()}{text[1:]}", ""]
        return found


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("setting-list", SettingList)
    app.add_directive("command-help", CommandHelp)
    app.add_directive("refusal-list", RefusalList)
    return {"parallel_read_safe": True}
