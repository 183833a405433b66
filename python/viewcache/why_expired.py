"""``manage.py viewcache why-expired URL``: the last write that expired a page."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timesince import timesince

from . import history
from .explaining import explain
from .visitor import request_for

HELP = "which write expired a page last"
DESCRIPTION = (
    "Names the last write that expired a page: when, who, what and where in the code, where "
    'VIEWCACHE["RECORD_EXPIRIES"] says how many expiries to keep on record. Changes nothing; the '
    "view does not run."
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="a path such as /blog/?page=2, or a full URL")
    parser.add_argument("--cookie", metavar="'A=1; B=2'", help="the Cookie header of the visitor")
    parser.add_argument("--host", help="the host, where the URL names none (ALLOWED_HOSTS' first)")
    parser.add_argument("--json", action="store_true", help="for machines")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Tell it on the command's output. Raises ``CommandError`` where nothing is recorded."""
    if not history.is_on():
        raise CommandError(
            'Expiries are not recorded. Set VIEWCACHE["RECORD_EXPIRIES"] to how many to keep, such '
            "as 1000 (without SETTLE_SECONDS), and ask again after the next expiry."
        )
    url = options["url"]
    found = explain(request_for(url, cookie=options["cookie"], headers=[], host=options["host"]))
    last = history.last_of(scope.scope for scope in found.scopes)
    if options["json"]:
        told = last and {**last._asdict(), "when": last.when.isoformat()}
        page = {"url": found.url, "verdict": found.verdict, "last": told}
        command.stdout.write(json.dumps(page, indent=2, ensure_ascii=False))
    elif last is None:
        unknown = " The cache knows no page of that URL." if found.recipe is None else ""
        command.stdout.write(f"No expiry of {found.url} is on record.{unknown}")
    else:
        command.stdout.write(_tell(found.url, found.verdict, last))


def _tell(url: str, verdict: str, last: history.Expired) -> str:
    ago = timesince(last.when).replace("\xa0", " ")
    lines = [f"{url} was expired last at {last.when:%Y-%m-%d %H:%M:%S} UTC, {ago} ago."]
    if verdict == "hit":
        lines.append("Since then it was rendered anew: a fresh page is in the cache.")
    lines += [
        f"  {name + ':':10} {text}"
        for name, text in [
            ("who", last.who),
            ("why", last.why),
            ("where", last.where),
            ("statement", last.statement),
            ("scopes", _scopes(last)),
        ]
        if text
    ]
    return "\n".join(lines)


def _scopes(last: history.Expired) -> str:
    more = last.total - len(last.scopes[:8])
    return ", ".join(last.scopes[:8]) + (f" and {more} more" if more else "")
