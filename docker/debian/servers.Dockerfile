# Stand-ins for the images that docker-compose.yaml pulls, from Debian and PyPI packages alone: for a machine that reaches
# no image registry. Only to try the compose file out (docs/runbooks/compose.md); where images can be pulled, pull them.
#
#   docker build -f docker/debian/servers.Dockerfile --target postgres|s3|statsd -t attrgan/debian-postgres .
#
# moto's server keeps objects in memory and takes any password: it honours If-None-Match, which Delta tables need.

ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS postgres
RUN apt-get update \
 && apt-get install --yes --no-install-recommends postgresql \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt \
 && install --directory --owner postgres --group postgres --mode 700 /var/lib/postgresql/data
COPY --chmod=755 docker/debian/postgres.sh /usr/local/bin/
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
USER postgres
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres.sh"]

FROM ${BASE_IMAGE} AS s3
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3-venv wget \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt \
 && python3 -m venv /opt/attrgan \
 && ln -s /opt/attrgan /opt/pip \
 && useradd --create-home moto
COPY --chmod=755 docker/install.sh /opt/pip/
COPY constraints.txt /opt/pip/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    /opt/pip/install.sh 'moto[server]'
USER moto
ENTRYPOINT ["/opt/attrgan/bin/moto_server", "--host=0.0.0.0"]

FROM ${BASE_IMAGE} AS statsd
RUN apt-get update \
 && apt-get install --yes --no-install-recommends collectd-core libmicrohttpd12 libprotobuf-c1 wget \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt \
 && useradd --create-home collectd
COPY docker/debian/collectd.conf /etc/collectd/collectd.conf
USER collectd
ENTRYPOINT ["collectd", "-f"]
