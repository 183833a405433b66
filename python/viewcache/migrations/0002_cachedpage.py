"""The permissions of the admin's page. There is no table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("viewcache", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="CachedPage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
            ],
            options={
                "verbose_name": "cached page",
                "verbose_name_plural": "cached pages",
                "permissions": (("expire_cachedpage", "Can expire cached pages"),),
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    ]
