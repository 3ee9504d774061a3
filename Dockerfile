# Spool as an image: docker build -t logspool .
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY spool spool
COPY shipper shipper
COPY cli cli
RUN python3 -m venv /opt/spool \
    && /opt/spool/bin/pip install --quiet --no-cache-dir . \
    && /opt/spool/bin/pip uninstall --quiet --yes pip setuptools

FROM ${BASE_IMAGE}
COPY --from=build /opt/spool /opt/spool
RUN ln -s /opt/spool/bin/spool /usr/local/bin/spool
VOLUME /var/lib/spool
ENTRYPOINT ["spool"]
CMD ["run", "cloudwatch://auto"]
