"""The verbs deploy, rollback, delete and status: what they need, in which order they act, what they say."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ml import deploy, place, rollback
from ml.__main__ import main
from ml.aws import alarms, configurations, endpoints, registry, scaling
from ml.aws.alarms import Alarm
from ml.aws.client import AwsError
from ml.aws.endpoints import Endpoint, Variant
from ml.aws.registry import Package
from ml.aws.scaling import Scaling
from ml.tests.names import ARN, IMAGE, NOW, ROLE

NEXT = ARN.replace("/7", "/8")
WORDS = ["--role", ROLE, "--image", IMAGE, "--bake", "5", "--keep", "1"]
SERVING = Endpoint("aisle", "InService", "aisle-7", NOW, "", (Variant("alltraffic", 1.0, 2, 2),), (ARN,))
BAKING = Endpoint(
    "aisle", "Updating", "aisle-7", NOW, "", SERVING.variants, (ARN,), pending="aisle-8", pending_packages=(NEXT,),
    pending_variants=(Variant("alltraffic", 0.1, 2, 2, stage="Baking"),),
)  # fmt: skip
TAKEN_BACK = Endpoint("aisle", "InService", "aisle-7", NOW, "the alarm aisle-8-errors is in ALARM", (), (ARN,))
FAILED = Endpoint("aisle", "Failed", "aisle-7", NOW, "did not pass the ping health check", (), ())
PACKAGES = [
    Package(NEXT, 8, "Approved", NOW),
    Package(ARN, 7, "Approved", NOW, {"novel:recall@20": "0.2500"}),
    Package(ARN.replace("/7", "/6"), 6, "Rejected", NOW),
]


class Canary:
    """Asks nothing."""

    def __init__(self, endpoint: str) -> None:
        pass

    @contextmanager
    def asking(self, config_name: str) -> Iterator[None]:
        ACTS.append(f"ask while {config_name}")
        yield
        ACTS.append("ask no more")


ACTS: list[str] = []


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done in AWS, in order; each request's own form is tested beside its module."""
    ACTS.clear()

    @contextmanager
    def paused(endpoint: str) -> Iterator[bool]:
        ACTS.append("pause scaling")
        yield True
        ACTS.append("resume scaling")

    def act(module: Any, name: str, answer: Any, *shown: int) -> None:
        def done(*arguments: Any, **_: Any) -> Any:
            ACTS.append(" ".join([name, *(str(arguments[position]) for position in shown)]))
            return answer

        monkeypatch.setattr(module, name, done)

    monkeypatch.setattr(deploy, "Canary", Canary)
    monkeypatch.setattr(scaling, "paused", paused)
    monkeypatch.setattr(registry, "require_approved", lambda arn: arn)
    act(endpoints, "standing", "aisle-7", 0)
    act(endpoints, "status", SERVING, 0)
    act(endpoints, "create", None, 1)
    act(endpoints, "update", None, 1)
    act(endpoints, "wait", None, 1)
    act(endpoints, "delete", True, 0)
    act(configurations, "configure", "aisle-8", 0)
    act(configurations, "configure_shadow", "aisle-8", 0)
    act(configurations, "replaced_by", "aisle-6", 0)
    act(configurations, "delete_all", 3, 0)
    act(alarms, "create", ["aisle-8-errors"], 1)
    act(alarms, "keep_only", 4, -1)
    act(alarms, "raise_one", None, 0)
    act(scaling, "register", None)
    act(scaling, "deregister", None)
    return ACTS


