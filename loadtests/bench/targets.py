"""What each figure must reach, and the moonshot: the keys are those of bench.json."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    part: str  # of the bench, that measures it
    must: float
    moonshot: float
    more_is_better: bool = False

    def met(self, value: float) -> bool:
        return value >= self.must if self.more_is_better else value <= self.must

    def flown(self, value: float) -> bool:
        return value >= self.moonshot if self.more_is_better else value <= self.moonshot

    def shown(self, limit: float) -> str:
        return f"{'≥' if self.more_is_better else '≤'} {number(limit)}"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"


TARGETS = {
    "panel_api_cpu_ratio": Target("web", 3.0, 2.0),
    "home_cpu_ratio": Target("web", 7, 4),
    "home_p99_ms_at_70pct": Target("web", 20, 10),
    "panel_api_p99_ms_at_500rps": Target("web", 10, 5),
    "page_redis_round_trips": Target("web", 1, 1),
    "page_database_queries": Target("web", 3, 3),
    "anonymous_page_database_queries": Target("web", 3, 0),
    "page_aws_calls": Target("web", 0, 0),
    "endpoint_cpu_ratio": Target("endpoint", 2.0, 1.3),
    "endpoint_single_rps": Target("endpoint", 6_000, 12_000, more_is_better=True),
    "endpoint_batch64_queries_per_s": Target("endpoint", 11_000, 30_000, more_is_better=True),
    "refreshes_per_s": Target("worker", 2_500, 8_000, more_is_better=True),
    "freshness_p50_ms": Target("worker", 45, 30),
    "freshness_p95_ms": Target("worker", 70, 40),
    "million_products_p99_ms": Target("kernel", 0.3, 0.08),
}
