#!/usr/bin/env bash
# Installs the clients of the matrix, unmodified: Debian's packages by apt-get, Go programs at the versions below,
# built once and kept in ${ROADSTEAD_CACHE:-$HOME/.cache/roadstead}/clients. Run again, it only checks.
#
#   install.sh            all of it
#   install.sh debian     only the packages
#   install.sh go         only the Go programs
set -euo pipefail

readonly cache="${ROADSTEAD_CACHE:-$HOME/.cache/roadstead}/clients"

# package, and the program of it that the matrix runs
readonly debian=(
    "docker.io          /usr/bin/docker"
    "docker.io          /usr/sbin/dockerd"
    "containerd         /usr/bin/ctr"
    "containerd         /usr/bin/containerd"
    "skopeo             /usr/bin/skopeo"
    "podman             /usr/bin/podman"
    "buildah            /usr/bin/buildah"
    "busybox-static     /bin/busybox"
)

# program, version, package; the quick builds first
readonly go=(
    "crane   v0.22.1  github.com/google/go-containerregistry/cmd/crane"
    "oras    v1.3.6   oras.land/oras/cmd/oras"
    "regctl  v0.11.7  github.com/regclient/regclient/cmd/regctl"
    "helm    v4.3.1   helm.sh/helm/v4/cmd/helm"
    "cosign  v3.1.3   github.com/sigstore/cosign/v3/cmd/cosign"
)

say() { printf 'clients: %s\n' "$*"; }
die() { printf 'clients: %s\n' "$*" >&2; exit 1; }

install_debian() {
    local row package program missing=()
    for row in "${debian[@]}"; do
        read -r package program <<<"$row"
        [[ -x $program || " ${missing[*]} " == *" $package "* ]] || missing+=("$package")
    done
    if ((${#missing[@]})); then
        say "apt-get install ${missing[*]}"
        ((EUID == 0)) || die "run as root, or install these packages: ${missing[*]}"
        local apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
        # RUNLEVEL=1 keeps the packages from starting daemons of their own: the matrix starts what it needs.
        export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
        "${apt[@]}" update
        "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" >/dev/null
    fi
    for row in "${debian[@]}"; do
        read -r package program <<<"$row"
        [[ -x $program ]] || die "$package is installed but has no $program"
        say "$program: $(dpkg-query --show --showformat '${Version}' "$package")"
    done
}

build() {
    local program=$1 version=$2 package=$3
    local home="$cache/$program-$version"
    if [[ ! -x $home/$program ]]; then
        command -v go >/dev/null || die "$program needs Go to be built: install Go 1.26 or newer"
        say "go install $package@$version (minutes, once)"
        local partial="$home.partial.$$"
        mkdir -p "$partial"
        GOBIN=$partial CGO_ENABLED=0 nice go install -trimpath -ldflags='-s -w' "$package@$version"
        # Renamed whole: a build that was stopped half-way never passes for a client.
        rm -rf "$home"
        mv "$partial" "$home"
    fi
    mkdir -p "$cache/bin"
    ln -sfn "../$program-$version/$program" "$cache/bin/$program"
    say "$cache/bin/$program: $version"
}

install_go() {
    local row program version package
    for row in "${go[@]}"; do
        read -r program version package <<<"$row"
        build "$program" "$version" "$package"
    done
}

case "${1:-all}" in
    all) install_debian; install_go ;;
    debian) install_debian ;;
    go) install_go ;;
    *) die "usage: install.sh [debian|go]" ;;
esac
