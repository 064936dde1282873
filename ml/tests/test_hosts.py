"""Several hosts share one fit: processes with an address each on this machine's loopback, which is all of 127/8."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ml import hosts
from ml.tests.jobs import Job, lay_out, run, weights

pytestmark = pytest.mark.timeout(300)


def addresses(count: int) -> list[str]:
    """Of this test run alone."""
    return [f"127.{1 + os.getpid() // 250 % 250}.{os.getpid() % 250}.{1 + number}" for number in range(count)]


@pytest.fixture(scope="module")
def one_host(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    base = lay_out(tmp_path_factory.mktemp("one") / "ml", export)
    code, said = run(base)
    assert code == 0, said
    return weights(base)


def bases(tmp_path: Path, export: Path, count: int) -> list[Path]:
    names = addresses(count)
    return [lay_out(tmp_path / name, export, names, name) for name in names]


def ended(jobs: list[Job]) -> list[tuple[int, str]]:
    return [job.end() for job in jobs]


@pytest.mark.parametrize("count", [2, 4])
def test_hosts_together_get_the_weights_of_one(tmp_path: Path, export: Path, one_host: Any, count: int) -> None:
    first, *others = bases(tmp_path, export, count)
    done = ended([Job(base) for base in (*others, first)])

    assert [code for code, _ in done] == [0] * count, done
    assert weights(first) == one_host
    for other in others:
        assert not (other / "model").exists()


def test_each_host_keeps_its_own_share_and_goes_on_from_it(tmp_path: Path, export: Path, one_host: Any) -> None:
    both = bases(tmp_path, export, 2)
    for base in both:
        (base / "checkpoints").mkdir()
    fatal = ("ml.artefact", "save", 1, int(signal.SIGKILL))
    assert [code for code, _ in ended([Job(both[0], *fatal), Job(both[1])])] == [-signal.SIGKILL, 0]
    kept = [{path.name for path in base.glob("checkpoints/*/*-*")} for base in both]
    assert all(kept)
    assert not kept[0] & kept[1]

    done = ended([Job(base) for base in both])

    assert [code for code, _ in done] == [0, 0], done
    assert all("resumed" in said for _, said in done)
    assert weights(both[0]) == one_host


def test_host_that_dies_fails_the_job_which_says_so(tmp_path: Path, export: Path) -> None:
    first, other = bases(tmp_path, export, 2)
    processes = [Job(first), Job(other, "ml.hosts", "Follower.give", 50, int(signal.SIGKILL))]
    codes = [code for code, _ in ended(processes)]

    assert codes == [2, -signal.SIGKILL]
    assert (first / "output" / "failure").read_text() == (
        f"{other.name}: ended before it had sent its share of the fit"
    )
    assert not (first / "model").exists()


def test_host_whose_leader_dies_fails_and_says_so(tmp_path: Path, export: Path) -> None:
    first, other = bases(tmp_path, export, 2)
    processes = [Job(first, "ml.evaluate", "trials", 1, int(signal.SIGKILL)), Job(other)]
    codes = [code for code, _ in ended(processes)]

    assert codes == [-signal.SIGKILL, 2]
    assert "ended before the fit was whole" in (other / "output" / "failure").read_text()


def test_host_with_other_data_or_hyperparameters_is_refused(tmp_path: Path, export: Path) -> None:
    names = addresses(2)
    first = lay_out(tmp_path / "first", export, names, names[0])
    other = lay_out(tmp_path / "other", export, names, names[1], damping="0.4")
    codes = [code for code, _ in ended([Job(first), Job(other)])]

    assert codes == [2, 2]
    for base in (first, other):
        assert "works on other data, other hyperparameters or by other code" in (base / "output/failure").read_text()


def test_sharded_channel_is_refused_because_each_host_needs_all_of_it(tmp_path: Path, export: Path) -> None:
    (base, _) = bases(tmp_path, export, 2)
    (base / "input/config/inputdataconfig.json").write_text('{"export": {"S3DistributionType": "ShardedByS3Key"}}')

    assert run(base)[0] == 2
    assert "each needs all of it" in (base / "output" / "failure").read_text()


def test_job_without_a_resourceconfig_has_one_host() -> None:
    assert hosts.Hosts.of({}) == hosts.ONE_HOST
