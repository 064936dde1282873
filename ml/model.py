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
from ml.kernel import Codes, History, Places, Rows, Tasks
from ml.slates import KIND_NAMES, SHOWN_REPEATS, Recipe, Term

SECONDS_A_DAY = 86_400.0
_KIND_CODE = {name: code for code, name in enumerate(KIND_NAMES)}
_NO_CODES = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class Model:
    """Products are numbered by popularity. ``row_sets`` names the stacked sets of ``rows`` in order.

    ``popularity`` is 1 for the most popular product; ``category`` has one text a product.
    """

    version: str
    product_ids: list[str]
    names: list[str]
    category: list[str]
    popularity: NDArray[np.float64]
    row_sets: tuple[str, ...]
    rows: Rows
    slates: Mapping[SlateName, Recipe]

    def recommend(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer a batch. Unknown products are skipped; an empty history gets popularity where that makes sense."""
        history, bounds = self._history(queries)
        tasks, excluded = self._tasks(queries, bounds)
        lists = kernel.answer(self.rows, self._offsets, history, tasks, excluded, self._filler)
        score = np.round(lists.score, 6)
        answers = [Answer(slate_id=query["slate_id"], slates={}) for query in queries]
        task = 0
        for query, answer in zip(queries, answers, strict=True):
            for slate in query["slates"]:
                found = slice(0, int(lists.length[task]))
                products = lists.product[task, found]
                scores = score[task, found] if self.slates[slate["name"]].terms else self.popularity[products]
                answer["slates"][slate["name"]] = self._named(products, scores, lists.because[task, found])
                task += 1
        return answers

    def _named(self, products: Codes, scores: NDArray[np.float64], because: Codes) -> list[Recommendation]:
        ids = self.product_ids
        return [
            Recommendation(product_id=ids[product], score=score, because=ids[cause] if cause >= 0 else None)
            for product, score, cause in zip(products.tolist(), scores.tolist(), because.tolist(), strict=True)
        ]

    def _history(self, queries: Sequence[Query]) -> tuple[History, Places]:
        """All histories as arrays, one entry for each product of a query, and where each query's entries begin."""
        items = [item for query in queries for item in query["history"]]
        codes, many = self._codes, len(items)
        code = np.fromiter((codes.get(item["product_id"], -1) for item in items), np.int64, many)
        kind = np.fromiter((_KIND_CODE[item["kind"]] for item in items), np.int64, many)
        age = np.fromiter((item["age"] for item in items), np.float64, many)
        count = np.fromiter((item["count"] for item in items), np.float64, many)
        number = np.repeat(np.arange(len(queries)), [len(query["history"]) for query in queries])
        known = code >= 0
        if not known.all():
            code, kind, age, count, number = code[known], kind[known], age[known], count[known], number[known]
        pairs, entry = np.unique(number * len(codes) + code, return_inverse=True)
        kinds = np.zeros(len(pairs), dtype=np.uint8)
        np.bitwise_or.at(kinds, entry, np.left_shift(1, kind).astype(np.uint8))
        weight = np.empty((len(self._terms), len(pairs)))
        for row, term in enumerate(self._terms):
            liking = np.array([term.kinds.get(name, 0.0) for name in KIND_NAMES])
            strength = liking[kind] * count * np.exp(-age / (term.days * SECONDS_A_DAY))
            sums = np.bincount(entry, strength, minlength=len(pairs))
            weight[row] = term.weight * np.sign(sums) * np.abs(sums) ** term.power
        bounds = np.searchsorted(pairs, np.arange(len(queries) + 1) * len(codes))
        return History((pairs % len(codes)).astype(np.int32), kinds, weight), bounds

    def _tasks(self, queries: Sequence[Query], bounds: Places) -> tuple[Tasks, Codes]:
        """One task for each slate of each query, and the excluded products of all of them end to end."""
        excluded: list[int] = []
        tasks: list[tuple[int, ...]] = []
        for number, query in enumerate(queries):
            for slate in query["slates"]:
                before = len(excluded)
                excluded.extend(self._codes[name] for name in slate.get("exclude", ()) if name in self._codes)
                tasks.append(
                    (
                        bounds[number], bounds[number + 1],
                        *self._span[slate["name"]],
                        self._hides(slate),
                        before, len(excluded),
                        *self._fillers(slate),
                        min(slate["limit"], len(self.product_ids)),
                    )
                )  # fmt: skip
        columns = np.array(tasks, dtype=np.int64).reshape(-1, len(Tasks._fields)).T
        arrays = dict(zip(Tasks._fields, np.ascontiguousarray(columns), strict=True))
        arrays["hides"] = arrays["hides"].astype(np.uint8)
        return Tasks(**arrays), np.array(excluded, dtype=np.int32) if excluded else _NO_CODES

    def _hides(self, slate: SlateQuery) -> int:
        kinds = set(self.slates[slate["name"]].hides)
        if slate.get("repeats", slate["name"] in SHOWN_REPEATS):
            kinds.discard("purchase")
        else:
            kinds.add("purchase")
        return sum(1 << _KIND_CODE[kind] for kind in kinds)

    def _fillers(self, slate: SlateQuery) -> tuple[int, int]:
        if not self.slates[slate["name"]].filled:
            return 0, 0
        if "category" in slate and slate["name"] == "popular":
            return self._shelves.get(slate["category"], (0, 0))
        return 0, len(self.product_ids)

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {product_id: code for code, product_id in enumerate(self.product_ids)}

    @cached_property
    def _terms(self) -> list[Term]:
        return [term for recipe in self.slates.values() for term in recipe.terms]

    @cached_property
    def _span(self) -> dict[SlateName, tuple[int, int]]:
        """Where each slate's terms lie among all terms."""
        span, first = {}, 0
        for name, recipe in self.slates.items():
            span[name] = (first, first + len(recipe.terms))
            first += len(recipe.terms)
        return span

    @cached_property
    def _offsets(self) -> Places:
        return np.array([self.row_sets.index(term.rows) * len(self.product_ids) for term in self._terms], np.int64)

    @cached_property
    def _filler(self) -> Codes:
        """All products in order of popularity, and after them each category's."""
        shelved = np.argsort(np.unique(self.category, return_inverse=True)[1], kind="stable")
        return np.concatenate([np.arange(len(self.product_ids)), shelved]).astype(np.int32)

    @cached_property
    def _shelves(self) -> dict[str, tuple[int, int]]:
        """Where each category's products lie in ``_filler``."""
        names, counts = np.unique(self.category, return_counts=True)
        ends = len(self.product_ids) + np.cumsum(counts)
        return {str(name): (int(end - count), int(end)) for name, end, count in zip(names, ends, counts, strict=True)}
