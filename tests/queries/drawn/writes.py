"""Every road by which the drawn models' tables change, by kind. Each takes a source of chance."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from django.db import DatabaseError, connection, models, transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Concat, Substr
from shop.project import BackError

from .models import KEYS, MODELS, TABLES, nth_key
from .reads import condition, in_database, managers, named_by, names_of, nth_value, numbers

Model = type[models.Model]
Write = Callable[[Random], Any]
WRITES: dict[str, Write] = {}
#: Rows that a table keeps at most.
ROWS = 25


def write(function: Write) -> Write:
    WRITES[function.__name__] = function
    return function


# -- Values ---------------------------------------------------------------------------------------


def word(random: Random) -> str:
    return random.choice("abcdef") + str(random.randrange(1000))


def some(model: Model, random: Random) -> Any:
    """One of the model's objects, or None."""
    keys = sorted(model._base_manager.values_list("pk", flat=True), key=str)
    return model._base_manager.filter(pk=random.choice(keys)).first() if keys else None


def value_for(field: Any, random: Random) -> Any:
    if field.remote_field is not None:
        target = some(field.remote_field.model, random)
        if target is None and not field.null:
            raise BackError
        return None if field.null and random.random() < 0.3 else target
    if isinstance(field, models.BooleanField):
        return random.random() < 0.5
    if field.unique or isinstance(field, models.SlugField):
        value = nth_value(field, random.randrange(KEYS))
        return None if field.null and random.random() < 0.4 else value
    if isinstance(field, models.IntegerField):
        return None if field.null and random.random() < 0.3 else random.randrange(100)
    return word(random)


def own_fields(model: Model) -> list[Any]:
    """The fields that are neither the key nor the way to a parent."""
    return [
        field
        for field in model._meta.concrete_fields
        if not field.primary_key and not getattr(field.remote_field, "parent_link", False)
    ]


def values(model: Model, random: Random) -> dict[str, Any]:
    return {field.name: value_for(field, random) for field in own_fields(model)}


def new(model: Model, random: Random) -> Any:
    """An object that is not saved yet; ``BackError`` where it cannot have a key."""
    key: Any = model._meta.pk
    made = model(**values(model, random))
    if key.remote_field is not None and not key.remote_field.parent_link:
        owner = some(key.remote_field.model, random)
        if owner is None:
            raise BackError
        setattr(made, key.name, owner)
    elif not model._meta.parents:
        numbered = isinstance(key, models.AutoField)
        if not numbered or random.random() < 0.3:
            made.pk = nth_key(model, random.randrange(1, KEYS))
    return made


