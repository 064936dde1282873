"""What ``manage.py check --deploy`` refuses, beyond Django's own list, each with its cure."""

import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils.module_loading import import_string

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@register(Tags.compatibility)
def catalogue_is_there(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    hints = {
        "CATALOGUE": "Name a callable that yields ml.contract.ProductRow, such as storefront.catalogue.product_rows.",
        "KNOWN": "Name a callable that returns which of some product ids the shop has, such as "
        "storefront.catalogue.known.",
    }
    found: list[CheckMessage] = []
    for setting, hint in hints.items():
        named = settings.RECOMMENDER[setting]
        try:
            import_string(named)
        except ImportError as error:
            found.append(Error(f'RECOMMENDER["{setting}"] is {named!r}: {error}', hint=hint, id="storefront.E001"))
    return found


@register(Tags.security, deploy=True)
def not_a_demo(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.DEMO:
        what = "DEMO=1 lets anybody sign in as a demo shopper without a password."
        found.append(Error(what, hint="Unset DEMO in the environment.", id="storefront.E002"))
    if settings.SECRET_KEY.startswith("demo-only"):
        hint = "Set SECRET_KEY, for instance to secrets.token_urlsafe(50), the same in every process."
        found.append(Error("SECRET_KEY is the demo's, which everybody can read.", hint=hint, id="storefront.E003"))
    if "*" in settings.ALLOWED_HOSTS:
        hint = "Name the shop's own hosts in ALLOWED_HOSTS."
        found.append(Error("ALLOWED_HOSTS admits every Host header.", hint=hint, id="storefront.E004"))
    return found


@register(Tags.database, deploy=True)
def services_are_shared(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Web servers and workers on different machines must mean the same database and the same Redis."""
    found: list[CheckMessage] = []
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        hint = "Set DATABASE_URL, such as postgres://user:password@host/shop."
        found.append(Warning("The database is a file of this machine.", hint=hint, id="storefront.W001"))
    if urlsplit(settings.RECOMMENDER["REDIS_URL"]).hostname in LOOPBACK:
        hint = "Set REDIS_URL, such as rediss://:password@host:6379/0."
        found.append(Warning("Redis is looked for on this machine.", hint=hint, id="storefront.W002"))
    return found


@register(Tags.compatibility, deploy=True)
def aws_is_aws(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not (os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")):
        hint = "Set AWS_DEFAULT_REGION to the region of the endpoint, such as eu-west-1."
        found.append(
            Error("boto3 has no region, so no recommendation is ever asked for.", hint=hint, id="storefront.E005")
        )
    for name, address in sorted(os.environ.items()):
        if name.startswith("AWS_ENDPOINT_URL") and urlsplit(address).hostname in LOOPBACK:
            hint = f"Unset {name}, or name the model's own host if it is deployed on premises."
            what = f"{name} points to this machine, as for the local stand-in."
            found.append(Warning(what, hint=hint, id="storefront.W003"))
    if not settings.RECOMMENDER["EXPORT_URL"].startswith("s3://"):
        hint = "Set EXPORT_URL to a prefix in S3, such as s3://bucket/export."
        found.append(Error("EXPORT_URL is no S3 address, so the model is never fed.", hint=hint, id="storefront.E006"))
    return found
