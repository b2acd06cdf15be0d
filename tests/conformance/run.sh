#!/usr/bin/env bash
# Runs the OCI conformance suite against the registry: once as the released specification 1.1 has it, once with
# everything of the development specification. Builds the suite at the version below, once, and keeps it in
# ${ROADSTEAD_CACHE:-$HOME/.cache/roadstead}/conformance.
#
#   run.sh [FOLDER]                      against a server of its own; reports go to FOLDER (default: a new one)
#   OCI_ROOT_URL=http://127.0.0.1:5000 \
#   OCI_USERNAME=... OCI_PASSWORD=... run.sh     against a server that runs already
#
# OCI_REPO1 and OCI_REPO2 name the repositories; the projects that they are in must be there on a server that runs
# already (by default the project is "conformance"). OCI_DATA_SPARSE=true adds sparse manifests (see `not_run`).
# OCI_BLOBS_REDIRECTED=true is for a server that sends clients to S3 for blobs: S3 says no Docker-Content-Digest there.
# Exit status: 0 only if nothing failed and every skip is one of `allowed_skips`.
set -euo pipefail

# The module has no tagged version: one program knows all versions of the specification, chosen by OCI_VERSION.
readonly module="github.com/opencontainers/distribution-spec/conformance"
readonly version="v0.0.0-20260831232431-97274622c111"

# run (or *) | test, a shell pattern without the leading "OCI Conformance Test/" | why it may be skipped
readonly allowed_skips=(
    "stable | sha*/post cancel/blob-post-cancel | not in specification 1.1; the development run tests it"
    "* | sha*/mount anonymous/blob-mount-anonymous | a digest alone gives no access, so a mount that names no \
source falls back to an upload, as the specification allows"
)

# What the suite could test and this script leaves off: the summary names it.
readonly not_run=(
    "sparse manifests: the specification lets a registry refuse a manifest whose parts are missing, and this one does"
)

readonly cache="${ROADSTEAD_CACHE:-$HOME/.cache/roadstead}/conformance/$version"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
readonly here repo
readonly python="$repo/.venv/bin/python"
server_pid=""
data=""

say() { printf 'conformance: %s\n' "$*"; }
die() { printf 'conformance: %s\n' "$*" >&2; exit 1; }

build() {
    if [[ -x $cache/conformance ]]; then
        say "suite $version, built before"
        return
    fi
    command -v go >/dev/null || die "install Go 1.24 or newer: the suite is a Go program"
    say "building suite $version (about a minute)"
    mkdir -p "$cache"
    GOBIN="$cache" nice go install -p 1 "$module@$version"
}

free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

status_of() { curl --silent --output /dev/null --max-time 5 --write-out '%{http_code}' "$@" || true; }

# start_server: sets url, username and password, which are main's.
start_server() {
    local port answer
    [[ -x $repo/.venv/bin/roadstead ]] || die "install the project into .venv first"
    port=$(free_port)
    username=admin
    password="Conf-$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')"
    data=$(mktemp -d)
    url="http://127.0.0.1:$port"
    say "starting roadstead at $url; its log is $reports/server.log"
    # A session of its own, so that the end reaches what the server started too.
    PORT=$port DATA=$data ROADSTEAD_ADMIN_PASSWORD=$password \
        setsid "$repo/.venv/bin/roadstead" run </dev/null >"$reports/server.log" 2>&1 &
    server_pid=$!
    for _ in {1..600}; do
        if ! kill -0 "$server_pid" 2>/dev/null; then
            tail -n 20 "$reports/server.log" >&2
            die "roadstead ended at its start"
        fi
        [[ $(status_of "$url/v2/") == 401 ]] && break
        sleep 0.1
    done
    answer=$(status_of "$url/v2/")
    [[ $answer == 401 ]] || die "GET /v2/ did not answer 401 within a minute, but $answer"
    make_project
}

# make_project: the repositories of a server of our own are in it.
make_project() {
    local answer
    answer=$(status_of --user "$username:$password" --json '{"project_name": "conformance"}' \
        "$url/api/v2.0/projects")
    [[ $answer == 201 ]] || die "the project 'conformance' was not made: status $answer"
}

stop_server() {
    if [[ -n $server_pid ]]; then
        kill -TERM "$server_pid" 2>/dev/null || true
        for _ in {1..100}; do
            kill -0 "$server_pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
        server_pid=""
    fi
    if [[ -n $data ]]; then
        rm -rf "$data"
    fi
}

# run_suite NAME SETTING=VALUE...: the report is in $reports/NAME
run_suite() {
    local name=$1 result=0
    shift
    local folder="$reports/$name"
    mkdir -p "$folder"
    rm -f "$folder"/*
    say "$name run: $*"
    (
        cd "$folder"
        env OCI_REGISTRY="$host" OCI_TLS="$tls" OCI_RESULTS_DIR="$folder" \
            OCI_REPO1="${repo1:-conformance/$name-one}" OCI_REPO2="${repo2:-conformance/$name-two}" \
            OCI_USERNAME="$username" OCI_PASSWORD="$password" "$@" \
            timeout 900 nice "$cache/conformance" >output.txt 2>&1
    ) || result=$?
    printf '%s\n' "$result" >"$folder/exit-status"
}

main() {
    local url username="${OCI_USERNAME:-}" password="${OCI_PASSWORD:-}" sparse="${OCI_DATA_SPARSE:-false}"
    local redirected="${OCI_BLOBS_REDIRECTED:-false}" digests=true
    local repo1="${OCI_REPO1:-}" repo2="${OCI_REPO2:-}" given="${OCI_ROOT_URL:-}" tls="enabled" host setting
    reports=${1:-$(mktemp -d)}
    mkdir -p "$reports"
    reports=$(cd "$reports" && pwd)
    # Only the settings written below count: not what the caller's environment happens to hold.
    for setting in "${!OCI_@}"; do
        unset "$setting"
    done

    [[ $redirected == true ]] && digests=false
    build
    trap stop_server EXIT
    if [[ -n $given ]]; then
        url=${given%/}
    else
        start_server
    fi
    [[ $url == http://* ]] && tls="disabled"
    host=${url#*://}

    # As somebody runs it who certifies a registry: the defaults of 1.1, tokens kept between requests.
    run_suite stable OCI_VERSION=1.1 OCI_DATA_SPARSE="$sparse"
    # Everything there is, and a new token for each request, so that each request meets its own challenge.
    run_suite development OCI_VERSION=dev OCI_CACHE_AUTH=false OCI_DATA_SPARSE="$sparse" \
        OCI_API_BLOBS_UPLOAD_CANCEL=true OCI_API_BLOBS_MOUNT_ANONYMOUS=true OCI_API_BLOBS_DIGEST_HEADER=$digests \
        OCI_API_MANIFESTS_DIGEST_HEADER=true OCI_API_MANIFESTS_TAG_PARAM=true
    stop_server

    local left_out=()
    [[ $sparse == true ]] || left_out=("${not_run[@]}")
    [[ $digests == true ]] || left_out+=("digest headers of blobs: they come from S3, which has none")
    printf '%s\n' "${allowed_skips[@]}" >"$reports/allowed-skips.txt"
    printf '%s\n' "${left_out[@]}" >"$reports/not-run.txt"
    "$python" "$here/summary.py" "$reports" stable development
}

main "$@"
