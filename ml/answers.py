"""Requests become answers, the contract's JSON both, without an object for anything that they hold.

ml.reader and ml.compiled do it in a call each. ``_plainly`` says the same by way of ml.plain's lists; the tests hold
both to one meaning.
"""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ml import kernel
from ml.contract import MAX_BYTES
from ml.index import END, Index
from ml.kernel import Kernel, Numbers, Places, Task
from ml.slates import SLATE_NAMES

FIELDS = len(Task._fields)
ITEM = len('{"product_id":"","score":9223372036854.775807,"because":""},')
USUAL = 16_384  # bytes of a request
WIDEST = 6  # bytes of a code point in JSON
SHORTEST_ID, SHORTEST_SLATE, SHORTEST_QUERY = map(len, ('"p",', '{"name":"again","limit":1},', '{"slate_id":"q",}'))
_NAMES = [name.encode() for name in SLATE_NAMES]


class Answers:
    """The answers of one model's products, from any number of threads. ``recipes`` are what ml.reader asks for."""

    def __init__(self, ranking: Kernel, index: Index, popularity: NDArray[np.float64], recipes: Places) -> None:
        self._kernel = ranking
        self._index = index
        self._popularity = popularity
        self._recipes = recipes
        self._item = ITEM + 2 * WIDEST * index.points.shape[1]
        self._thread = threading.local()
        self._fixed = (index.points, index.bucket, index.member, popularity, *ranking.fixed)

    def compile(self) -> None:
        """Answer by the compiled kernel from now on. Until this returns, in another thread, the plain one answers."""
        found = kernel.compiled()
        # numba reads its cache, or compiles, when it first meets the arrays.
        if found:
            self._written(found.answer, points([]), 0, np.empty((0, 3)), _NOTHING, 0)
            found.read(_ended(b"{}"), self._recipes, *_room(2))
        kernel.compile()
        self._kernel.rank(_NOBODY, np.empty((0, 3)), _NOTHING, _NOBODY)

    def read(self, body: bytes) -> bytes | None:
        """All answers to a request in the shop's own form, and None to any other or before ``compile``."""
        if kernel.plain() or not 0 < len(body) <= MAX_BYTES:
            return None
        code_points, events, tasks, names, spans, counts = room = self._room(len(body))
        kernel.read(_ended(body), self._recipes, *room)
        asked, many, queries, wanted = counts.tolist()
        if asked < 0:
            return None
        lists = self._written(kernel.answer, code_points, asked, events, tasks[:many], wanted)
        named = list(zip([_NAMES[name] for name in names[:many].tolist()], lists, strict=True))
        answers, first = [], 0
        for begins, ends, last in spans[:queries].tolist():
            answers.append(answer(body[begins:ends], named[first:last]))
            first = last
        return all_of(answers)

    def _room(self, size: int) -> tuple[NDArray[Any], ...]:
        """What ml.reader fills; each thread keeps its own for bodies of the usual size."""
        if size > USUAL:
            return _room(size)
        try:
            return self._thread.room  # type: ignore[no-any-return]
        except AttributeError:
            self._thread.room = _room(USUAL)
            return self._thread.room  # type: ignore[no-any-return]

    def lists(self, asked: Sequence[str], events: Numbers, tasks: Places) -> list[bytes]:
        """Each task's recommendations, as what stands between the brackets of a JSON list.

        ``asked`` are histories' and excluded ids, which the tasks slice; ``events`` as Kernel.rank's.
        """
        if kernel.plain():
            return self._plainly(asked, events, tasks)
        return self._written(kernel.answer, points(asked), len(asked), events, tasks, int(tasks[:, -1].sum()))

    def _written(
        self, by: Any, code_points: NDArray[np.uint32], asked: int, events: Numbers, tasks: Places, wanted: int
    ) -> list[bytes]:
        text, ends = np.empty(wanted * self._item, np.uint8), np.empty(len(tasks), np.int64)
        by(*self._fixed, self._kernel.scratch, code_points, asked, events, tasks, text, ends)
        written, last = text.data, 0
        lists = []
        for end in ends.tolist():
            lists.append(bytes(written[last:end]))
            last = end
        return lists

    def _plainly(self, asked: Sequence[str], events: Numbers, tasks: Places) -> list[bytes]:
        codes = self._index.codes(asked)
        ranked = self._kernel.rank(codes, events, tasks, codes)
        reasons = [*asked, None]  # no reason is -1, the last
        lists = []
        for task, length in enumerate(ranked.length.tolist()):
            products, scores, causes = (part[task, :length] for part in ranked[:3])
            if tasks[task, 2] == tasks[task, 3]:  # of no terms, so popularity itself
                scores = self._popularity[products].round(6)
            ids = self._index.product_id[products].tolist()
            items: list[dict[str, Any]] = [
                {"product_id": product_id, "score": score, "because": reasons[cause]}
                for product_id, score, cause in zip(ids, scores.tolist(), causes.tolist(), strict=True)
            ]
            lists.append(orjson.dumps(items)[1:-1])
        return lists


def answer(slate_id: bytes, named: Sequence[tuple[bytes, bytes]]) -> bytes:
    """One query's answer, of its slate_id as JSON and its slates' names and lists."""
    slates = b",".join([b'"%b":[%b]' % each for each in named])
    return b'{"slate_id":%b,"slates":{%b}}' % (slate_id, slates)


def all_of(answers: Sequence[bytes]) -> bytes:
    return b"[%b]" % b",".join(answers)


def points(asked: Sequence[str]) -> NDArray[np.uint32]:
    """Code points of one id after another, each ended by END."""
    text = END.join([*asked, ""])
    if text.count(END) > len(asked):
        text = END.join([*("" if END in each else each for each in asked), ""])
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _room(size: int) -> tuple[NDArray[Any], ...]:
    """Large enough for any body of ``size`` bytes; memory that is not written costs nothing."""
    ids, many, queries = size // SHORTEST_ID + 1, size // SHORTEST_SLATE + 1, size // SHORTEST_QUERY + 1
    return (
        np.empty(size, np.uint32), np.empty((ids, 3)), np.empty((many, FIELDS), np.int64), np.empty(many, np.int64),
        np.empty((queries, 3), np.int64), np.empty(4, np.int64),
    )  # fmt: skip


def _ended(body: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(body + b"\0", np.uint8)


_NOBODY, _NOTHING = np.empty(0, np.int32), np.empty((0, FIELDS), np.int64)
