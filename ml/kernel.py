"""The scoring kernel: every slate of a whole batch of queries in one call, in time that grows with history x
neighbours and not with the catalogue.

``top`` is compiled by numba. ``top_plain`` says the same in NumPy: the tests hold both to equal answers, and it serves
where numba has no wheel. Products are numbered by popularity, so a tie goes to the more popular one and the overall
popularity list is just 0, 1, 2, …
"""

import mmap
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
Places = NDArray[np.int64]


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


class History(NamedTuple):
    """All histories of a batch, one entry a product. ``weight`` is (terms, entries); ``kinds`` has a bit a kind."""

    product: Codes
    kinds: NDArray[np.uint8]
    weight: NDArray[np.float64]


class Tasks(NamedTuple):
    """The lists wanted, one entry each. A slice ``first[i]:last[i]`` is an entry's part of the array it names."""

    first: Places  # of the history
    last: Places
    first_term: Places  # of the terms
    last_term: Places
    hides: NDArray[np.uint8]  # kinds whose products are left out
    first_excluded: Places  # of ``excluded``
    last_excluded: Places
    first_filler: Places  # of ``filler``, which is in order of popularity
    last_filler: Places
    limit: Places


class Lists(NamedTuple):
    """(tasks, longest limit) arrays; ``length`` says how much of each row counts. No cause is -1."""

    product: Codes
    score: NDArray[np.float64]
    because: Codes
    length: Places


def answer(rows: Rows, offset: Places, history: History, tasks: Tasks, excluded: Codes, filler: Codes) -> Lists:
    """``offset`` is each term's first row: its row-set's place x the number of products."""
    width = int(tasks.limit.max(initial=1))
    lists = Lists(
        np.full((len(tasks.limit), width), -1, dtype=np.int32),
        np.zeros((len(tasks.limit), width), dtype=np.float64),
        np.full((len(tasks.limit), width), -1, dtype=np.int32),
        np.zeros(len(tasks.limit), dtype=np.int64),
    )
    products = int(filler.max(initial=-1)) + 1
    top(products, *rows, offset, *history, *tasks, excluded, filler, *lists)
    return lists


def top_plain(  # type: ignore[no-untyped-def]
    products, row_start, row_product, row_value, offset, product, kinds, weight,
    first, last, first_term, last_term, hides, first_excluded, last_excluded, first_filler, last_filler, limit,
    excluded, filler, out_product, out_score, out_because, out_length,
):  # fmt: skip
    """Fill the four ``out`` arrays, task by task, with plain NumPy."""
    for task in range(len(limit)):
        entries = np.arange(first[task], last[task])
        terms = np.arange(first_term[task], last_term[task])
        hidden = np.zeros(products, dtype=bool)
        hidden[excluded[first_excluded[task] : last_excluded[task]]] = True
        hidden[product[entries][(kinds[entries] & hides[task]) != 0]] = True
        targets, parts, causes = [], [], []
        for entry in entries:
            for term in terms:
                row = offset[term] + product[entry]
                span = slice(row_start[row], row_start[row + 1])
                targets.append(row_product[span])
                parts.append(weight[term, entry] * row_value[span].astype(np.float64))
                causes.append(np.full(span.stop - span.start, product[entry]))
        target = np.concatenate(targets) if targets else np.zeros(0, dtype=np.int32)
        part = np.concatenate(parts) if parts else np.zeros(0)
        cause = np.concatenate(causes) if causes else np.zeros(0, dtype=np.int32)
        score = np.bincount(target, part, minlength=products)
        score[hidden] = 0
        found = np.flatnonzero(score > 0)
        found = found[np.lexsort((found, -score[found]))][: limit[task]]
        out_product[task, : len(found)] = found
        out_score[task, : len(found)] = score[found]
        for place, chosen in enumerate(found):
            mine = target == chosen
            causers, inverse = np.unique(cause[mine], return_inverse=True)
            share = np.bincount(inverse, part[mine])
            if share.max() > 0:
                out_because[task, place] = causers[share.argmax()]
        hidden[found] = True
        rest = filler[first_filler[task] : last_filler[task]]
        rest = rest[~hidden[rest]][: limit[task] - len(found)]
        out_product[task, len(found) : len(found) + len(rest)] = rest
        out_length[task] = len(found) + len(rest)


