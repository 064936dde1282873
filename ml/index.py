"""What a model looks up, as arrays that an artefact maps: nothing is made at a start, however many products there are.

A dictionary of a million ids takes half a second to make, and looking one up misses the processor's caches four times,
each time waiting for the last. Here ids hash (FNV-1a) into buckets, and ml.compiled looks all ids of a batch up at
once, so that the misses overlap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import pairwise
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
BASIS, PRIME, BITS = 2166136261, 16777619, 0xFFFFFFFF  # FNV-1a of 32 bits, over code points
END = "\0"  # in a request's ids it matches nothing


class Texts(Sequence[str]):
    """An array of texts as a sequence of plain ``str``, made when they are asked for."""

    def __init__(self, array: NDArray[np.str_]) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[str]:
        return iter(self[:])

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        found: str | list[str] = self.array[place].tolist()
        return found


@dataclass(frozen=True)
class Index:
    """Products are numbered by popularity. ``bucket`` says where each bucket's products begin in ``member``.

    ``shelved`` has all products in order of popularity and after them each category's; ``shelf`` says where each
    category's begin, and where the last one's end.
    """

    product_id: NDArray[np.str_]
    bucket: Codes
    member: Codes
    shelved: Codes
    shelf: Codes

    @classmethod
    def of(cls, product_ids: Sequence[str], category: Sequence[str]) -> "Index":
        ids = np.array(product_ids, dtype=np.str_)
        place = _hashed(_points(ids)) & ((1 << len(ids).bit_length()) - 1)
        bucket = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=1 << len(ids).bit_length()))])
        _, number = np.unique(np.array(category, dtype=np.str_), return_inverse=True)
        shelf = len(ids) + np.concatenate([[0], np.cumsum(np.bincount(number))])
        shelved = np.concatenate([np.arange(len(ids)), np.argsort(number, kind="stable")])
        codes = (bucket, np.argsort(place, kind="stable"), shelved, shelf)
        arrays: list[NDArray[Any]] = [ids, *(each.astype(np.int32) for each in codes)]
        for array in arrays:
            array.flags.writeable = False  # as mapped from a file, so that numba meets one kind of array
        return cls(*arrays)

    def codes(self, asked: Sequence[str]) -> Codes:
        """Of each id the code, -1 for an unknown one: what ml.compiled finds, id by id."""
        return np.fromiter(map(self._code, asked), np.int32, len(asked))

    def _code(self, asked: str) -> int:
        place = reduce(lambda hashed, point: (hashed ^ ord(point)) * PRIME & BITS, asked, BASIS) & len(self.bucket) - 2
        products = self.member[self.bucket[place] : self.bucket[place + 1]].tolist()
        return next((product for product in products if self.product_id[product] == asked), -1)

    @cached_property
    def points(self) -> NDArray[np.uint32]:
        """(products, longest) code points of the ids, 0 after the end of each."""
        return _points(self.product_id)

    def spans(self, category: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Where each category's products lie in ``shelved``."""
        shelf = self.shelf.tolist()
        names = (category[int(self.shelved[start])] for start in shelf[:-1])
        return dict(zip(names, pairwise(shelf), strict=True))


def _points(ids: NDArray[np.str_]) -> NDArray[np.uint32]:
    """(ids, longest) code points, 0 after the end of each."""
    return ids.view(np.uint32).reshape(len(ids), -1)


def _hashed(points: NDArray[np.uint32]) -> NDArray[np.int64]:
    hashed = np.full(len(points), BASIS, dtype=np.int64)
    for column in points.T:
        hashed = np.where(column, (hashed ^ column) * PRIME & BITS, hashed)
    return hashed
