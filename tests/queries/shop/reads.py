"""What a page of the shop may read. Each function takes a number that chooses its rows."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Avg, Count, Exists, F, Max, OuterRef, Prefetch, Q, Subquery, Sum
from django.db.models.functions import Coalesce, Lower, Upper

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

Read = Callable[[int], Any]
READS: dict[str, Read] = {}


def read(function: Read) -> Read:
    READS[function.__name__] = function
    return function


def draw(random: Random) -> tuple[str, Callable[[], Any]]:
    """One of the reads: what it is, and a function that does it."""
    name, number = random.choice(list(READS)), random.randrange(1, 15)
    return f"{name}({number})", lambda: READS[name](number)


def label_key(number: int) -> UUID:
    return UUID(int=number % 12 + 1)


def branch_code(number: int) -> str:
    return f"b{number % 5}"


def raw(sql: str, *params: Any) -> Any:
    if connection.vendor == "mysql":
        sql = sql.replace('"', "`")
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


@read
def item_list(n: int) -> Any:
    return list(Item.objects.order_by("pk").values_list("pk", "name", "price", "brand", "category"))


@read
def item_page(n: int) -> Any:
    return list(Item.objects.order_by("-price", "pk").values_list("name")[n % 4 : n % 4 + 5])


@read
def item_detail(n: int) -> Any:
    item = Item.objects.filter(pk=n).first()
    return item and (item.name, item.price)


@read
def item_detail_with_relations(n: int) -> Any:
    item = Item.objects.filter(pk=n).first()
    return item and (
        item.name,
        item.brand and item.brand.name,
        item.category.name,
        [label.name for label in item.labels.order_by("pk")],
        [review.text for review in item.review_set.order_by("pk")],
    )


@read
def item_by_slug(n: int) -> Any:
    item = Item.objects.filter(slug=f"item-{n}").first()
    return item and (item.pk, item.name)


@read
def item_by_slug_with_relations(n: int) -> Any:
    found = Item.objects.select_related("brand").prefetch_related("labels").filter(slug=f"item-{n}")
    return [
        (i.name, i.brand and i.brand.name, sorted(label.name for label in i.labels.all()))
        for i in found
    ]


@read
def item_by_slug_if_dear(n: int) -> Any:
    """There may be a row with the slug that is not shown."""
    item = Item.objects.filter(slug=f"item-{n}", price__gt=50).first()
    return item and item.name


@read
def item_by_slug_without_key(n: int) -> Any:
    found = Item.objects.filter(slug=f"item-{n}")
    return found.exists(), found.count(), list(found.values_list("name", "price"))


@read
def item_by_slug_in_capitals(n: int) -> Any:
    """The same row in MariaDB, and none in the others."""
    return [item.name for item in Item.objects.filter(slug=f"ITEM-{n}")]


@read
def item_by_slug_one_by_one(n: int) -> Any:
    found = Item.objects.filter(slug=f"item-{n}")
    return [item.name for item in found.iterator(chunk_size=1)]


@read
def book_by_slug(n: int) -> Any:
    return [(book.name, book.pages) for book in Book.objects.filter(slug=f"item-{n}")]


@read
def reviews_by_slug(n: int) -> Any:
    found = Review.objects.filter(item__slug=f"item-{n}").order_by("pk")
    return list(found.values_list("pk", "text", "item__name"))


@read
def two_by_slug(n: int) -> Any:
    found = [Item.objects.filter(slug=f"item-{at}").first() for at in (n, n + 1, n)]
    brand = Brand.objects.filter(slug=f"brand-{n % 6}").first()
    return [each and each.name for each in (*found, brand)]


@read
def raw_by_slug(n: int) -> Any:
    return raw('SELECT "id", "name" FROM "shop_item" WHERE "slug" = %s', f"item-{n}")


@read
def item_selected(n: int) -> Any:
    found = Item.objects.select_related("brand__profile", "category__parent").filter(pk=n)
    return [
        (i.name, i.brand and i.brand.name, str(i.category), str(i.category.parent)) for i in found
    ]


@read
def items_in(n: int) -> Any:
    found = Item.objects.filter(pk__in=[n, n + 1, n + 5]).order_by("pk")
    return list(found.values_list("pk", "name"))


@read
def items_in_bulk(n: int) -> Any:
    return sorted((k, v.name) for k, v in Item.objects.in_bulk([n, n + 2]).items())


@read
def items_of_brand(n: int) -> Any:
    return list(Item.objects.filter(brand_id=n % 6).order_by("pk").values_list("name"))


@read
def items_over_brand(n: int) -> Any:
    return list(Item.objects.filter(brand__name__startswith="a").order_by("pk").values_list("pk"))


@read
def item_exists(n: int) -> Any:
    return Item.objects.filter(pk=n).exists()


@read
def expensive_exists(n: int) -> Any:
    return Item.objects.filter(price__gt=n * 10).exists()


@read
def item_count(n: int) -> Any:
    return Item.objects.count(), Item.objects.filter(price__lt=n * 9).count()


@read
def prices(n: int) -> Any:
    found = Item.objects.aggregate(total=Sum("price"), most=Max("price"), mean=Avg("price"))
    return sorted((name, str(value)[:10]) for name, value in found.items())


@read
def brands_annotated(n: int) -> Any:
    found = Brand.objects.annotate(items=Count("item"), sum=Sum("item__price"))
    return list(found.order_by("pk").values_list("name", "items", "sum"))


@read
def brand_and_profile(n: int) -> Any:
    brand = Brand.objects.filter(pk=n % 6).select_related("profile").first()
    return brand and (brand.name, getattr(brand, "profile", None) and brand.profile.text)


@read
def profile_by_key(n: int) -> Any:
    profile = Profile.objects.filter(pk=n % 6).first()
    return profile and profile.text


@read
def prefetched(n: int) -> Any:
    found = Item.objects.filter(category_id=n % 4).order_by("pk")
    found = found.prefetch_related("labels", Prefetch("review_set", Review.objects.order_by("pk")))
    return [
        (
            i.name,
            sorted(label.name for label in i.labels.all()),
            [str(r) for r in i.review_set.all()],
        )
        for i in found
    ]


@read
def labels_of_item(n: int) -> Any:
    return sorted(Label.objects.filter(item=n).values_list("name", flat=True))


@read
def label_detail(n: int) -> Any:
    label = Label.objects.filter(pk=label_key(n)).first()
    return label and label.name


@read
def items_with_label(n: int) -> Any:
    return list(Item.objects.filter(labels=label_key(n)).order_by("pk").values_list("name"))


@read
def branch_detail(n: int) -> Any:
    branch = Branch.objects.filter(pk=branch_code(n)).first()
    return branch and branch.city


@read
def branch_stock(n: int) -> Any:
    found = Stock.objects.filter(branch=branch_code(n)).order_by("pk")
    return list(found.values_list("item__name", "count"))


@read
def branches_of_item(n: int) -> Any:
    return sorted(Branch.objects.filter(item__pk=n).values_list("city", flat=True))


@read
def book_detail(n: int) -> Any:
    book = Book.objects.filter(pk=n).first()
    return book and (book.name, book.pages, book.price)


@read
def book_list(n: int) -> Any:
    return list(Book.objects.order_by("pk").values_list("name", "pages"))


@read
def novel_of_item(n: int) -> Any:
    item = Item.objects.filter(pk=n).first()
    if item is None or not hasattr(item, "book") or not hasattr(item.book, "novel"):
        return None
    return item.book.novel.hero


@read
def novels(n: int) -> Any:
    return list(Novel.objects.filter(price__gte=n).order_by("pk").values_list("name", "hero"))


@read
def bargains(n: int) -> Any:
    return list(Bargain.objects.filter(price__lt=n * 5).order_by("pk").values_list("name"))


@read
def bargain_detail(n: int) -> Any:
    found = Bargain.objects.filter(pk=n).only("name").first()
    return found and (found.name, found.price)


@read
def with_subquery(n: int) -> Any:
    newest = Review.objects.filter(item=OuterRef("pk")).order_by("-pk").values("text")[:1]
    found = Item.objects.filter(pk__lt=n).annotate(newest=Subquery(newest)).order_by("pk")
    return list(found.values_list("name", "newest"))


@read
def pinned_with_subquery(n: int) -> Any:
    reviews = Review.objects.filter(item=OuterRef("pk")).order_by("-pk")
    found = Item.objects.filter(pk=n).annotate(
        text=Subquery(reviews.values("text")[:1]), has=Exists(reviews)
    )
    return list(found.values_list("name", "text", "has"))


@read
def with_exists(n: int) -> Any:
    found = Item.objects.filter(Exists(Stock.objects.filter(item=OuterRef("pk"), count__gt=n)))
    return list(found.order_by("pk").values_list("pk"))


@read
def union(n: int) -> Any:
    one = Item.objects.filter(pk=n).values_list("name")
    two = Brand.objects.filter(pk=n % 6).values_list("name")
    return sorted(one.union(two, all=True))


@read
def union_of_one_table(n: int) -> Any:
    found = Item.objects.filter(pk=n).union(Item.objects.filter(pk=n + 1))
    return sorted(found.values_list("name"))


@read
def either(n: int) -> Any:
    found = Item.objects.filter(Q(pk=n) | Q(brand__slug=f"brand-{n % 6}")).order_by("pk")
    return list(found.values_list("name"))


@read
def excluded(n: int) -> Any:
    return list(Item.objects.exclude(labels=label_key(n)).order_by("pk").values_list("pk"))


@read
def distinct_brands(n: int) -> Any:
    return sorted(Item.objects.values_list("brand__name").distinct(), key=str)


@read
def functions(n: int) -> Any:
    found = Item.objects.filter(pk=n).annotate(
        low=Lower("name"), up=Upper("brand__name"), price2=Coalesce(F("price"), 0) * 2
    )
    return list(found.values_list("low", "up", "price2"))


@read
def category_tree(n: int) -> Any:
    category, names = Category.objects.filter(pk=n % 4).first(), []
    while category is not None and len(names) < 4:
        names.append(category.name)
        category = category.parent
    return names


@read
def answers(n: int) -> Any:
    found = Answer.objects.filter(review__item=n).order_by("pk")
    return list(found.values_list("review__text", "text"))


@read
def answer_detail(n: int) -> Any:
    answer = Answer.objects.filter(pk=n).first()
    return answer and answer.text


@read
def review_detail(n: int) -> Any:
    review = Review.objects.filter(pk=n).first()
    return review and (review.text, review.item_id)


@read
def earliest_and_latest(n: int) -> Any:
    return str(Item.objects.order_by("pk").last()), str(
        Item.objects.order_by("price", "pk").first()
    )


@read
def iterated(n: int) -> Any:
    return [item.name for item in Item.objects.order_by("pk").iterator(chunk_size=3)]


@read
def refreshed(n: int) -> Any:
    item = Item(pk=n)
    try:
        item.refresh_from_db(fields=["name"])
    except Item.DoesNotExist:
        return None
    return item.name


@read
def deferred(n: int) -> Any:
    return [(i.name, i.price) for i in Item.objects.defer("price").filter(pk=n)]


@read
def raw_query(n: int) -> Any:
    return [i.name for i in Item.objects.raw("SELECT * FROM shop_item WHERE id = %s", [n])]


@read
def raw_detail(n: int) -> Any:
    return raw("SELECT name FROM shop_item WHERE id = %s", n)


@read
def raw_join(n: int) -> Any:
    return raw(
        "SELECT i.name, b.name FROM shop_item i LEFT JOIN shop_brand b ON b.id = i.brand_id "
        "WHERE i.id = %s",
        n,
    )


@read
def raw_cte(n: int) -> Any:
    return raw(
        "WITH few AS (SELECT id, name FROM shop_item WHERE id < %s) "
        "SELECT f.name, count(r.id) FROM few f LEFT JOIN shop_review r ON r.item_id = f.id "
        "GROUP BY f.id, f.name ORDER BY f.id",
        n,
    )


@read
def raw_aggregate(n: int) -> Any:
    return raw(
        'SELECT count(*), max("name") FROM "shop_book" k '
        'JOIN "shop_item" i ON i."id" = k."item_ptr_id"'
    )


@read
def values_of_branch(n: int) -> Any:
    found = Stock.objects.values("branch__city").annotate(sum=Sum("count"))
    return sorted(found.values_list("branch__city", "sum"))


@read
def dates_and_none(n: int) -> Any:
    return list(Item.objects.none()), Item.objects.filter(brand=None).count()


@read
def related_manager(n: int) -> Any:
    brand = Brand.objects.filter(pk=n % 6).first()
    return brand and sorted(brand.item_set.values_list("name", flat=True))


@read
def get_or_none(n: int) -> Any:
    try:
        return Item.objects.get(pk=n, price__gte=50).name
    except Item.DoesNotExist:
        return None


@read
def locked(n: int) -> Any:
    from django.db import transaction

    with transaction.atomic():
        return list(Item.objects.select_for_update().filter(pk=n).values_list("name", "price"))
