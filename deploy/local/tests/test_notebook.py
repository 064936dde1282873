"""The notebook runs from its first cell to its last against the local cloud, and is kept without what it printed."""

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import nbformat
import pytest
from nbclient import NotebookClient

from deploy.local import environment
from deploy.local.process import Process
from ml.contract import EXPORT_MARKER
from ml.tests import samples

NOTEBOOK = environment.ROOT / "ml" / "notebooks" / "first_model.ipynb"
SECONDS = 240  # for one cell, on a busy machine; the longest waits for a training job


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment beside a local cloud that holds a small export."""
    ports = {"redis": 9, "cloud": environment.free_port(), "runtime": environment.free_port()}
    monkeypatch.setattr(environment, "STATE", tmp_path)
    own = environment.build({}, ports, 9)
    cloud = Process(
        "local cloud",
        [sys.executable, "-m", "deploy.local", "cloud", "--port", str(ports["cloud"]), "--runtime-port",
         str(ports["runtime"]), "--state", str(tmp_path / "cloud")],
        env=environment.child(own, os.environ), log=tmp_path / "cloud.log", cwd=environment.ROOT,
    )  # fmt: skip
    cloud.start()
    try:
        while "ready:" not in cloud.tail():
            assert cloud.poll() is None, cloud.tail()
            time.sleep(0.1)
        upload(samples.write_export(tmp_path / "export"), own)
        yield own
    finally:
        cloud.stop()


def upload(export: Path, own: dict[str, str]) -> None:
    s3 = boto3.session.Session().client("s3", endpoint_url=own["AWS_ENDPOINT_URL"])
    s3.create_bucket(Bucket=environment.BUCKET, CreateBucketConfiguration={"LocationConstraint": environment.REGION})
    files = sorted(file for file in export.rglob("*") if file.is_file() and file.name != EXPORT_MARKER)
    for file in [*files, export / EXPORT_MARKER]:
        s3.put_object(Bucket=environment.BUCKET, Key=f"export/{file.relative_to(export)}", Body=file.read_bytes())
    s3.close()


def kept() -> nbformat.NotebookNode:
    """The notebook as it lies in the repository; reading it checks its form."""
    read: nbformat.NotebookNode = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    return read


@pytest.mark.timeout(4 * SECONDS)
def test_notebook_explores_trains_deploys_and_asks(
    aws: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**aws, "IPYTHONDIR": str(tmp_path / "ipython"), "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    notebook = kept()
    where = {"metadata": {"path": str(NOTEBOOK.parent)}}

    done = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=where).execute()

    said = "".join(output.get("text", "") for cell in done.cells for output in cell.get("outputs", []))
    assert f"AWS is {aws['AWS_ENDPOINT_URL']}" in said
    assert "40 products" in said
    assert "deploy    InService" in said
    assert len(re.findall(r"because of (?!-)", said)) == 5
    plots = [
        output for cell in done.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(plots) == 2


def test_notebook_is_kept_without_what_it_printed() -> None:
    for cell in kept().cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
