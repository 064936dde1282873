from typing import Any

from django.core.management.base import BaseCommand, CommandError

from recommender import tasks


class Command(BaseCommand):
    help = "Export events and products to EXPORT_URL as Parquet now; the nightly task does the same."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = tasks.export_events()
        except tasks.ExportFailed as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{done['url']}: {done['events']:,} events, {done['products']:,} products")
