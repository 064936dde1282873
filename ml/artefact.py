"""A model as files: plain arrays and a manifest that says what they are, when they were learnt and how good they were.

    manifest.json            version, contract, window, metrics, slates, row_sets, and each file's size and SHA-256
    rows.start.npy           int64, rows.product.npy int32, rows.value.npy float32: ml.kernel.Rows, memory-mapped
    product_id.npy …         texts of fixed width, popularity.npy float64
    bucket.npy …             int32: the rest of ml.index.Index

Nothing is pickled, so nothing in an artefact can run. ``load`` refuses what does not match its manifest, byte for byte.
"""

import json
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.contract import MAX_TEXT, SLATES, VERSION
from ml.digests import Fingerprints, fingerprint, fingerprints
from ml.errors import MlError
from ml.index import Index, Texts
from ml.kernel import Rows
from ml.model import Model
from ml.slates import Recipe, Term

MANIFEST = "manifest.json"
LONGEST_NAME = 200  # a text array is as wide as its longest text
FORMAT = 2  # of the files; 2 brought the index
_TEXTS = ("product_id", "name", "category")
_CODES = ("bucket", "member", "shelved", "shelf")
_TYPES: Mapping[str, Any] = {
    "rows.start": np.int64,
    "rows.product": np.int32,
    "rows.value": np.float32,
    "popularity": np.float64,
    **dict.fromkeys(_TEXTS, np.str_),
    **dict.fromkeys(_CODES, np.int32),
}


class ArtefactError(MlError):
    """An artefact that is damaged, was changed, or is of another contract."""


