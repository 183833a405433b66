"""
Every road by which the shop's tables change, by kind. Each function takes a source of chance.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Concat, Substr

from shop.project import BackError

from .models import (
    Answer,
    Bargain,
    Book,
    Branch,
    Brand,
    Category,
    Item,
    Label,
    Novel,
    Profile,
    Review,
    Stock,
)
from .reads import branch_code, label_key

Write = Callable[[Random], Any]
WRITES: dict[str, Write] = {}
#: Keys that pages ask for; rows come and go under them.
KEYS = 14


def write(function: Write) -> Write:
    WRITES[function.__name__] = function
    return function


def word(random: Random) -> str:
    return random.choice("abcdef") + str(random.randrange(1000))


def some(model: Any, random: Random) -> Any:
    """One of the model's objects, or None."""
    keys = list(model.objects.order_by("pk").values_list("pk", flat=True))
    return model.objects.get(pk=random.choice(keys)) if keys else None


def slug(random: Random) -> str:
    free = [n for n in range(KEYS * 2) if not Item.objects.filter(slug=f"item-{n}").exists()]
    return f"item-{random.choice(free) if free else word(random)}"


def new_item(random: Random, model: Any = Item, **more: Any) -> Any:
    category = some(Category, random) or Category.objects.create(name=word(random))
    return model(
        name=word(random),
        slug=slug(random),
        price=random.randrange(100),
        brand=some(Brand, random),
        category=category,
        **more,
    )


def free_key(model: Any, random: Random) -> int | None:
    taken = set(model.objects.values_list("pk", flat=True))
    free = [key for key in range(1, KEYS) if key not in taken]
    return random.choice(free) if free else None


def sql(text: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text, params)


@write
def save(random: Random) -> None:
    model = random.choice([Item, Brand, Category, Label, Review, Book, Novel, Bargain, Answer])
    found = some(model, random)
    if found is not None:
        name = "text" if hasattr(found, "text") else "name"
        setattr(found, name, word(random))
        found.save(update_fields=random.choice([None, [name]]))


@write
def save_child(random: Random) -> None:
    novel = some(Novel, random)
    if novel is not None:
        novel.hero, novel.pages, novel.name = word(random), random.randrange(99), word(random)
        novel.save()


@write
def create(random: Random) -> None:
    key = random.choice([None, free_key(Item, random)])
    with transaction.atomic():
        new_item(random, random.choice([Item, Book, Bargain]), pk=key).save(force_insert=True)


@write
def create_autocommit(random: Random) -> None:
    if (item := some(Item, random)) is not None:
        review = Review.objects.create(item=item, text=word(random))
        Answer.objects.create(review=review, text=word(random))


@write
def create_novel(random: Random) -> None:
    new_item(random, Novel, pages=random.randrange(99), hero=word(random)).save()


@write
def make_child_of_item(random: Random) -> None:
    item = some(Item, random)
    if item is not None and not Book.objects.filter(pk=item.pk).exists():
        book = Book(item_ptr=item, pages=random.randrange(99))
        book.save_base(raw=True)


@write
def drop_child_keep_item(random: Random) -> None:
    if (novel := some(Novel, random)) is not None:
        novel.delete(keep_parents=True)


@write
def update(random: Random) -> None:
    key = random.randrange(KEYS)
    some_items = random.choice(
        [
            Item.objects.filter(pk=key),
            Item.objects.filter(pk__in=[key, key + 3]),
            Item.objects.filter(price__gt=50),
            Item.objects.filter(brand__slug=f"brand-{key % 6}"),
            Item.objects.all(),
            Bargain.objects.filter(pk=key),
        ]
    )
    some_items.update(name=word(random))


@write
def move_slug(random: Random) -> None:
    """Another row is found where one was, or none."""
    item = some(Item, random)
    if item is None:
        return
    new = slug(random)
    ways: list[Callable[[], Any]] = [
        lambda: Item.objects.filter(pk=item.pk).update(slug=new),
        lambda: Item.objects.filter(slug=item.slug).update(slug=new),
        lambda: Item.objects.filter(pk=item.pk).update(slug=Concat(Value(new), Value(""))),
        lambda: Item.objects.bulk_update([item], ["slug"]),
        item.save,
        lambda: sql("UPDATE shop_item SET slug = %s WHERE id = %s", new, item.pk),
    ]
    way = random.choice(ways)
    if way in ways[3:5]:
        item.slug = new
    way()


@write
def swap_slugs(random: Random) -> None:
    one, other = some(Item, random), some(Item, random)
    if one is not None and other is not None and one.pk != other.pk:
        with transaction.atomic():
            Item.objects.filter(pk=one.pk).update(slug="between")
            Item.objects.filter(pk=other.pk).update(slug=one.slug)
            Item.objects.filter(pk=one.pk).update(slug=other.slug)


