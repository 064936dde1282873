"""Templates rendered once; what differs from page to page is put into their slots.

A fragment is known by everything that its markup depends on, so it is never stale: another price is another fragment.
Rendering was nine tenths of a page's cost.
"""

import re
import secrets
from functools import lru_cache
from html import escape

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

KEPT = 30_000  # of one process: the cards of a catalogue of twenty thousand take about thirty megabytes
# In place of a slot's text while its template is rendered. Random, so that no product's name can be taken for one.
_MARK = f"slot-{secrets.token_hex(8)}-"
_MARKED = re.compile(rf"{_MARK}(\w+)-")


class Fragment:
    """Text with slots. A template must use a slot as it is: no filter, no condition, no part of an address."""

    def __init__(self, text: str) -> None:
        self._parts = _MARKED.split(text)
        self._names = self._parts[1::2]  # every second one is a slot's

    def fill(self, **slots: object) -> SafeString:
        """With each slot's text, escaped unless it is safe already."""
        for name, slot in slots.items():
            if type(slot) is not SafeString:
                slots[name] = escape(str(slot))
        parts = self._parts.copy()
        parts[1::2] = map(slots.__getitem__, self._names)
        return SafeString("".join(parts))  # all texts by now


def made(template: str, *slots: str, **context: object) -> Fragment:
    """This template, rendered with this context but for its slots."""
    marks = {slot: SafeString(f"{_MARK}{slot}-") for slot in slots}
    return Fragment(render_to_string(template, {**context, **marks}))


fragment = lru_cache(maxsize=KEPT)(made)
