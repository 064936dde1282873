"""Ranked lists as the contract's JSON: written by the compiled kernel itself, so that no product becomes an object.

What ml.compiled writes in one call, ``_plainly`` says by way of ml.plain's lists; the tests hold both to one meaning.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ml import kernel
from ml.contract import HistoryItem
from ml.index import END, Index
from ml.kernel import Kernel, Task
from ml.slates import KIND_CODE

FIELDS = len(Task._fields)
ITEM = len('{"product_id":"","score":9223372036854.775807,"because":""},')
WIDEST = 6  # bytes of a code point in JSON
_NOBODY = np.empty(0, np.int32)


class Answers:
    """The lists of one model's products, from any number of threads."""

    def __init__(self, ranking: Kernel, index: Index, popularity: NDArray[np.float64]) -> None:
        self._kernel = ranking
        self._index = index
        self._popularity = popularity
        self._item = ITEM + 2 * WIDEST * index.points.shape[1]
        self._fixed = (index.points, index.bucket, index.member, popularity, *ranking.fixed)

    def lists(self, history: Sequence[HistoryItem], excluded: Sequence[str], tasks: Sequence[int]) -> list[bytes]:
        """Each task's recommendations, as what stands between the brackets of a JSON list.

        ``history`` is all queries' end to end; ``tasks`` is Task after Task, whose slices count in the two before.
        """
        asked = [item["product_id"] for item in history]
        kinds = [KIND_CODE[item["kind"]] for item in history]
        ages = [item["age"] for item in history]
        counts = [item["count"] for item in history]
        if kernel.plain():
            return self._plainly(asked, np.array([kinds, ages, counts], np.float64).T, excluded, tasks)
        return self._compiled([*asked, *excluded], len(asked), (*kinds, *ages, *counts, *tasks), tasks)

    def compile(self) -> None:
        """Answer by the compiled kernel from now on. Until this returns, in another thread, the plain one answers."""
        if found := kernel.compiled():
            # numba reads its cache, or compiles, when it first meets the arrays.
            self._compiled([], 0, (), (), found.answer)
        kernel.compile()
        self._kernel.rank(_NOBODY, np.empty((0, 3)), np.empty((0, FIELDS), np.int64), _NOBODY)

    def _compiled(
        self,
        asked: Sequence[str],
        past: int,
        numbers: Sequence[float],
        tasks: Sequence[int],
        by: Callable[..., None] | None = None,
    ) -> list[bytes]:
        text = np.empty(sum(tasks[FIELDS - 1 :: FIELDS]) * self._item, np.uint8)
        ends = np.empty(len(tasks) // FIELDS, np.int64)
        packed = np.frombuffer(struct.pack(f"{len(numbers)}d", *numbers))
        call = by or kernel.answer
        call(*self._fixed, self._kernel.scratch, points(asked), len(asked), past, packed, text, ends)
        written, last = text.data, 0
        lists: list[bytes] = []
        for end in ends.tolist():
            lists.append(bytes(written[last:end]))
            last = end
        return lists

    def _plainly(
        self, asked: Sequence[str], events: NDArray[np.float64], excluded: Sequence[str], tasks: Sequence[int]
    ) -> list[bytes]:
        table = np.array(tasks, np.int64).reshape(-1, FIELDS)
        ranked = self._kernel.rank(self._index.codes(asked), events, table, self._index.codes(excluded))
        reasons = [*asked, None]  # no reason is -1, the last
        lists: list[bytes] = []
        for task, length in enumerate(ranked.length.tolist()):
            products, scores, causes = (part[task, :length] for part in ranked[:3])
            if table[task, 2] == table[task, 3]:  # of no terms, so popularity itself
                scores = self._popularity[products].round(6)
            items: list[dict[str, Any]] = [
                {"product_id": product_id, "score": score, "because": reasons[cause]}
                for product_id, score, cause in zip(
                    self._index.product_id[products].tolist(), scores.tolist(), causes.tolist(), strict=True
                )
            ]
            lists.append(orjson.dumps(items)[1:-1])
        return lists


def points(asked: Sequence[str]) -> NDArray[np.uint32]:
    """Code points of one id after another, each ended by END."""
    text = END.join([*asked, ""])
    if text.count(END) > len(asked):
        text = END.join([*("" if END in each else each for each in asked), ""])
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
