"""``slo.toml``, read strictly: a misspelt objective must not be one that is never missed."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("slo.toml")
AT_MOST = ("p50_ms", "p95_ms", "p99_ms", "error_rate", "stale_rate", "fallback_rate")
AT_LEAST = ("hit_rate",)
PATHS = (
    "home", "home, visitor", "home, opted out", "product", "category", "search", "panel api", "event", "invocation",
)  # fmt: skip


class BadPlan(ValueError):
    """slo.toml cannot be meant like this; the text names the place."""


@dataclass(frozen=True)
class Generator:
    late_ms: float
    late_share: float
    cpu_share: float


@dataclass(frozen=True)
class Stage:
    about: str
    steps: list[tuple[float, float]]  # requests per second, seconds
    warm_up: float
    shoppers: int
    mix: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.steps)


@dataclass(frozen=True)
class Breakpoint:
    least: float
    most: float
    seconds: float
    warm_up: float


@dataclass(frozen=True)
class Panels:
    own_after: float  # seconds


@dataclass(frozen=True)
class Faults:
    rate: float
    settle: float
    hold: float
    recover: float
    panel_missing: float


@dataclass(frozen=True)
class Plan:
    generator: Generator
    stages: dict[str, Stage]
    breakpoint: Breakpoint
    mix: dict[str, float]
    panels: Panels
    objectives: dict[str, dict[str, float]]
    faults: Faults


def read(path: Path = FILE) -> Plan:
    """Raises BadPlan, with one line that says what is wrong and where."""
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadPlan(f"{path.name}: {error}") from None
    try:
        return _plan(found)
    except BadPlan as error:
        raise BadPlan(f"{path.name}: {error}") from None


def _plan(found: Mapping[str, Any]) -> Plan:
    names = [each.name for each in fields(Plan)]
    _known("the file", found, set(names))
    for name in names:
        if not isinstance(found.get(name), dict):
            raise BadPlan(f"there is no table [{name}]")
    mix = _mix("mix", found["mix"])
    return Plan(
        generator=Generator(**_numbers("generator", found["generator"], Generator)),
        stages={name: _stage(f"stages.{name}", stage, mix) for name, stage in found["stages"].items()},
        breakpoint=Breakpoint(**_numbers("breakpoint", found["breakpoint"], Breakpoint)),
        mix=mix,
        panels=Panels(**_numbers("panels", found["panels"], Panels)),
        objectives={name: _objectives(f"objectives.{name}", wanted) for name, wanted in found["objectives"].items()},
        faults=Faults(**_numbers("faults", found["faults"], Faults)),
    )


def _stage(where: str, stage: Mapping[str, Any], mix: dict[str, float]) -> Stage:
    _known(where, stage, {each.name for each in fields(Stage)})
    steps = stage.get("steps")
    if not isinstance(steps, list) or not steps or not all(_is_step(step) for step in steps):
        raise BadPlan(f"{where}.steps: must be pairs of requests per second and seconds, such as [[20, 30]]")
    return Stage(
        about=str(stage.get("about", "")),
        steps=[(float(rate), float(seconds)) for rate, seconds in steps],
        warm_up=_number(where, stage, "warm_up"),
        shoppers=int(_number(where, stage, "shoppers")),
        mix=_mix(f"{where}.mix", stage["mix"]) if "mix" in stage else mix,
    )


def _is_step(step: Any) -> bool:
    return isinstance(step, list) and len(step) == 2 and all(_is_number(each) for each in step) and step[1] > 0


def _mix(where: str, mix: Mapping[str, Any]) -> dict[str, float]:
    _known(where, mix, set(PATHS))
    if not mix:
        raise BadPlan(f"{where}: names no path")
    return {path: _number(where, mix, path) for path in mix}


def _objectives(where: str, wanted: Mapping[str, Any]) -> dict[str, float]:
    _known(where, wanted, {*AT_MOST, *AT_LEAST})
    return {name: _number(where, wanted, name) for name in wanted}


def _numbers(where: str, table: Mapping[str, Any], kind: type) -> dict[str, float]:
    names = [each.name for each in fields(kind)]
    _known(where, table, set(names))
    return {name: _number(where, table, name) for name in names}


def _number(where: str, table: Mapping[str, Any], name: str) -> float:
    if name not in table:
        raise BadPlan(f"{where}.{name}: is missing")
    if not _is_number(table[name]):
        raise BadPlan(f"{where}.{name}: must be a number, 0 or more, not {table[name]!r}")
    return float(table[name])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _known(where: str, table: Mapping[str, Any], names: set[str]) -> None:
    if not isinstance(table, Mapping):
        raise BadPlan(f"{where}: must be a table")
    for name in table:
        if name not in names:
            raise BadPlan(f"{where}.{name}: unknown; there are {', '.join(sorted(names))}")
