# syntax=docker/dockerfile:1
# Builder and final image are of the same Debian, so that the program finds the C library it was built with.
FROM rust:1-slim-trixie AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --bin otpd && cp target/dist/otpd /usr/local/bin/otpd

FROM debian:trixie-slim
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/otpd --create-home --shell /usr/sbin/nologin otpd
COPY --from=build /usr/local/bin/otpd /usr/local/bin/otpd
# Inside a container the listeners are for its network; what is published is for the one who runs it to say.
ENV OTPD_SERVER__LISTEN=0.0.0.0:8080 \
    OTPD_SERVER__ADMIN_LISTEN=0.0.0.0:9090 \
    OTPD_LOG__FORMAT=json
USER 10001:10001
WORKDIR /var/lib/otpd
EXPOSE 8080 9090
# Asks /healthz of the admin listener: alive. What is degraded is in the words of /readyz.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["otpd", "health"]
ENTRYPOINT ["otpd"]
CMD ["--help"]
