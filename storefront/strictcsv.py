"""CSV files from other people's systems: read as a stream, in bounded memory, and never trusted.

Whatever the bytes are, reading ends in rows or in a ``Refused`` that says file, line, column, what is wrong and what
would be right.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import _csv

MOST_PROBLEMS = 20  # more would bury the first, which is often the cause of the rest
LONGEST_LINE = 65_536  # bytes: a longer one is no table
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
    """One CSV file. ``rows()`` may be read again; its problems gather in ``problems`` until there are too many."""

    path: Path
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    columns: tuple[str, ...] = ()  # in the file's order, known once rows() has begun
    line: int = 0  # of the row that rows() gave last

    def rows(self) -> Iterator[list[str]]:
        """Rows with as many fields as the header. Raises Refused if the file is no such table."""
        try:
            with self.path.open("rb") as file:
                yield from self._rows(csv.reader(self._lines(file), strict=True))
        except OSError as error:
            self.refuse(0, "", f"cannot be read: {error.strerror}")

    def _rows(self, reader: "_csv.Reader") -> Iterator[list[str]]:
        try:
            self.columns = self._header(next(reader, []))
            width = len(self.columns)
            self.line = 0
            for row in reader:
                self.line = reader.line_num
                if len(row) == width:
                    yield row
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

    def refuse(self, line: int, column: str, what: str) -> None:
        raise Refused([*self.problems, Problem(self.path.name, line, column, what)])

    def settle(self) -> None:
        """At the end of a check: go on only without problems."""
        if self.problems:
            raise Refused(self.problems)

    def _lines(self, file: BinaryIO) -> Iterator[str]:
        """Decoded here, line by line, so that a wrong byte has a line number and an endless line has an end."""
        readline: Callable[[], bytes] = partial(file.readline, LONGEST_LINE + 1)
        for number, line in enumerate(iter(readline, b""), start=1):
            if number == 1:
                line = line.removeprefix(_BOM)
            if len(line) > LONGEST_LINE:
                self.refuse(number, "", f"is longer than {LONGEST_LINE:,} bytes: this is not a table of rows")
            if b"\0" in line:
                self.refuse(number, "", "holds a NUL byte: save the file as UTF-8 text")
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                wrong = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
                self.refuse(number, "", f"is not UTF-8 ({wrong}): save the file as UTF-8")

    def _header(self, names: list[str]) -> tuple[str, ...]:
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
        return tuple(names)
