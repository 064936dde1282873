"""Recommendations for a person to read: ``python -m ml recommend <product id>… [--model DIR]``.

Prints what goes with the products, what could replace them and what a shopper who bought them gets, with the reason
of each line.
"""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ml import artefact
from ml.contract import MAX_HISTORY, Query, SlateName
from ml.errors import MlError
from ml.model import Model

KEPT = Path(".local")
TITLES: dict[SlateName, str] = {
    "together": "Goes well with it",
    "similar": "Could stand in its place",
    "for_you": "For a shopper who bought it",
}


class RecommendError(MlError):
    """A question that the model cannot be asked."""


def newest(folder: Path) -> Path:
    """The model trained last anywhere under ``folder``: a folder with a manifest, or a model.tar.gz."""
    found = [path.parent for path in folder.rglob(artefact.MANIFEST)] + list(folder.rglob("model.tar.gz"))
    if not found:
        raise RecommendError(f"no model under {folder}; run `make demo` once, or name one with --model DIR")
    return max(found, key=lambda path: path.stat().st_mtime)


def load(path: Path) -> Model:
    """A model from its folder or its archive."""
    if path.is_dir():
        return artefact.load(path)
    with tempfile.TemporaryDirectory() as folder:  # what is mapped stays readable after its name is gone
        artefact.unpack(path, Path(folder))
        return artefact.load(Path(folder))


def tables(model: Model, product_ids: list[str], limit: int) -> list[Table]:
    names = dict(zip(model.product_ids, model.names, strict=True))
    unknown = [product_id for product_id in product_ids if product_id not in names]
    if unknown:
        popular = ", ".join(model.product_ids[:5])
        raise RecommendError(f"the model does not know product {unknown[0]!r:.60}; it knows, for example, {popular}")
    query: Query = {
        "slate_id": "person",
        "history": [{"product_id": each, "kind": "purchase", "age": 0.0, "count": 1} for each in product_ids],
        "slates": [{"name": name, "limit": limit} for name in TITLES],
    }
    slates = model.recommend([query])[0]["slates"]
    made = []
    for slate, title in TITLES.items():
        table = Table(title=title, title_justify="left", min_width=80)
        table.add_column("product id")
        table.add_column("name", ratio=3)
        table.add_column("score", justify="right")
        table.add_column("because of", ratio=2)
        for item in slates[slate]:
            reason = names[item["because"]] if item["because"] else "it is popular"
            table.add_row(item["product_id"], names[item["product_id"]], f"{item['score']:.3f}", reason)
        made.append(table)
    return made


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("product_ids", nargs="+", metavar="PRODUCT_ID", help="what the shopper has bought")
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="model folder or model.tar.gz (default: newest in .local)"
    )
    parser.add_argument("--limit", type=int, default=8, help="lines of each list (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    if len(arguments.product_ids) > MAX_HISTORY or not 1 <= arguments.limit <= 200:
        raise RecommendError(f"at most {MAX_HISTORY} products and a limit from 1 to 200")
    path = arguments.model or newest(KEPT)
    model = load(path)
    console = Console()
    console.print(f"model {model.version} ({path})")
    for table in tables(model, arguments.product_ids, arguments.limit):
        console.print(table)
    return 0
