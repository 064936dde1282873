"""Who is looking: what the signed cookies of a browser say, without a query.

There are two cookies. The session changes when a form is posted: the cart's id, the choice about
personalisation, the shopper's id. What was last looked at has a signed cookie of its own, because it changes in
the background while forms are being posted: in one cookie, the later answer would undo the earlier one's change.
"""

import secrets
from collections.abc import Collection, Sequence
from functools import cached_property, lru_cache
from typing import Literal

from django.conf import settings
from django.core.signing import BadSignature
from django.http import HttpRequest, HttpResponseBase
from django.utils.safestring import SafeString

from recommender import events
from storefront import formtoken, now, session
from storefront.models import Cart

VIEWED = "viewed"  # the cookie's name
MOST_VIEWED = 12  # products last looked at, newest first
MOST_DISMISSED = 1_500  # characters of ids put aside: the session is a cookie, and a cookie holds 4 KB
SEPARATOR = "!"  # stands in no product id and needs no quoting in a cookie

Consent = Literal["", "yes", "no"]  # "" until the visitor chooses


class Visitor:
    """Of one request; get it with ``of(request)``. Nothing is read before it is asked for."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.session = request.session

    @property
    def consent(self) -> Consent:
        choice: Consent = self.session.get("consent", "")
        return choice

    @property
    def known_as(self) -> int | None:
        """recommender's id of this shopper, also while personalisation is off: to export, to delete, to switch on."""
        shopper_id: int | None = self.session.get("shopper_id")
        return shopper_id

    @property
    def shopper_id(self) -> int | None:
        """Whose recommendations to show and whose events to keep: nobody's without consent."""
        return self.known_as if self.consent == "yes" else None

    @property
    def is_signed_in(self) -> bool:
        return "_auth_user_id" in self.session

    @property
    def name(self) -> str:
        return str(self.session.get("name", ""))

    @cached_property
    def viewed(self) -> tuple[str, ...]:
        """Ids last looked at, newest first. After a "no" there are none: nothing is personal then."""
        if self.consent == "no":
            return ()
        try:
            return _viewed(self.request.COOKIES.get(VIEWED, ""), self._viewed_salt)
        except BadSignature:
            return ()

    def saw(self, product_id: str, response: HttpResponseBase) -> None:
        """Before a choice this cookie is all that is kept; it ends with the browser's session."""
        if self.consent == "no":
            return
        self._keep_viewed(tuple(dict.fromkeys((product_id, *self.viewed)))[:MOST_VIEWED], response)

    def did_not_see(self, product_id: str, response: HttpResponseBase) -> None:
        """As if it had never been looked at, as far as this browser remembers."""
        if product_id in self.viewed:
            self._keep_viewed(tuple(other for other in self.viewed if other != product_id), response)

    def _keep_viewed(self, viewed: tuple[str, ...], response: HttpResponseBase) -> None:
        self.viewed = viewed
        response.set_signed_cookie(
            VIEWED,
            SEPARATOR.join(viewed),
            salt=self._viewed_salt,
            httponly=True,
            samesite="Lax",
            secure=settings.SESSION_COOKIE_SECURE,
        )

    @property
    def _viewed_salt(self) -> str:
        # Signed for who is signed in, so on a shared browser nobody's recommendations follow from another's views.
        return f"{VIEWED}:{self.session.get('_auth_user_id', '')}"

    @property
    def dismissed(self) -> tuple[str, ...]:
        """What was put aside in this browser, newest first: hidden in every panel from the next page on."""
        text = self.session.get("dismissed", "")
        return tuple(text.split(SEPARATOR)) if text else ()

    def dismiss(self, product_id: str) -> None:
        ids = list(dict.fromkeys((product_id, *self.dismissed)))
        while len(SEPARATOR.join(ids)) > MOST_DISMISSED:
            ids.pop()
        self.session["dismissed"] = SEPARATOR.join(ids)

    def undo_dismiss(self, product_id: str) -> None:
        self.session["dismissed"] = SEPARATOR.join(other for other in self.dismissed if other != product_id)

    @property
    def cart_id(self) -> int:
        """0 while there is no cart."""
        return int(self.session.get("cart", 0))

    @cached_property
    def cart(self) -> dict[str, int]:
        """product_id → quantity; no query while there is no cart."""
        return now.look(cart_id=self.cart_id).cart if self.cart_id else {}

    def look(self, product_ids: Collection[str], maybe_taken: Collection[str] = ()) -> now.Now:
        """At these products as of now, at which of ``maybe_taken`` the shopper has taken, and at the cart."""
        seen = now.look(product_ids, self.cart_id, self.shopper_id if maybe_taken else None, maybe_taken)
        self.cart = seen.cart
        return seen

    @cached_property
    def token(self) -> SafeString:
        """Of this page's forms: letters and digits. Django's own is lazy, and asked anew by each form."""
        return SafeString(formtoken.of(self.request))

    @property
    def cart_count(self) -> int:
        return sum(self.cart.values())

    def open_cart(self) -> Cart:
        """The cart to write to, made at the first need."""
        cart = Cart.objects.filter(pk=self.cart_id).first()
        if cart is None:
            user = self.request.user  # asked of the database: a session that was revoked must not find the new cart
            cart = Cart.objects.get_or_create(user=user)[0] if user.is_authenticated else Cart.objects.create()
            self.session["cart"] = cart.pk
        return cart

    def take_message(self) -> str:
        """What the last form has to say; said once."""
        return str(self.session.pop("said")) if "said" in self.session else ""

    def forget_cart_lines(self) -> None:
        """After a write: the next look at ``cart`` reads it again."""
        self.__dict__.pop("cart", None)

    @property
    def visit(self) -> str:
        """Names this visit in events, as a basket id names a purchase; random, and never made without consent."""
        if "visit" not in self.session:
            self.session["visit"] = secrets.token_hex(8)
        return str(self.session["visit"])

    def record(self, new: Sequence[events.NewEvent]) -> int:
        """Through recommender's door if the shopper consented; otherwise nothing is kept and 0 returned."""
        return events.record(self.shopper_id, new) if self.shopper_id is not None and new else 0


@lru_cache(maxsize=session.KEPT)
def _viewed(cookie: str, salt: str) -> tuple[str, ...]:
    """What a cookie says, its signature checked once and not for each request that brings it; never too old to hold.

    Raises BadSignature, which is not kept.
    """
    request = HttpRequest()
    request.COOKIES[VIEWED] = cookie
    text = request.get_signed_cookie(VIEWED, salt=salt) if cookie else ""
    return tuple(text.split(SEPARATOR)) if text else ()


def of(request: HttpRequest) -> Visitor:
    """One Visitor for each request, so that what was read once is not read again."""
    found: Visitor | None = getattr(request, "_visitor", None)
    if found is None:
        found = Visitor(request)
        request._visitor = found  # type: ignore[attr-defined]
    return found
