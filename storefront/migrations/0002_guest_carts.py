import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('storefront', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='cart',
            name='touched',
            field=models.DateTimeField(default=django.utils.timezone.now),
        ),
        migrations.AddIndex(
            model_name='cart',
            index=models.Index(condition=models.Q(('user', None)), fields=['touched'], name='guest_carts'),
        ),
    ]
