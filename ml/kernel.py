"""The scoring kernel: every slate of a whole batch of queries in one call, in time that grows with history x
neighbours and not with the catalogue.

``top`` is compiled by numba. ``top_plain`` says the same in NumPy: the tests hold both to equal answers, and it serves
where numba has no wheel. Products are numbered by popularity, so a tie goes to the more popular one and the overall
popularity list is just 0, 1, 2, …
"""

import math
import mmap
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
Places = NDArray[np.int64]
Numbers = NDArray[np.float64]

DECIMALS = 1e6  # scores are rounded to six places, after they have been ranked

# What a product's place in Scratch.slot says. From 0 on it is a place in Scratch.score; CHOSEN and below a place in
# the list.
FREE, HIDDEN, CHOSEN = -1, -2, -3


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


class Event(NamedTuple):
    """One item of a history, its product and kind by their codes. All queries' items lie end to end."""

    product: int
    kind: int
    age: float
    times: float


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


class Scratch(NamedTuple):
    """Room for one thread. Only ``slot`` must be clean between calls, and a call cleans what it wrote there."""

    slot: Codes  # of every product
    touched: Codes
    score: Numbers


class Lists(NamedTuple):
    """(tasks, longest limit) arrays; ``length`` says how much of each row counts. No cause is -1."""

    product: Codes
    score: Numbers
    because: Codes
    length: Places


class Kernel:
    """Answers tasks over one model's rows from any number of threads; each thread's first call makes its scratch."""

    def __init__(self, rows: Rows, terms: Terms, filler: Codes, products: int) -> None:
        self._fixed = (*rows, *terms, filler)
        self._products = products
        self._thread = threading.local()

    @property
    def scratch(self) -> Scratch:
        """This thread's own. Zeroing room for a whole catalogue at every call would cost more than the answer."""
        try:
            return self._thread.scratch  # type: ignore[no-any-return]
        except AttributeError:
            slot = np.full(self._products, FREE, dtype=np.int32)
            room = np.empty(self._products, dtype=np.int32), np.empty(self._products)
            self._thread.scratch = Scratch(slot, *room)  # pages of ``room`` that no call reaches take no memory
            return self._thread.scratch  # type: ignore[no-any-return]

    def answer(self, events: Sequence[float], tasks: Sequence[int], excluded: Sequence[int]) -> Lists:
        """``events`` is Event after Event and ``tasks`` Task after Task in one flat list, which converts fastest."""
        task = np.array(tasks, dtype=np.int64).reshape(-1, len(Task._fields))
        shape = len(task), int(task[:, -1].max(initial=1))
        lists = Lists(
            np.empty(shape, dtype=np.int32),
            np.empty(shape),
            np.empty(shape, dtype=np.int32),
            np.empty(len(task), np.int64),
        )
        event = np.array(events, dtype=np.float64).reshape(-1, len(Event._fields))
        top(*self._fixed, *self.scratch, event, task, np.array(excluded, dtype=np.int32), *lists)
        return lists


def top_plain(  # type: ignore[no-untyped-def]
    row_start, row_product, row_value, offset, liking, term_weight, seconds, power, filler, slot, touched, score,
    events, tasks, excluded, out_product, out_score, out_because, out_length,
):  # fmt: skip
    """Fill the four ``out`` arrays, task by task, with plain NumPy; it needs no scratch."""
    for number, columns in enumerate(tasks.tolist()):
        task = Task(*columns)
        mine = events[task.first : task.last]
        entry, place = np.unique(mine[:, 0].astype(np.int32), return_inverse=True)
        kinds = np.zeros(len(entry), dtype=np.int64)
        np.bitwise_or.at(kinds, place, np.left_shift(1, mine[:, 1].astype(np.int64)))
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
                causes.append(np.full(span.stop - span.start, product, dtype=np.int32))
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
            out_because[number, place_] = causers[share.argmax()] if share.max() > 0 else -1
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
    for (_, kind, age, times), entry in zip(events.tolist(), place.tolist(), strict=True):
        sums[entry] += liking[int(kind)] * times * math.exp(-age / seconds)
    return [weight * math.copysign(math.pow(abs(value), power), value) if value else 0.0 for value in sums.tolist()]


