"""The scoring kernel: every slate of a whole batch of queries in one call, in time that grows with history x
neighbours and not with the catalogue.

``top`` is ml.compiled's once numba is imported, and ml.plain's until then or where numba has no wheel.
"""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ml import plain as _plain
from ml.index import Codes as Codes
from ml.plain import Lists as Lists
from ml.plain import Numbers as Numbers
from ml.plain import Places as Places
from ml.plain import Rows as Rows
from ml.plain import Task as Task
from ml.plain import Terms as Terms

top_plain = _plain.top


class Compiled(NamedTuple):
    answer: Callable[..., None]
    read: Callable[..., None]
    top: Callable[..., None]


class Kernel:
    """Answers tasks over one model's rows from any number of threads."""

    def __init__(self, rows: Rows, terms: Terms, filler: Codes, products: int) -> None:
        # Unsigned, so that no index is looked at for a minus sign.
        self.fixed = (rows.start, rows.product.view(np.uint32), rows.value, *terms, filler)
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

    def rank(self, history: Codes, events: Numbers, tasks: Places, excluded: Codes) -> Lists:
        """``history`` is all queries' products end to end; ``events``, (products, 3), each one's kind, age in seconds
        and count. Products and kinds are codes, an unknown product is -1. ``tasks`` is (tasks, fields of Task).
        """
        shape = len(tasks), int(tasks[:, -1].max(initial=1))
        codes, scores, causes = np.empty(shape, dtype=np.int32), np.empty(shape), np.empty(shape, dtype=np.int32)
        lists = Lists(codes, scores, causes, np.empty(len(tasks), dtype=np.int64))
        top(*self.fixed, self.scratch, history, events, tasks, excluded, *lists)
        return lists


def plain() -> bool:
    """Whether answers come without numba, for want of it or, in a server's first second, of time."""
    if top is _top_from_now_on:
        compile()
    return top is top_plain


def compile() -> None:
    """Answer by the compiled kernel from now on, or by the plain one where numba has no wheel."""
    global answer, read, top
    found = compiled()
    if found:
        answer, read, top = found.answer, found.read, found.top
    else:  # pragma: no cover
        top = top_plain


def compiled() -> Compiled | None:
    """What numba compiles, whose import takes longer than a server may until its first answer; None without numba."""
    try:
        from ml import compiled, reader
    except ImportError:  # pragma: no cover
        return None
    return Compiled(compiled.answer, reader.read, compiled.top)


def _top_from_now_on(*arguments: Any) -> None:
    compile()
    top(*arguments)


top: Callable[..., None] = _top_from_now_on
answer: Callable[..., None]  # this and the next are there unless ``plain()``
read: Callable[..., None]
