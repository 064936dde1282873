"""The web process: ``granian --interface wsgi storefront.wsgi:application``."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "storefront.settings")

application = get_wsgi_application()

from recommender import metrics  # noqa: E402 - which needs the settings that the line above has read

metrics.start()
