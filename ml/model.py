"""The model: rows of weights and what answers are made of. Learnt by ml.learn, kept by ml.artefact, asked by ml.serve.

It is stateless: a query brings its history, so known, new and anonymous shoppers are one case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import orjson
from numpy.typing import NDArray

from ml.answers import FIELDS, Answers, all_of, answer
from ml.contract import Answer, Query, SlateName, SlateQuery
from ml.index import Index
from ml.kernel import Kernel, Places, Rows, Terms
from ml.request import queries_of
from ml.slates import KIND_CODE, KIND_NAMES, SHOWN_REPEATS, SLATE_NAMES, Recipe

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

    def reply(self, body: bytes) -> bytes:
        """The answers to a request, JSON both. Raises ContractError."""
        return self._answers.read(body) or self.answer(queries_of(body))

    def answer(self, queries: Sequence[Query]) -> bytes:
        """``recommend`` as JSON."""
        history = [item for query in queries for item in query["history"]]
        excluded: list[str] = []
        tasks: list[int] = []
        last = 0
        for query in queries:
            first, last = last, last + len(query["history"])
            for slate in query["slates"]:
                before = len(history) + len(excluded)
                excluded += slate.get("exclude", ())
                terms, hides = self._recipes[slate["name"], slate.get("repeats")]
                limit = min(slate["limit"], len(self.product_ids))
                end = len(history) + len(excluded)
                tasks += (first, last, *terms, hides, before, end, *self._fillers(slate), limit)  # a Task
        asked = [*(item["product_id"] for item in history), *excluded]
        events = np.array([(KIND_CODE[item["kind"]], item["age"], item["count"]) for item in history], np.float64)
        table = np.array(tasks, np.int64).reshape(-1, FIELDS)
        lists = iter(self._answers.lists(asked, events.reshape(-1, 3), table))
        # Of a slate that is asked for twice the last one counts.
        named = [{slate["name"].encode(): next(lists) for slate in query["slates"]} for query in queries]
        slate_ids = [orjson.dumps(query["slate_id"]) for query in queries]
        return all_of(
            [answer(*each) for each in zip(slate_ids, (list(slates.items()) for slates in named), strict=True)]
        )

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
        return Answers(kernel, self.index, self.popularity, self._table)

    @cached_property
    def _table(self) -> Places:
        """``_recipes`` for ml.reader, filled from all products, as no request that it reads has a category."""
        rows = [
            [(*terms, hides, 0, len(self.product_ids) if self.slates[name].filled else 0)
             for terms, hides in (self._recipes[name, repeats] for repeats in (None, False, True))]
            for name in SLATE_NAMES
        ]  # fmt: skip
        return np.array(rows, np.int64)