def save(model: Model, directory: Path, window: tuple[str, str], metrics: Mapping[str, float]) -> None:
    """Write ``model`` into ``directory``, the manifest last. ``window`` is the first and last day learnt from."""
    directory.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {
        "rows.start": model.rows.start,
        "rows.product": model.rows.product,
        "rows.value": model.rows.value,
        "popularity": model.popularity,
        **{name: getattr(model.index, name) for name in ("product_id", *_CODES)},
        "name": np.array([name[:LONGEST_NAME] for name in model.names]),
        "category": np.array([category[:MAX_TEXT] for category in model.category]),
    }
    for name, array in arrays.items():
        np.save(_file(directory, name), array, allow_pickle=False)
    manifest = {
        "version": model.version,
        "contract": VERSION,
        "format": FORMAT,
        "window": window,
        "metrics": metrics,
        "products": len(model.product_ids),
        "row_sets": model.row_sets,
        "slates": {name: asdict(recipe) for name, recipe in model.slates.items()},
        "files": {name: fingerprint(_file(directory, name)) for name in arrays},
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def load(directory: Path) -> Model:
    """Read an artefact, rows memory-mapped. Raises ArtefactError unless every file is what its manifest says."""
    with fingerprints(directory) as digests:
        return verified(directory, digests)


def verified(directory: Path, digests: Fingerprints) -> Model:
    """``load`` with digests begun before; their verdict comes before anything else that is wrong with a file."""
    manifest = read_manifest(directory)
    try:
        _check_list(directory, manifest["files"])
        try:
            arrays = {name: _array(_file(directory, name), type_) for name, type_ in _TYPES.items()}
            model = Model(
                version=str(manifest["version"]),
                product_ids=Texts(arrays["product_id"]),
                names=Texts(arrays["name"]),
                category=Texts(arrays["category"]),
                popularity=np.asarray(arrays["popularity"]),
                row_sets=tuple(manifest["row_sets"]),
                rows=Rows(arrays["rows.start"], arrays["rows.product"], arrays["rows.value"]),
                slates={name: _recipe(recipe) for name, recipe in manifest["slates"].items()},
                mapped=Index(arrays["product_id"], *(arrays[name] for name in _CODES)),
            )
            _check_shape(directory, model)
        finally:
            for name, expectation in manifest["files"].items():
                _check_file(_file(directory, name), digests, expectation)
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise ArtefactError(f"{directory} is not a model ({error!r}); train again") from None
    return model


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest alone, its contract version checked."""
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtefactError(f"{directory} holds no {MANIFEST}, so no model; train one or name another folder") from None
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} is not readable as JSON ({error}); train again") from None
    if not isinstance(manifest, dict) or manifest.get("contract") != VERSION:
        spoken = manifest.get("contract") if isinstance(manifest, dict) else None
        raise ArtefactError(f"{path} is of contract {spoken!r:.20}, this code speaks {VERSION}; train again with it")
    if manifest.get("format", 1) != FORMAT:
        written = manifest.get("format", 1)
        raise ArtefactError(f"{path} is of format {written!r:.20}, this code reads {FORMAT}; train again with it")
    return manifest


def pack(directory: Path, archive: Path) -> None:
    """Write ``model.tar.gz`` as SageMaker wants it: the files at its root."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(directory.iterdir()):
            tar.add(path, arcname=path.name)


def unpack(archive: Path, directory: Path) -> None:
    """Extract an archive, refusing anything but an artefact's own plain files."""
    allowed = {MANIFEST, *(f"{name}.npy" for name in _TYPES)}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.name.removeprefix("./") in {"", "."} and member.isdir():
                    continue
                if member.name.removeprefix("./") not in allowed or not member.isfile():
                    raise ArtefactError(
                        f"{archive} holds {member.name!r:.80}, which is no part of a model; do not use it"
                    )
                tar.extract(member, directory, filter="data")
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ArtefactError(f"{archive} is damaged ({error}); fetch or train it again") from None


def _file(directory: Path, name: str) -> Path:
    return directory / f"{name}.npy"


def _check_list(directory: Path, files: Mapping[str, Any]) -> None:
    if set(files) != set(_TYPES):
        odd = sorted(set(files) ^ set(_TYPES))[0]
        raise ArtefactError(f"{directory / MANIFEST}: the file list is wrong about {odd!r:.80}; train again")
    found = {path.name for path in directory.iterdir()}
    expected = {MANIFEST, *(f"{name}.npy" for name in files)}
    if missing := sorted(expected - found):
        raise ArtefactError(f"{directory} lacks {missing[0]}; fetch or train the model again")
    if extra := sorted(found - expected):
        raise ArtefactError(f"{directory} holds {extra[0]!r:.80}, which its manifest does not list; remove it")


def _check_file(path: Path, digests: Fingerprints, expectation: object) -> None:
    if path.is_symlink() or path.name not in digests or digests[path.name].result() != expectation:
        raise ArtefactError(f"{path} is not the file that was trained (its SHA-256 differs); do not use it")


def _array(path: Path, type_: Any) -> NDArray[Any]:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim != 1 or not np.issubdtype(array.dtype, type_):
        raise ArtefactError(f"{path} holds {array.ndim} dimensions of {array.dtype}; train again")
    return np.asarray(array)


def _recipe(recipe: Mapping[str, Any]) -> Recipe:
    return Recipe(tuple(Term(**term) for term in recipe["terms"]), tuple(recipe["hides"]), recipe["filled"])


def _check_shape(directory: Path, model: Model) -> None:
    """A kernel reads without bounds checks, so what it will read is checked here."""
    products = len(model.product_ids)
    start, product, value = model.rows
    index = model.index
    terms = [term.rows for recipe in model.slates.values() for term in recipe.terms]
    sound = (
        0 < products == len(model.names) == len(model.category) == len(model.popularity)
        and len(start) == products * len(model.row_sets) + 1
        and _slices(start, 0, len(product))
        and len(product) == len(value)
        and len(index.bucket) - 1 == 1 << products.bit_length()
        and _slices(index.bucket, 0, products)
        and len(index.member) == products
        and _slices(index.shelf, products, 2 * products)
        and len(index.shelved) == 2 * products
        and all(_below(codes, products) for codes in (product, index.member, index.shelved))
        and set(terms) <= set(model.row_sets)
        and set(model.slates) == SLATES
    )
    if not sound:
        raise ArtefactError(f"{directory}: the arrays do not fit each other; train again")


def _slices(start: NDArray[Any], first: int, last: int) -> bool:
    """Whether each slice begins where the one before it ends, from ``first`` to ``last``."""
    return bool(len(start) and start[0] == first and start[-1] == last and (start[1:] >= start[:-1]).all())


def _below(codes: NDArray[np.int32], products: int) -> bool:
    """Whether all are products. As an unsigned number, one below 0 is large."""
    return int(codes.view(np.uint32).max(initial=0)) < products