@pytest.mark.parametrize(
    ("words", "missing"), [([], "--role or set AISLE_ROLE_ARN"), (["--role", "arn:…"], "--image or set AISLE_IMAGE")]
)
def test_missing_setting_is_named_with_flag_and_variable(
    words: list[str], missing: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AISLE_ROLE_ARN", raising=False)
    monkeypatch.delenv("AISLE_IMAGE", raising=False)

    assert main(["deploy", *words]) == 2
    assert missing in capsys.readouterr().err


def test_new_model_is_watched_from_its_first_call_to_the_end_of_the_old_one(acts: list[str]) -> None:
    assert main(["deploy", NEXT, *WORDS]) == 0
    assert acts == [
        "standing aisle",
        f"configure {NEXT}",
        "create aisle-8",  # its alarms
        "pause scaling",
        "ask while aisle-8",
        "update aisle-8",
        "wait aisle-8",
        "ask no more",
        "resume scaling",
        "keep_only aisle-8",
        "register",
    ]


def test_first_model_needs_no_canary(acts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "standing", lambda name: "")
    assert main(["deploy", NEXT, *WORDS, "--most-instances", "2"]) == 0
    assert acts == [
        f"configure {NEXT}", "create aisle-8", "create aisle-8", "wait aisle-8", "keep_only aisle-8", "deregister",
    ]  # fmt: skip


def test_shadow_goes_beside_what_serves(acts: list[str]) -> None:
    assert main(["deploy", "--shadow", NEXT, *WORDS]) == 0
    assert f"configure_shadow {NEXT}" in acts
    assert not any(act.startswith("ask") for act in acts)


def test_shadow_of_nothing_is_refused(
    acts: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(endpoints, "standing", lambda name: "")
    assert main(["deploy", "--shadow", NEXT, *WORDS]) == 2
    assert "serves nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["deploy", "--instances", "0"], "argument --instances: '0' is no whole number from 1 up"),
        (["deploy", "--capture", "101"], "'101' is no whole number from 0 to 100"),
        (["pipeline", "--bake", "-5"], "'-5' is no whole number from 0 to 3600"),
        (["submit", "--hosts", "two"], "'two' is no whole number from 1 up"),
        (["depoly"], "invalid choice: 'depoly'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_before_anything_is_asked(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    error = capsys.readouterr().err
    assert why in error
    assert "--help` explains" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("size", ["0", "51"])
def test_canary_that_aws_would_refuse_is_refused_here(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", NEXT, *WORDS, "--canary", size]) == 2
    assert "AWS takes 1 to 50 percent" in capsys.readouterr().err


# --- Rollback --------------------------------------------------------------------------------------------


def test_rollback_goes_to_what_served_before_and_watches_that(acts: list[str]) -> None:
    assert main(["rollback"]) == 0
    assert acts == [
        "status aisle", "replaced_by aisle-7", "pause scaling", "update aisle-6", "wait aisle-6", "resume scaling",
        "create aisle-6", "keep_only aisle-6",
    ]  # fmt: skip


def test_rollback_during_a_deployment_lets_aws_take_the_calls_back(
    acts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "status", lambda name: BAKING)
    assert main(["rollback"]) == 0
    assert acts == ["raise_one aisle-8", "wait aisle-7"]


def test_rollback_of_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "status", lambda name: None)
    with pytest.raises(AwsError, match="there is no endpoint aisle"):
        rollback.rollback("aisle", print)


# --- Delete ----------------------------------------------------------------------------------------------

GONE = ["deregister", "delete aisle", "keep_only aisle", "delete_all aisle"]  # configurations outlive their endpoint


@pytest.mark.parametrize(("words", "typed"), [(["--yes"], ""), ([], "aisle\n")])
def test_deleted_endpoint_leaves_nothing_to_pay(
    acts: list[str], words: list[str], typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main(["delete", *words]) == 0
    assert acts == GONE
    assert (
        "the endpoint aisle is gone, and 4 alarms, 3 endpoint configurations, 3 models with it"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("typed", ["", "y\n", "aisle-beta\n"])
def test_endpoint_whose_name_is_not_typed_stays(
    acts: list[str], typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main(["delete"]) == 2
    assert acts == []
    assert "type aisle when asked, or add --yes" in capsys.readouterr().err


# --- Status ----------------------------------------------------------------------------------------------


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set what AWS says."""
    monkeypatch.setenv("COLUMNS", "160")
    states = {"aisle-7": Alarm("aisle-7-errors", "OK", ""), "aisle-8": Alarm("aisle-8-errors", "ALARM", "too many")}
    monkeypatch.setattr(registry, "packages", lambda group: PACKAGES)
    monkeypatch.setattr(scaling, "of", lambda endpoint: Scaling(2, 4, 3_000.0, paused=True))
    monkeypatch.setattr(alarms, "of", lambda config_name: [states[config_name]])

    def says(found: Endpoint | None) -> None:
        monkeypatch.setattr(endpoints, "status", lambda name: found)

    return says


def test_status_shows_what_serves_and_what_is_registered(look: Any, capsys: pytest.CaptureFixture[str]) -> None:
    look(SERVING)
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert ARN in said
    assert "weight 1, 2 of 2 instances" in said
    assert "2 to 4 instances at 3000 calls a minute each, paused" in said
    assert "ended well" in said
    assert "novel:recall@20 0.2500" in said
    serving = [line.split("│")[5].strip() for line in said.splitlines() if "Approved" in line or "Rejected" in line]
    assert serving == ["", "yes", ""]


def test_status_of_a_deployment_shows_its_stage_share_and_alarms(look: Any, capsys: pytest.CaptureFixture[str]) -> None:
    look(BAKING)
    assert main(["status"]) == 1
    said = capsys.readouterr().out
    assert "Baking: it is watched" in said
    assert "weight 0.1, 2 of 2 instances" in said
    assert NEXT in said
    assert "too many" in said
    assert "soon" in said


@pytest.mark.parametrize(
    ("endpoint", "code", "words"),
    [
        (TAKEN_BACK, 0, "the alarm aisle-8-errors is in ALARM"),
        (FAILED, 1, "did not pass the ping health check"),
        (None, 1, "There is no endpoint aisle"),
    ],
)
def test_status_says_why_the_last_deployment_ended(
    look: Any, endpoint: Endpoint | None, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    look(endpoint)
    assert main(["status"]) == code
    assert words in capsys.readouterr().out


def test_progress_lines_carry_the_seconds_and_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    place.Stopwatch().step("deploy")("InService")
    seconds, unit, step, text = capsys.readouterr().out.split()
    assert (float(seconds) < 1, unit, step, text) == (True, "s", "deploy", "InService")
