"""Work on every product, shared out in blocks: over cores, over interruptions, over hosts.

Products are independent in all that takes long, so a block's result is the same to the bit whoever makes it and when.
A *fill* is a function that fills arrays of one row a product by calling ``work(first, last)``; ``on_all_cores`` is the
plain one, ``Stages.fill`` the one of a job that may be interrupted or has several hosts.
"""

import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Work: TypeAlias = Callable[[int, int], None]
Arrays: TypeAlias = Sequence[NDArray[Any]]
Fill: TypeAlias = Callable[[Work, Arrays], None]

BLOCKS = 64  # of a stage: an interruption costs a sixty-fourth of it, and hosts can share evenly


def on_all_cores(work: Work, arrays: Arrays) -> None:
    """Fill in one go."""
    in_threads(work, 0, len(arrays[0]))


def in_threads(work: Work, first: int, last: int) -> None:
    """Call ``work`` over a range in threads; the kernels release the interpreter's lock."""
    step = max(1, min(256, (last - first) // 8))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for done in [pool.submit(work, at, min(at + step, last)) for at in range(first, last, step)]:
                done.result()
        except BaseException:  # such as a job that is told to stop, whose seconds are counted
            pool.shutdown(cancel_futures=True)
            raise


class Keeper(Protocol):
    """Where blocks outlive their process."""

    def read(self, name: str) -> bytes | None: ...
    def write(self, name: str, content: bytes) -> None: ...


class Team(Protocol):
    """The hosts that share a fit."""

    def solves(self, block: int) -> bool: ...
    def give(self, name: str, content: bytes) -> None: ...
    def take(self, names: Sequence[str]) -> Mapping[str, bytes]: ...


class Forgetful:
    """Keeps nothing."""

    def read(self, name: str) -> bytes | None:
        return None

    def write(self, name: str, content: bytes) -> None:
        pass


class Stages:
    """The fills of one fit, in their order, which is the same in every run and on every host."""

    def __init__(self, fit: str, keeper: Keeper, team: Team) -> None:
        self._fit = fit
        self._keeper = keeper
        self._team = team
        self._number = 0

    def fill(self, work: Work, arrays: Arrays) -> None:
        """Solve this host's blocks that are not kept yet; the leader then takes the others' from them."""
        stage, self._number = self._number, self._number + 1
        products = len(arrays[0])
        step = max(1, -(-products // BLOCKS))
        others: dict[str, Arrays] = {}
        for block, first in enumerate(range(0, products, step)):
            name = f"{self._fit}-{stage:02}-{block:02}"
            rows = [array[first : first + step] for array in arrays]
            if self._team.solves(block):
                self._solve(name, work, first, rows)
            else:
                others[name] = rows
        for name, content in self._team.take(list(others)).items():
            unpack(content, others[name])

    def _solve(self, name: str, work: Work, first: int, rows: Arrays) -> None:
        content = self._keeper.read(name)
        if content is None:
            in_threads(work, first, first + len(rows[0]))
            content = pack(rows)
            self._keeper.write(name, content)
        else:
            unpack(content, rows)
        self._team.give(name, content)


def pack(arrays: Arrays) -> bytes:
    """Arrays as .npy files, one after the other."""
    packed = io.BytesIO()
    for array in arrays:
        np.save(packed, array, allow_pickle=False)
    return packed.getvalue()


def unpack(content: bytes, into: Arrays) -> None:
    """Read what ``pack`` wrote into arrays of the same shapes."""
    packed = io.BytesIO(content)
    for array in into:
        array[:] = np.load(packed, allow_pickle=False)
