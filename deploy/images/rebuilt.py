"""An image without an engine: a Dockerfile's steps carried out in a folder of this machine.

Everything of ours lies below /opt in the images, so /opt becomes the folder ``root`` wherever it is written. COPY,
ENV, WORKDIR and the RUN lines that begin with ``python`` are carried out to the letter, and whatever runs afterwards
gets the image's variables and packages alone. What this cannot show: the base image, for which this machine's Python
stands in, the RUN lines that change the base, the image's USER, and how large the layers become.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.images.dockerfile import Instruction, Stage, read

PROJECT = Path(__file__).resolve().parents[2]
NEVER_SHIPPED = shutil.ignore_patterns("tests", "notebooks", "__pycache__")  # as .dockerignore says


class BuildFailed(Exception):
    """A step of the Dockerfile failed; the text holds its output."""


class Rebuilt:
    """The folder that a Dockerfile makes. ``passed_over`` are the RUN lines that belong to the base image."""

    def __init__(self, dockerfile: Path, root: Path) -> None:
        self.root = root
        self.passed_over: list[str] = []
        stages = read(dockerfile)
        for stage in stages:
            # A stage that is not the image may use the network, and what pip reads of this machine.
            inherited = {} if stage is stages[-1] else dict(os.environ)
            self._carry_out(stage, inherited)
        self.image = stages[-1]

    def command(self, *words: str) -> list[str]:
        """What ``docker run IMAGE words…`` starts; without words, what the image starts by itself."""
        entry = [each.words() for each in self.image.instructions if each.name == "ENTRYPOINT"]
        return [*(entry[-1] if entry else []), *(words or self.image.last("CMD").words())]

    def health_check(self) -> list[str]:
        """The command that an engine would ask with."""
        return Instruction("CMD", {}, self.image.last("HEALTHCHECK").text.removeprefix("CMD").strip()).words()

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """The image's variables and those given to ``docker run``; nothing of this machine's."""
        return {**self.env, "HOME": "/nonexistent", **settings}

    def start(self, words: Sequence[str], settings: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
        """Start a command in the image, its output in ``log``."""
        environment = self.environment(settings)
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603 - the Dockerfile's own commands, here and below
                [self._program(words[0]), *words[1:]],
                cwd=self.workdir, env=environment, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def run(self, words: Sequence[str], settings: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        """Run a command in the image to its end, both of its streams as text."""
        return subprocess.run(  # noqa: S603
            [self._program(words[0]), *words[1:]],
            cwd=self.workdir, env=self.environment(settings), text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def files(self) -> set[tuple[str, int]]:
        """Names and sizes of what is beside the packages, without the bytecode that root's Python leaves there."""
        found = (file for file in self.workdir.rglob("*") if file.is_file() and file.suffix != ".pyc")
        return {(str(file.relative_to(self.workdir)), file.stat().st_size) for file in found}

    def megabytes(self) -> dict[str, float]:
        """Of the installed packages, and of the files beside them."""
        parts = {"packages": self.root / "venv", "files": self.workdir}
        return {name: sum(file.lstat().st_size for file in part.rglob("*")) / 1e6 for name, part in parts.items()}

    def _carry_out(self, stage: Stage, inherited: dict[str, str]) -> None:
        # Where packages are installed, this Python stands in for the base image's; the image itself has its own alone.
        path = f"{Path(sys.executable).parent}:{inherited['PATH']}" if inherited else "/usr/bin:/bin"
        self.env = inherited | {"PATH": path}
        self.workdir = self.root
        for each in stage.instructions:
            if each.name == "ENV":
                for name, _, value in (word.partition("=") for word in self._here(each).words()):
                    self.env[name] = value.replace("$PATH", self.env["PATH"])
            elif each.name == "WORKDIR":
                self.workdir = Path(self._here(each).text)
                self.workdir.mkdir(parents=True, exist_ok=True)
            elif each.name == "COPY":
                self._copy(each)
            elif each.name == "RUN":
                self._run(each)

    def _copy(self, each: Instruction) -> None:
        *sources, destination = each.words()
        if "from" in each.flags:
            if sources != [destination]:
                raise BuildFailed(
                    f"COPY {each.text}: one folder stands for all stages here, so a path must keep its name"
                )
            return
        for source in sources:
            found, goal = PROJECT / source, self.workdir / destination
            if found.is_dir():  # whose content is copied, not itself
                shutil.copytree(found, goal, ignore=NEVER_SHIPPED, dirs_exist_ok=True)
            else:
                goal = goal / found.name if destination.endswith("/") else goal
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, goal)

    def _run(self, each: Instruction) -> None:
        words = each.text.split()
        programs = [word for word in words if "=" not in word]
        if programs[0] != "python":
            self.passed_over.append(each.text)
            return
        done = subprocess.run(  # noqa: S603
            ["/bin/sh", "-ec", self._here(each).text], cwd=self.workdir, env=self.env, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode:
            raise BuildFailed(f"RUN {each.text}\n{done.stdout}")

    def _here(self, each: Instruction) -> Instruction:
        return Instruction(each.name, each.flags, each.text.replace("/opt/", f"{self.root}/"))

    def _program(self, name: str) -> str:
        found = shutil.which(name, path=self.env["PATH"])
        if found is None:
            raise BuildFailed(f"the image has no program {name}")
        return found
