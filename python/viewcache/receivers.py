"""
Signal receivers that expire the pages of what was saved.

Connect them by hand::

    post_save.connect(viewcache.receivers.expire_instance, sender=Post)

or name the models in ``VIEWCACHE["EXPIRE_ON_SAVE"]``. Several saves in one transaction become one
expiry, after its commit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import ManyToManyField, ManyToManyRel, Model, signals
from django.utils.module_loading import import_string

from . import compat, conf, expiry, scopes

logger = logging.getLogger("viewcache.expiry")

#: Where an instance keeps, between ``pre_save`` and ``post_save``, what its old self was shown on.
_BEFORE = "_viewcache_before"
#: And between ``pre_clear`` and ``post_clear``, what was on the other side of the relation.
_CLEARED = "_viewcache_cleared"

Urls = Callable[[Any], Iterable[Any]]


def expire_instance(sender: type[Model], instance: Model, **kwargs: Any) -> None:
    """
    Expire the pages of this instance: for ``post_save``, ``post_delete`` and ``m2m_changed``.

    What these are ``VIEWCACHE["EXPIRE_ON_SAVE"]`` says for the model; otherwise its
    ``get_absolute_url()``, in every language, the object's tag and its model's. When a save
    changes the URL, the old one is expired, too. Loading fixtures (``raw=True``) expires nothing.
    A fault of the cache is logged and never breaks the save.
    """
    _expire(instance, [instance], **kwargs)


def _expire(instance: Model, faces: Iterable[Model], **kwargs: Any) -> None:
    """Expire the pages of these, which are the instance that a signal is about."""
    if kwargs.get("raw") or str(kwargs.get("action", "post_")).startswith("pre_"):
        return
    if kwargs.get("signal") is signals.m2m_changed and not isinstance(instance, Model):
        return
    using = kwargs.get("using") or instance._state.db or DEFAULT_DB_ALIAS
    found = [scope for face in faces for scope in scopes_of(face)]
    before = instance.__dict__.pop(_BEFORE, ())
    expiry.on_commit(dict.fromkeys([*before, *found]), connections[using])


def remember_before(sender: type[Model], instance: Model, **kwargs: Any) -> None:
    """``pre_save``: what the instance's row in the database is shown on, before it changes."""
    if kwargs.get("raw") or not _may_have_row(instance) or not is_received(sender):
        return
    using = kwargs.get("using") or DEFAULT_DB_ALIAS
    before = sender._base_manager.using(using).filter(pk=instance.pk).first()
    if before is not None:
        faces = [_as(before, model) for model in _named(sender)] or [before]
        instance.__dict__[_BEFORE] = [scope for face in faces for scope in scopes_of(face)]


def _may_have_row(instance: Model) -> bool:
    """Can the instance's row be there already? ``Post(pk=1).save()`` changes the one that is."""
    fields = cast(Any, instance)._meta.pk_fields
    values = [getattr(instance, field.attname) for field in fields]
    if any(value is None or hasattr(value, "resolve_expression") for value in values):
        return False
    # Where the key has a default, Django looks for no row of a new instance.
    return not instance._state.adding or not all(
        field.has_default() or field.has_db_default() for field in fields
    )


