"""What each web process loads; `python -m storefront` starts them."""

import gc
import os
import sys

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "storefront.settings")

application = get_wsgi_application()

from recommender import metrics  # noqa: E402 - which need the settings that the line above has read
from storefront import rounds  # noqa: E402

metrics.start()
rounds.start(application)

# What start-up made stays for good: looking through all of it again and again took tens of milliseconds, for which
# every request in hand waited. How often the young are looked through stays as Python has it: Django leaves dozens of
# objects of each request in cycles, a template its products too, and to let twenty thousand gather first saved nothing
# and stopped every sixtieth page for ten milliseconds.
# The old are mostly cards that stay: looking through them takes thirty milliseconds, and was due at every three
# thousandth page for the few objects that were in hand at the wrong moment.
gc.collect()
gc.freeze()
gc.set_threshold(700, 10, 100)  # Python's own but for the last, which is 10: the old at every eight thousandth page

# Reading the catalogue anew and making the rounds are threads beside the requests. Each time a request waits for Redis
# or the database, such a thread takes the interpreter and keeps it for this long: at Python's own 5 ms, a page that
# steps through fifty rows was late by a quarter of a second.
sys.setswitchinterval(0.0005)
