# syntax=docker/dockerfile:1
# The model image. SageMaker starts it as `docker run IMAGE train` and `docker run IMAGE serve`.
#   docker build --platform linux/amd64 -f deploy/images/model.Dockerfile -t aisle-model .
# Pin the base by digest in your own registry (`docker buildx imagetools inspect` prints it): none could be resolved here.
FROM python:3.11.14-slim-bookworm AS packages
WORKDIR /opt/build
COPY requirements/model.txt requirements/model.txt
# Wheels alone: nothing is compiled, so no compiler is needed. Hashes: what was locked is what is installed.
RUN python -m venv --without-pip /opt/venv && python -m pip --python /opt/venv/bin/python install --no-cache-dir \
      --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/model.txt

FROM python:3.11.14-slim-bookworm
# SageMaker may choose the port; without it, containers that share an instance could not.
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
# No USER: SageMaker expects containers to run as root, which owns what it mounts under /opt/ml.
# The processor is named, and not this machine's, because numba's cache is good for the processor alone that it was
# written for. x86-64-v3 (AVX2) is what every ml.c5, m5, c6i and later instance of Intel and AMD has.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/opt/aisle/.numba \
    NUMBA_CPU_NAME=x86-64-v3 \
    NUMBA_CPU_FEATURES="" \
    SAGEMAKER_BIND_TO_PORT=8080
RUN /usr/local/bin/python -m pip uninstall --yes pip setuptools wheel
WORKDIR /opt/aisle
COPY --from=packages /opt/venv /opt/venv
COPY ml/ ml/
COPY deploy/images/healthy.py healthy.py
# Fills numba's cache with the scoring kernel, and fails the build if a server of this image gives no answer.
RUN python -m ml bench --quick
EXPOSE 8080
# For engines that look at it; SageMaker asks /ping itself. A container that trains has no server and ends by itself.
HEALTHCHECK --start-period=60s --interval=10s --timeout=3s \
  CMD ["python", "healthy.py", "http://127.0.0.1:$SAGEMAKER_BIND_TO_PORT/ping"]
# Exec form, so that SIGTERM arrives; `train` or `serve` is appended.
ENTRYPOINT ["python", "-m", "ml"]
CMD ["serve"]
