# SPDX-License-Identifier: Apache-2.0

"""Programs of this machine: Debian packages, and how they are run."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

from tests.cloud import process

#: Debian packages and the program that shows that each one is there.
_DEBIAN = {
    'ansible-core': 'ansible-playbook',
    'e2fsprogs': 'mkfs.ext4',
    'iproute2': 'ip',
    'mmdebstrap': 'mmdebstrap',
    'openssh-client': 'ssh',
    'qemu-system-x86': 'qemu-system-x86_64',
    'qemu-utils': 'qemu-img',
    'systemd-container': 'systemd-nspawn',
}
_POLICY = pathlib.Path('/usr/sbin/policy-rc.d')
_APT = ('apt-get', '-o', 'DPkg::Lock::Timeout=300', '-qq')


class BedError(Exception):
    """A bed is missing or broken, or a command in it failed."""


def install() -> list[str]:
    """Install the packages that are missing; return their names.

    No daemon of a package is started: invoke-rc.d(8) asks policy-rc.d, and
    101 forbids it.

    :raises BedError: when apt fails, or when we are not root
    """
    if os.geteuid() != 0:
        raise BedError('only root can make beds')
    missing = [
        package
        for package, name in _DEBIAN.items()
        if shutil.which(name, path='/usr/sbin:/usr/bin:/sbin:/bin') is None
    ]
    if not missing:
        return []
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text('#!/bin/sh\nexit 101\n')
        _POLICY.chmod(0o755)
    try:
        run(*_APT, 'update')
        run(*_APT, 'install', '-y', '--no-install-recommends', *missing)
    finally:
        if ours:
            _POLICY.unlink()
    return missing


def run(
    *argv: str, input: str | None = None, timeout: float | None = None
) -> str:
    """Run a program of this machine; return what it printed.

    :raises BedError: with the last words of one that failed
    """
    done = subprocess.run(
        argv,
        input=input or '',
        capture_output=True,
        text=True,
        timeout=timeout,
        env=process.clean_environment(
            {'LC_ALL': 'C', 'DEBIAN_FRONTEND': 'noninteractive'}
        ),
    )
    if done.returncode != 0:
        tail = '\n'.join((done.stdout + done.stderr).splitlines()[-15:])
        raise BedError(f'{" ".join(argv)}: {done.returncode}\n{tail}')
    return done.stdout
