# SPDX-License-Identifier: Apache-2.0

"""What guests are made of: Debian packages, unpacked and not installed.

Only what runs on this machine itself is installed, where it is missing.
"""

from __future__ import annotations

import collections.abc
import os
import pathlib
import shutil
import subprocess

from tests.cloud import process
from tests.cloud.process import CloudError

#: Debian packages and the program that shows that each one is there.
_PROGRAMS = {'qemu-system-x86': 'qemu-system-x86_64', 'openssh-client': 'ssh'}
_KERNEL = 'linux-image-cloud-amd64'
_PARTS = ('busybox-static', 'dropbear-bin')
_APT = ('apt-get', '-o', 'DPkg::Lock::Timeout=300', '-qq')


def install() -> None:
    """Install the emulator and OpenSSH's client where they are missing.

    :raises CloudError: when apt fails, or when we may not install
    """
    missing = [
        package
        for package, name in _PROGRAMS.items()
        if shutil.which(name) is None
    ]
    if not missing:
        return
    if os.geteuid() != 0:
        raise CloudError(
            f'only root can install Debian packages: {" ".join(missing)}'
        )
    _run([*_APT, 'update'])
    _run(
        [*_APT, 'install', '-y', '--no-install-recommends', *missing],
        environment={'DEBIAN_FRONTEND': 'noninteractive'},
    )


def unpack(directory: pathlib.Path) -> None:
    """Unpack the kernel, busybox and dropbear with its libraries.

    :raises CloudError: when apt can't get one of them
    """
    if os.geteuid() == 0:
        _run([*_APT, 'update'])
    packages = [_real_kernel()]
    for part in _PARTS:
        packages += _with_libraries(part)
    debs = directory / 'debs'
    debs.mkdir(parents=True, exist_ok=True)
    _run(
        ['apt-get', '-qq', 'download', *dict.fromkeys(packages)],
        directory=debs,
    )
    for deb in sorted(debs.glob('*.deb')):
        _run(['dpkg-deb', '-x', str(deb), str(directory)])
    shutil.rmtree(debs)


def _real_kernel() -> str:
    """Return the package that the name without a version stands for."""
    text = _run(['apt-cache', 'depends', '--important', _KERNEL])
    for line in text.splitlines():
        what, _colon, package = line.strip().partition(': ')
        if what == 'Depends' and package.startswith('linux-image-'):
            return package
    raise CloudError(f'apt knows no kernel behind {_KERNEL}')


def _with_libraries(package: str) -> list[str]:
    text = _run(['apt-cache', 'depends', '--recurse', '--important', package])
    names = [
        line
        for line in text.splitlines()
        if line and not line.startswith((' ', '<'))
    ]
    return [
        name
        for name in names
        if name == package or name.startswith(('lib', 'zlib'))
    ]


def _run(
    argv: collections.abc.Sequence[str],
    directory: pathlib.Path | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=directory,
        env=process.clean_environment({'LC_ALL': 'C'}, environment or {}),
    )
    if done.returncode != 0:
        tail = '\n'.join(done.stderr.splitlines()[-10:])
        raise CloudError(f'{" ".join(argv)} failed:\n{tail}')
    return done.stdout
