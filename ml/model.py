"""The model: rows of weights and what answers are made of. Learnt by ml.learn, kept by ml.artefact, asked by ml.serve.

It is stateless: a query brings its history, so known, new and anonymous shoppers are one case.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import orjson
from numpy.typing import NDArray

from ml.answers import Answers
from ml.contract import Answer, HistoryItem, Query, SlateName, SlateQuery
from ml.index import Index
from ml.kernel import Kernel, Rows, Terms
from ml.slates import KIND_CODE, KIND_NAMES, SHOWN_REPEATS, Recipe

SECONDS_A_DAY = 86_400.0


@dataclass(frozen=True)
class Model:
    """Products are numbered by popularity. ``row_sets`` names the stacked sets of ``rows`` in order.

    ``popularity`` is 1 for the most popular product; ``category`` has one text a product. ``mapped`` is the index that
    an artefact brings; without it one is made.
    """

    version: str
    product_ids: Sequence[str]
    names: Sequence[str]
    category: Sequence[str]
    popularity: NDArray[np.float64]
    row_sets: tuple[str, ...]
    rows: Rows
    slates: Mapping[SlateName, Recipe]
    mapped: Index | None = None

    def recommend(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer a batch. Unknown products are skipped; an empty history gets popularity where that makes sense."""
        answers: list[Answer] = orjson.loads(self.answer(queries))
        return answers

    def answer(self, queries: Sequence[Query]) -> bytes:
        """The same as JSON, which is what a server sends."""
        history: list[HistoryItem] = []
        excluded: list[str] = []
        tasks: list[int] = []
        for query in queries:
            first = len(history)
            history += query["history"]
            last = len(history)
            for slate in query["slates"]:
                before = len(excluded)
                if "exclude" in slate:
                    excluded += slate["exclude"]
                terms, hides = self._recipes[slate["name"], slate.get("repeats")]
                limit = min(slate["limit"], len(self.product_ids))
                tasks += (first, last, *terms, hides, before, len(excluded), *self._fillers(slate), limit)  # a Task
        lists = iter(self._answers.lists(history, excluded, tasks))
        return b"[%b]" % b",".join([_answer(query, lists) for query in queries])

    def compile(self) -> None:
        """Answer faster from now on. Until this returns, in another thread, answers are slow and the same."""
        self._answers.compile()

    def _fillers(self, slate: SlateQuery) -> tuple[int, int]:
        if not self.slates[slate["name"]].filled:
            return 0, 0
        if "category" in slate and slate["name"] == "popular":
            return self._shelves.get(slate["category"], (0, 0))
        return 0, len(self.product_ids)

    @cached_property
    def index(self) -> Index:
        return self.mapped or Index.of(self.product_ids, self.category)

    @cached_property
    def _shelves(self) -> dict[str, tuple[int, int]]:
        return self.index.spans(self.category)

    @cached_property
    def _recipes(self) -> dict[tuple[SlateName, bool | None], tuple[tuple[int, int], int]]:
        """Of each slate, with repeats asked for, refused or not mentioned: the slice of its terms and what it hides."""
        recipes, first = {}, 0
        for name, recipe in self.slates.items():
            last = first + len(recipe.terms)
            for repeats in (True, False, None):
                kinds = set(recipe.hides) - {"purchase"}
                if not (name in SHOWN_REPEATS if repeats is None else repeats):
                    kinds.add("purchase")
                recipes[name, repeats] = (first, last), sum(1 << KIND_CODE[kind] for kind in kinds)
            first = last
        return recipes

    @cached_property
    def _answers(self) -> Answers:
        products = len(self.product_ids)
        terms = [term for recipe in self.slates.values() for term in recipe.terms]
        columns = Terms(
            offset=np.array([self.row_sets.index(term.rows) * products for term in terms], np.int64),
            liking=np.array([[term.kinds.get(name, 0.0) for name in KIND_NAMES] for term in terms], np.float64),
            weight=np.array([term.weight for term in terms], np.float64),
            seconds=np.array([term.days * SECONDS_A_DAY for term in terms], np.float64),
            power=np.array([term.power for term in terms], np.float64),
        )
        kernel = Kernel(self.rows, columns, self.index.shelved, products)
        return Answers(kernel, self.index, self.popularity)


def _answer(query: Query, lists: Iterator[bytes]) -> bytes:
    """One query's answer; of a slate that is asked for twice the last one counts."""
    slates = {slate["name"]: next(lists) for slate in query["slates"]}
    named = b",".join([b'"%b":[%b]' % (name.encode(), items) for name, items in slates.items()])
    return b'{"slate_id":%b,"slates":{%b}}' % (orjson.dumps(query["slate_id"]), named)
