"""Which products are found together: the sums of products of their columns, never held as one dense matrix.

A *holding* is a sparse matrix, one row a group (a basket, a household, a word) and one column a product. Two products'
co-occurrence is the dot product of their columns. Every product's row of co-occurrences is made, ranked, cut to its
strongest entries and forgotten, so memory grows with products times neighbours; products are independent, so the
work is shared out over cores.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from ml.blocks import Fill, on_all_cores

Matrix: TypeAlias = Any  # a scipy.sparse.csr_matrix; scipy publishes no types


@dataclass(frozen=True, slots=True)
class Neighbours:
    """For each product its strongest partners, best first: (products, count) arrays, padded with product -1.

    ``weight`` is the plain co-occurrence, whatever scale ranked them.
    """

    product: NDArray[np.int32]
    weight: NDArray[np.float32]

    def first(self, count: int) -> "Neighbours":
        return Neighbours(np.ascontiguousarray(self.product[:, :count]), np.ascontiguousarray(self.weight[:, :count]))


def holding(group: NDArray[np.int32], product: NDArray[np.int32], value: NDArray[np.float64], products: int) -> Matrix:
    """Sum ``value`` per (group, product). Groups without a positive value are left out."""
    positive = value > 0
    groups, row = np.unique(group[positive], return_inverse=True)
    shape = (len(groups), products)
    return sparse.csr_matrix((value[positive].astype(np.float32), (row, product[positive])), shape=shape)


def length_damped(held: Matrix, exponent: float) -> Matrix:
    """Weigh each group by its number of products to ``exponent``: a basket of 2 tells more of a pair than one of 90."""
    lengths = np.maximum(np.diff(held.indptr), 1).astype(np.float32)
    return sparse.diags(lengths ** (exponent / 2)).dot(held).tocsr().astype(np.float32)


def diagonal(held: Matrix) -> NDArray[np.float64]:
    """Each product's co-occurrence with itself."""
    return np.asarray(held.multiply(held).sum(axis=0), dtype=np.float64).ravel()


def powers(values: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """``values ** exponent`` with nothing where there is nothing."""
    return np.where(values > 0, np.power(np.maximum(values, 1e-12), exponent), 0.0)


def strongest(held: Matrix, damping: float, count: int, fill: Fill = on_all_cores) -> Neighbours:
    """The ``count`` partners of every product that rank highest by co-occurrence / own diagonal ** ``damping``."""
    products = held.shape[1]
    scale = powers(diagonal(held), -damping)
    by_product = held.tocsc()
    found = Neighbours(
        np.full((products, count), -1, dtype=np.int32),
        np.zeros((products, count), dtype=np.float32),
    )

    def work(first: int, last: int) -> None:
        _strongest(
            first, last, held.indptr, held.indices, held.data, by_product.indptr, by_product.indices, by_product.data,
            scale, found.product, found.weight,
        )  # fmt: skip

    fill(work, (found.product, found.weight))
    return found


def followers(
    product: NDArray[np.int32],
    start: NDArray[np.int64],
    weight: NDArray[np.float64],
    reach: float,
    products: int,
    count: int,
) -> Neighbours:
    """The ``count`` products that follow each most: n places later in session i counts weight[i] e ** (-reach (n - 1)).

    Session i is ``product[start[i]:start[i + 1]]``. A product may follow itself.
    """
    order = np.argsort(product, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(product, minlength=products))])
    session = np.repeat(np.arange(len(start) - 1), np.diff(start))
    found = Neighbours(
        np.full((products, count), -1, dtype=np.int32),
        np.zeros((products, count), dtype=np.float32),
    )

    end, each = start[session + 1], weight[session]

    def work(lowest: int, highest: int) -> None:
        _followers(
            lowest, highest, first, order, product, end, each, np.exp(-reach), products,
            found.product, found.weight,
        )  # fmt: skip

    on_all_cores(work, (found.product, found.weight))
    return found


