"""The scoring kernel: every slate of a whole batch of queries in one call, in time that grows with history x
neighbours and not with the catalogue.

``top`` is compiled by numba. ``top_plain`` says the same in NumPy, to the bit: the tests hold both to equal answers. It
serves where numba has no wheel, and in a server's first second, until numba is there. Products are numbered by
popularity, so a tie goes to the more popular one and the overall popularity list is just 0, 1, 2, …
"""

import math
import mmap
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.index import Codes as Codes

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


_FIELDS = len(Task._fields)
_NOBODY = np.empty(0, dtype=np.int32)


class Lists(NamedTuple):
    """(tasks, longest limit) arrays; ``length`` says how much of each row counts.

    ``because`` is the place, in all queries' histories, of the product that contributed most; -1 for none.
    """

    product: Codes
    score: Numbers
    because: Codes
    length: Places


class Kernel:
    """Answers tasks over one model's rows from any number of threads."""

    def __init__(self, rows: Rows, terms: Terms, filler: Codes, products: int) -> None:
        # Unsigned, so that no index is looked at for a minus sign.
        self._fixed = (rows.start, rows.product.view(np.uint32), rows.value, *terms, filler)
        self._products = products
        self._thread = threading.local()

    @property
    def scratch(self) -> Numbers:
        """This thread's score of every product: zero between calls, as each call clears what it wrote.

        Making one for every call would cost more than the answer where the catalogue is large.
        """
        try:
            return self._thread.scratch  # type: ignore[no-any-return]
        except AttributeError:
            self._thread.scratch = np.zeros(self._products)
            return self._thread.scratch  # type: ignore[no-any-return]

    def answer(
        self,
        history: Codes,
        events: Numbers,
        tasks: Sequence[int],
        excluded: Codes,
        by: Callable[..., None] | None = None,
    ) -> Lists:
        """``history`` is all queries' products end to end; ``events``, (products, 3), each one's kind, age in seconds
        and count. Products and kinds are codes, an unknown product is -1. ``tasks`` is Task after Task in one flat
        list, which converts fastest.
        """
        task = np.fromiter(tasks, np.int64, len(tasks)).reshape(-1, _FIELDS)
        longest = max(tasks[_FIELDS - 1 :: _FIELDS], default=1)
        return self._ranked(history, events, task, excluded, longest, by)

    def rank(self, history: Codes, events: Numbers, task: Places, excluded: Codes) -> Lists:
        """The same of tasks in an array, (tasks, fields of Task)."""
        return self._ranked(history, events, task, excluded, int(task[:, -1].max(initial=1)))

    def _ranked(
        self,
        history: Codes,
        events: Numbers,
        task: Places,
        excluded: Codes,
        longest: int,
        by: Callable[..., None] | None = None,
    ) -> Lists:
        shape = len(task), longest
        codes, scores, causes = np.empty(shape, dtype=np.int32), np.empty(shape), np.empty(shape, dtype=np.int32)
        lists = Lists(codes, scores, causes, np.empty(len(task), dtype=np.int64))
        (by or top)(*self._fixed, self.scratch, history, events, task, excluded, *lists)
        return lists

    def compile(self) -> None:
        """Answer by the compiled kernel once it is there, and until then by whichever answered so far."""
        global top
        ready = compiled()
        # numba reads its cache, or compiles, when it first meets the arrays.
        self.answer(_NOBODY, np.empty((0, 3)), [], _NOBODY, by=ready)
        top = ready


