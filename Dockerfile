# Spool as an image: docker build -t logspool .    (docs/image.md tells how it is run)
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_QUIET=1
# `--build-arg EXTRAS=web` adds the pages of `spool web`.
ARG EXTRAS=
WORKDIR /src
# What Spool stands on has a layer of its own, made anew only when pyproject.toml changes. pip stays
# in this stage and installs into /opt/spool from outside; sqlite-utils wants one there, for a command
# of its own that is not used here. Nor are botocore's descriptions of all services but those that are
# asked for logs and for credentials, which would be a third of all.
COPY pyproject.toml ./
RUN python3 -c 'import os, tomllib; \
told = tomllib.load(open("pyproject.toml", "rb")); \
project = told["project"]; \
extras = [project["optional-dependencies"][name] for name in os.environ["EXTRAS"].split()]; \
print(*sum(extras, project["dependencies"]), sep="\n", file=open("run.txt", "w")); \
print(*told["build-system"]["requires"], sep="\n", file=open("build.txt", "w"))' \
    && python3 -m venv /opt/build \
    && python3 -m venv --without-pip /opt/spool \
    && /opt/build/bin/pip install --only-binary=:all: --requirement build.txt \
    && /opt/build/bin/pip --python /opt/spool/bin/python install --only-binary=:all: \
        --no-compile --requirement run.txt \
    && /opt/build/bin/pip --python /opt/spool/bin/python uninstall --yes pip \
    && cd /opt/spool/lib/python3*/site-packages \
    && find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name logs ! -name signin ! -name sso \
        ! -name sso-oidc ! -name sts -exec rm -r {} + \
    && rm -r apsw/tests apsw/sqlite_extra_binaries
COPY README.md LICENSE ./
COPY spool spool
COPY shipper shipper
COPY cli cli
# Compiled here and never looked at again, as nothing can be written where it runs.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/build/bin/pip --python /opt/spool/bin/python install --no-deps --no-index --no-compile \
        dist/*.whl \
    && /opt/spool/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/spool/lib

FROM ${BASE_IMAGE}
# A base may have pip, and the means to get it back. Spool runs as root unless told otherwise, as
# Docker's files are root's; both root without capabilities and the user may write the volume.
RUN if python3 -m pip --version >/dev/null 2>&1; then \
        python3 -m pip uninstall --quiet --yes --root-user-action=ignore pip setuptools wheel; fi \
    && rm -rf "$(python3 -c 'import ensurepip; print(*ensurepip.__path__)')" \
        /usr/share/python-wheels \
    && groupadd --system --gid 10001 spool \
    && useradd --system --uid 10001 --gid spool --no-create-home --home-dir /var/lib/spool \
        --shell /usr/sbin/nologin spool \
    && install --directory --owner root --group spool --mode 0770 /var/lib/spool
COPY --from=build /opt/spool /opt/spool
# The official bases come without compiled modules: what the commands take of them is compiled now.
RUN ln -s /opt/spool/bin/spool /usr/local/bin/spool \
    && spool run --help >/dev/null \
    && spool status --help >/dev/null
ENV SPOOL_DB=/var/lib/spool/spool.db PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
VOLUME /var/lib/spool
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=1m --timeout=20s --start-period=1m --retries=2 \
    CMD ["spool", "status", "--max-lag", "15m"]
ENTRYPOINT ["spool"]
CMD ["run", "cloudwatch://auto"]
# Last, so that another version takes no layer with it.
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="Spool" \
    org.opencontainers.image.description="Docker container logs, kept in one SQLite file, delivered to Amazon CloudWatch Logs" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.source="https://github.com/logspool/logspool" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