def similarity(near: Neighbours, itself: NDArray[np.float64], own: float, partner: float) -> Matrix:
    """Rows of co-occurrence / (own diagonal ** ``own`` x partner's ** ``partner``): .5 and .5 is the cosine."""
    valid = near.product >= 0
    product = np.repeat(np.arange(len(itself), dtype=np.int32), valid.sum(axis=1))
    target = near.product[valid]
    value = near.weight[valid] * powers(itself, -partner)[target] * powers(itself, -own)[product]
    return sparse.csr_matrix((value.astype(np.float32), (product, target)), shape=(len(itself), len(itself)))


def strongest_per_row(rows: Matrix, count: int) -> Matrix:
    """Cut every row to its ``count`` largest entries."""
    rows.sort_indices()
    length = np.diff(rows.indptr)
    row = np.repeat(np.arange(rows.shape[0]), length)
    long = np.flatnonzero(length[row] > count)  # most rows need no sorting
    order = long[np.lexsort((rows.indices[long], -rows.data[long], row[long]))]
    lengths = length[length > count]
    place = np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = np.ones(len(row), dtype=bool)
    kept[order[place >= count]] = False
    return sparse.csr_matrix((rows.data[kept], (row[kept], rows.indices[kept])), shape=rows.shape)


@njit(nogil=True, cache=True)
def _strongest(  # type: ignore[no-untyped-def]
    first, last, group_start, group_product, group_value, product_start, product_group, product_value,
    scale, out_product, out_weight,
):  # fmt: skip
    products = len(product_start) - 1
    together = np.zeros(products, dtype=np.float64)
    touched = np.empty(products, dtype=np.int32)
    for product in range(first, last):
        touches = 0
        for entry in range(product_start[product], product_start[product + 1]):
            group = product_group[entry]
            value = product_value[entry]
            for other in range(group_start[group], group_start[group + 1]):
                partner = group_product[other]
                if together[partner] == 0.0:
                    touched[touches] = partner
                    touches += 1
                together[partner] += value * group_value[other]
        _keep(product, together, touched[:touches], scale, out_product[product], out_weight[product])


@njit(nogil=True, cache=True)
def _followers(  # type: ignore[no-untyped-def]
    lowest, highest, first, order, clicked, end, weight, fading, products, out_product, out_weight
):
    together = np.zeros(products, dtype=np.float64)
    touched = np.empty(products, dtype=np.int32)
    scale = np.ones(products, dtype=np.float64)
    for product in range(lowest, highest):
        touches = 0
        for entry in range(first[product], first[product + 1]):
            place = order[entry]
            value = weight[place]
            for later in range(place + 1, end[place]):
                partner = clicked[later]
                if together[partner] == 0.0:
                    touched[touches] = partner
                    touches += 1
                together[partner] += value
                value *= fading
                if value < 1e-9:
                    break
        _keep(-1, together, touched[:touches], scale, out_product[product], out_weight[product])


@njit(nogil=True, cache=True)
def _keep(product, together, touched, scale, out_product, out_weight):  # type: ignore[no-untyped-def]
    """The best of the touched but ``product``, best first; ``together`` is left as zeros."""
    count = len(out_product)
    rank = np.empty(count, dtype=np.float64)
    kept = 0
    for partner in touched:
        weight = together[partner]
        together[partner] = 0.0
        score = weight * scale[partner]
        if partner == product or score <= 0.0:
            continue
        if kept == count and (score, -partner) <= (rank[kept - 1], -out_product[kept - 1]):
            continue
        place = min(kept, count - 1)
        while place > 0 and (score, -partner) > (rank[place - 1], -out_product[place - 1]):
            rank[place] = rank[place - 1]
            out_product[place] = out_product[place - 1]
            out_weight[place] = out_weight[place - 1]
            place -= 1
        rank[place] = score
        out_product[place] = partner
        out_weight[place] = weight
        kept = min(kept + 1, count)
