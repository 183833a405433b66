"""Foreign keys, many to many (with and without a model), inheritance, proxies, odd keys."""

from __future__ import annotations

import uuid

import django
from django.db import models
from django.db.models import CASCADE, SET_NULL

#: What the database deletes by itself, from Django 6.1 on.
CASCADE_IN_DATABASE = getattr(models, "DB_CASCADE", CASCADE)
assert django.VERSION < (6, 1) or CASCADE_IN_DATABASE is not CASCADE


class Brand(models.Model):
    name = models.CharField(max_length=50)
    slug = models.SlugField(unique=True)

    def __str__(self) -> str:
        return self.name


class Profile(models.Model):
    """Its key is somebody else's."""

    brand = models.OneToOneField(Brand, CASCADE, primary_key=True)
    text = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.text


class Category(models.Model):
    name = models.CharField(max_length=50)
    parent = models.ForeignKey("self", SET_NULL, null=True)

    def __str__(self) -> str:
        return self.name


class Label(models.Model):
    key = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class Branch(models.Model):
    code = models.CharField(max_length=10, primary_key=True)
    city = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.city


class Item(models.Model):
    name = models.CharField(max_length=50)
    slug = models.SlugField(unique=True)
    price = models.IntegerField(default=0)
    brand = models.ForeignKey(Brand, SET_NULL, null=True)
    category = models.ForeignKey(Category, CASCADE)
    labels = models.ManyToManyField(Label)
    branches = models.ManyToManyField(Branch, through="Stock")

    def __str__(self) -> str:
        return self.name


class Book(Item):
    pages = models.IntegerField(default=1)


class Novel(Book):
    hero = models.CharField(max_length=50)


class Bargain(Item):
    class Meta:
        proxy = True


class Stock(models.Model):
    item = models.ForeignKey(Item, CASCADE)
    branch = models.ForeignKey(Branch, CASCADE)
    count = models.IntegerField(default=0)

    def __str__(self) -> str:
        return str(self.count)


class Review(models.Model):
    item = models.ForeignKey(Item, CASCADE)
    text = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.text


class Answer(models.Model):
    """It goes with its review, and where the database does that no statement says so."""

    review = models.ForeignKey(Review, CASCADE_IN_DATABASE)
    text = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.text


TABLES = [Brand, Profile, Category, Label, Branch, Item, Book, Novel, Stock, Review, Answer]
