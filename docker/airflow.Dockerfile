# Airflow for the DAGs: the libraries of the worker, Airflow with its providers, attrgan, `plugins/` and `dags/`.
#
#   docker build -f docker/worker.Dockerfile --target libraries -t attrgan-libraries .
#   docker build -f docker/airflow.Dockerfile -t attrgan-airflow .
#
# Every Airflow component runs from it. With `runner: local` the scheduler's tasks are verbs in this image, so it holds all
# that the worker holds; with `runner: kubernetes` torch lies idle in it, in layers that are the worker's own: stored and
# pulled once. The code comes last in both, so that a change of it changes 3 MB.
# User, home, build secrets and pinning: as in docker/worker.Dockerfile. Health: a question to each component, in the
# compose file and in Kubernetes (the image cannot know which component it is).

ARG BASE_IMAGE=attrgan-libraries:latest

FROM ${BASE_IMAGE} AS pip
USER 0
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt \
 && python3 -m venv /opt/pip
COPY --chmod=755 docker/install.sh /opt/pip/
COPY constraints.txt /opt/pip/

FROM pip AS requirements
COPY docker/requirements.py pyproject.toml /
ARG EXTRAS="airflow postgres"
RUN python3 /requirements.py ${EXTRAS} </pyproject.toml >/requirements.txt

FROM pip AS code
COPY README.md LICENSE pyproject.toml /src/
COPY attrgan /src/attrgan
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem /opt/pip/install.sh --no-deps --prefix /code /src

FROM ${BASE_IMAGE} AS airflow
USER 0
RUN --mount=type=bind,from=pip,source=/opt/pip,target=/opt/pip --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,from=requirements,source=/requirements.txt,target=/tmp/requirements.txt \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    /opt/pip/install.sh --requirement /tmp/requirements.txt \
 && install --directory --owner 50000 --group 0 --mode 775 /opt/airflow /opt/airflow/logs
COPY --from=code /code /opt/attrgan
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
