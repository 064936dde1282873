"""An artefact is what was trained, or it is refused with its cause."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ml import artefact, digests
from ml.artefact import ArtefactError
from ml.contract import Query
from ml.model import Model

WINDOW = ("2026-07-23", "2026-11-20")
QUERY: Query = {
    "slate_id": "q",
    "history": [{"product_id": "p03", "kind": "purchase", "age": 5.0, "count": 2}],
    "slates": [{"name": "for_you", "limit": 9}, {"name": "again", "limit": 9}, {"name": "popular", "limit": 3}],
}


@pytest.fixture
def kept(model: Model, tmp_path: Path) -> Path:
    artefact.save(model, tmp_path / "model", WINDOW, {"novel:recall@20": 0.5})
    return tmp_path / "model"


def test_a_loaded_model_answers_as_the_one_that_was_saved(model: Model, kept: Path) -> None:
    loaded = artefact.load(kept)

    assert loaded.recommend([QUERY]) == model.recommend([QUERY])
    assert (loaded.version, list(loaded.names), loaded.slates) == (model.version, model.names, model.slates)


def test_rows_are_mapped_not_copied(kept: Path) -> None:
    value = artefact.load(kept).rows.value

    assert isinstance(value.base, np.memmap)
    assert not value.flags.writeable


def test_the_manifest_says_what_the_model_is(kept: Path) -> None:
    manifest = artefact.read_manifest(kept)

    assert manifest["window"] == list(WINDOW)
    assert manifest["metrics"] == {"novel:recall@20": 0.5}
    assert (manifest["contract"], manifest["products"]) == (1, 40)


def test_a_packed_model_unpacks_to_the_same(kept: Path, tmp_path: Path) -> None:
    artefact.pack(kept, tmp_path / "model.tar.gz")
    artefact.unpack(tmp_path / "model.tar.gz", tmp_path / "again")

    assert artefact.load(tmp_path / "again").recommend([QUERY]) == artefact.load(kept).recommend([QUERY])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def edit(**changes: object) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        path = folder / artefact.MANIFEST
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return apply


def pickled(folder: Path) -> None:
    """A file that would run code when unpickled, listed with its right digest."""
    path = folder / "name.npy"
    np.save(path, np.array([object()] * 40, dtype=object), allow_pickle=True)
    manifest = json.loads((folder / artefact.MANIFEST).read_text())
    manifest["files"]["name"] = digests.fingerprint(path)
    (folder / artefact.MANIFEST).write_text(json.dumps(manifest))


def out_of_range(folder: Path) -> None:
    """A row that points past the catalogue, listed with its right digest: the kernel would read foreign memory."""
    path = folder / "rows.product.npy"
    product = np.load(path)
    product[0] = 40
    np.save(path, product)
    manifest = json.loads((folder / artefact.MANIFEST).read_text())
    manifest["files"]["rows.product"] = digests.fingerprint(path)
    (folder / artefact.MANIFEST).write_text(json.dumps(manifest))


def beyond_the_index(folder: Path) -> None:
    """The same in what finds a product's code."""
    path = folder / "bucket.npy"
    bucket = np.load(path)
    bucket[3] = 10**6
    np.save(path, bucket)
    manifest = json.loads((folder / artefact.MANIFEST).read_text())
    manifest["files"]["bucket"] = digests.fingerprint(path)
    (folder / artefact.MANIFEST).write_text(json.dumps(manifest))


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("flipped bit", lambda folder: flip(folder / "rows.value.npy"), "rows.value.npy is not the file that was trained"),
    ("truncated", lambda folder: (folder / "rows.product.npy").write_bytes(b"\x93NUMPY"), "is not the file that"),
    ("missing file", lambda folder: (folder / "popularity.npy").unlink(), "lacks popularity.npy"),
    (
        "extra file",
        lambda folder: (folder / "run.py").write_text("boom"),
        "holds 'run.py', which its manifest does not",
    ),
    ("missing manifest", lambda folder: (folder / "manifest.json").unlink(), "holds no manifest.json"),
    ("manifest cut short", lambda folder: (folder / "manifest.json").write_text('{"ver'), "not readable as JSON"),
    ("manifest is a list", lambda folder: (folder / "manifest.json").write_text("[]"), "is of contract None"),
    ("other contract", edit(contract=2), "is of contract 2, this code speaks 1"),
    ("older format", edit(format=1), "is of format 1, this code reads 2; train again"),
    ("file list emptied", edit(files={}), "the file list is wrong about"),
    ("path in file list", edit(files={"../../etc/passwd": {}}), "the file list is wrong about"),
    ("row set missing", edit(row_sets=["households"]), "the arrays do not fit each other"),
    ("slate missing", edit(slates={}), "the arrays do not fit each other"),
    ("slates nonsense", edit(slates=3), "is not a model"),
    ("pickle", pickled, "is not a model"),
    ("row out of range", out_of_range, "the arrays do not fit each other"),
    ("bucket out of range", beyond_the_index, "the arrays do not fit each other"),
]


@pytest.mark.parametrize(
    ("damage", "says"), [(damage, says) for _, damage, says in DAMAGE], ids=[n for n, _, _ in DAMAGE]
)
def test_a_damaged_artefact_is_refused(kept: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(kept)

    with pytest.raises(ArtefactError, match=says):
        artefact.load(kept)


def test_a_linked_file_is_refused(kept: Path, tmp_path: Path) -> None:
    shutil.move(kept / "name.npy", tmp_path / "elsewhere.npy")
    (kept / "name.npy").symlink_to(tmp_path / "elsewhere.npy")

    with pytest.raises(ArtefactError, match=r"name\.npy is not the file that was trained"):
        artefact.load(kept)


@pytest.mark.parametrize("name", ["../escaped.npy", "/tmp/escaped.npy", "folder/manifest.json", "weights.pkl"])
def test_an_archive_with_foreign_content_is_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"boom"))

    with pytest.raises(ArtefactError, match="is no part of a model"):
        artefact.unpack(tmp_path / "model.tar.gz", tmp_path / "model")

    assert not list(tmp_path.rglob("escaped*"))


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("manifest.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)

    with pytest.raises(ArtefactError, match="is no part of a model"):
        artefact.unpack(tmp_path / "model.tar.gz", tmp_path / "model")


def test_a_truncated_archive_is_refused(kept: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    artefact.pack(kept, archive)
    archive.write_bytes(archive.read_bytes()[:2000])

    with pytest.raises(ArtefactError, match="is damaged"):
        artefact.unpack(archive, tmp_path / "again")
