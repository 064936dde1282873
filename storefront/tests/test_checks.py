"""``check --deploy`` stops what may run at home and must not run in public."""

import pytest
from django.core.checks import run_checks
from pytest_django.fixtures import Settings


@pytest.fixture
def deployed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings as they should be in production."""
    settings.DEMO = False
    settings.SECRET_KEY = "a-secret-of-more-than-fifty-characters-that-nobody-else-knows"
    settings.ALLOWED_HOSTS = ["shop.example.com"]
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.postgresql")
    settings.RECOMMENDER = settings.RECOMMENDER | {"REDIS_URL": "rediss://redis.example.com:6379/0"}
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    return settings


def found() -> dict[str, str]:
    """Our own messages by id, with their cures."""
    messages = run_checks(include_deployment_checks=True)
    return {str(message.id): str(message.hint) for message in messages if str(message.id).startswith("storefront.")}


def test_a_proper_deployment_has_nothing_to_hear(deployed: Settings) -> None:
    assert found() == {}


def test_the_demo_is_refused_and_its_cure_named(deployed: Settings) -> None:
    deployed.DEMO = True
    assert found() == {"storefront.E002": "Unset DEMO in the environment."}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SECRET_KEY", "demo-only-everybody-can-read-this-key", "storefront.E003"),
        ("ALLOWED_HOSTS", ["*"], "storefront.E004"),
    ],
)
def test_a_setting_that_is_not_for_production_is_named(
    deployed: Settings, name: str, value: object, expected: str
) -> None:
    setattr(deployed, name, value)
    assert set(found()) == {expected}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CATALOGUE", "storefront.catalogue.nothing", "storefront.E001"),
        ("KNOWN", "storefront.catalogue.nothing", "storefront.E001"),
        ("EXPORT_URL", "/tmp/export", "storefront.E006"),
        ("REDIS_URL", "redis://127.0.0.1:6379/0", "storefront.W002"),
    ],
)
def test_a_recommender_setting_that_leads_nowhere_is_named(
    deployed: Settings, name: str, value: str, expected: str
) -> None:
    deployed.RECOMMENDER = deployed.RECOMMENDER | {name: value}
    assert set(found()) == {expected}


def test_a_database_in_a_file_is_named(deployed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(deployed.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")
    assert set(found()) == {"storefront.W001"}


def test_a_missing_region_is_named(deployed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    assert set(found()) == {"storefront.E005"}


def test_the_local_stand_in_for_aws_is_named(deployed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://localhost:5000")
    assert set(found()) == {"storefront.W003"}
