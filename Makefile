# Conveniences; nothing here is needed: `go run ./cmd/scomconnector demo` and `go test ./...` do the rest.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -s -w -X main.version=$(VERSION)

.PHONY: build demo test ci bench lint release

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o scomconnector ./cmd/scomconnector

# Archives for operators and their SHA256SUMS, in dist/; the same bytes wherever it is built.
release:
	go run ./deploy/release -version $(VERSION) -out dist

demo:
	go run ./cmd/scomconnector demo

test:
	go test ./...

ci:
	.ci/run

# The figures of test/README.md.
bench:
	go test -run '^$$' -bench . -benchtime 3x ./test/
	go test -run '^$$' -bench . ./poller/... ./publisher/... ./cluster/...

lint:
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run
