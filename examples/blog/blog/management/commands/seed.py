"""Fill the blog with posts. It makes the same blog every time, and never makes a post twice."""

from datetime import UTC, datetime, timedelta

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils.text import slugify

from blog.models import Author, Comment, Post, Tag

NEWEST = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
SPAN = timedelta(days=4 * 365)

USERS = {"editor": True, "reader": False}  # name and password are the same; True is a superuser

AUTHORS = {
    "Ada Winter": "Writes about databases, slowly.",
    "Bruno Keller": "Keeps a web site alive, and a vegetable garden.",
    "Chiara Rossi": "Tests things until they break, then writes it down.",
}

TAGS = ["Cache", "Databases", "Django", "HTTP", "Operations", "Python", "Rust", "Testing"]

FORMS = [
    "Notes on {}",
    "What {} taught us",
    "A year with {}",
    "{}, from the beginning",
    "Small steps towards {}",
    "The trouble with {}",
    "In praise of {}",
]

SUBJECTS = [
    "page caches",
    "slow queries",
    "readable errors",
    "boring deployments",
    "stable addresses",
    "short functions",
    "honest tests",
    "old cookies",
    "two languages",
    "quiet releases",
    "good defaults",
]

SENTENCES = [
    "We began with the simplest thing that could work, and kept it for longer than planned.",
    "Nobody had written down why the old way was chosen, so we asked who had been there.",
    "The first measurement was wrong, and it was wrong in our favour.",
    "Most of the time went into names, and it was well spent.",
    "A page that is fast and old is worse than a page that is slow and right.",
    "When the numbers came back, the plan that everyone liked was the slowest one.",
    "There is a test for it now, and the test has a comment that says why.",
    "Every visitor brings cookies, and hardly any of them matter.",
    "It took an afternoon to build and a week to remove.",
    "What we would do again: measure first, change one thing, measure again.",
    "The fix was three lines; finding them took us through six layers.",
    "Readers wrote to us the same evening, which is how we learned that it was broken.",
    "Then the cache was emptied by accident, and the site held.",
]

COMMENTS = [
    ("Noor", "Thank you, this saved my afternoon."),
    ("Émile", "Did you measure it on a slow disk, too?"),
    ("Sam", "We came to the same conclusion last year."),
    ("Yuki", "The second paragraph deserves a post of its own."),
]


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("--posts", type=int, default=30, help="how many posts (default: 30)")

    @transaction.atomic
    def handle(self, *, posts, **options):
        self.make_users()
        authors = self.make_authors()
        tags = [Tag.objects.get_or_create(slug=slugify(n), defaults={"name": n})[0] for n in TAGS]
        made = sum(self.make_post(number, posts, authors, tags) for number in range(posts))
        self.stdout.write(f"{made} posts added, {Post.objects.count()} in the blog.")

    def make_users(self):
        users = get_user_model().objects
        for name, is_editor in USERS.items():
            if not users.filter(username=name).exists():
                create = users.create_superuser if is_editor else users.create_user
                create(name, f"{name}@example.com", name)

    def make_authors(self):
        authors = []
        for name, bio in AUTHORS.items():
            defaults = {"name": name, "bio": bio}
            authors.append(Author.objects.get_or_create(slug=slugify(name), defaults=defaults)[0])
        return authors

    def make_post(self, number, posts, authors, tags):
        """Make the post of this number, the oldest first; False when it is there already."""
        title = title_of(number)
        is_draft = number % 10 == 4
        post, is_new = Post.objects.get_or_create(
            slug=slugify(title),
            defaults={
                "title": title,
                "body": body_of(number),
                "author": authors[number % len(authors)],
                "published_at": NEWEST - SPAN * ((posts - 1 - number) / posts),
                "status": Post.Status.DRAFT if is_draft else Post.Status.PUBLISHED,
            },
        )
        if is_new:
            post.tags.set(tags[(number * step) % len(tags)] for step in (1, 3, 5)[: 1 + number % 3])
            Comment.objects.bulk_create(
                Comment(
                    post=post,
                    name=name,
                    text=text,
                    created=post.published_at + timedelta(hours=hour),
                )
                for hour, (name, text) in enumerate(COMMENTS[: number % (len(COMMENTS) + 1)], 1)
            )
        return is_new


def title_of(number):
    """A title of its own for every number."""
    form = FORMS[number % len(FORMS)]
    subject = SUBJECTS[number % len(SUBJECTS)]  # 7 and 11 are coprime: 77 pairs
    title = form.format(subject)
    part = number // (len(FORMS) * len(SUBJECTS))
    title = f"{title}, part {part + 1}" if part else title
    return title[0].upper() + title[1:]


def body_of(number):
    """Three to five paragraphs."""
    return "\n\n".join(
        " ".join(SENTENCES[(number * 5 + paragraph * 4 + i) % len(SENTENCES)] for i in range(4))
        for paragraph in range(3 + number % 3)
    )
