# Stands in for the image that Emberkeep is built in: this machine's Rust, and no more of C than the real image has.
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev make \
 && rm -rf /var/lib/apt/lists/*
# The authorities that this machine trusts, which may be more than Debian's.
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY toolchain /usr/local
COPY cargo /usr/local/cargo
ENV CARGO_HOME=/usr/local/cargo
