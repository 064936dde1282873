"""The catalogue's office: products can be changed, orders can be read."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.messages.middleware import MessageMiddleware
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from storefront.models import Account, Order, OrderLine, Product

# Django's admin classes take no types at run time, their stubs want them.
if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    ReadOnlyBase = admin.options.BaseModelAdmin[Any]
else:
    ModelAdmin, TabularInline, ReadOnlyBase = admin.ModelAdmin, admin.TabularInline, object


class Messages(MessageMiddleware):
    """Django's own, for this office alone: the shop has its say in the session, and what it never asks for was made
    anew for each request."""

    def process_request(self, request: HttpRequest) -> None:
        """Nothing yet: whose the address is, is known once it is resolved."""

    def process_view(self, request: HttpRequest, *_: Any) -> None:
        if request.resolver_match and request.resolver_match.app_name == "admin":
            super().process_request(request)


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    list_display = ("picture", "name", "category", "size", "price", "price_cents", "stock", "hidden", "popularity")
    list_display_links = ("name",)
    list_editable = ("price_cents", "stock", "hidden")
    list_filter = ("hidden", "department")
    list_per_page = 50
    search_fields = ("=product_id", "name", "brand", "type", "category")
    readonly_fields = ("picture", "popularity", "created")
    show_full_result_count = False  # counting a catalogue twice on every page helps nobody
    ordering = ("-popularity", "product_id")
    actions = ("hide", "show")

    def get_readonly_fields(self, request: HttpRequest, obj: Product | None = None) -> tuple[str, ...]:
        """An id is what carts, orders and histories hold, so it never changes."""
        return (*self.readonly_fields, "product_id") if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Product | None = None) -> bool:
        return False  # histories and receipts name it: hide it instead

    @admin.display(description="")
    def picture(self, product: Product) -> SafeString:
        if not product.product_id:
            return SafeString("")
        return format_html('<img src="{}" alt="" width="56" height="56">', reverse("art", args=[product.product_id]))

    @admin.display(ordering="price_cents")
    def price(self, product: Product) -> str:
        return f"{product.price_cents / 100:,.2f}"

    @admin.action(description="Hide selected products from the shop")
    def hide(self, request: HttpRequest, queryset: Any) -> None:
        self.message_user(request, f"{queryset.update(hidden=True)} hidden.")

    @admin.action(description="Show selected products in the shop")
    def show(self, request: HttpRequest, queryset: Any) -> None:
        self.message_user(request, f"{queryset.update(hidden=False)} shown.")


class ReadOnly(ReadOnlyBase):
    """To be looked at: what happened is not edited."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class OrderLineInline(ReadOnly, TabularInline):
    model = OrderLine
    fields = ("product", "name", "quantity", "price_cents")


@admin.register(Order)
class OrderAdmin(ReadOnly, ModelAdmin):
    list_display = ("number", "placed", "name", "total", "status")
    list_filter = ("status", "placed")
    search_fields = ("=number", "name", "email")
    date_hierarchy = "placed"
    exclude = ("key",)
    inlines = (OrderLineInline,)

    @admin.display(ordering="total_cents")
    def total(self, order: Order) -> str:
        return f"{order.total_cents / 100:,.2f}"


@admin.register(Account)
class AccountAdmin(ReadOnly, ModelAdmin):
    list_display = ("__str__", "user", "is_demo", "takes_part")
    list_filter = ("is_demo",)
    search_fields = ("=user__username", "household")
    list_select_related = ("user",)
    show_full_result_count = False

    @admin.display(boolean=True, description="has a history")
    def takes_part(self, account: Account) -> bool:
        return account.shopper_id is not None
