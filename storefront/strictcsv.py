"""CSV files from other people's systems: read as a stream, in bounded memory, and never trusted.

Whatever the bytes are, reading ends in rows or in a ``Refused`` that says file, line, column, what is wrong and what
would be right.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

if TYPE_CHECKING:
    import _csv

MOST_PROBLEMS = 20  # more would bury the first, which is often the cause of the rest
LONGEST_LINE = 65_536  # characters: a longer one is no table
_BLOCK = 1 << 20  # bytes
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Problem:
    file: str
    line: int  # 0: the file as a whole
    column: str  # "": the line as a whole
    what: str

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line else ""
        column = f", column {self.column}" if self.column else ""
        return f"{self.file}{line}{column}: {self.what}"


class Refused(Exception):
    """Nothing was loaded, because of these problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass
class Table:
    """One CSV file. ``rows()`` may be read again; its problems gather in ``problems`` until there are too many.

    A file may have its columns in any order; ``rows()`` gives them in that of ``required`` and then ``optional``.
    """

    path: Path
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    columns: tuple[str, ...] = ()  # those that the file has, in the order of the rows' fields
    line: int = 0  # of the row that rows() gave last

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Rows with as many fields as the header. Raises Refused if the file is no such table."""
        try:
            with self.path.open("rb") as file:
                yield from self._rows(csv.reader(self._lines(file), strict=True))
        except OSError as error:
            self.refuse(0, "", f"cannot be read: {error.strerror}")

    def _rows(self, reader: "_csv.Reader") -> Iterator[tuple[str, ...]]:
        try:
            names = self._header(next(reader, []))
            self.columns = tuple(name for name in self.required + self.optional if name in names)
            width, in_order = len(names), itemgetter(*map(names.index, self.columns))
            self.line = 0
            for row in reader:
                self.line = reader.line_num
                if len(row) == width:
                    yield in_order(row)
                elif row:  # an empty line is nobody's row
                    self.complain("", f"has {len(row)} fields where the header has {width}")
        except csv.Error as error:
            self.refuse(reader.line_num, "", f"is not CSV ({error}): look for an unclosed quotation mark")
        if not self.line:
            self.refuse(0, "", "has a header and no rows")

    def complain(self, column: str, what: str) -> None:
        """Note what is wrong with the row given last; too many of these end the reading."""
        self.problems.append(Problem(self.path.name, self.line, column, what))
        if len(self.problems) >= MOST_PROBLEMS:
            raise Refused(
                [*self.problems, Problem(self.path.name, 0, "", "reading stopped here, after so many problems")]
            )

    def refuse(self, line: int, column: str, what: str) -> NoReturn:
        raise Refused([*self.problems, Problem(self.path.name, line, column, what)])

    def settle(self) -> None:
        """At the end of a check: go on only without problems."""
        if self.problems:
            raise Refused(self.problems)

    def _lines(self, file: BinaryIO) -> Iterator[str]:
        """Whole blocks are decoded at once, for speed; one that holds a fault is looked through line by line."""
        number, rest = 0, file.read(len(_BOM)).removeprefix(_BOM)
        while block := file.read(_BLOCK):
            block = rest + block
            end = block.rfind(b"\n") + 1
            yield from self._checked(block[:end], number)
            number += block.count(b"\n", 0, end)
            rest = block[end:]
            if len(rest) > LONGEST_LINE:
                break
        yield from self._checked(rest, number)

    def _checked(self, block: bytes, lines_before: int) -> Iterator[str]:
        try:
            text = block.decode()
        except UnicodeDecodeError as error:
            number = lines_before + 1 + block.count(b"\n", 0, error.start)
            self.refuse(number, "", f"is not UTF-8 (byte 0x{block[error.start]:02x}): save the file as UTF-8")
        if "\0" in text:
            number = lines_before + 1 + text.count("\n", 0, text.index("\0"))
            self.refuse(number, "", "holds a NUL byte: save the file as UTF-8 text")
        for number, line in enumerate(io.StringIO(text, newline="\n"), start=lines_before + 1):
            if len(line) > LONGEST_LINE:
                self.refuse(number, "", f"is longer than {LONGEST_LINE:,} characters: this is not a table of rows")
            yield line

    def _header(self, names: list[str]) -> list[str]:
        if not names:
            self.refuse(0, "", f"is empty: its first line must name the columns {', '.join(self.required)}")
        known = self.required + self.optional
        wrong = [f"{name!r:.40} is not a column" for name in names if name not in known]
        wrong += [f"{name} is there twice" for name in known if names.count(name) > 1]
        wrong += [f"{name} is missing" for name in self.required if name not in names]
        if wrong:
            also = f", and may name {', '.join(self.optional)}" if self.optional else ""
            told = "; ".join(wrong[:MOST_PROBLEMS])
            self.refuse(1, "", f"{told}. The header must name {', '.join(self.required)}{also}")
        return names
