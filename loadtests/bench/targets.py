"""What each figure must reach, and the moonshot: the keys are those of bench.json."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    must: float
    moonshot: float
    more_is_better: bool = False

    def met(self, value: float) -> bool:
        return value >= self.must if self.more_is_better else value <= self.must

    def flown(self, value: float) -> bool:
        return value >= self.moonshot if self.more_is_better else value <= self.moonshot


TARGETS = {
    "panel_api_cpu_ratio": Target(3.0, 2.0),
    "home_cpu_ratio": Target(7, 4),
    "home_p99_ms_at_70pct": Target(20, 10),
    "panel_api_p99_ms_at_500rps": Target(10, 5),
    "endpoint_cpu_ratio": Target(2.0, 1.3),
    "endpoint_single_rps": Target(6_000, 12_000, more_is_better=True),
    "endpoint_batch64_queries_per_s": Target(11_000, 30_000, more_is_better=True),
    "million_products_p99_ms": Target(0.3, 0.08),
    "refreshes_per_s": Target(2_500, 8_000, more_is_better=True),
    "freshness_p50_ms": Target(45, 30),
    "freshness_p95_ms": Target(70, 40),
    "page_redis_round_trips": Target(1, 1),
    "page_database_queries": Target(3, 3),
    "anonymous_page_database_queries": Target(3, 0),
    "page_aws_calls": Target(0, 0),
}
