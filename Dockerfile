# The whole system from the lock. `docker build -t braing3n .`, then as a BIDS-App:
#   docker run --rm -v /data/bids:/data:ro -v /data/out:/out braing3n /data /out participant
FROM python:3.11-slim
# Debian removes a version when it has the next, so that a pinned one cannot be installed for long.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/braing3n
COPY . .
RUN make setup
ENTRYPOINT ["/opt/braing3n/.venv/bin/braing3n", "bids-app"]
