"""The model: rows of weights and what answers are made of. Learnt by ml.learn, kept by ml.artefact, asked by ml.serve.

It is stateless: a query brings its history, so known, new and anonymous shoppers are one case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ml import kernel
from ml.contract import Answer, Query, Recommendation, SlateName, SlateQuery
from ml.index import Index
from ml.kernel import Kernel, Lists, Rows, Terms
from ml.slates import KIND_NAMES, SHOWN_REPEATS, Recipe

SECONDS_A_DAY = 86_400.0
_KIND_CODE = {name: code for code, name in enumerate(KIND_NAMES)}


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
        asked: list[str] = []
        events: list[float] = []
        excluded: list[str] = []
        tasks: list[int] = []
        for query in queries:
            history, first = query["history"], len(asked)
            asked += [item["product_id"] for item in history]
            events += [x for item in history for x in (_KIND_CODE[item["kind"]], item["age"], item["count"])]
            last = len(asked)
            for slate in query["slates"]:
                before = len(excluded)
                excluded += slate.get("exclude", ())
                terms, hides = self._recipes[slate["name"], slate.get("repeats")]
                limit = min(slate["limit"], len(self.product_ids))
                tasks += (first, last, *terms, hides, before, len(excluded), *self._fillers(slate), limit)  # a Task
        codes = self.index.codes(asked + excluded, plainly=kernel.plain())
        table = np.fromiter(events, np.float64, len(events)).reshape(-1, 3)
        lists = self._kernel.answer(codes[: len(asked)], table, tasks, codes[len(asked) :])
        return self._answers(queries, lists, [*asked, None])  # no reason is -1, the last

    def compile(self) -> None:
        """Answer faster from now on. Until this returns, in another thread, answers are slow and the same."""
        self.index.codes([], plainly=False)
        self._kernel.compile()

    def _answers(self, queries: Sequence[Query], lists: Lists, asked: Sequence[str | None]) -> list[Answer]:
        ids = self.index.product_id.take(lists.product, mode="clip")  # what lies beyond a list's length is any number
        lists_of = zip(lists.product, *(part.tolist() for part in (ids, *lists[1:])), strict=True)
        answers = []
        for query in queries:
            slates: dict[str, list[Recommendation]] = {}
            for slate in query["slates"]:
                products, found, scores, causes, length = next(lists_of)
                if length < len(found):
                    found, scores, causes = found[:length], scores[:length], causes[:length]
                if not self.slates[slate["name"]].terms:
                    scores = self.popularity[products[:length]].tolist()
                slates[slate["name"]] = [
                    {"product_id": product_id, "score": score, "because": asked[cause]}
                    for product_id, score, cause in zip(found, scores, causes)  # noqa: B905  arrays of one shape
                ]
            answers.append(Answer(slate_id=query["slate_id"], slates=slates))
        return answers

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
                recipes[name, repeats] = (first, last), sum(1 << _KIND_CODE[kind] for kind in kinds)
            first = last
        return recipes

    @cached_property
    def _kernel(self) -> Kernel:
        products = len(self.product_ids)
        terms = [term for recipe in self.slates.values() for term in recipe.terms]
        columns = Terms(
            offset=np.array([self.row_sets.index(term.rows) * products for term in terms], np.int64),
            liking=np.array([[term.kinds.get(name, 0.0) for name in KIND_NAMES] for term in terms], np.float64),
            weight=np.array([term.weight for term in terms], np.float64),
            seconds=np.array([term.days * SECONDS_A_DAY for term in terms], np.float64),
            power=np.array([term.power for term in terms], np.float64),
        )
        return Kernel(self.rows, columns, self.index.shelved, products)