def _top(  # type: ignore[no-untyped-def]
    products, row_start, row_product, row_value, offset, product, kinds, weight,
    first, last, first_term, last_term, hides, first_excluded, last_excluded, first_filler, last_filler, limit,
    excluded, filler, out_product, out_score, out_because, out_length,
):  # fmt: skip
    score = np.zeros(products, dtype=np.float64)
    touched = np.empty(products, dtype=np.int32)
    seen = np.zeros(products, dtype=np.bool_)
    hidden = np.zeros(products, dtype=np.bool_)
    slot = np.full(products, -1, dtype=np.int32)
    longest = out_product.shape[1]
    share = np.empty(longest, dtype=np.float64)
    best = np.empty(longest, dtype=np.float64)
    for task in range(len(limit)):
        for place in range(first_excluded[task], last_excluded[task]):
            hidden[excluded[place]] = True
        touches = 0
        for entry in range(first[task], last[task]):
            if kinds[entry] & hides[task]:
                hidden[product[entry]] = True
            for term in range(first_term[task], last_term[task]):
                row = offset[term] + product[entry]
                for place in range(row_start[row], row_start[row + 1]):
                    target = row_product[place]
                    if not seen[target]:
                        seen[target] = True
                        touched[touches] = target
                        touches += 1
                    score[target] += weight[term, entry] * np.float64(row_value[place])

        # Insertion into a short sorted list: few of the thousands touched ever move anything.
        kept = 0
        for touch in range(touches):
            target = touched[touch]
            mark = score[target]
            seen[target] = False
            score[target] = 0.0
            if mark <= 0.0 or hidden[target]:
                continue
            place = kept
            if kept == limit[task]:
                place = kept - 1
                mark_last = out_score[task, place]
                if mark < mark_last or (mark == mark_last and target > out_product[task, place]):
                    continue
            while place > 0 and (
                mark > out_score[task, place - 1]
                or (mark == out_score[task, place - 1] and target < out_product[task, place - 1])
            ):
                out_score[task, place] = out_score[task, place - 1]
                out_product[task, place] = out_product[task, place - 1]
                place -= 1
            out_score[task, place] = mark
            out_product[task, place] = target
            kept = min(kept + 1, limit[task])

        # Reasons, for the chosen alone: what each entry gave to each of them, all of its terms together.
        for place in range(kept):
            slot[out_product[task, place]] = place
            share[place] = 0.0
            best[place] = 0.0
        for entry in range(first[task], last[task]):
            for term in range(first_term[task], last_term[task]):
                row = offset[term] + product[entry]
                for position in range(row_start[row], row_start[row + 1]):
                    place = slot[row_product[position]]
                    if place >= 0:
                        share[place] += weight[term, entry] * np.float64(row_value[position])
            for place in range(kept):
                if share[place] > best[place]:
                    best[place] = share[place]
                    out_because[task, place] = product[entry]
                share[place] = 0.0

        for place in range(kept):
            slot[out_product[task, place]] = -1
            hidden[out_product[task, place]] = True
        chosen = kept
        for place in range(first_filler[task], last_filler[task]):
            if kept == limit[task]:
                break
            if not hidden[filler[place]]:
                out_product[task, kept] = filler[place]
                kept += 1
        out_length[task] = kept

        for place in range(chosen):
            hidden[out_product[task, place]] = False
        for place in range(first_excluded[task], last_excluded[task]):
            hidden[excluded[place]] = False
        for entry in range(first[task], last[task]):
            hidden[product[entry]] = False


top: Callable[..., None]
try:
    from numba import njit
except ImportError:  # pragma: no cover
    top = top_plain
else:
    top = njit(nogil=True, cache=True)(_top)
