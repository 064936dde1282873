"""The scoring kernel in plain NumPy, and what every kernel reads and fills.

It says to the bit what ml.compiled says, which the tests hold it to. It serves where numba has no wheel, and in a
server's first second, until numba is there. Products are numbered by popularity, so a tie goes to the more popular one
and the overall popularity list is just 0, 1, 2, …
"""

import math
import mmap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.index import Codes

Places = NDArray[np.int64]
Numbers = NDArray[np.float64]

LEAST = 5e-324  # the least score above nothing
DECIMALS = 1e6  # scores are rounded to six places, after they have been ranked


class Rows(NamedTuple):
    """All row-sets stacked: row ``set * products + product`` lists the products it speaks for, and how strongly."""

    start: Places
    product: Codes
    value: NDArray[np.float32]

    def touch(self) -> None:
        """Read one byte of every page of the mapped files, so that no shopper waits for the disk."""
        for array in self:
            if array.nbytes:
                array.view(np.uint8)[:: mmap.PAGESIZE].max()


class Terms(NamedTuple):
    """What the slates are made of, one entry a term; ml.slates says how a history's weights come of it."""

    offset: Places  # the first row of the term's row-set
    liking: Numbers  # (terms, kinds)
    weight: Numbers
    seconds: Numbers  # in which an event fades to 1/e
    power: Numbers


class Task(NamedTuple):
    """One list wanted. A slice ``first:last`` is its part of the array that it names."""

    first: int  # of the events
    last: int
    first_term: int  # of the terms
    last_term: int
    hides: int  # bits of the kinds whose products are left out
    first_excluded: int  # of ``excluded``
    last_excluded: int
    first_filler: int  # of ``filler``, which is in order of popularity
    last_filler: int
    limit: int


class Lists(NamedTuple):
    """(tasks, longest limit) arrays; ``length`` says how much of each row counts.

    ``because`` is the place, in all queries' histories, of the product that contributed most; -1 for none.
    """

    product: Codes
    score: Numbers
    because: Codes
    length: Places


def top(  # type: ignore[no-untyped-def]
    row_start, row_product, row_value, offset, liking, term_weight, seconds, power, filler, score,
    history, events, tasks, excluded, out_product, out_score, out_because, out_length,
):  # fmt: skip
    """Fill the four ``out`` arrays, task by task, with plain NumPy; it needs no scratch."""
    for number, columns in enumerate(tasks.tolist()):
        task = Task(*columns)
        bought, mine = history[task.first : task.last], events[task.first : task.last]
        mine = mine[bought >= 0]
        entry, place = np.unique(bought[bought >= 0], return_inverse=True)
        source = np.zeros(len(entry), dtype=np.int32)
        source[place] = task.first + np.flatnonzero(bought >= 0)
        kinds = np.zeros(len(entry), dtype=np.int64)
        np.bitwise_or.at(kinds, place, np.left_shift(1, mine[:, 0].astype(np.int64)))
        hidden = np.union1d(excluded[task.first_excluded : task.last_excluded], entry[(kinds & task.hides) != 0])
        targets, parts, causes = [entry[:0]], [np.zeros(0)], [entry[:0]]
        weights = [
            _weights(mine, place, len(entry), liking[term], term_weight[term], seconds[term], power[term])
            for term in range(task.first_term, task.last_term)
        ]
        for rank, product in enumerate(entry.tolist()):
            for term, weight in enumerate(weights, task.first_term):
                row = offset[term] + product
                span = slice(row_start[row], row_start[row + 1])
                targets.append(row_product[span])
                parts.append(weight[rank] * row_value[span].astype(np.float64))
                causes.append(np.full(span.stop - span.start, rank, dtype=np.int32))
        target, part, cause = np.concatenate(targets), np.concatenate(parts), np.concatenate(causes)
        found, which = np.unique(target, return_inverse=True)
        total = np.bincount(which, part, minlength=len(found))
        shown = (total > 0) & ~np.isin(found, hidden)
        found, total = found[shown], total[shown]
        best = np.lexsort((found, -total))[: task.limit]
        found, total = found[best], total[best]
        for place_, chosen in enumerate(found):
            given = target == chosen
            causers, inverse = np.unique(cause[given], return_inverse=True)
            share = np.bincount(inverse, part[given])
            out_because[number, place_] = source[causers[share.argmax()]] if share.max() > 0 else -1
        missing = task.limit - len(found)
        enough = task.first_filler + missing + len(hidden) + len(found)
        rest = filler[task.first_filler : min(task.last_filler, enough)]
        rest = rest[~np.isin(rest, np.union1d(hidden, found))][:missing]
        kept = len(found) + len(rest)
        out_product[number, :kept] = np.concatenate([found, rest])
        out_score[number, : len(found)] = np.rint(total * DECIMALS) / DECIMALS
        out_score[number, len(found) : kept] = 0.0
        out_because[number, len(found) : kept] = -1
        out_length[number] = kept


def _weights(
    events: Numbers, place: Places, entries: int, liking: Numbers, weight: float, seconds: float, power: float
) -> list[float]:
    """What a term makes of each product of a history. ``math``, as NumPy's own exp and power round differently."""
    sums = np.zeros(entries)
    for (kind, age, times), entry in zip(events.tolist(), place.tolist(), strict=True):
        sums[entry] += liking[int(kind)] * times * math.exp(-age / seconds)
    return [weight * math.copysign(math.pow(abs(value), power), value) if value else 0.0 for value in sums.tolist()]
