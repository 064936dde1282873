"""The shop. Importing it loads the Celery app, so that every process publishes to the same broker."""

from storefront.celery import app as celery_app

__all__ = ["celery_app"]
