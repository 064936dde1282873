"""Public data sets in the two forms in which the literature passes them on, gzipped or not:

    train.txt, test.txt                          a line a user: the user's number, then the products' numbers
    train_sessions.txt, test_prefixes.txt        a line a session: products in order, oldest session first;
                                                 a line a question: products in order, TAB, the product that came next

Both become arrays here, and questions. Products are numbered anew by their popularity in the training part.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.errors import MlError
from ml.kernel import Codes, Places
from ml.questions import Questions

INTERACTIONS = ("train.txt", "test.txt")
SESSIONS = ("train_sessions.txt", "test_prefixes.txt")
MOST = 2**31 - 1
TEXT = "utf-8-sig"  # some editors put a mark before the first line


class SetError(MlError):
    """A folder that is no data set, or a line of one that cannot be read."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Lists of products end to end: users' sets or sessions, ``product[start[i]:start[i + 1]]`` each."""

    product: Codes
    start: Places
    products: int  # the catalogue's size

    def __len__(self) -> int:
        return len(self.start) - 1

    def first(self, count: int) -> "Lines":
        return Lines(self.product[: self.start[count]], self.start[: count + 1], self.products)


def holds(directory: Path, names: tuple[str, str]) -> bool:
    return any((directory / f"{name}{end}").is_file() for name in names for end in ("", ".gz"))


def read_interactions(directory: Path) -> tuple[Lines, Questions]:
    """Each user's training products, and every user with test products as a question."""
    train = _users(directory, INTERACTIONS[0])
    test = _users(directory, INTERACTIONS[1])
    _told_something(directory / INTERACTIONS[0], train.values())
    test = {user: products for user, products in test.items() if products}
    _told_something(directory / INTERACTIONS[1], test.values())
    codes = _numbered(list(train.values()), list(test.values()))
    known = _lines([codes[user] for user in range(len(train))], _size(codes))
    wanted = codes[len(train) :]
    place = {user: number for number, user in enumerate(train)}
    histories = [codes[place[user]] if user in place else wanted[0][:0] for user in test]
    asked, answers = _lines(histories, known.products), _lines(wanted, known.products)
    return known, Questions(asked.product, asked.start, answers.product, answers.start, repeats=False)


def read_sessions(directory: Path) -> tuple[Lines, Questions]:
    """The training sessions, and every test prefix as a question."""
    sessions = [products for _, products in _rows(directory, SESSIONS[0])]
    _told_something(directory / SESSIONS[0], sessions)
    prefixes, targets = [], []
    path, lines = _opened(directory, SESSIONS[1])
    for number, line in lines:
        if not line.strip():
            continue
        prefix, tab, target = line.partition("\t")
        products, wanted = _numbers(path, number, prefix), _numbers(path, number, target)
        if not tab or not products or len(wanted) != 1:
            raise SetError(f"{path}, line {number}: must be products, one TAB and the one product that came next")
        prefixes.append(products)
        targets.append(wanted)
    _told_something(directory / SESSIONS[1], targets)
    codes = _numbered(sessions, prefixes + targets)
    many, size = len(sessions), _size(codes)
    asked, answers = _lines(codes[many : many + len(prefixes)], size), _lines(codes[many + len(prefixes) :], size)
    return _lines(codes[:many], size), Questions(
        asked.product, asked.start, answers.product, answers.start, repeats=True
    )


def _users(directory: Path, name: str) -> dict[int, list[int]]:
    users: dict[int, list[int]] = {}
    path = directory / name
    for number, (user, *products) in _rows(directory, name):
        if user in users:
            raise SetError(f"{path}, line {number}: user {user} has a line already; a user has one")
        users[user] = sorted(set(products))
    return users


def _rows(directory: Path, name: str) -> Iterator[tuple[int, list[int]]]:
    """(line, numbers) of every line that is not blank."""
    path, lines = _opened(directory, name)
    for number, line in lines:
        if numbers := _numbers(path, number, line):
            yield number, numbers


def _numbers(path: Path, number: int, text: str) -> list[int]:
    try:
        numbers = [int(word) for word in text.split()]
    except ValueError:
        bad = next((word for word in text.split() if not word.isdecimal()), text)
        raise SetError(f"{path}, line {number}: {bad!r:.40} is not a whole number") from None
    if numbers and not 0 <= min(numbers) <= max(numbers) <= MOST:
        raise SetError(f"{path}, line {number}: numbers must lie between 0 and {MOST}")
    return numbers


def _opened(directory: Path, name: str) -> tuple[Path, Iterator[tuple[int, str]]]:
    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            return path, _read(path)
    raise SetError(f"{directory} holds neither {name} nor {name}.gz")


def _read(path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with gzip.open(path, "rt", encoding=TEXT) if path.suffix == ".gz" else path.open(encoding=TEXT) as file:
            for number, line in enumerate(file, 1):
                yield number, line.rstrip("\n")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise SetError(f"{path}, line {number + 1}: not readable ({error})") from None


def _told_something(path: Path, lists: Iterable[list[int]]) -> None:
    if not any(lists):
        raise SetError(f"{path} holds no products")


def _numbered(train: list[list[int]], test: list[list[int]]) -> list[Codes]:
    """All lists with new numbers: 0 is the product most frequent in ``train``, ties by the old number."""
    lists = train + test
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    flat = np.fromiter((product for products in lists for product in products), np.int64, lengths.sum())
    names, code = np.unique(flat, return_inverse=True)
    often: NDArray[np.int64] = np.bincount(code[: lengths[: len(train)].sum()], minlength=len(names))
    number = np.empty(len(names), dtype=np.int32)
    number[np.argsort(-often, kind="stable")] = np.arange(len(names), dtype=np.int32)
    return np.split(number[code], np.cumsum(lengths)[:-1])


def _size(codes: list[Codes]) -> int:
    return int(max(part.max(initial=0) for part in codes)) + 1


def _lines(parts: list[Codes], products: int) -> Lines:
    start = np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)]).astype(np.int64)
    return Lines(np.concatenate(parts).astype(np.int32), start, products)
