"""The web process: ``granian --interface wsgi storefront.wsgi:application``."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "storefront.settings")

application = get_wsgi_application()

from recommender import metrics  # noqa: E402 - which need the settings that the line above has read
from storefront import rounds  # noqa: E402

metrics.start()
rounds.start(application)
