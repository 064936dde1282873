"""Questions with known answers: many histories, what each was followed by, and how well rows foretell it.

The shop's own kernel ranks, so what is measured is what is served. Products are numbered by popularity.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ml import kernel
from ml.blocks import in_threads
from ml.cooccurrence import Matrix
from ml.kernel import Codes, Kernel, Places, Rows, Task

K = 20
SEEN = 1  # bit of the one kind of history item here
_NOTHING = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Questions:
    """Histories end to end, oldest product first: question ``i`` is ``history[start[i]:start[i + 1]]``."""

    history: Codes
    start: Places
    wanted: Codes
    wanted_start: Places
    repeats: bool  # whether a product of the history may be an answer

    def __len__(self) -> int:
        return len(self.start) - 1


class Term(NamedTuple):
    """A history product ``n`` steps before the newest counts ``weight`` x e ** (-``decay`` x n)."""

    rows: Matrix
    weight: float = 1.0
    decay: float = 0.0


def stacked(sets: list[Matrix]) -> Rows:
    """Row-sets one under the other, as an artefact holds them."""
    rows = sparse.vstack(sets, format="csr")
    stacks = Rows(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data.astype(np.float32))
    for array in stacks:
        array.flags.writeable = False  # as mapped from a file, so that the kernel is compiled for one kind of array
    return stacks


def ranked(terms: list[Term], questions: Questions) -> Codes:
    """The first K products for each question, -1 where there are fewer."""
    rows = stacked([term.rows for term in terms])
    products = terms[0].rows.shape[1]
    many = len(terms)
    asked = Kernel(
        rows,
        kernel.Terms(
            offset=np.arange(many, dtype=np.int64) * products,
            liking=np.ones((many, 1)),
            weight=np.array([term.weight for term in terms]),
            seconds=np.array([1 / term.decay if term.decay else np.inf for term in terms]),
            power=np.ones(many),
        ),
        np.arange(products, dtype=np.int32),
        products,
    )
    steps = np.repeat(questions.start[1:], np.diff(questions.start)) - 1 - np.arange(len(questions.history))
    events = np.column_stack([np.zeros(len(steps)), steps, np.ones(len(steps))])
    tasks = np.zeros((len(questions), len(Task._fields)), dtype=np.int64)
    tasks[:, :2] = np.column_stack([questions.start[:-1], questions.start[1:]])
    tasks[:, 3] = many
    tasks[:, 4] = 0 if questions.repeats else SEEN
    tasks[:, 8] = products
    tasks[:, 9] = min(K, products)
    found = np.full((len(questions), K), -1, dtype=np.int32)

    def work(first: int, last: int) -> None:
        answers = asked.rank(questions.history, events, tasks[first:last], _NOTHING)
        filled = np.arange(answers.product.shape[1]) < answers.length[:, None]  # beyond it lies what was there before
        found[first:last, : answers.product.shape[1]] = np.where(filled, answers.product, -1)

    in_threads(work, 0, len(questions))
    return found


def hits(found: Codes, questions: Questions) -> NDArray[np.bool_]:
    """Which places of ``found`` hold a wanted product."""
    products = int(max(found.max(initial=0), questions.wanted.max(initial=0))) + 1
    number = np.arange(len(questions), dtype=np.int64)
    wanted = np.repeat(number, np.diff(questions.wanted_start)) * products + questions.wanted
    return np.isin(number[:, None] * products + found, wanted) & (found >= 0)


def recall_and_ndcg(found: Codes, questions: Questions) -> dict[str, float]:
    """Of the wanted products the share found, and their discounted gain over the best order's: means over questions."""
    hit, many = hits(found, questions), np.diff(questions.wanted_start)
    discount = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.cumsum(discount)[np.minimum(many, K) - 1]
    return {
        f"recall@{K}": float((hit.sum(axis=1) / many).mean()),
        f"ndcg@{K}": float((hit @ discount / ideal).mean()),
    }


def hr_and_mrr(found: Codes, questions: Questions) -> dict[str, float]:
    """Share of questions whose one wanted product is found, and the mean of 1 / its place, 0 where it is not."""
    hit = hits(found, questions)
    return {f"hr@{K}": float(hit.any(axis=1).mean()), f"mrr@{K}": float((hit / np.arange(1, K + 1)).sum(axis=1).mean())}
