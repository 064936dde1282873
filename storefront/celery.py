"""The Celery app, each knob with its reason.

Two kinds of work, two queues, two pools:
``refresh`` waits for the endpoint:  ``celery -A storefront worker -Q refresh -P threads -c 4``
``nightly`` needs CPU and may be killed: ``celery -A storefront worker -Q nightly -P prefork -c 1``
and one clock: ``celery -A storefront beat``.
"""

import gc
import os
import sys
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import task_postrun, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "storefront.settings")

app = Celery("storefront")
app.conf.update(
    # --- What travels ---
    broker_url=os.environ.get("CELERY_BROKER_URL") or os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379/0",
    # Task arguments are numbers and short texts; a broker that can send pickles can run code here.
    task_serializer="json",
    accept_content=["json"],
    # Nobody asks for a result: what a task makes is in Redis, the database or S3. Saves a write for each task.
    task_ignore_result=True,
    # --- Publishing, from a web request ---
    # Fail fast and once: an event is already committed when its wake-up is published, and the sweep will find
    # whatever was not announced. A shopper must not wait for a broker that is away.
    task_publish_retry=False,
    broker_transport_options={
        "socket_connect_timeout": 0.5,
        "socket_timeout": 5.0,  # above the one second for which a worker blocks in BRPOP
        "max_retries": 0,  # else kombu would go on connecting for ever while the shopper waits
        # A message that nobody acknowledged for so long is delivered again. Longer than the longest task
        # (export_events' hard limit), or that task would run twice at once.
        "visibility_timeout": 2 * 3600,
    },
    # A worker that starts before its broker waits for it (and Celery 6 makes this explicit).
    broker_connection_retry_on_startup=True,
    # --- Taking ---
    # Acknowledged when taken, the default: what a killed worker was at, the sweep finds in Redis half a minute later. A
    # message that waits for its acknowledgement while the broker dies would take the worker along: kombu wants to give
    # it back over the connection that is gone.
    # One message at a time for each thread: a wake-up must not queue behind a drain while another thread idles.
    worker_prefetch_multiplier=1,
    # --- Routing ---
    task_default_queue="refresh",
    task_create_missing_queues=True,
    task_routes={
        "recommender.tasks.export_events": {"queue": "nightly"},
        "storefront.tasks.forget_guest_carts": {"queue": "nightly"},
    },
    # Limits hold on the prefork pool alone, which can interrupt a process. A drain on the threads pool has its own
    # deadline (recommender.aws). Soft first, so that the export can remove its temporary files.
    # Acknowledged after the work, since no sweep looks for it: a killed worker's export comes back, and may run twice.
    task_annotations={
        "recommender.tasks.export_events": {"soft_time_limit": 3000, "time_limit": 3300, "acks_late": True}
    },
    # The default hijack would throw away the format of settings.LOGGING.
    worker_hijack_root_logger=False,
    # --- The clock ---
    timezone="UTC",
    beat_schedule={
        # `expires`: after an outage one sweep is enough, not one for each missed tick.
        "sweep": {"task": "recommender.tasks.sweep", "schedule": 10.0, "options": {"expires": 10}},
        "refresh_popular": {
            "task": "recommender.tasks.refresh_popular",
            "schedule": 600.0,
            "options": {"expires": 600},
        },
        "export": {"task": "recommender.tasks.export_events", "schedule": crontab(hour=3, minute=0)},
        "guest carts": {"task": "storefront.tasks.forget_guest_carts", "schedule": crontab(hour=4, minute=0)},
    },
)
app.autodiscover_tasks(["recommender", "storefront"])
# Celery would close the database before and after each task: opening it again takes longer than what a drain reads.
# After that many tasks it may; in between, connections live as long as a web request's do (see _ready).
app.conf.CELERY_DB_REUSE_MAX = sys.maxsize


@worker_ready.connect
def _ready(**about: Any) -> None:
    # Here, for Django is not yet set up when this file is read.
    from django.db import close_old_connections

    from recommender import metrics

    task_postrun.connect(close_old_connections)  # the old and the broken ones, as after a web request
    metrics.start()
    # What a drain makes, it drops without cycles; looking for some, again and again, was a fifth of its time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)
