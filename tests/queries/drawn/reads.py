"""
Views over the drawn models: ``draw(random)`` gives what a page shows, as a text that says it and a
function. The function reads by its own numbers only, so it shows the same rows each time.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import connection, models, transaction
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Prefetch, Q, Subquery, Sum

from .models import KEYS, MODELS, TABLES, nth_key

Read = tuple[str, Callable[[], Any]]
Model = type[models.Model]
_DRAWS: list[Callable[[Random], Read]] = []


def draw(random: Random) -> Read:
    """One read, and at times a few more of the same page after it."""
    return random.choice(_DRAWS)(random)


def _read(function: Callable[[Random], Read]) -> Callable[[Random], Read]:
    _DRAWS.append(function)
    return function


def shown(rows: Any) -> list[str]:
    return sorted(map(repr, rows))


# -- What a model has -----------------------------------------------------------------------------


def plain(model: Model) -> list[str]:
    """Fields of numbers and texts, and the key."""
    return [field.name for field in model._meta.concrete_fields if field.remote_field is None]


def numbers(model: Model) -> list[str]:
    fields = model._meta.concrete_fields
    return [field.name for field in fields if type(field) is models.IntegerField]


def named_by(model: Model) -> list[Any]:
    """The fields by whose values rows are found, beside the key: unique ones, and slugs."""
    return [
        field
        for field in model._meta.concrete_fields
        if not field.primary_key
        and field.remote_field is None
        and (field.unique or isinstance(field, models.SlugField))
    ]


def nth_value(field: Any, number: int) -> Any:
    return number if isinstance(field, models.IntegerField) else f"s{number}"


def relations(model: Model, *, many: bool | None = None) -> list[tuple[str, Model]]:
    """The names by which queries reach other models, forwards and backwards, and those models."""
    found: list[tuple[str, Model]] = []
    for field in model._meta.get_fields():
        if field.is_relation and many in (None, bool(field.one_to_many or field.many_to_many)):
            assert isinstance(field.related_model, type)
            found.append((field.name, field.related_model))
    return found


def managers(model: Model) -> list[tuple[str, Any]]:
    """The attributes that give many of another model, and the relations that they are of."""
    return [
        (field.get_accessor_name() if hasattr(field, "get_accessor_name") else field.name, field)
        for field in model._meta.get_fields()
        if field.one_to_many or field.many_to_many
    ]


def path(random: Random, model: Model, steps: int) -> tuple[str, Model]:
    """Over so many relations at most: a prefix for look-ups, and the model that it leads to."""
    prefix = ""
    for _ in range(steps):
        if not (ways := relations(model)):
            break
        name, model = random.choice(ways)
        prefix += f"{name}__"
    return prefix, model


def condition(random: Random, model: Model) -> Q:
    """A condition on the model itself or on another over up to two relations."""
    prefix, end = path(random, model, random.choice([0, 0, 0, 1, 1, 2]))
    key, near = random.randrange(1, KEYS), random.randrange(1, KEYS)
    choices: list[Callable[[], Q]] = [
        lambda: Q(**{f"{prefix}pk": nth_key(end, key)}),
        lambda: Q(**{f"{prefix}pk": nth_key(end, key)}),
        lambda: Q(**{f"{prefix}pk__in": [nth_key(end, key), nth_key(end, near)]}),
        lambda: Q(**{f"{prefix}text__startswith": random.choice("abcdef")}),
        lambda: Q(**{f"{prefix}text__gt": random.choice("abcdef")}),
    ]
    if named := numbers(end):
        name = random.choice(named)
        choices += [
            lambda: Q(**{f"{prefix}{name}__gt": key * 8}),
            lambda: Q(**{f"{prefix}{name}__range": (key, near * 9)}),
            lambda: Q(**{f"{prefix}{name}__isnull": True}),
        ]
    if names := named_by(end):
        field = random.choice(names)
        choices += [lambda: Q(**{f"{prefix}{field.name}": nth_value(field, key)})] * 3
    if ways := relations(end):
        choices.append(lambda: Q(**{f"{prefix}{random.choice(ways)[0]}__isnull": True}))
    return random.choice(choices)()


def rows(random: Random, model: Model | None = None) -> tuple[str, Any]:
    """A query set that is filtered somehow, and what it is."""
    model = model or random.choice(MODELS)
    found: Any = random.choice([model._default_manager, model._base_manager]).all()
    told = model.__name__
    for _ in range(random.choice([0, 1, 1, 2])):
        what = condition(random, model)
        if random.random() < 0.2:
            what = what | condition(random, model)
        if random.random() < 0.2:
            found, told = found.exclude(what), f"{told} but {what}"
        else:
            found, told = found.filter(what), f"{told} {what}"
    return told, found


# -- What a page shows of it ----------------------------------------------------------------------


@_read
def listed(random: Random) -> Read:
    told, found = rows(random)
    return f"list {told}", lambda: shown(found.all().values_list(*plain(found.model)))


@_read
def detail(random: Random) -> Read:
    """An object by its key, and what templates reach from it."""
    model = random.choice(MODELS)
    key = nth_key(model, random.randrange(1, KEYS))
    one = [name for name, _ in relations(model, many=False)]
    many = [name for name, _ in managers(model)]
    wanted = random.sample(one, min(len(one), 2)), random.sample(many, min(len(many), 2))

    def get() -> Any:
        found: Any = model._default_manager.filter(pk=key).first()
        if found is None:
            return None
        texts = [found.text]
        for name in wanted[0]:
            try:
                texts.append(str(getattr(found, name)))
            except ObjectDoesNotExist:
                # Not there, or another process has deleted it since the object was read.
                texts.append("none")
        for name in wanted[1]:
            texts += shown(getattr(found, name).values_list("text", flat=True))
        return texts

    return f"{model.__name__} {key} with {wanted}", get


@_read
def found_by_value(random: Random) -> Read:
    """As a view finds the object of its URL, with a row beside it and what hides it at times."""
    model = random.choice([each for each in MODELS if named_by(each)] or MODELS)
    if not (names := named_by(model)):
        return detail(random)
    field = random.choice(names)
    value = nth_value(field, random.randrange(KEYS))
    one = [name for name, _ in relations(model, many=False)]
    found: Any = model._default_manager.filter(**{field.name: value})
    if one and random.random() < 0.5:
        found = found.select_related(*random.sample(one, 1))
    if random.random() < 0.3:
        found = found.filter(text__lt=random.choice("cde"))
    ways: list[tuple[str, Callable[[], Any]]] = [
        ("first", lambda: str(found.all().first())),
        ("list", lambda: shown(str(row) for row in found.all())),
        ("exists", lambda: found.all().exists()),
        ("texts", lambda: shown(found.all().values_list("text"))),
        ("iterated", lambda: shown(str(row) for row in found.iterator(chunk_size=1))),
        ("only", lambda: shown(row.text for row in found.select_related(None).only(field.name))),
    ]
    way, get = random.choice([*ways[:2], *ways])
    return f"{way} {model.__name__} {field.name}={value} {found.query.where}", get


@_read
def got_or_missing(random: Random) -> Read:
    told, found = rows(random)

    def get() -> Any:
        try:
            return found.get().text
        except found.model.DoesNotExist:
            return "none"
        except found.model.MultipleObjectsReturned:
            return "many"

    return f"get {told}", get


@_read
def ordered_part(random: Random) -> Read:
    told, found = rows(random)
    order = [random.choice(["-", ""]) + name for name in random.sample(plain(found.model), 1)]
    start = random.randrange(4)
    part = found.distinct().order_by(*order, "pk")[start : start + 4]
    return f"{order} from {start} of {told}", lambda: [row.text for row in part.all()]


@_read
def first_and_last(random: Random) -> Read:
    told, found = rows(random)
    return f"first and last {told}", lambda: [str(found.first()), str(found.last())]


@_read
def counted(random: Random) -> Read:
    told, found = rows(random)
    way = random.choice(["count", "exists"])
    return f"{way} {told}", lambda: getattr(found.all(), way)()


@_read
def aggregated(random: Random) -> Read:
    told, found = rows(random)
    prefix, end = path(random, found.model, random.choice([0, 1]))
    name = prefix + random.choice(numbers(end) or ["pk"])
    wanted: dict[str, Any] = {"n": Count(name), "d": Count(name, distinct=True)}
    if numbers(end):
        wanted |= {"sum": Sum(name), "max": Max(name), "min": Min(name)}
    return f"aggregate {name} of {told}", lambda: shown(found.aggregate(**wanted).items())


@_read
def annotated(random: Random) -> Read:
    told, found = rows(random)
    ways = relations(found.model)
    name = random.choice(ways)[0] if ways else "pk"
    counting = found.annotate(how_many=Count(name)).values_list("pk", "how_many")
    return f"count {name} of each {told}", lambda: shown(counting.all())


@_read
def grouped(random: Random) -> Read:
    told, found = rows(random)
    prefix, _ = path(random, found.model, random.choice([0, 1]))
    groups = found.order_by().values(f"{prefix}text").annotate(n=Count("pk"))
    return f"group by {prefix}text {told}", lambda: shown(groups.all())


@_read
def valued(random: Random) -> Read:
    told, found = rows(random)
    names = []
    for _ in range(2):
        prefix, end = path(random, found.model, random.choice([0, 1, 2]))
        names.append(prefix + random.choice(plain(end)))
    names = list(dict.fromkeys(names))
    way = random.choice(["values", "values_list", "distinct"])
    wanted = found.values(*names) if way == "values" else found.values_list(*names)
    if way == "distinct":
        wanted = wanted.order_by().distinct()
    return f"{way} {names} of {told}", lambda: shown(wanted.all())


@_read
def dictionary(random: Random) -> Read:
    model = random.choice(MODELS)
    keys = [nth_key(model, random.randrange(1, KEYS)) for _ in range(random.choice([1, 3]))]

    def get() -> Any:
        return shown((key, str(row)) for key, row in model._default_manager.in_bulk(keys).items())

    return f"in_bulk {model.__name__} {keys}", get


@_read
def selected(random: Random) -> Read:
    told, found = rows(random)
    names = [
        field.name
        for field in found.model._meta.get_fields()
        if field.is_relation and field.concrete and not field.many_to_many
    ]
    joined = found.select_related(*names)
    return f"select_related {names} {told}", lambda: shown(
        (str(row), *(str(getattr(row, name)) for name in names)) for row in joined.all()
    )


@_read
def prefetched(random: Random) -> Read:
    told, found = rows(random)
    many = managers(found.model)
    if not many:
        return listed(random)
    name, relation = random.choice(many)
    other, what = relation.related_model, name
    if random.random() < 0.5:
        what = Prefetch(name, other._base_manager.filter(text__gt=random.choice("abc")))
    fetched = found.prefetch_related(what)
    return f"prefetch {name} {told}", lambda: shown(
        (str(row), shown(map(str, getattr(row, name).all()))) for row in fetched.all()
    )


@_read
def with_subquery(random: Random) -> Read:
    told, found = rows(random)
    other_told, other = rows(random)
    shared = random.choice(["text", *(numbers(found.model)[:1] and numbers(other.model)[:1])])
    mine = "text" if shared == "text" else numbers(found.model)[0]
    inner = other.filter(**{shared: OuterRef(mine)})
    way = random.choice(["exists", "without", "subquery", "in"])
    if way == "exists":
        wanted = found.filter(Exists(inner)).values_list("pk")
    elif way == "without":
        wanted = found.filter(~Exists(inner)).values_list("pk")
    elif way == "subquery":
        one = Subquery(inner.order_by("pk").values("text")[:1])
        wanted = found.annotate(other=one).values_list("pk", "other")
    else:
        wanted = found.filter(text__in=other.values("text")).values_list("pk")
    return f"{way} {other_told} for {told}", lambda: shown(wanted.all())


@_read
def combined(random: Random) -> Read:
    (one_told, one), (two_told, two) = rows(random), rows(random)
    ways = ["union", "intersection", "difference"]
    way = random.choice(ways)
    both = getattr(one.order_by().values_list("text"), way)(two.order_by().values_list("text"))
    return f"{one_told} {way} {two_told}", lambda: shown(both.all())


@_read
def partly_loaded(random: Random) -> Read:
    told, found = rows(random)
    way = random.choice(["only", "defer"])
    wanted = getattr(found, way)("text")
    names = [name for name in plain(found.model) if name != "pk"]
    return f"{way} {told}", lambda: shown(
        [getattr(row, name) for name in names] for row in wanted.order_by("pk")[:5]
    )


@_read
def iterated(random: Random) -> Read:
    told, found = rows(random)
    return f"iterate {told}", lambda: shown(row.text for row in found.iterator(chunk_size=2))


@_read
def locked(random: Random) -> Read:
    told, found = rows(random, random.choice(TABLES))
    plain_rows = found.model._base_manager.filter(text__gt="b").select_for_update()

    def get() -> Any:
        with transaction.atomic():
            return shown(map(str, plain_rows.all()))

    return f"locked {told}", get


@_read
def computed(random: Random) -> Read:
    told, found = rows(random)
    named = numbers(found.model)
    if not named:
        return counted(random)
    more = found.annotate(twice=F(named[0]) * 2).filter(twice__gt=random.randrange(100))
    return f"twice {named[0]} of {told}", lambda: shown(more.values_list("pk", "twice"))


# -- SQL ------------------------------------------------------------------------------------------


def names_of(model: Model) -> tuple[str, str, str]:
    """The table, its key and a column of it, quoted."""
    quote = connection.ops.quote_name
    fields = [field for field in model._meta.local_concrete_fields if not field.primary_key]
    other = fields[0] if fields else model._meta.pk
    assert model._meta.pk is not None
    return quote(model._meta.db_table), quote(model._meta.pk.column), quote(other.column)


def fetched(text: str, *params: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(text, params)
        return shown(cursor.fetchall())


def in_database(model: Model, number: int) -> Any:
    """A key as it is in the database."""
    key = nth_key(model, number)
    assert model._meta.pk is not None
    return model._meta.pk.get_db_prep_value(key, connection)


@_read
def raw_sql(random: Random) -> Read:
    model, other = random.choice(TABLES), random.choice(TABLES)
    table, key, column = names_of(model)
    table2, _, column2 = names_of(other)
    value = in_database(model, random.randrange(1, KEYS))
    way = random.randrange(8)
    text, params = [
        (f"SELECT {column} FROM {table} WHERE {key} = %s", [value]),
        (f"SELECT t.{column} FROM {table} AS t WHERE t.{key} IN (%s, %s)", [value, value]),
        (f"SELECT COUNT(*), COUNT(DISTINCT {column2}) FROM {table2}", []),
        (
            f"SELECT a.{column}, b.{column2} FROM {table} a LEFT JOIN {table2} b "
            f"ON b.{column2} = a.{column} WHERE a.{key} = %s",
            [value],
        ),
        (f"WITH part AS (SELECT {column} AS c FROM {table}) SELECT c FROM part", []),
        (
            f"SELECT {column} FROM {table} WHERE {key} = %s AND "
            f"EXISTS (SELECT 1 FROM {table2} WHERE {column2} IS NOT NULL)",
            [value],
        ),
        (
            f"SELECT {key} FROM {table} WHERE {key} = %s "
            f"UNION ALL SELECT {key} FROM {table} WHERE NOT ({key} = %s)",
            [value, value],
        ),
        (f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL", []),
    ][way]
    if way == 3 and model is not other:
        # Columns of two kinds cannot be compared.
        text, params = f"SELECT COUNT(*) FROM {table}, {table2}", []
    return f"{text} {params}", lambda: fetched(text, *params)


@_read
def raw_objects(random: Random) -> Read:
    model = random.choice(TABLES)
    while model._meta.parents:
        model = next(iter(model._meta.parents))
    table, key, _ = names_of(model)
    value = in_database(model, random.randrange(1, KEYS))
    text = f"SELECT * FROM {table} WHERE {key} = %s"
    return f"raw {text} {value}", lambda: shown(
        str(row) for row in model._base_manager.raw(text, [value])
    )
