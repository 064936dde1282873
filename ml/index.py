"""What a model looks up, as arrays that an artefact maps: nothing is made at a start, however many products there are.

A dictionary of a million ids takes half a second to make, and looking one up misses the processor's caches four times,
each time waiting for the last. Here ids hash (FNV-1a) into buckets, and all ids of a batch are looked up at once, so
that the misses overlap.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
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

    def codes(self, asked: Sequence[str], *, plainly: bool) -> Codes:
        """Of each id the code, -1 for an unknown one. ``plainly``: without numba, slower."""
        text = END.join([*asked, ""])
        if text.count(END) > len(asked):
            text = END.join([*("" if END in each else each for each in asked), ""])
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        found = np.empty(len(asked), dtype=np.int32)
        (_plain if plainly else _compiled())(self._points, self.bucket, self.member, points, found)
        return found

    @cached_property
    def _points(self) -> NDArray[np.uint32]:
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


def _find(ids, bucket, member, asked, found):  # type: ignore[no-untyped-def]
    """Fill ``found``. ``asked`` has the code points of one id after another, each ended by a 0."""
    last = 0
    for number in range(len(found)):
        hashed = BASIS
        while asked[last]:
            hashed = (hashed ^ asked[last]) * PRIME & BITS
            last += 1
        last += 1
        found[number] = hashed & (len(bucket) - 2)
    # Memory fetches what these loops read all at once; the loop after them would wait for it id by id. The sum is
    # returned to nobody, lest the compiler leaves them out.
    touched = 0
    for number in range(len(found)):
        touched += bucket[found[number]]
    for number in range(len(found)):
        touched += member[min(bucket[found[number]], len(member) - 1)]
    for number in range(len(found)):
        touched += ids[member[min(bucket[found[number]], len(member) - 1)], 0]
    first = 0
    for number in range(len(found)):
        last = first
        while asked[last]:
            last += 1
        place, length = found[number], last - first
        found[number] = -1
        for position in range(bucket[place], bucket[place + 1]):
            product = member[position]
            if length > ids.shape[1] or (length < ids.shape[1] and ids[product, length]):
                continue
            same = 0
            while same < length and ids[product, same] == asked[first + same]:
                same += 1
            if same == length:
                found[number] = product
        first = last + 1
    return touched


def _plain(  # type: ignore[no-untyped-def]
    ids, bucket, member, asked, found
):
    """Python's own numbers have no limit to overflow."""
    _find(ids, bucket, member, asked.tolist(), found)  # type: ignore[no-untyped-call]


@cache
def _compiled() -> Callable[..., None]:
    try:
        from numba import njit
    except ImportError:  # pragma: no cover
        return _plain
    made: Callable[..., None] = njit(nogil=True, cache=True)(_find)
    return made
