# Airflow for the DAGs: the worker, and on top of it Airflow, its providers, `dags/` and `plugins/`.
#
#   docker build -f docker/airflow.Dockerfile -t attrgan-airflow .          after docker/worker.Dockerfile
#
# Every Airflow component runs from it. With `runner: local` the scheduler's tasks are verbs in this image, so it holds all
# of the worker; with `runner: kubernetes` torch lies idle in it, but the layers are the worker's own, stored and pulled once.
# User, home, build secrets and pinning: as in docker/worker.Dockerfile. Health: a command of each component, in the
# compose file and in Kubernetes (the image cannot know which component it is).

ARG BASE_IMAGE=attrgan-worker:latest

FROM ${BASE_IMAGE} AS pip
USER 0
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /opt/pip
COPY --chmod=755 docker/install.sh /opt/pip/
COPY docker/requirements.py constraints.txt pyproject.toml /opt/pip/
RUN python3 /opt/pip/requirements.py airflow postgres </opt/pip/pyproject.toml >/opt/pip/requirements.txt

FROM ${BASE_IMAGE} AS airflow
USER 0
RUN --mount=type=bind,from=pip,source=/opt/pip,target=/opt/pip --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    /opt/pip/install.sh --requirement /opt/pip/requirements.txt \
 && install --directory --owner 50000 --group 0 --mode 775 /opt/airflow /opt/airflow/logs
COPY plugins /opt/airflow/plugins
COPY dags /opt/airflow/dags
ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/airflow/plugins \
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False
USER 50000:0
WORKDIR /opt/airflow
ENTRYPOINT ["airflow"]
CMD ["version"]

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="attrgan Airflow" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