def expire_related(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """
    ``pre_delete``: expire what the instance is related to many-to-many, of the models that the
    settings name. It costs a query for each such relation: Django sends no ``m2m_changed`` when the
    rows of a relation go with one of its sides.
    """
    if not conf.get().EXPIRE_ON_SAVE:
        return
    for field, reverse in _relations(sender):
        model = field.model if reverse else field.remote_field.model
        if _named(model):
            for other in _others(field, instance, model, reverse, using):
                _of_settings(type(other), other, using=using)


def _relations(model: type[Model]) -> Iterator[tuple[Any, bool]]:
    """The many-to-many fields of this model's own rows, and (``True``) those of others to it."""
    options: Any = (model._meta.concrete_model or model)._meta
    for field in options.local_many_to_many:
        # A name is no model of the project, as the checks of Django say.
        named = field.remote_field.model, field.remote_field.through
        if isinstance(field, ManyToManyField) and not any(isinstance(each, str) for each in named):
            yield field, False
    for relation in options.get_fields(include_parents=False, include_hidden=True):
        # Where it is symmetrical, both are the same rows.
        if isinstance(relation, ManyToManyRel) and not relation.symmetrical:
            yield relation.field, True


def connect() -> None:
    """Connect what answers for the models that the settings name, whatever they name then."""
    signals.pre_save.connect(remember_before, dispatch_uid="viewcache.remember_before")
    signals.post_save.connect(_of_settings, dispatch_uid="viewcache.of_settings")
    _connect_to_models()
    setting_changed.connect(_connect_again, dispatch_uid="viewcache.receivers")


def _connect_to_models() -> None:
    models = apps.get_models(include_auto_created=True)
    connect_deletions(models)
    connect_relations(models)


def connect_deletions(models: Iterable[type[Model]]) -> None:
    """
    Connect what answers for deletions, for those of these models of which one expires something.
    Of any model whose signals somebody hears Django fetches each row that it deletes.
    """
    try:
        named = conf.get().EXPIRE_ON_SAVE
    except ImproperlyConfigured:
        return  # the checks tell
    for model in models:
        others = (
            field.model if reverse else field.remote_field.model
            for field, reverse in (_relations(model) if named else ())
        )
        for signal, receiver, hears in (
            (signals.post_delete, _of_settings, _label(model) in named),
            (signals.pre_delete, expire_related, any(map(_named, others))),
        ):
            uid = f"viewcache.{receiver.__name__}"
            if hears:
                signal.connect(receiver, sender=model, dispatch_uid=uid)
            else:
                signal.disconnect(sender=model, dispatch_uid=uid)


def connect_relations(models: Iterable[type[Model]]) -> None:
    """
    Connect what answers for changes of the many-to-many relations of these models, for those of
    which a side expires something. Where somebody hears of one, Django asks which of its rows are
    there before it adds any.
    """
    try:
        named = conf.get().EXPIRE_ON_SAVE
    except ImproperlyConfigured:
        return  # the checks tell
    models = list(models)
    # A row of a model that inherits a relation is an instance of it, too.
    heard = {each for model in models if named and _named(model) for each in model.__mro__}
    for model in models:
        # Not Django's alone: django-taggit's send the signal, too.
        for field in cast(Any, model)._meta.local_many_to_many:
            through, other = getattr(field.remote_field, "through", None), field.remote_field.model
            if isinstance(through, str) or isinstance(other, str) or through is None:
                continue  # a name is no model of the project, as the checks of Django say
            uid = "viewcache.of_settings"
            if not heard.isdisjoint((model, other, other._meta.concrete_model)):
                signals.m2m_changed.connect(_of_settings_m2m, sender=through, dispatch_uid=uid)
            else:
                signals.m2m_changed.disconnect(sender=through, dispatch_uid=uid)


def _connect_again(*, setting: str, **kwargs: Any) -> None:
    if setting == "VIEWCACHE":
        _connect_to_models()


def _of_settings(sender: type[Model], instance: Model, **kwargs: Any) -> None:
    models = _named(sender)
    if kwargs.get("signal") is signals.post_delete:
        # Only then Django sends a signal for each row that the instance has inherited.
        models = [model for model in models if _label(model) == _label(sender)]
    if models:
        _expire(instance, [_as(instance, model) for model in models], **kwargs)


def _of_settings_m2m(sender: type[Model], instance: Any, **kwargs: Any) -> None:
    if isinstance(instance, Model):
        _of_settings(type(instance), instance, **kwargs)
    related = kwargs.get("model")
    if related is not None and _named(related):
        # The other side of the relation has changed, too.
        for other in _other_side(sender, instance, **kwargs):
            _of_settings(type(other), other, **kwargs)


def _other_side(sender: type[Model], instance: Any, **kwargs: Any) -> Iterable[Model]:
    """The objects of the other side; a clear names none, so they are looked up before it."""
    action, model, using = kwargs["action"], kwargs["model"], kwargs.get("using")
    if action == "pre_clear" and isinstance(instance, Model):
        instance.__dict__[_CLEARED] = list(
            _related(sender, instance, model, kwargs["reverse"], using)
        )
    elif action == "post_clear" and isinstance(instance, Model):
        return cast(list[Model], instance.__dict__.pop(_CLEARED, []))
    chosen = model._base_manager.using(using).filter(pk__in=kwargs.get("pk_set") or ())
    return cast(Iterable[Model], chosen)


def _related(
    sender: type[Model], instance: Model, model: type[Model], reverse: bool, using: str | None
) -> Iterable[Model]:
    """What this relation (its through model is the ``sender``) relates the instance to."""
    source = model if reverse else instance
    for field in source._meta.many_to_many:
        if cast(Any, field.remote_field).through is sender:
            return _others(field, instance, model, reverse, using)
    return ()


def _others(
    field: Any, instance: Model, model: type[Model], reverse: bool, using: str | None
) -> Iterable[Model]:
    """What of this model the field relates the instance to; ``reverse``: the field is theirs."""
    mine, theirs = field.m2m_field_name(), field.m2m_reverse_field_name()
    if reverse:
        mine, theirs = theirs, mine
    through = field.remote_field.through
    rows = through._base_manager.using(using).filter(**{mine: instance}).values(theirs)
    return cast(Iterable[Model], model._base_manager.using(using).filter(pk__in=rows))


def is_received(sender: type[Model]) -> bool:
    """Does saving an instance of this model expire pages?"""
    return bool(_named(sender)) or compat.is_connected(signals.post_save, expire_instance, sender)


def _named(model: type[Model]) -> list[type[Model]]:
    """This model, and those that its rows are rows of, too: which of them the settings name."""
    named = conf.get().EXPIRE_ON_SAVE
    if not named:
        return []
    concrete = model._meta.concrete_model or model
    lineage = [concrete, *concrete._meta.get_parent_list()]
    return [each for each in lineage if _label(each) in named]


def _as(instance: Model, model: type[Model]) -> Model:
    """The instance as one of this model, which is its own or one that it inherits from."""
    if _label(type(instance)) == _label(model):
        return instance
    known = instance.__dict__
    names = [field.attname for field in model._meta.concrete_fields if field.attname in known]
    return model.from_db(instance._state.db, names, [known[name] for name in names])


def _label(model: type[Model]) -> str:
    return (model._meta.concrete_model or model)._meta.label_lower


def scopes_of(instance: Model) -> list[str]:
    """What to expire for this instance. A fault of the site's own callable is logged."""
    model = type(instance)
    own = scopes.of_tags([instance, model])
    try:
        urls = _callable(_label(model))
        if urls is None:
            return [*scopes.object_scopes(instance), *own]
        items = scopes.several(urls(instance))
        return [scope for item in items for scope in scopes.item_scopes(item)] + own
    except ImproperlyConfigured:
        raise
    except Exception:
        logger.exception(
            "viewcache could not tell the pages of %r; its tags are expired.", instance
        )
        return own


def _callable(label: str) -> Urls | None:
    given = conf.get().EXPIRE_ON_SAVE.get(label)
    if given is None or callable(given):
        return given
    try:
        found = import_string(given)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"VIEWCACHE['EXPIRE_ON_SAVE'][{label!r}] is {given!r}, which cannot be imported: "
            f"{error}"
        ) from error
    return found  # type: ignore[no-any-return]
