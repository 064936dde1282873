"""Every on-prem setting, read from the environment; what is missing fails here and says how to cure it.

boto3 reads its own variables (AWS_DEFAULT_REGION, AWS_ENDPOINT_URL…) and Celery's knobs are in celery.py.
"""

import os
import sys
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
TESTING = "pytest" in sys.modules

env = environ.Env()


def required(name: str, cure: str) -> str:
    """The variable's value; without one, an error that names the variable and says what to do."""
    value: str = env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(f"The environment variable {name} is not set: {cure}")
    return value


def flag(name: str) -> bool:
    """1/true/yes/on or 0/false/no/off or unset; anything else is refused, for `DEBUG=flase` must not mean True."""
    text: str = env.str(name, default="0").strip().lower()
    if text not in {"", "0", "false", "no", "off", "1", "true", "yes", "on"}:
        raise ImproperlyConfigured(f"The environment variable {name} is {text!r}: set it to 1 or 0")
    return text in {"1", "true", "yes", "on"}


DEBUG = flag("DEBUG")
# Shoppers who sign in without a password, and the other doors that only a demonstration may open.
DEMO = flag("DEMO")
LOCAL = DEBUG or DEMO  # served over plain HTTP on one's own machine

if LOCAL:
    SECRET_KEY = env.str("SECRET_KEY", default="demo-only-everybody-can-read-this-key-in-the-source-code")
else:
    SECRET_KEY = required(
        "SECRET_KEY",
        "give every process of the shop the same secret, for instance from "
        "`python -c 'import secrets; print(secrets.token_urlsafe(50))'`; only DEMO=1 or DEBUG=1 go without",
    )
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if LOCAL else [])
if not ALLOWED_HOSTS:
    raise ImproperlyConfigured(
        "The environment variable ALLOWED_HOSTS is not set: name the shop's host, for instance "
        "ALLOWED_HOSTS=shop.example.com"
    )
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "django_htmx",
    "recommender",
    "storefront",
]

MIDDLEWARE = [
    "storefront.timing.ServerTiming",  # first, so that it times all the others
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",  # before sessions: a static file needs none
    "storefront.policy.content_security",  # early, so that also answers of the middleware below carry the policy
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "storefront.admin.Messages",  # nobody else asks for them
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "storefront.secrecy.not_stored",
    "storefront.outage.Outage",  # last: it answers for views that cannot
]

ROOT_URLCONF = "storefront.urls"
WSGI_APPLICATION = "storefront.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,  # and Django caches the compiled templates
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def database() -> dict[str, Any]:
    """PostgreSQL if DATABASE_URL says so, else an SQLite file that several processes may write."""
    (BASE_DIR / ".local").mkdir(exist_ok=True)
    settings: dict[str, Any] = env.db_url("DATABASE_URL", default=f"sqlite:///{BASE_DIR}/.local/shop.sqlite3")
    options = settings.setdefault("OPTIONS", {})
    if settings["ENGINE"] == "django.db.backends.sqlite3":
        # WAL: readers never wait for the writer. IMMEDIATE: a transaction that will write takes its turn at its
        # start and waits up to `timeout`, instead of failing in the middle with "database is locked".
        options |= {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536",
        }
        # A file, because a worker in another process must see the same tables; named after the run that owns it.
        # Opening the file and its pragmas cost more than a page's queries. Threads end with their process.
        settings["CONN_MAX_AGE"] = None
        settings["TEST"] = {"NAME": str(BASE_DIR / ".local" / f"test-{os.getpid()}.sqlite3")}
    else:
        # Opening a connection costs more than most of our queries. The pool is per process and must cover its threads.
        # Its own way after an outage is to wait twice as long after each attempt, up to minutes: here it gives up after
        # a second, and whoever asks next tries at once.
        options["pool"] = {"min_size": 1, "max_size": 16, "timeout": 2, "reconnect_timeout": 1}
    return settings


DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL: str = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")
# How many proxies of ours a request passes, each appending to X-Forwarded-For: rate limits count by the address that
# the outermost saw. Too many, and a visitor may choose what is counted; too few, and all visitors are one.
NUM_PROXIES: int = env.int("NUM_PROXIES", default=0 if LOCAL else 1)

# Signed cookies: reading a page costs no query and no Redis command. They are readable by their owner, so they
# hold ids alone.
SESSION_ENGINE = "storefront.session"  # Django's own for signed cookies, which checks each of them once
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = not LOCAL
CSRF_FAILURE_VIEW = "storefront.errors.csrf_failure"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = not LOCAL

# Whoever bears it may read /metrics. Without one, only a demonstration answers, and only to its own machine.
METRICS_TOKEN: str = env.str("METRICS_TOKEN", default="")

X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if not LOCAL:
    # Granian speaks plain HTTP to the proxy that ends TLS; the proxy must set this header itself on every request.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True

# Nothing from elsewhere and nothing inline: an injected script has nowhere to run.
SECURE_CSP = {
    "default-src": ["'self'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],  # Django's admin draws its icons from data: URLs
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# Where mail leaves, for instance smtp+tls://name:password@mail.example.com:587; without it, mail is printed in the log.
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
DEFAULT_FROM_EMAIL = env.str("MAIL_FROM", default="Aisle <shop@localhost>")

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
# Tests read static files where they lie, for no collectstatic has run.
STATIC_ROOT = None if TESTING else BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = DEBUG or TESTING
WHITENOISE_KEEP_ONLY_HASHED_FILES = True  # pages name no others, and compressing them took as long again
STATICFILES_STORAGE_CLASS = (
    "django.contrib.staticfiles.storage.StaticFilesStorage"
    if DEBUG or TESTING
    else "whitenoise.storage.CompressedManifestStaticFilesStorage"  # names carry a hash, so browsers keep them for ever
)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": STATICFILES_STORAGE_CLASS},
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Aisle",
    "DESCRIPTION": "Events in, recommendations out. The shopper comes from the session, never from the body.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
}

RECOMMENDER: dict[str, Any] = {
    "REDIS_URL": REDIS_URL,
    "ENDPOINT": env.str("RECOMMENDER_ENDPOINT", default="aisle"),
    "EXPORT_URL": env.str("EXPORT_URL", default="s3://aisle/export"),
    # A callable that yields ml.contract.ProductRow: recommender needs the catalogue and must not know the shop.
    "CATALOGUE": "storefront.catalogue.product_rows",
    # A callable that takes product ids and returns those that the shop has.
    "KNOWN": "storefront.catalogue.known",
    # Endpoint variant → weight of an experiment in progress; empty: the endpoint's own traffic split decides.
    "EXPERIMENT": {},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname:<7} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "propagate": True},  # Django's own handlers would print every line twice
        "botocore": {"level": "WARNING"},
        # Each says a line of each task, and there are a hundred in a second.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}
