"""How fast each path is, against a baseline in the same run: ``make bench``. Each module measures one part.

A module has ``measure(stack) -> dict[str, float]``: its figures by key. They may import nothing of the shop's or the
model's; they start real processes and speak to them.
"""