@write
def made_anew(random: Random) -> None:
    """Under another key, and the same slug."""
    if (item := some(Item, random)) is not None:
        with transaction.atomic():
            old = item.slug
            item.delete()
            made = new_item(random)
            made.slug = old
            made.save()


@write
def priced(random: Random) -> None:
    """Pages that ask for a slug and a price show the row, or no more."""
    if (item := some(Item, random)) is not None:
        Item.objects.filter(pk=item.pk).update(price=random.randrange(100))


@write
def update_child(random: Random) -> None:
    key = random.randrange(KEYS)
    found = random.choice([Book.objects.filter(pk=key), Book.objects.filter(pages__gt=50)])
    found.update(name=word(random), pages=random.randrange(99))


@write
def update_expression(random: Random) -> None:
    Item.objects.filter(pk=random.randrange(KEYS)).update(
        price=F("price") + 1, name=Substr(Concat(Value("x"), F("name")), 1, 20)
    )
    Category.objects.update(
        name=Case(When(pk=random.randrange(5), then=Value(word(random))), default=F("name"))
    )


@write
def bulk_create(random: Random) -> None:
    if (item := some(Item, random)) is not None:
        count = random.choice([1, 2, 5, 40])
        Review.objects.bulk_create(Review(item=item, text=word(random)) for _ in range(count))
        if Review.objects.count() > 60:
            Review.objects.filter(pk__gt=KEYS).delete()


@write
def bulk_create_with_keys(random: Random) -> None:
    if (item := some(Item, random)) is not None:
        keys = [free_key(Review, random), None]
        Review.objects.bulk_create(Review(pk=k, item=item, text=word(random)) for k in keys)


@write
def bulk_create_upsert(random: Random) -> None:
    keys = random.sample(range(1, 7), 3)
    brands = [Brand(pk=key, name=word(random), slug=f"brand-{key}") for key in keys]
    others = [Brand(name=word(random), slug=f"brand-{key}") for key in keys]
    for rows, unique in ((brands, "pk"), (others, "slug")):
        conflicts: dict[str, Any] = {"update_conflicts": True, "update_fields": ["name"]}
        if connection.features.supports_update_conflicts_with_target:
            conflicts["unique_fields"] = [unique]
        Brand.objects.bulk_create(rows, **conflicts)


@write
def bulk_create_ignoring(random: Random) -> None:
    Brand.objects.bulk_create(
        [Brand(name=word(random), slug=f"brand-{random.randrange(8)}") for _ in range(2)],
        ignore_conflicts=True,
    )


@write
def bulk_update(random: Random) -> None:
    items = list(Item.objects.order_by("pk")[: random.choice([1, 2, 30])])
    for item in items:
        item.name, item.price = word(random), random.randrange(100)
    Item.objects.bulk_update(items, ["name", "price"])


@write
def m2m_add(random: Random) -> None:
    if (item := some(Item, random)) is not None:
        item.labels.add(*random.sample(list(Label.objects.all()), min(2, Label.objects.count())))


@write
def m2m_other_side(random: Random) -> None:
    if (label := some(Label, random)) is not None and (item := some(Item, random)) is not None:
        random.choice([label.item_set.add, label.item_set.remove])(item)


@write
def m2m_remove(random: Random) -> None:
    if (item := some(Item, random)) is not None:
        item.labels.remove(*item.labels.all()[:1])


@write
def m2m_set(random: Random) -> None:
    if (item := some(Item, random)) is not None:
        item.labels.set(random.sample(list(Label.objects.all()), min(3, Label.objects.count())))


@write
def m2m_clear(random: Random) -> None:
    if (item := some(Item, random)) is not None:
        item.labels.clear()


@write
def m2m_through(random: Random) -> None:
    if (item := some(Item, random)) is not None:
        branch, _ = Branch.objects.get_or_create(code=branch_code(random.randrange(9)))
        item.branches.add(branch, through_defaults={"count": random.randrange(20)})
        if Stock.objects.count() > 30:
            Stock.objects.all().delete()


@write
def foreign_key_managers(random: Random) -> None:
    if (brand := some(Brand, random)) is not None and (item := some(Item, random)) is not None:
        random.choice([brand.item_set.add, brand.item_set.remove])(
            *([item] if item.brand_id == brand.pk else [])
        )
        brand.item_set.add(item)


@write
def delete(random: Random) -> None:
    model = random.choice([Item, Review, Answer, Label, Stock, Novel, Profile, Bargain])
    if (found := some(model, random)) is not None:
        found.delete()


@write
def delete_cascade(random: Random) -> None:
    model = random.choice([Brand, Category, Branch])
    if model.objects.count() > 2 and (found := some(model, random)) is not None:
        found.delete()


