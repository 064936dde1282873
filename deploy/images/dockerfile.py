"""What a Dockerfile says, as far as ours go: stages of instructions, read and not built.

Known are FROM, LABEL, ENV, WORKDIR, COPY, RUN, USER, EXPOSE, HEALTHCHECK, ENTRYPOINT and CMD; anything else is refused,
so that a line which the proof would pass over cannot slip in. Reference: Docker's "Dockerfile reference".
"""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

KNOWN = {"FROM", "LABEL", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


class UnreadableDockerfile(Exception):
    """A line that is not understood here."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """``flags`` are those before the arguments: ``--from=packages`` is {"from": "packages"}."""

    name: str
    flags: dict[str, str]
    text: str

    def words(self) -> list[str]:
        """The arguments as a shell would split them, or the JSON array of an exec form."""
        return exec_form(self.text) if self.text.startswith("[") else shlex.split(self.text)


@dataclass(frozen=True, slots=True)
class Stage:
    base: str
    instructions: list[Instruction]

    def last(self, name: str) -> Instruction:
        """The one that counts where a later one replaces an earlier. Raises KeyError if there is none."""
        found = [each for each in self.instructions if each.name == name]
        if not found:
            raise KeyError(name)
        return found[-1]


def read(path: Path) -> list[Stage]:
    """The stages in order; the last is the image. Raises UnreadableDockerfile."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    stages: list[Stage] = []
    for line in filter(str.strip, text.replace("\\\n", " ").splitlines()):
        each = instruction(line)
        if each.name == "FROM":
            stages.append(Stage(each.words()[0], []))
        elif stages and each.name in KNOWN:
            stages[-1].instructions.append(each)
        else:
            raise UnreadableDockerfile(f"{path}: {line:.60} is not understood here")
    return stages


def instruction(line: str) -> Instruction:
    """One logical line, its continuations joined."""
    name, _, rest = line.strip().partition(" ")
    flags: dict[str, str] = {}
    while match := re.match(r"\s*--([a-z-]+)=(\S+)\s+", rest):
        flags[match[1]] = match[2]
        rest = rest[match.end() :]
    return Instruction(name.upper(), flags, rest.strip())


def exec_form(text: str) -> list[str]:
    """The command of ``["program", "argument"]``. Raises UnreadableDockerfile for a shell form."""
    try:
        words = json.loads(text)
    except ValueError as error:
        raise UnreadableDockerfile(f"{text:.60} is no exec form: {error}") from None
    return [str(word) for word in words]
