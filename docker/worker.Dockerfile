# The worker: `attrgan` with everything its verbs need. The image of the pods, and of the MLflow server in the compose file.
#
#   docker build -f docker/worker.Dockerfile -t attrgan-worker .
#   docker build -f docker/worker.Dockerfile -t attrgan-worker:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .
#   docker build -f docker/worker.Dockerfile --target libraries -t attrgan-libraries .       what airflow.Dockerfile builds on
#
# - User 50000, group 0, home /home/attrgan: caches of matplotlib, Hugging Face and MLflow. A read-only root file system
#   needs no more than an emptyDir there and one at /tmp. Any other user id of group 0 works too (OpenShift).
# - Everything is wheels, pinned by constraints.txt. pip stays in a stage of its own and is only mounted, so the image has
#   neither pip nor a compiler. Layers in the order in which they change: system, torch, other libraries, code.
# - PyTorch's CPU build unless TORCH_INDEX names an index with another. The CUDA build brings its own CUDA libraries and
#   the node the driver, so the base stays the same.
# - A private index: its pip.conf and certificates go in as build secrets (`--secret id=pip.conf,src=…`, `id=ca.pem`, which
#   lies at /run/secrets/ca.pem) and leave no trace.
# - No HEALTHCHECK: a verb ends with an exit code; servers made from this image are checked where they are started.

ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS system
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt \
 && python3 -m venv --without-pip /opt/attrgan \
 && useradd --uid 50000 --gid 0 --create-home attrgan \
 && chmod g=u /home/attrgan
ENV PATH=/opt/attrgan/bin:$PATH HOME=/home/attrgan PYTHONUNBUFFERED=1

FROM system AS pip
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt \
 && python3 -m venv /opt/pip
COPY --chmod=755 docker/install.sh /opt/pip/
COPY constraints.txt /opt/pip/

FROM pip AS requirements
COPY docker/requirements.py pyproject.toml /
ARG EXTRAS=postgres
RUN python3 /requirements.py ${EXTRAS} </pyproject.toml >/requirements.txt

FROM pip AS code
COPY README.md LICENSE pyproject.toml /src/
COPY attrgan /src/attrgan
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem /opt/pip/install.sh --no-deps --prefix /code /src

FROM system AS libraries
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN --mount=type=bind,from=pip,source=/opt/pip,target=/opt/pip --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    /opt/pip/install.sh --no-deps --index-url "${TORCH_INDEX}" torch && /opt/pip/install.sh torch
RUN --mount=type=bind,from=pip,source=/opt/pip,target=/opt/pip --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,from=requirements,source=/requirements.txt,target=/tmp/requirements.txt \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    /opt/pip/install.sh --requirement /tmp/requirements.txt

FROM libraries AS worker
COPY --from=code /code /opt/attrgan
USER 50000:0
WORKDIR /home/attrgan
ENTRYPOINT ["attrgan"]
CMD ["--help"]

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="attrgan worker" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