def top_plain(  # type: ignore[no-untyped-def]
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


def _top(  # type: ignore[no-untyped-def]
    row_start, row_product, row_value, offset, liking, term_weight, seconds, power, filler, score,
    history, events, tasks, excluded, out_product, out_score, out_because, out_length,
):  # fmt: skip
    longest = out_product.shape[1]
    share = np.empty(longest, dtype=np.float64)
    best = np.empty(longest, dtype=np.float64)
    most_events = 0
    most_terms = 0
    for task in range(len(tasks)):
        most_events = max(most_events, tasks[task, 1] - tasks[task, 0])
        most_terms = max(most_terms, tasks[task, 3] - tasks[task, 2])
    entry = np.empty(most_events, dtype=np.int32)
    source = np.empty(most_events, dtype=np.int32)
    kinds = np.empty(most_events, dtype=np.int64)
    weight = np.empty((most_terms, most_events), dtype=np.float64)
    for task in range(len(tasks)):
        first, last, first_term, last_term = tasks[task, 0], tasks[task, 1], tasks[task, 2], tasks[task, 3]
        hides, first_excluded, last_excluded = tasks[task, 4], tasks[task, 5], tasks[task, 6]
        first_filler, last_filler, limit = tasks[task, 7], tasks[task, 8], tasks[task, 9]

        # The history's products, each once and in order, so that an answer does not hang on the order of the history.
        entries = 0
        for event in range(first, last):
            product = history[event]
            if product >= 0 and score[product] == 0.0:
                score[product] = 1.0
                entry[entries] = product
                entries += 1
        entry[:entries].sort()
        for place in range(entries):
            score[entry[place]] = place
            kinds[place] = 0
            for term in range(last_term - first_term):
                weight[term, place] = 0.0
        for event in range(first, last):
            product = history[event]
            if product < 0:
                continue
            mine = np.int64(score[product])
            source[mine] = event
            kind = np.int64(events[event, 0])
            kinds[mine] |= 1 << kind
            for term in range(first_term, last_term):
                fade = math.exp(-events[event, 1] / seconds[term])
                weight[term - first_term, mine] += liking[term, kind] * events[event, 2] * fade
        for place in range(entries):
            score[entry[place]] = -np.inf if kinds[place] & hides else 0.0
            for term in range(first_term, last_term):
                value = weight[term - first_term, place]
                if value != 0.0:
                    value = term_weight[term] * math.copysign(math.pow(abs(value), power[term]), value)
                weight[term - first_term, place] = value
        for place in range(first_excluded, last_excluded):
            if excluded[place] >= 0:
                score[excluded[place]] = -np.inf

        # Read a number of each of the rows' cache lines: memory then fetches all of them at once, while the loop after
        # this one would wait for them row by row. Writing the sum keeps the compiler from leaving this out.
        touched = 0.0
        for place in range(entries):
            for term in range(first_term, last_term):
                row = offset[term] + entry[place]
                for position in range(row_start[row], row_start[row + 1], 16):
                    touched += row_value[position] + row_product[position]
        share[0] = touched

        # Nothing is asked in this loop, and whoever is hidden stays at minus infinity whatever is added.
        for place in range(entries):
            for term in range(first_term, last_term):
                row = offset[term] + entry[place]
                strength = weight[term - first_term, place]
                products = row_product[row_start[row] : row_start[row + 1]]
                values = row_value[row_start[row] : row_start[row + 1]]
                for position in range(len(products)):
                    score[products[position]] += strength * np.float64(values[position])

        # Once more over the same rows: whoever was met is set back to nothing, so none is met twice. Insertion into a
        # short sorted list, as few of the thousands ever move anything.
        kept = 0
        least = LEAST
        for place in range(entries):
            for term in range(first_term, last_term):
                row = offset[term] + entry[place]
                products = row_product[row_start[row] : row_start[row + 1]]
                for position in range(len(products)):
                    target = products[position]
                    value = score[target]
                    score[target] = 0.0
                    if value < least:
                        continue
                    rank = kept
                    if kept == limit:
                        rank = kept - 1
                        if value == least and target > out_product[task, rank]:
                            continue
                    while rank > 0 and (
                        value > out_score[task, rank - 1]
                        or (value == out_score[task, rank - 1] and target < out_product[task, rank - 1])
                    ):
                        out_score[task, rank] = out_score[task, rank - 1]
                        out_product[task, rank] = out_product[task, rank - 1]
                        rank -= 1
                    out_score[task, rank] = value
                    out_product[task, rank] = target
                    kept = min(kept + 1, limit)
                    if kept == limit:
                        least = out_score[task, kept - 1]

        # Reasons, for the chosen alone: what each entry gave to each of them, all of its terms together.
        for rank in range(kept):
            score[out_product[task, rank]] = rank + 1
            out_score[task, rank] = np.rint(out_score[task, rank] * DECIMALS) / DECIMALS
            out_because[task, rank] = -1
            share[rank] = 0.0
            best[rank] = 0.0
        for place in range(entries):
            for term in range(first_term, last_term):
                row = offset[term] + entry[place]
                strength = weight[term - first_term, place]
                products = row_product[row_start[row] : row_start[row + 1]]
                for position in range(len(products)):
                    mark = score[products[position]]
                    if mark > 0.0:
                        share[np.int64(mark) - 1] += strength * np.float64(row_value[row_start[row] + position])
            for rank in range(kept):
                if share[rank] > best[rank]:
                    best[rank] = share[rank]
                    out_because[task, rank] = source[place]
                share[rank] = 0.0

        chosen = kept
        if kept < limit:
            for place in range(entries):
                if kinds[place] & hides:
                    score[entry[place]] = -np.inf
            for place in range(first_excluded, last_excluded):
                if excluded[place] >= 0:
                    score[excluded[place]] = -np.inf
            for position in range(first_filler, last_filler):
                if kept == limit:
                    break
                if score[filler[position]] == 0.0:
                    out_product[task, kept] = filler[position]
                    out_score[task, kept] = 0.0
                    out_because[task, kept] = -1
                    kept += 1
        out_length[task] = kept

        for rank in range(chosen):
            score[out_product[task, rank]] = 0.0
        for place in range(entries):
            score[entry[place]] = 0.0
        for place in range(first_excluded, last_excluded):
            if excluded[place] >= 0:
                score[excluded[place]] = 0.0


def plain() -> bool:
    """Whether answers come without numba, for want of it or, in a server's first second, of time."""
    return top is top_plain


def compiled() -> Callable[..., None]:
    """``_top`` by numba, whose import alone takes longer than a server may; the plain twin where it has no wheel."""
    try:
        from numba import njit
    except ImportError:  # pragma: no cover
        return top_plain
    made: Callable[..., None] = njit(nogil=True, cache=True)(_top)
    return made


def _top_from_now_on(*arguments: Any) -> None:
    global top
    if top is _top_from_now_on:
        top = compiled()
    top(*arguments)


top: Callable[..., None] = _top_from_now_on
