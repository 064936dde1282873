"""Local ridge regression: each product foretold from the few products most often found with it.

EASE and SLIM regress every product on all others, which needs the inverse of a dense products x products matrix. Here
product ``i`` is regressed on its K strongest partners S alone:

    b = (G[S, S] + penalty * diag(G[S, S]) ** .5) ** -1  G[S, i]        G = co-occurrence

K x K is small, products are independent, and on retail data the result is at least as accurate as the dense solve
once rows are cut to what a server can hold. Negative weights are dropped: they add nothing to the ranking, and without
them "because you bought X" is true.
"""

import numpy as np
from numba import njit
from scipy import sparse

from ml.blocks import Fill, on_all_cores
from ml.cooccurrence import Matrix, Neighbours, diagonal


def fit(held: Matrix, near: Neighbours, penalty: float, fill: Fill = on_all_cores) -> Matrix:
    """Rows (history product x recommended product) of non-negative weights; ``near`` are each product's candidates."""
    products = held.shape[1]
    itself = diagonal(held)
    by_product = held.tocsc()
    weight = np.zeros(near.product.shape, dtype=np.float32)

    def work(first: int, last: int) -> None:
        _solve(
            first, last, held.shape[0], by_product.indptr, by_product.indices, by_product.data,
            near.product, near.weight, itself, penalty, weight,
        )  # fmt: skip

    fill(work, (weight,))
    kept = (near.product >= 0) & (weight > 0)
    target = np.repeat(np.arange(products, dtype=np.int32), kept.sum(axis=1))
    return sparse.csr_matrix((weight[kept], (near.product[kept], target)), shape=(products, products))


@njit(nogil=True, cache=True, fastmath=True)
def _solve(  # type: ignore[no-untyped-def]
    first, last, groups, product_start, product_group, product_value, candidate, together, itself, penalty, out_weight
):
    most = candidate.shape[1]
    gram = np.empty((most, most), dtype=np.float64)
    right = np.empty(most, dtype=np.float64)
    seen = np.zeros(groups, dtype=np.int32)  # entries of each group among the candidates
    start = np.zeros(groups, dtype=np.int64)
    for product in range(first, last):
        size = 0
        while size < most and candidate[product, size] >= 0:
            size += 1
        if size == 0:
            continue
        # The candidates' entries, regrouped by group, so that only pairs which meet are multiplied.
        total = 0
        for slot in range(size):
            source = candidate[product, slot]
            for entry in range(product_start[source], product_start[source + 1]):
                seen[product_group[entry]] += 1
            total += product_start[source + 1] - product_start[source]
        slots = np.empty(total, dtype=np.int32)
        values = np.empty(total, dtype=np.float32)
        for slot in range(size):
            for other in range(slot + 1):
                gram[slot, other] = 0.0
        free = 0
        for slot in range(size):
            source = candidate[product, slot]
            for entry in range(product_start[source], product_start[source + 1]):
                group = product_group[entry]
                if seen[group] > 0:  # first met: reserve its room, and count down from here as a negative fill
                    start[group] = free
                    free += seen[group]
                    seen[group] = 0
                value = product_value[entry]
                place = start[group] - seen[group]
                slots[place] = slot
                values[place] = value
                seen[group] -= 1
                for earlier in range(start[group], place + 1):
                    gram[slot, slots[earlier]] += value * values[earlier]
        for slot in range(size):
            source = candidate[product, slot]
            for entry in range(product_start[source], product_start[source + 1]):
                seen[product_group[entry]] = 0
            gram[slot, slot] += penalty * np.sqrt(itself[source])
            right[slot] = together[product, slot]
        # Cholesky, then forward and backward substitution, in place.
        for row in range(size):
            for column in range(row + 1):
                rest = gram[row, column]
                for before in range(column):
                    rest -= gram[row, before] * gram[column, before]
                gram[row, column] = np.sqrt(rest) if row == column else rest / gram[column, column]
        for row in range(size):
            rest = right[row]
            for before in range(row):
                rest -= gram[row, before] * right[before]
            right[row] = rest / gram[row, row]
        for row in range(size - 1, -1, -1):
            right[row] /= gram[row, row]
            for above in range(row):
                right[above] -= gram[row, above] * right[row]
        for slot in range(size):
            out_weight[product, slot] = max(right[slot], 0.0)
