#!/usr/bin/env bash
# Make a bare Debian machine ready for tox: Debian's packages (as root, or by
# sudo) and tox itself in .tools. It can be run again at any time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# No daemon of a package is started: the practice cloud starts its own, with
# its own ports and data (invoke-rc.d(8): 101 forbids it).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" > /dev/null
    as_root chmod 755 "$policy"
fi

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq \
        -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" \
        < /dev/null
}

if [ ! -x .tools/bin/tox ]; then
    as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
    apt_install ca-certificates git python3 python3-venv
    python3 -m venv .tools
    .tools/bin/pip install -q 'bindep>=2.11' 'tox>=4.6' 'tox-uv>=1.25'
fi
missing=$(.tools/bin/bindep -b test || true)
if [ -n "$missing" ]; then
    as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
    # shellcheck disable=SC2086 # one word a package
    apt_install $missing
fi