@write
def delete_many(random: Random) -> None:
    key = random.randrange(KEYS)
    random.choice(
        [
            Review.objects.filter(pk=key),
            Review.objects.filter(item=key),
            Item.objects.filter(pk__in=[key, key + 1]),
            Stock.objects.filter(count__lt=key),
            Answer.objects.filter(review__item=key),
        ]
    ).delete()


@write
def delete_raw(random: Random) -> None:
    found = Review.objects.filter(pk=random.randrange(KEYS))
    found._raw_delete(found.db)


@write
def raw_sql(random: Random) -> None:
    key, name = random.randrange(KEYS), word(random)
    random.choice(
        [
            lambda: sql("UPDATE shop_item SET name = %s WHERE id = %s", name, key),
            lambda: sql(f"UPDATE shop_item SET name = '{name}' WHERE id = {key}"),
            lambda: sql("UPDATE shop_item SET price = price + 1 WHERE brand_id = %s", key % 6),
            lambda: sql("DELETE FROM shop_answer WHERE id = %s", key),
            lambda: sql(
                "INSERT INTO shop_review (item_id, text) "
                "SELECT id, %s FROM shop_item ORDER BY id LIMIT 2",
                name,
            ),
            lambda: sql(
                "UPDATE shop_review SET text = %s WHERE item_id IN "
                "(SELECT id FROM shop_item WHERE price > %s)",
                name,
                key,
            ),
        ]
    )()


@write
def raw_key_moves(random: Random) -> None:
    old, new = some(Answer, random), free_key(Answer, random)
    if old is not None and new is not None:
        sql("UPDATE shop_answer SET id = %s WHERE id = %s", new, old.pk)


@write
def raw_many(random: Random) -> None:
    if (item := some(Item, random)) is not None:
        rows = ((item.pk, word(random)) for _ in range(3))
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO shop_review (item_id, text) VALUES (%s, %s)", rows)
            cursor.executemany(
                "UPDATE shop_item SET name = %s WHERE id = %s",
                [(word(random), random.randrange(KEYS)) for _ in range(2)],
            )


@write
def raw_transaction(random: Random) -> None:
    """A transaction that Django knows nothing of."""
    sql("BEGIN")
    sql("UPDATE shop_item SET name = %s WHERE id = %s", word(random), random.randrange(KEYS))
    sql("INSERT INTO shop_brand (name, slug) VALUES (%s, %s)", word(random), word(random))
    sql(random.choice(["COMMIT", "ROLLBACK"]))


@write
def manual_transaction(random: Random) -> None:
    transaction.set_autocommit(False)
    try:
        Item.objects.filter(pk=random.randrange(KEYS)).update(name=word(random))
        if random.random() < 0.5:
            with transaction.atomic():
                Brand.objects.filter(pk=random.randrange(6)).update(name=word(random))
        random.choice([transaction.commit, transaction.rollback])()
    finally:
        transaction.set_autocommit(True)


@write
def get_or_create(random: Random) -> None:
    Label.objects.get_or_create(pk=label_key(random.randrange(12)), defaults={"name": word(random)})
    Branch.objects.get_or_create(
        code=branch_code(random.randrange(5)), defaults={"city": word(random)}
    )
    if (brand := some(Brand, random)) is not None:
        Profile.objects.get_or_create(brand=brand, defaults={"text": word(random)})


@write
def update_or_create(random: Random) -> None:
    Label.objects.update_or_create(
        pk=label_key(random.randrange(12)), defaults={"name": word(random)}
    )
    Branch.objects.update_or_create(
        code=branch_code(random.randrange(5)), defaults={"city": word(random)}
    )
    if (brand := some(Brand, random)) is not None:
        Profile.objects.update_or_create(brand=brand, defaults={"text": word(random)})


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
        with suppress(IntegrityError), transaction.atomic():
            Item.objects.filter(slug__startswith="item").update(slug="same")
        if random.random() < 0.3:
            raise BackError
        m2m_add(random)


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
    """As a migration does it."""
    if random.random() < 0.2:
        with connection.schema_editor() as editor:
            editor.delete_model(Answer)
            editor.create_model(Answer)


def fill(random: Random) -> None:
    """What the shop begins with."""
    for key in range(1, 6):
        brand = Brand.objects.create(name=word(random), slug=f"brand-{key}")
        Category.objects.create(name=word(random), parent=some(Category, random))
        Label.objects.create(pk=label_key(key), name=word(random))
        Branch.objects.create(code=branch_code(key), city=word(random))
        if key < 3:
            Profile.objects.create(brand=brand, text=word(random))
    for model in (Item, Book, Item, Novel, Item):
        item = new_item(random, model)
        item.save()
        m2m_add(random)
        m2m_through(random)
        create_autocommit(random)
