"""What goes wrong on purpose: the line to AWS and the endpoint behind it, slowed and broken while everything runs.

``POST /local-cloud/faults`` on the runtime port takes a JSON object and replaces all faults by it: what it does not
name is as it should be, and ``{}`` ends them all. ``GET`` shows them. Any endpoint's calls are affected.

    {
      "round_trip_ms": 12,     added to every call: a Direct Connect line's round trip, 0 to 60000
      "jitter_ms": 3,          standard deviation of that delay (never below 0), 0 to 60000
      "error_rate": 0.05,      share of calls answered 503 ServiceUnavailable
      "throttle_rate": 0.1,    share of calls answered 400 ThrottlingException
      "model_error_rate": 0.1, share of calls answered 424 ModelError, as if the container had failed with a 500
      "nonsense_rate": 0.1,    share of calls answered 200 with a body that is no answer
      "spot_interruption_seconds": 20,  after which managed Spot training loses its instances, each time; 0: never
      "spot_warning_seconds": 120,      from SIGTERM to SIGKILL then; 0: SIGKILL at once
      "outage": "none"         or "silent" (calls are accepted and never answered) or "reset" (connections are cut)
    }
"""

import json
import random
from dataclasses import asdict, dataclass, fields
from typing import Any

OUTAGES = ("none", "silent", "reset")
MOST_MS = 60_000.0
MOST_SECONDS = 86_400.0


class BadFault(ValueError):
    """A wish that cannot be granted; the text names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    round_trip_ms: float = 0.0
    jitter_ms: float = 0.0
    error_rate: float = 0.0
    throttle_rate: float = 0.0
    model_error_rate: float = 0.0
    nonsense_rate: float = 0.0
    spot_interruption_seconds: float = 0.0
    spot_warning_seconds: float = 120.0
    outage: str = "none"

    def delay(self) -> float:
        """Seconds that this call loses on the line."""
        if not self.round_trip_ms and not self.jitter_ms:
            return 0.0
        return max(0.0, random.gauss(self.round_trip_ms, self.jitter_ms)) / 1_000

    def draw(self) -> str | None:
        """What befalls this call: error, throttle, model_error, nonsense or nothing. The shares add up."""
        at = random.random()  # noqa: S311 - chance, not secrets
        for kind in ("error", "throttle", "model_error", "nonsense"):
            at -= getattr(self, f"{kind}_rate")
            if at < 0:
                return kind
        return None

    def shown(self) -> dict[str, Any]:
        return asdict(self)


NONE = Faults()


@dataclass(slots=True)
class Switch:
    """What goes wrong now, for everything that can."""

    now: Faults = NONE


def parse(body: bytes) -> Faults:
    """The faults that a JSON object asks for. Raises BadFault naming the field."""
    try:
        wish = json.loads(body or b"{}")
    except ValueError as error:
        raise BadFault(f"body: not JSON: {error}") from None
    if not isinstance(wish, dict):
        raise BadFault("body: must be a JSON object")
    known = {field.name for field in fields(Faults)}
    for name, value in wish.items():
        if name not in known:
            raise BadFault(f"{name}: unknown; there are {', '.join(sorted(known))}")
        if name == "outage":
            if value not in OUTAGES:
                raise BadFault(f"outage: must be one of {', '.join(OUTAGES)}")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _most(name):
            raise BadFault(f"{name}: must be a number from 0 to {_most(name):.0f}")
    if sum(value for name, value in wish.items() if name.endswith("_rate")) > 1:
        raise BadFault("error_rate, throttle_rate, model_error_rate, nonsense_rate: together at most 1")
    return Faults(**wish)


def _most(name: str) -> float:
    return 1.0 if name.endswith("_rate") else MOST_SECONDS if name.endswith("_seconds") else MOST_MS
