"""Figures that papers and leaderboards report, by the set they were measured on. A set is known by its counts."""

from collections.abc import Mapping
from typing import NamedTuple

BARS = "BARS leaderboard"
RECALLED = "from memory of the paper"


class Row(NamedTuple):
    model: str
    values: tuple[float | None, float | None]
    source: str


class Known(NamedTuple):
    name: str
    counts: Mapping[str, int]
    rows: tuple[Row, ...]


SETS = (
    Known(
        "gowalla (LightGCN split)",
        {"train": 810_128, "wanted": 217_242},
        (
            Row("ItemCF", (0.1570, 0.1214), BARS),
            Row("MF-BPR", (0.1627, 0.1378), BARS),
            Row("SLIM", (0.1699, 0.1382), BARS),
            Row("YoutubeDNN", (0.1754, 0.1473), BARS),
            Row("EASE^R", (0.1765, 0.1467), BARS),
            Row("LightGCN", (0.1820, 0.1547), BARS),
            Row("Turbo-CF", (0.1835, None), "leaderboard mirrors"),
            Row("MF-CCL", (0.1837, 0.1493), BARS),
            Row("GF-CF", (0.1849, 0.1518), BARS),
            Row("UltraGCN", (0.1862, 0.1580), BARS),
            Row("SimpleX", (0.1872, 0.1557), BARS),
            Row("BSPM-EM", (0.1920, 0.1597), RECALLED),
        ),
    ),
    Known(
        "Amazon-CDs (UltraGCN and SimpleX split)",
        {"train": 604_475, "wanted": 172_951},
        (
            Row("UltraGCN", (0.1622, 0.1043), "RecZoo UltraGCN README"),
            Row("SimpleX", (0.1763, 0.1145), "RecZoo SimpleX README"),
        ),
    ),
    Known(
        "Yoochoose 1/64 (SR-GNN split)",
        {"train": 486_026, "questions": 55_898},
        (
            Row("SR-GNN", (0.7057, 0.3094), f"{RECALLED}; MRR: leaderboard mirror"),
            Row("NISER+", (0.7127, 0.3161), f"{RECALLED}; MRR: leaderboard mirror"),
            Row("SGNN-HN", (None, 0.3261), "leaderboard mirror"),
        ),
    ),
    Known(
        "RetailRocket (CGENet's file; the literature's train part is smaller)",
        {"train": 685_984, "questions": 15_132},
        (
            Row("SR-GNN", (0.5032, 0.2657), RECALLED),
            Row("DHCN", (0.5366, 0.2730), RECALLED),
            Row("COTREC", (0.5617, 0.2997), RECALLED),
        ),
    ),
)


def published(counts: Mapping[str, int]) -> tuple[str, tuple[Row, ...]]:
    """The name and rows of the set with these counts, or nothing."""
    for known in SETS:
        if all(counts.get(name) == count for name, count in known.counts.items()):
            return known.name, known.rows
    return "", ()
