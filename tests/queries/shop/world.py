"""The models that a search works on, the shop's or drawn ones, with their reads and writes."""

from __future__ import annotations

import argparse
from importlib import import_module
from random import Random
from typing import Any

from shop import project


class World:
    """Sets Django up for the models that were asked for."""

    def __init__(self, asked: argparse.Namespace) -> None:
        package = "shop" if asked.world == "shop" else "drawn"
        project.configure(asked.database, asked.cache, apps=[package], WORLD=asked.world)
        self.tables: list[Any] = import_module(f"{package}.models").TABLES
        self.draw = import_module(f"{package}.reads").draw
        writes = import_module(f"{package}.writes")
        self.writes = writes.WRITES
        self._fill = writes.fill

    def make_tables(self) -> None:
        from django.db import connection

        with connection.schema_editor() as editor:
            for model in self.tables:
                editor.create_model(model)

    def fill(self, random: Random) -> None:
        """What the tables begin with."""
        self._fill(random)
