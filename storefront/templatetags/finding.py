"""Marks around what was searched for."""

import re
from collections.abc import Collection, Sequence
from html import unescape
from urllib.parse import quote

from django import template
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe

from storefront import words
from storefront.facets import Value
from storefront.suggestions import Suggestions

register = template.Library()

_NAME = re.compile(r'(?:(?<=<span class="card-name">)|(?<=<span class="card-brand">))[^<]+')


_CHECKBOX = """\
<label><input type="checkbox" id="{}" name="{}" value="{}" data-submit{}> <span>{}</span> <small>{}</small></label>
"""


@register.simple_tag
def checkboxes(values: Sequence[Value]) -> SafeString:
    """A facet's values. Not a template: a page has up to a hundred, and that was half of its time."""
    return format_html_join(
        "",
        _CHECKBOX,
        (
            (
                f"{value.facet}={quote(value.name, safe='')}",
                value.facet,
                value.name,
                " checked" if value.chosen else "",
                value.label,
                value.count,
            )
            for value in values
        ),
    )


@register.filter
def marked_for(text: str, suggestions: Suggestions) -> SafeString:
    return words.marked(text, suggestions.matched, suggestions.begun)


@register.filter(is_safe=True)
def marked_names(html: str, matched: Collection[str]) -> SafeString:
    """The names on these cards with marks. Cards are rendered once for everybody, so the marks come afterwards."""
    if not matched:
        return mark_safe(html)  # noqa: S308 - was HTML
    return mark_safe(_NAME.sub(lambda name: words.marked(unescape(name[0]), matched), html))  # noqa: S308 - was HTML