def _top(  # type: ignore[no-untyped-def]
    row_start, row_product, row_value, offset, liking, term_weight, seconds, power, filler, slot, touched, score,
    events, tasks, excluded, out_product, out_score, out_because, out_length,
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
    kinds = np.empty(most_events, dtype=np.int64)
    weight = np.empty((most_terms, most_events), dtype=np.float64)
    for task in range(len(tasks)):
        first, last, first_term, last_term = tasks[task, 0], tasks[task, 1], tasks[task, 2], tasks[task, 3]
        hides, first_excluded, last_excluded = tasks[task, 4], tasks[task, 5], tasks[task, 6]
        first_filler, last_filler, limit = tasks[task, 7], tasks[task, 8], tasks[task, 9]

        # The history's products, each once and in order, so that an answer does not hang on the order of the history.
        entries = 0
        for event in range(first, last):
            product = np.int32(events[event, 0])
            if slot[product] == FREE:
                slot[product] = 0
                entry[entries] = product
                entries += 1
        entry[:entries].sort()
        for place in range(entries):
            slot[entry[place]] = place
            kinds[place] = 0
            for term in range(last_term - first_term):
                weight[term, place] = 0.0
        for event in range(first, last):
            place = slot[np.int32(events[event, 0])]
            kind = np.int64(events[event, 1])
            kinds[place] |= 1 << kind
            for term in range(first_term, last_term):
                fade = math.exp(-events[event, 2] / seconds[term])
                weight[term - first_term, place] += liking[term, kind] * events[event, 3] * fade
        for place in range(entries):
            slot[entry[place]] = HIDDEN if kinds[place] & hides else FREE
            for term in range(first_term, last_term):
                value = weight[term - first_term, place]
                if value != 0.0:
                    value = term_weight[term] * math.copysign(math.pow(abs(value), power[term]), value)
                weight[term - first_term, place] = value
        for place in range(first_excluded, last_excluded):
            slot[excluded[place]] = HIDDEN

        touches = 0
        for place in range(entries):
            for term in range(first_term, last_term):
                row = offset[term] + entry[place]
                strength = weight[term - first_term, place]
                for position in range(row_start[row], row_start[row + 1]):
                    target = row_product[position]
                    mark = slot[target]
                    if mark == FREE:
                        mark = touches
                        slot[target] = touches
                        touched[touches] = target
                        score[touches] = 0.0
                        touches += 1
                    if mark >= 0:
                        score[mark] += strength * np.float64(row_value[position])

        # Insertion into a short sorted list: few of the thousands touched ever move anything.
        kept = 0
        for touch in range(touches):
            value = score[touch]
            if value <= 0.0:
                continue
            target = touched[touch]
            place = kept
            if kept == limit:
                place = kept - 1
                if value < out_score[task, place] or (
                    value == out_score[task, place] and target > out_product[task, place]
                ):
                    continue
            while place > 0 and (
                value > out_score[task, place - 1]
                or (value == out_score[task, place - 1] and target < out_product[task, place - 1])
            ):
                out_score[task, place] = out_score[task, place - 1]
                out_product[task, place] = out_product[task, place - 1]
                place -= 1
            out_score[task, place] = value
            out_product[task, place] = target
            kept = min(kept + 1, limit)

        # Reasons, for the chosen alone: what each entry gave to each of them, all of its terms together.
        for place in range(kept):
            slot[out_product[task, place]] = CHOSEN - place
            out_score[task, place] = np.rint(out_score[task, place] * DECIMALS) / DECIMALS
            out_because[task, place] = -1
            share[place] = 0.0
            best[place] = 0.0
        for number in range(entries):
            for term in range(first_term, last_term):
                row = offset[term] + entry[number]
                strength = weight[term - first_term, number]
                for position in range(row_start[row], row_start[row + 1]):
                    mark = slot[row_product[position]]
                    if mark <= CHOSEN:
                        share[CHOSEN - mark] += strength * np.float64(row_value[position])
            for place in range(kept):
                if share[place] > best[place]:
                    best[place] = share[place]
                    out_because[task, place] = entry[number]
                share[place] = 0.0

        for position in range(first_filler, last_filler):
            if kept == limit:
                break
            if slot[filler[position]] > HIDDEN:
                out_product[task, kept] = filler[position]
                out_score[task, kept] = 0.0
                out_because[task, kept] = -1
                kept += 1
        out_length[task] = kept

        for touch in range(touches):
            slot[touched[touch]] = FREE
        for place in range(entries):
            slot[entry[place]] = FREE
        for place in range(first_excluded, last_excluded):
            slot[excluded[place]] = FREE


top: Callable[..., None]
try:
    from numba import njit
except ImportError:  # pragma: no cover
    top = top_plain
else:
    top = njit(nogil=True, cache=True)(_top)
