from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from recommender.models import Event, Shopper

# Django's ModelAdmin takes no type at run time, its stubs want one.
if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class ReadOnly(ModelAdmin):
    """To look at. Events are facts, and withdrawing consent is recommender.privacy's, which also purges Redis."""

    show_full_result_count = False  # counting a million rows for a footnote

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Shopper)
class ShopperAdmin(ReadOnly):
    list_display = ("id", "consents", "generation", "created")
    list_filter = ("consents",)


@admin.register(Event)
class EventAdmin(ReadOnly):
    list_display = ("id", "shopper_id", "kind", "product_id", "time", "arm", "model_version")
    list_filter = ("kind",)
