#!/bin/sh
# pip of its own stage, installing into the environment of the image: pinned, wheels only but for what is built from /src.
export HOME=/root PIP_CONFIG_FILE=/run/secrets/pip.conf PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
exec /opt/pip/bin/pip --python /opt/attrgan/bin/python install --constraint /opt/pip/constraints.txt "$@"
