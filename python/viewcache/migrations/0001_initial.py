"""The outbox of ``VIEWCACHE["DURABLE"]``."""

import uuid

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="PendingExpiry",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("site", models.CharField(db_index=True, max_length=250)),
                ("scopes", models.TextField()),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
            ],
            options={
                "verbose_name": "pending expiry",
                "verbose_name_plural": "pending expiries",
                "default_permissions": ("view",),
            },
        ),
    ]