def tidy(model: Model) -> None:
    """Keep the table small."""
    keys = sorted(model._base_manager.values_list("pk", flat=True), key=str)
    if len(keys) > ROWS:
        model._base_manager.filter(pk__in=keys[: ROWS // 2]).delete()


def rows(random: Random, model: Model) -> Any:
    """Some rows of the model: one, two, by a condition, or all."""
    one, two = (nth_key(model, random.randrange(1, KEYS)) for _ in range(2))
    found = model._base_manager.all()
    return random.choice(
        [
            lambda: found.filter(pk=one),
            lambda: found.filter(pk__in=[one, two]),
            lambda: found.filter(condition(random, model)),
            lambda: found,
        ]
    )()


def sql(text: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text, params)


# -- By Django ------------------------------------------------------------------------------------


@write
def save(random: Random) -> None:
    if (found := some(random.choice(MODELS), random)) is not None:
        names = random.choice([None, ["text"]])
        for field in own_fields(type(found)):
            if names is None or field.name in names:
                setattr(found, field.name, value_for(field, random))
        found.save(update_fields=names)


@write
def create(random: Random) -> None:
    model = random.choice(MODELS)
    made = new(model, random)
    way = random.choice(["atomic", "plain", "force"])
    if way == "atomic":
        with transaction.atomic():
            made.save()
    else:
        made.save(force_insert=way == "force")
    tidy(model)


@write
def create_child_of_row(random: Random) -> None:
    """Add the part of a child to a row of its parent."""
    model = random.choice(TABLES)
    for parent, link in model._meta.parents.items():
        if link is None or link.model is not model:
            continue  # of a proxy, or of a parent's parent
        if (row := some(parent, random)) is not None:
            try:
                child = model(**{link.name: row})
            except AttributeError:
                continue  # Django looks for the key of a grandparent that has another name
            for field in model._meta.local_concrete_fields:
                if field is not link:
                    setattr(child, field.name, value_for(field, random))
            child.save_base(raw=True)


@write
def update(random: Random) -> None:
    rows(random, random.choice(MODELS)).update(text=word(random))


@write
def update_fields(random: Random) -> None:
    model = random.choice(MODELS)
    if fields := [field for field in own_fields(model) if not field.unique]:
        field = random.choice(fields)
        rows(random, model).update(**{field.name: value_for(field, random)})


@write
def update_expression(random: Random) -> None:
    model = random.choice(MODELS)
    found = rows(random, model)
    changed = [Substr(Concat(Value("x"), F("text")), 1, 20)]
    key = nth_key(model, random.randrange(1, KEYS))
    changed.append(Case(When(pk=key, then=Value(word(random))), default=F("text")))
    found.update(text=random.choice(changed))
    if named := numbers(model):
        found.update(**{named[0]: F(named[0]) + 1})


@write
def move_value(random: Random) -> None:
    """A row gets a value that rows are found by, or loses it, or another row has it afterwards."""
    model = random.choice([each for each in MODELS if named_by(each)] or MODELS)
    row, other = some(model, random), some(model, random)
    if not (names := named_by(model)) or row is None:
        return
    field = random.choice(names)
    found, new = model._base_manager.filter(pk=row.pk), value_for(field, random)
    way = random.choice(["update", "save", "bulk", "expression", "swap", "sql"])
    if way == "update":
        found.update(**{field.name: new})
    elif way in ("save", "bulk"):
        setattr(row, field.name, new)
        if way == "save":
            row.save()
        else:
            model._base_manager.bulk_update([row], [field.name])
    elif way == "expression":
        found.update(**{field.name: Case(When(pk=row.pk, then=Value(new)), output_field=field)})
    elif way == "swap" and other.pk != row.pk and field.null:
        with transaction.atomic():
            found.update(**{field.name: None})
            model._base_manager.filter(pk=other.pk).update(**{field.name: getattr(row, field.name)})
            found.update(**{field.name: getattr(other, field.name)})
    elif field.model is model:
        table, key, _ = names_of(model)
        column = connection.ops.quote_name(field.column)
        value = model._meta.pk.get_db_prep_value(row.pk, connection)
        sql(f"UPDATE {table} SET {column} = %s WHERE {key} = %s", new, value)


@write
def bulk_create(random: Random) -> None:
    model = random.choice([each for each in MODELS if not each._meta.parents] or MODELS)
    made = [new(model, random) for _ in range(random.choice([1, 2, 5]))]
    model._base_manager.bulk_create(made, ignore_conflicts=random.random() < 0.7)
    tidy(model)


@write
def bulk_create_upsert(random: Random) -> None:
    model = random.choice([each for each in TABLES if not each._meta.parents])
    made = {}
    for _ in range(3):
        one = new(model, random)
        one.pk = one.pk or nth_key(model, random.randrange(1, KEYS))
        made[one.pk] = one
    conflicts: dict[str, Any] = {"update_conflicts": True, "update_fields": ["text"]}
    if connection.features.supports_update_conflicts_with_target:
        conflicts["unique_fields"] = ["pk"]
    model._base_manager.bulk_create(list(made.values()), **conflicts)
    tidy(model)


@write
def bulk_update(random: Random) -> None:
    model = random.choice(MODELS)
    found = list(model._base_manager.order_by("pk")[: random.choice([1, 2, 30])])
    mutable = [name for name in numbers(model) if not model._meta.get_field(name).primary_key]
    names = ["text", *mutable[:1]]
    for row in found:
        row.text = word(random)
        for name in names[1:]:
            setattr(row, name, random.randrange(100))
    model._base_manager.bulk_update(found, names)


@write
def many_to_many(random: Random) -> None:
    """From either side, and so that nothing fills up."""
    for model in random.sample(TABLES, min(len(TABLES), 4)):
        found = [(name, field) for name, field in managers(model) if field.many_to_many]
        row = some(model, random)
        if not found or row is None:
            continue
        name, field = random.choice(found)
        manager, target = getattr(row, name), field.related_model
        others = [other for other in (some(target, random) for _ in range(3)) if other is not None]
        way = random.choice(["add", "add", "remove", "set", "clear"])
        if way in ("add", "remove"):
            getattr(manager, way)(*others)
        elif way == "set":
            manager.set(others, clear=random.random() < 0.3)
        else:
            manager.clear()


@write
def reverse_foreign_key(random: Random) -> None:
    model = random.choice(MODELS)
    ways = [(name, field) for name, field in managers(model) if field.one_to_many]
    row = some(model, random)
    if ways and row is not None:
        name, field = random.choice(ways)
        manager, other = getattr(row, name), some(field.related_model, random)
        if other is not None:
            random.choice([manager.add, lambda other: manager.set([other]), manager.add])(other)
        if hasattr(manager, "clear") and random.random() < 0.3:
            manager.clear()


@write
def delete(random: Random) -> None:
    if (found := some(random.choice(MODELS), random)) is not None:
        found.delete()


@write
def delete_child_keep_parents(random: Random) -> None:
    model = random.choice([each for each in TABLES if each._meta.parents] or TABLES)
    if (found := some(model, random)) is not None:
        found.delete(keep_parents=True)


@write
def delete_many(random: Random) -> None:
    model = random.choice(MODELS)
    found = model._base_manager.filter(condition(random, model))
    if model._base_manager.filter(pk__in=found.values("pk")).count() < ROWS // 3:
        found.delete()


@write
def delete_raw(random: Random) -> None:
    found = random.choice(TABLES)._base_manager.filter(text__startswith=random.choice("abcdef"))
    found._raw_delete(found.db)


@write
def get_or_create(random: Random) -> None:
    model = random.choice([each for each in MODELS if not each._meta.parents])
    made = new(model, random)
    way = random.choice([model._base_manager.get_or_create, model._base_manager.update_or_create])
    given = {field.name: getattr(made, field.name) for field in own_fields(model)}
    key: Any = model._meta.pk
    if key.remote_field is not None:
        way(**{key.name: getattr(made, key.name)}, defaults=given)
    else:
        way(pk=nth_key(model, random.randrange(1, KEYS)), defaults=given)


# -- By SQL ---------------------------------------------------------------------------------------


def text_column(model: Model) -> tuple[str, str, str]:
    """The table that has the model's text, its key and the text, quoted."""
    field: Any = model._meta.get_field("text")
    owner = field.model
    quote = connection.ops.quote_name
    return quote(owner._meta.db_table), quote(owner._meta.pk.column), quote(field.column)


@write
def raw_sql(random: Random) -> None:
    model = random.choice(TABLES)
    table, key, text = text_column(model)
    own_table, own_key, _ = names_of(model)
    value, name = in_database(model, random.randrange(1, KEYS)), word(random)
    random.choice(
        [
            lambda: sql(f"UPDATE {table} SET {text} = %s WHERE {key} = %s", name, value),
            lambda: sql(f"UPDATE {table} SET {text} = '{name}' WHERE {key} IS NOT NULL"),
            lambda: sql(f"UPDATE {table} SET {text} = %s WHERE {text} < %s", name, name),
            lambda: sql(f"DELETE FROM {own_table} WHERE {own_key} = %s", value),
            lambda: sql(
                f"UPDATE {table} SET {text} = %s "
                f"WHERE {key} IN (SELECT {own_key} FROM {own_table})",
                name,
            ),
        ]
    )()


@write
def raw_many(random: Random) -> None:
    model = random.choice(TABLES)
    table, key, text = text_column(model)
    changes = ((word(random), in_database(model, random.randrange(1, KEYS))) for _ in range(3))
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {table} SET {text} = %s WHERE {key} = %s", changes)


@write
def raw_transaction(random: Random) -> None:
    """A transaction that Django knows nothing of."""
    sql("BEGIN")
    for _ in range(2):
        table, key, text = text_column(model := random.choice(TABLES))
        value = in_database(model, random.randrange(1, KEYS))
        sql(f"UPDATE {table} SET {text} = %s WHERE {key} = %s", word(random), value)
    sql(random.choice(["COMMIT", "ROLLBACK"]))


# -- Transactions ---------------------------------------------------------------------------------


@write
def manual_transaction(random: Random) -> None:
    transaction.set_autocommit(False)
    try:
        update(random)
        if random.random() < 0.5:
            with transaction.atomic():
                update(random)
        random.choice([transaction.commit, transaction.rollback])()
    finally:
        transaction.set_autocommit(True)


@write
def savepoints(random: Random) -> None:
    """One of them is rolled back, another is not; at times the whole is."""
    with suppress(BackError), transaction.atomic():
        save(random)
        with suppress(BackError), transaction.atomic():
            update(random)
            with transaction.atomic():
                delete_many(random)
            if random.random() < 0.5:
                raise BackError
        with suppress(DatabaseError), transaction.atomic():
            create(random)
        if random.random() < 0.3:
            raise BackError
        many_to_many(random)


@write
def raising_hook(random: Random) -> None:
    """A hook of somebody else's raises after the commit."""

    def fail() -> None:
        raise BackError

    with suppress(BackError), transaction.atomic():
        transaction.on_commit(fail)
        update(random)
        transaction.on_commit(fail)


@write
def schema(random: Random) -> None:
    """As a migration does it: a table that nothing points to is made anew, or gets a column."""
    if random.random() > 0.2:
        return
    pointed_at = {
        field.remote_field.model._meta.concrete_model
        for model in MODELS
        for field in (*model._meta.local_fields, *model._meta.local_many_to_many)
        if field.remote_field is not None
    }
    free = [model for model in TABLES if model not in pointed_at]
    if free:
        model = random.choice(free)
        with connection.schema_editor() as editor:
            editor.delete_model(model)
            editor.create_model(model)


def fill(random: Random) -> None:
    """What the tables begin with."""
    for model in TABLES:
        for _ in range(6):
            with suppress(DatabaseError, BackError), transaction.atomic():
                new(model, random).save()
    for _ in range(5):
        with suppress(DatabaseError, BackError), transaction.atomic():
            many_to_many(random)
