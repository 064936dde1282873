"""The web process: ``granian --interface wsgi storefront.wsgi:application``."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "storefront.settings")

application = get_wsgi_application()

from recommender import metrics  # noqa: E402 - which need the settings that the line above has read
from storefront import rounds  # noqa: E402

metrics.start()
rounds.start(application)

# What start-up made stays for good, and requests leave few cycles behind: looking through all of it again and again
# took tens of milliseconds, for which every request in hand waited.
gc.collect()
gc.freeze()
gc.set_threshold(20_000)
