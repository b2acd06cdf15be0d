#!/usr/bin/env bash
# Installs the registries of other makes that distribution is tested against: Debian's docker-registry by apt-get, and
# go-containerregistry's, which is part of crane and is built by tests/clients/install.sh. Run again, it only checks.
set -euo pipefail

readonly cache="${ROADSTEAD_CACHE:-$HOME/.cache/roadstead}"

say() { printf 'distribution: %s\n' "$*"; }
die() { printf 'distribution: %s\n' "$*" >&2; exit 1; }

if [[ ! -x /usr/bin/docker-registry ]]; then
    ((EUID == 0)) || die "run as root, or install docker-registry"
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get -qq -o DPkg::Lock::Timeout=300 update
    apt-get -qq -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends docker-registry >/dev/null
fi
say "/usr/bin/docker-registry: $(dpkg-query --show --showformat '${Version}' docker-registry)"

[[ -x $cache/clients/bin/crane ]] || "$(dirname "$0")/../clients/install.sh" go
say "$cache/clients/bin/crane registry serve: $("$cache/clients/bin/crane" version)"
