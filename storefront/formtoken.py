"""The token of a page's forms: Django's, without what makes it dear on every page that a known browser reads.

Django asks the system for a random letter 32 times, and sends its cookie anew with each token, so that it lasts another
year. Here a browser that brings the cookie keeps it as it is, and the system is asked once.
"""

import secrets

from django.conf import settings
from django.http import HttpRequest
from django.middleware.csrf import CSRF_ALLOWED_CHARS as LETTERS
from django.middleware.csrf import get_token

_PLACE = {letter: place for place, letter in enumerate(LETTERS)}


def of(request: HttpRequest) -> str:
    """64 letters and digits, different on each page, that Django's check accepts together with the browser's cookie."""
    secret = request.META.get("CSRF_COOKIE")  # what Django's middleware has found in the cookie, or made
    if secret is None or secret != request.COOKIES.get(settings.CSRF_COOKIE_NAME):
        return get_token(request)  # and a cookie with it
    return _masked(secret)


def _masked(secret: str) -> str:
    """A random mask, then the secret's letters, each moved on by the mask's: as Django does it, because a secret that
    stands as it is in compressed pages can be guessed (BREACH)."""
    random = secrets.randbelow(len(LETTERS) ** len(secret))
    mask, moved = [], []
    for letter in secret:
        random, step = divmod(random, len(LETTERS))
        mask.append(LETTERS[step])
        moved.append(LETTERS[(_PLACE[letter] + step) % len(LETTERS)])
    return "".join(mask + moved)
