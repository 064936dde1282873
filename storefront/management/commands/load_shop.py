"""``manage.py load_shop``: the door through which every shop brings its data, the demo included."""

import argparse
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from ml.contract import EVENT_COLUMNS, KINDS, PRODUCT_COLUMNS
from storefront import loading
from storefront.strictcsv import Refused

ABOUT = f"""
Load a shop's catalogue and history. Both files are UTF-8 CSV with a header line.

products.csv   {", ".join(PRODUCT_COLUMNS)}
               and, if you like, stock. Price is an amount such as 3.49. Products that the shop knows are brought
               up to date, so the file may be loaded again; products that it lacks stay (hide them in the admin).
               Without a stock column new products start with {loading.ASSUMED_STOCK} and known ones keep theirs.
events.csv     {", ".join(EVENT_COLUMNS)}
               shopper is your own opaque key, basket your till's or session's (may be empty), kind one of
               {", ".join(sorted(KINDS))}, and time ISO 8601 in UTC, such as 2026-01-31T17:45:00Z.
               Every product must be known, from this products.csv or an earlier one.

Load only shoppers who agreed that you keep their history. Each gets an account named {loading.username("<key>")}
that nobody can sign in to until you give it a password; with DEMO=1 it is a demo shopper, open to everybody.
A shopper's history is loaded once: events of known shoppers are refused, because they would count twice.

Everything is checked before anything is written. What is wrong is named by file, line and column, up to 20 times,
and then nothing has been loaded.
"""


class Command(BaseCommand):
    help = ABOUT
    requires_migrations_checks = True

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--products", type=Path, metavar="products.csv", help="the catalogue")
        parser.add_argument("--events", type=Path, metavar="events.csv", help="what shoppers did")

    def handle(self, *args: Any, products: Path | None, events: Path | None, **options: Any) -> None:
        if products is None and events is None:
            raise CommandError("Name a file: --products products.csv, --events events.csv, or both.")
        started = time.monotonic()
        try:
            loaded = loading.load(products, events, self._progress)
        except Refused as refusal:
            told = textwrap.indent(str(refusal), "  ")
            raise CommandError(f"Nothing was loaded:\n{told}") from None
        except DatabaseError as error:
            raise CommandError(f"Nothing was loaded, for the database refused: {error}") from None
        finally:
            self._progress("", 0)
        self.stdout.write(
            f"Loaded {loaded.products:,} products and {loaded.events:,} events of {loaded.shoppers:,} shoppers "
            f"in {time.monotonic() - started:.1f} s."
        )
        if loaded.stock_assumed:
            self.stdout.write(f"No stock column: new products start with {loading.ASSUMED_STOCK} in stock.")

    def _progress(self, what: str, row: int) -> None:
        """One line that rewrites itself, for people; files and pipes get the result alone."""
        if sys.stderr.isatty():
            self.stderr.write(f"\r\x1b[K{what} {row:,}" if what else "\r\x1b[K", ending="")
