"""What the catalogue says of products: who could stand in whose place, and whom a brand-new product resembles."""

import re
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ml.cooccurrence import Matrix, diagonal, holding, powers, similarity, strongest, strongest_per_row
from ml.data import Catalogue

# A shared type says more than a shared brand. Words of the name come on top, so names alone are enough to work with.
FIELDS = {"type": 3.0, "category": 2.0, "department": 1.0, "brand": 1.0, "size": 0.5}
WORD = re.compile(r"[^\W_]{2,}")
TOO_COMMON = 0.1  # a word of more than this share of a large catalogue tells products apart no longer
SMALL = 200  # products; in a catalogue below it nothing is too common


def resemblance(catalogue: Catalogue, count: int) -> Matrix:
    """Cosine of the products' words, weighted by field and rarity: each product's ``count`` nearest."""
    words: dict[str, int] = {}
    told: dict[tuple[int, int], float] = defaultdict(float)
    for product in range(len(catalogue)):
        for field, weight in FIELDS.items():
            if text := getattr(catalogue, field)[product].casefold().strip():
                told[words.setdefault(f"{field}:{text}", len(words)), product] = weight
        for word in WORD.findall(catalogue.name[product].casefold()):
            told[words.setdefault(word, len(words)), product] = 1.0
    if not told:
        return sparse.csr_matrix((len(catalogue), len(catalogue)), dtype=np.float32)
    word, product = np.array(list(told), dtype=np.int32).T
    held = np.bincount(word)
    rarity = np.log1p(len(catalogue) / held)
    rarity[(held > TOO_COMMON * len(catalogue)) & (held > SMALL)] = 0.0
    weight = np.fromiter(told.values(), dtype=np.float64) * rarity[word]
    told_by = holding(word, product, weight, len(catalogue))
    return similarity(strongest(told_by, 0.5, count), diagonal(told_by), own=0.5, partner=0.5)


def substitutes(near: Matrix, bought: Matrix, boost: float, count: int) -> Matrix:
    """Products alike, those first that the same households buy: ``near`` x (1 + ``boost`` x cosine of ``bought``)."""
    alike = near.multiply(bought) * boost
    return strongest_per_row((near + alike).tocsr(), count)


def introduce(rows: Matrix, near: Matrix, new: NDArray[np.bool_], lenders: int, share: float) -> Matrix:
    """Let ``new`` products, which nobody has bought, be recommended: each is foretold as those that it resembles are.

    A new product's column is ``share`` times the mean column of the ``lenders`` known products nearest to it. Each of
    those leads to it by itself too, as if it had a one on the diagonal.
    """
    borrowing = sparse.diags(new.astype(np.float32)).dot(near).dot(sparse.diags((~new).astype(np.float32)))
    lent = _mean_of(borrowing, lenders).T.tocsr() * share
    return (rows + rows.dot(lent) + lent).tocsr().astype(np.float32)


def lend(rows: Matrix, near: Matrix, lenders: int) -> Matrix:
    """Give each product without a row the mean of the rows of the ``lenders`` products that resemble it most.

    So a product that nobody has bought yet can be asked about.
    """
    has_row = np.diff(rows.indptr) > 0
    borrowing = sparse.diags((~has_row).astype(np.float32)).dot(near).dot(sparse.diags(has_row.astype(np.float32)))
    lent = _mean_of(borrowing, lenders).dot(rows).tolil()
    lent.setdiag(0)
    lent = lent.tocsr()
    lent.eliminate_zeros()
    return (rows + lent).tocsr().astype(np.float32)


def _mean_of(near: Matrix, lenders: int) -> Matrix:
    """Rows that take the weighted mean of each product's ``lenders`` nearest."""
    share = strongest_per_row(near.tocsr(), lenders)
    share.eliminate_zeros()
    total = np.asarray(share.sum(axis=1), dtype=np.float64).ravel()
    return sparse.diags(powers(total, -1.0)).dot(share)
