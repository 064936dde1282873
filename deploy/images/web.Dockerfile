# syntax=docker/dockerfile:1
# The web image: web server, Celery workers and beat are one image and three commands (deploy/compose.yaml has them).
#   docker build -f deploy/images/web.Dockerfile -t aisle-web .
# Pin the base by digest in your own registry (`docker buildx imagetools inspect` prints it): none could be resolved here.
FROM python:3.11.14-slim-bookworm AS packages
WORKDIR /opt/build
COPY requirements/web.txt requirements/web.txt
# Wheels alone: nothing is compiled, so no compiler is needed. Hashes: what was locked is what is installed.
RUN python -m venv --without-pip /opt/venv && python -m pip --python /opt/venv/bin/python install --no-cache-dir \
      --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/web.txt

FROM python:3.11.14-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GRANIAN_HOST=0.0.0.0 \
    GRANIAN_PORT=8000 \
    GRANIAN_RESPAWN_FAILED_WORKERS=true \
    GRANIAN_WORKERS_KILL_TIMEOUT=25
RUN /usr/local/bin/python -m pip uninstall --yes pip setuptools wheel && useradd --system --uid 10001 --no-create-home aisle
WORKDIR /opt/aisle
COPY --from=packages /opt/venv /opt/venv
COPY manage.py ./
# Of the cloud half, the wire alone.
COPY ml/__init__.py ml/contract.py ml/
COPY recommender/ recommender/
COPY storefront/ storefront/
COPY deploy/images/healthy.py healthy.py
# Names with hashes, compressed once. The two values are for this line alone and stay in no layer's environment.
RUN SECRET_KEY=for-the-build-alone ALLOWED_HOSTS=localhost python manage.py collectstatic --no-input
# The files stay root's: the shop writes to its database, Redis and /tmp, never to its image.
USER 10001
EXPOSE 8000
HEALTHCHECK --start-period=30s --interval=10s --timeout=3s \
  CMD ["python", "healthy.py", "http://127.0.0.1:$GRANIAN_PORT/healthz"]
CMD ["python", "-m", "storefront"]
