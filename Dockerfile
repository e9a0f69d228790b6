# The scheduler's image: the same program as `make build`, static and without symbols, and nothing else. Build it with `make image`. The target
# history is that of retinue-history.
ARG GO_IMAGE=docker.io/library/golang:1.26-bookworm
FROM ${GO_IMAGE} AS build
WORKDIR /src
# The modules first: they change less often than the code, so their layer is reused.
COPY go.mod go.sum ./
RUN go mod download
COPY Makefile ./
COPY hack/ hack/
COPY cmd/ cmd/
COPY pkg/ pkg/
ARG VERSION
RUN test -n "$VERSION" || { echo "give --build-arg VERSION=v1.37.1-retinue.…, as make image does" >&2; exit 1; }
RUN CGO_ENABLED=0 make build STRIP=1 VERSION="$VERSION"

FROM scratch AS scheduler
COPY --from=build /src/bin/scheduler /usr/local/bin/scheduler
USER 65532:65532
EXPOSE 10259
ENTRYPOINT ["/usr/local/bin/scheduler"]

FROM build AS build-history
RUN CGO_ENABLED=0 make bin/history STRIP=1 VERSION="$VERSION"

# A database is reached with TLS.
FROM scratch AS history
COPY --from=build-history /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build-history /src/bin/history /usr/local/bin/retinue-history
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/retinue-history"]

# Whoever names no target gets the scheduler.
FROM scheduler
