# Two images from one file: the default, and `--target scratch` with a program that needs no library.
#
#     docker build -t siwa-proxy .
#     docker build -t siwa-proxy:scratch --target scratch .
#
# Both run as user 65532, hold no shell, write nothing to their root file system, and have the certificate authorities
# by which Apple's keys are fetched. Versions are locked; SOURCE_DATE_EPOCH and BuildKit's
# rewrite-timestamp=true fix the times of the layers.
#
# If target/pgo/siwa-proxy.profdata is there, the program is compiled with that profile, and linked in the order beside it, as it
# is for the images that are released: benches/pgo/build makes both. They must be of the same sources, compiler, FEATURES and
# CARGO_FLAGS, else they are of no use. Without them the program does the same, more slowly and in more memory.

ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS toolchain
WORKDIR /src
# Not the base image's, so that it may be any with cargo and a C compiler on its path.
ENV CARGO_HOME=/cargo CARGO_TERM_COLOR=never
# A program that does nothing, for the dependencies: they change seldom, and are a layer of their own.
COPY .cargo .cargo
# The brackets make a pattern, which may match nothing.
COPY Cargo.toml Cargo.lock build.rs targe[t]/pgo/siwa-proxy.profdata targe[t]/pgo/siwa-proxy.order ./
RUN mkdir -p src tests && echo 'fn main() {}' > src/main.rs && touch src/lib.rs tests/behaviour.rs
# As benches/pgo/build has it. With --target, flags are for the program alone: build scripts and macros need none.
RUN if [ -e siwa-proxy.profdata ]; then use="-Cprofile-use=$PWD/siwa-proxy.profdata"; fi \
    && quiet="-Clink-arg=-Wl,--no-warn-symbol-ordering" \
    && if [ -e siwa-proxy.order ] && echo 'fn main() {}' | rustc $quiet -o /tmp/with-lld - 2>/dev/null; then \
        use="${use:-} -Clink-arg=-Wl,--symbol-ordering-file=$PWD/siwa-proxy.order $quiet"; fi \
    && echo "with a profile? ${use:-no}" && echo "${RUSTFLAGS:-} ${use:-}" > /flags

FROM toolchain AS build
# As for cargo: features beside the default ones, separated by commas, and flags such as --no-default-features.
ARG FEATURES="otlp"
ARG CARGO_FLAGS=""
RUN RUSTFLAGS="$(cat /flags)" \
        cargo build --release --locked --features "$FEATURES" $CARGO_FLAGS --target host-tuple
COPY config config
COPY examples/web examples/web
COPY src src
# What --version says, as there is no git in here.
ARG SIWA_COMMIT=""
RUN touch src/main.rs src/lib.rs \
    && RUSTFLAGS="$(cat /flags)" SIWA_COMMIT="$SIWA_COMMIT" \
        cargo build --release --locked --features "$FEATURES" $CARGO_FLAGS --target host-tuple \
    && install -D target/*/release/siwa-proxy /out/usr/local/bin/siwa-proxy

FROM toolchain AS build-static
ARG FEATURES="otlp"
ARG CARGO_FLAGS=""
RUN echo "-C target-feature=+crt-static $(cat /flags)" > /flags
RUN RUSTFLAGS="$(cat /flags)" \
        cargo build --release --locked --features "$FEATURES" $CARGO_FLAGS --target host-tuple
COPY config config
COPY examples/web examples/web
COPY src src
ARG SIWA_COMMIT=""
RUN touch src/main.rs src/lib.rs \
    && RUSTFLAGS="$(cat /flags)" SIWA_COMMIT="$SIWA_COMMIT" \
        cargo build --release --locked --features "$FEATURES" $CARGO_FLAGS --target host-tuple \
    && install -D target/*/release/siwa-proxy /out/usr/local/bin/siwa-proxy \
    && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt \
    && printf 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' > /out/etc/passwd \
    && printf 'nonroot:x:65532:\n' > /out/etc/group

FROM scratch AS scratch
COPY --from=build-static /out /
USER 65532:65532
EXPOSE 4180 4181
ENTRYPOINT ["/usr/local/bin/siwa-proxy"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/usr/local/bin/siwa-proxy", "healthcheck"]
ARG SIWA_COMMIT=""
ARG VERSION=""
LABEL org.opencontainers.image.title="siwa-proxy" \
      org.opencontainers.image.description="The auth proxy for Sign in with Apple" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$SIWA_COMMIT"

FROM ${RUNTIME_IMAGE} AS distroless
COPY --from=build /out /
USER 65532:65532
EXPOSE 4180 4181
ENTRYPOINT ["/usr/local/bin/siwa-proxy"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/usr/local/bin/siwa-proxy", "healthcheck"]
ARG SIWA_COMMIT=""
ARG VERSION=""
LABEL org.opencontainers.image.title="siwa-proxy" \
      org.opencontainers.image.description="The auth proxy for Sign in with Apple" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$SIWA_COMMIT"
