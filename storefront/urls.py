from django.urls import path

from storefront import views

urlpatterns = [
    path("healthz", views.healthz, name="healthz"),
]
