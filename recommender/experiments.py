"""Which variant of the endpoint answers for a shopper, while an experiment runs.

Settings give variants and weights; a shopper's arm is a hash, so it needs no storage, is the same in every
process, and stays for as long as the variants do. Changing the variants' names deals the shoppers anew.
"""

from hashlib import sha256

from django.conf import settings


def arm(shopper_id: int) -> str:
    """The shopper's variant, or "" without an experiment: then the endpoint's own traffic split decides."""
    weights: dict[str, float] = settings.RECOMMENDER["EXPERIMENT"]
    if not weights:
        return ""
    variants = sorted(weights)
    digest = sha256(f"{','.join(variants)}:{shopper_id}".encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64 * sum(weights.values())
    for variant in variants:
        place -= weights[variant]
        if place < 0:
            return variant
    return variants[-1]
