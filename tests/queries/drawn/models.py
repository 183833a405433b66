"""
Models that nobody thought of: drawn from the seed in ``settings.WORLD``, the same in every process.

Keys of every kind, foreign keys with every ``on_delete`` (the database's own, too), one to one,
many to many with and without a model, to oneself, inheritance from tables and from abstract
models, proxies, names that have to be quoted.
"""

from __future__ import annotations

import uuid
from random import Random
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import CASCADE, SET_DEFAULT, SET_NULL

#: Rows that pages and writes ask for by their keys.
KEYS = 12
_random = Random(f"models {settings.WORLD}")
#: Whose tables are to be made, in this order; then all, with proxies.
TABLES: list[type[models.Model]] = []
MODELS: list[type[models.Model]] = []


class Kept(models.Manager[Any]):
    """The manager of a proxy that shows some rows only."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(text__lt="d")


def nth_key(model: type[models.Model], number: int) -> Any:
    """The key that this number stands for, in the kind of key that the model has."""
    key: Any = model._meta.pk
    while key.remote_field is not None:
        key = key.target_field
    if isinstance(key, models.UUIDField):
        return uuid.UUID(int=number)
    if isinstance(key, models.CharField):
        return f"k{number}"
    return number


def _chance(probability: float) -> bool:
    return _random.random() < probability


def _column() -> dict[str, str]:
    """At times a name of the column that has to be quoted."""
    return {"db_column": f"Column {_random.randrange(10**6)}"} if _chance(0.15) else {}


def _key() -> dict[str, Any]:
    kinds: list[Any] = [
        dict,
        lambda: {"id": models.IntegerField(primary_key=True)},
        lambda: {"key": models.UUIDField(primary_key=True, default=uuid.uuid4)},
        lambda: {"code": models.CharField(max_length=12, primary_key=True)},
        lambda: {"id": models.AutoField(primary_key=True, db_column="Key")},
    ]
    if TABLES:
        target = _random.choice(TABLES)
        name = f"owns{len(MODELS)}"
        kinds.append(
            lambda: {
                "owner": models.OneToOneField(target, CASCADE, primary_key=True, related_name=name)
            }
        )
    return _random.choices(kinds, [6, 1, 2, 2, 1, 1][: len(kinds)])[0]()  # type: ignore[no-any-return]


def _plain_fields(number: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if _chance(0.8):
        fields[f"number{number}"] = models.IntegerField(default=0, **_column())
    if _chance(0.4):
        fields[f"maybe{number}"] = models.IntegerField(null=True)
    if _chance(0.3):
        fields[f"flag{number}"] = models.BooleanField(default=False)
    if _chance(0.3):
        fields[f"slug{number}"] = models.CharField(max_length=20, null=True, unique=True)
    if _chance(0.3):
        fields[f"code{number}"] = models.IntegerField(null=True, unique=True, **_column())
    if _chance(0.2):
        fields[f"topic{number}"] = models.SlugField(max_length=20, default="s0")
    return fields


def _relations(number: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for at in range(_random.choice([0, 1, 1, 2])):
        target: Any = _random.choice(["self", *MODELS])
        more: dict[str, Any] = {"null": True, "related_name": f"by_fk{number}{at}", **_column()}
        rules = [CASCADE, CASCADE, SET_NULL, SET_DEFAULT]
        # The rules of the database, of Django 6.1.
        rules += [
            getattr(models, name) for name in ("DB_CASCADE", "DB_SET_NULL") if hasattr(models, name)
        ]
        rule = _random.choice(rules)
        if rule is SET_DEFAULT:
            more["default"] = None
        fields[f"fk{number}{at}"] = models.ForeignKey(target, rule, **more)
    return fields


def _many_to_many(model: type[models.Model], number: int) -> None:
    for at in range(_random.choice([0, 1, 1])):
        target = _random.choice([each for each in TABLES if each.__name__.startswith("Model")])
        named: dict[str, Any] = {"related_name": f"by_m2m{number}{at}"}
        if target is model:
            to: Any = "self"
            named["symmetrical"] = _chance(0.5)
        else:
            to = target
        if target is not model and _chance(0.4):
            named["through"] = f"drawn.Through{number}{at}"
            _through(f"Through{number}{at}", model, target)
        models.ManyToManyField(to, **named).contribute_to_class(model, f"m2m{number}{at}")


def _through(name: str, source: type[models.Model], target: type[models.Model]) -> None:
    """The model of a many to many relation that says more than that there is one."""
    _make(
        name,
        (models.Model,),
        {
            "text": models.CharField(max_length=20, default="t"),
            "source": models.ForeignKey(source, CASCADE, related_name="+"),
            "target": models.ForeignKey(target, CASCADE, related_name="+"),
        },
    )


def _make(
    name: str, bases: tuple[type, ...], fields: dict[str, Any], **meta: Any
) -> type[models.Model]:
    is_table = not meta.get("abstract") and not meta.get("proxy")
    if is_table and _chance(0.15):
        meta["db_table"] = f"Drawn {name}"
    attributes = {
        "__module__": __name__,
        "__str__": lambda self: str(self.text),
        "Meta": type("Meta", (), {"app_label": "drawn", **meta}),
        **fields,
    }
    model: type[models.Model] = type(name, bases, attributes)
    if not meta.get("abstract"):
        MODELS.append(model)
    if is_table:
        TABLES.append(model)
    return model


def _draw() -> None:
    """Each model has a ``text``, its own or one that it inherits."""
    base = _make("Base", (models.Model,), {"text": models.CharField(max_length=20)}, abstract=True)
    for number in range(_random.randint(3, 6)):
        name = f"Model{number}"
        fields = {**_plain_fields(number), **_relations(number)}
        # A model that has its parent's row for a key cannot have another for one.
        parents = [model for model in TABLES if model.__name__.startswith("Model")]
        if parents and _chance(0.35):
            # At times the child of a child.
            parent = _random.choice(parents)
            model = _make(name, (parent,), fields)
        elif _chance(0.3):
            model = _make(name, (base,), {**_key(), **fields})
        else:
            text = models.CharField(max_length=20, **_column())
            model = _make(name, (models.Model,), {**_key(), "text": text, **fields})
        _many_to_many(model, number)
        if _chance(0.35):
            kept = {"objects": models.Manager(), "kept": Kept()} if _chance(0.5) else {}
            if _chance(0.5):
                kept = dict(reversed(kept.items()))
            _make(f"Proxy{number}", (model,), kept, proxy=True)


_draw()
