"""The model: rows of weights and what answers are made of. Learnt by ml.learn, kept by ml.artefact, asked by ml.serve.

It is stateless: a query brings its history, so known, new and anonymous shoppers are one case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.contract import Answer, Query, Recommendation, SlateName, SlateQuery
from ml.kernel import Codes, Events, Kernel, Lists, Rows, Terms
from ml.slates import KIND_NAMES, SHOWN_REPEATS, Recipe

SECONDS_A_DAY = 86_400.0
_KIND_CODE = {name: code for code, name in enumerate(KIND_NAMES)}


@dataclass(frozen=True)
class Model:
    """Products are numbered by popularity. ``row_sets`` names the stacked sets of ``rows`` in order.

    ``popularity`` is 1 for the most popular product; ``category`` has one text a product.
    """

    version: str
    product_ids: list[str]
    names: Sequence[str]
    category: list[str]
    popularity: NDArray[np.float64]
    row_sets: tuple[str, ...]
    rows: Rows
    slates: Mapping[SlateName, Recipe]

    def recommend(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer a batch. Unknown products are skipped; an empty history gets popularity where that makes sense."""
        events = Events([], [], [], [])
        tasks: list[int] = []
        excluded: list[int] = []
        code_of = self._codes.get
        for query in queries:
            history, first = query["history"], len(events.product)
            events.product.extend([code_of(item["product_id"], -1) for item in history])
            events.kind.extend([_KIND_CODE[item["kind"]] for item in history])
            events.age.extend([item["age"] for item in history])
            events.times.extend([item["count"] for item in history])
            last = len(events.product)
            for slate in query["slates"]:
                before = len(excluded)
                if "exclude" in slate:
                    excluded += [code for name in slate["exclude"] if (code := code_of(name)) is not None]
                terms, hides = self._recipes[slate["name"], slate.get("repeats")]
                limit = min(slate["limit"], len(self.product_ids))
                tasks += (first, last, *terms, hides, before, len(excluded), *self._fillers(slate), limit)  # a Task
        return self._answers(queries, self._kernel.answer(events, tasks, excluded))

    def compile(self) -> None:
        """Answer faster from now on. Until this returns, in another thread, answers are slow and the same."""
        self._kernel.compile()

    def prepare(self) -> None:
        """Make now what the first answer would otherwise wait for."""
        _ = self._codes, self._named, self._shelved

    def _answers(self, queries: Sequence[Query], lists: Lists) -> list[Answer]:
        ids, lists_of = self._named, zip(*(part.tolist() for part in lists), strict=True)
        answers = []
        for query in queries:
            slates: dict[str, list[Recommendation]] = {}
            for slate in query["slates"]:
                products, scores, causes, length = next(lists_of)
                if length < len(products):
                    products, scores, causes = products[:length], scores[:length], causes[:length]
                if not self.slates[slate["name"]].terms:
                    scores = self.popularity[products].tolist()
                slates[slate["name"]] = [
                    {"product_id": ids[product], "score": score, "because": ids[cause]}
                    for product, score, cause in zip(products, scores, causes)  # noqa: B905  arrays of one shape
                ]
            answers.append(Answer(slate_id=query["slate_id"], slates=slates))
        return answers

    def _fillers(self, slate: SlateQuery) -> tuple[int, int]:
        if not self.slates[slate["name"]].filled:
            return 0, 0
        if "category" in slate and slate["name"] == "popular":
            return self._shelved[1].get(slate["category"], (0, 0))
        return 0, len(self.product_ids)

    @cached_property
    def _codes(self) -> dict[str, int]:
        return dict(zip(self.product_ids, range(len(self.product_ids)), strict=True))

    @cached_property
    def _named(self) -> list[Any]:
        """Each code's product, and None at the end, where -1, no product, finds it."""
        return [*self.product_ids, None]

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
        return Kernel(self.rows, columns, self._shelved[0], products)

    @cached_property
    def _shelved(self) -> tuple[Codes, dict[str, tuple[int, int]]]:
        """All products in order of popularity and after them each category's, and where each category's lie."""
        number = {name: place for place, name in enumerate(dict.fromkeys(self.category))}
        category = np.fromiter(map(number.__getitem__, self.category), np.int32, len(self.category))
        ends = len(category) + np.cumsum(np.bincount(category)) if number else np.zeros(0, dtype=np.int64)
        starts = [len(category), *ends.tolist()]
        filler = np.concatenate([np.arange(len(category)), np.argsort(category, kind="stable")]).astype(np.int32)
        return filler, {name: (starts[place], starts[place + 1]) for name, place in number.items()}
