from django.conf import settings
from django.contrib import admin
from django.urls import include, path, register_converter
from django.urls.converters import StringConverter
from drf_spectacular.views import SpectacularAPIView

from ml.contract import MAX_TEXT
from storefront import (
    account,
    api,
    art,
    cart,
    checkout,
    closing,
    consent,
    errors,
    feedback,
    listing,
    monitoring,
    password,
    views,
)


class ProductIdConverter(StringConverter):
    """What models.is_product_id admits: anything else in an address is a 404 before it meets the database."""

    regex = f"[A-Za-z0-9._~-]{{1,{MAX_TEXT}}}"


register_converter(ProductIdConverter, "product_id")

urlpatterns = [
    # In the order in which they are asked for most: an address is compared with one after the other.
    path("", views.home, name="home"),
    path("api/events", api.EventsView.as_view(), name="api_events"),
    path("api/recommendations", api.RecommendationsView.as_view(), name="api_recommendations"),
    path("department/<slug:department>/", listing.department, name="department"),
    path("department/<slug:department>/<slug:category>/", listing.category, name="category"),
    path("product/<product_id:product_id>/", views.product, name="product"),
    path("art/<product_id:product_id>.svg", art.art, name="art"),
    path("search/", listing.search_page, name="search"),
    path("search/suggest/", listing.suggest, name="suggest"),
    path("panel/", views.panel, name="panel"),
    path("why/", consent.why, name="why"),
    path("not-for-me/", feedback.dismiss, name="dismiss"),
    path("not-for-me/undo/", feedback.undo, name="undo_dismiss"),
    path("looked-at/", feedback.looked_at, name="looked_at"),
    path("looked-at/clear/", feedback.clear_looked_at, name="looked_at_clear"),
    path("cart/", cart.cart, name="cart"),
    path("cart/add/", cart.add, name="cart_add"),
    path("cart/update/", cart.update, name="cart_update"),
    path("checkout/", checkout.checkout, name="checkout"),
    path("order/<slug:number>/", checkout.order, name="order"),
    path("account/", account.page, name="account"),
    path("account/orders/", account.orders, name="orders"),
    path("account/sign-in/", account.sign_in, name="sign_in"),
    path("account/sign-up/", account.sign_up, name="sign_up"),
    path("account/sign-out/", account.sign_out, name="sign_out"),
    path("account/sign-out-everywhere/", password.sign_out_everywhere, name="sign_out_everywhere"),
    path("account/delete/", closing.close, name="close_account"),
    path("account/password/", password.change, name="password_change"),
    path("account/password/forgotten/", password.forgotten, name="password_forgotten"),
    path("account/password/<uidb64>/<token>/", password.NewPassword.as_view(), name="password_new"),
    path("privacy/", consent.privacy_page, name="privacy"),
    path("privacy/choose/", consent.choose, name="choose"),
    path("privacy/export/", consent.export, name="export"),
    path("privacy/forget/", consent.forget, name="forget"),
    path("privacy/forget/product/", consent.forget_product, name="forget_product"),
    path("api/schema", SpectacularAPIView.as_view(), name="api_schema"),
    path("healthz", views.healthz, name="healthz"),
    path("metrics", monitoring.scrape, name="metrics"),
    path("admin/", admin.site.urls),
]

if settings.DEMO:
    urlpatterns.append(path("demo/", include("storefront.demo")))

handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.server_error
