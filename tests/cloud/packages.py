# SPDX-License-Identifier: Apache-2.0

"""Installs what the cloud runs on: Debian packages and OpenStack itself."""

from __future__ import annotations

import collections.abc
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig

from tests.cloud import process
from tests.cloud.process import CloudError
from tests.cloud.settings import Settings

_HERE = pathlib.Path(__file__).parent

#: Debian packages and a file that shows that each one is there.
_DEBIAN = {
    'mariadb-server': 'usr/sbin/mariadbd',
    'rabbitmq-server': 'usr/lib/rabbitmq/bin/rabbitmq-server',
    'galera-4': 'usr/lib/galera/libgalera_smm.so',
    'libfaketime': 'usr/lib/*/faketime/libfaketimeMT.so.1',
}

#: nova loads compute drivers from nova.virt only.
_DRIVERS = {
    'nova_driver.py': 'nova/virt/practice.py',
    'cinder_driver.py': 'cinder/volume/drivers/practice.py',
    'cinder_backup.py': 'cinder/backup/practice.py',
}


def faketime() -> str:
    """Return the path of the preloaded library that shifts clocks."""
    found = sorted(pathlib.Path('/').glob(_DEBIAN['libfaketime']))
    if not found:
        raise CloudError(
            'libfaketime is missing: install the Debian package libfaketime'
        )
    return str(found[0])


def install_debian(
    log: pathlib.Path, wanted: collections.abc.Mapping[str, str] = _DEBIAN
) -> list[str]:
    """Install the missing Debian packages; return their names.

    :param wanted: package -> a file that shows that it is there
    :raises CloudError: when apt fails, or when we may not install
    """
    root = pathlib.Path('/')
    missing = [
        name for name, pattern in wanted.items() if not any(root.glob(pattern))
    ]
    if not missing:
        return []
    if os.geteuid() != 0:
        raise CloudError(
            f'only root can install Debian packages: {" ".join(missing)}'
        )
    apt = ['apt-get', '-o', 'DPkg::Lock::Timeout=300', '-qq']
    with _NoDaemons():
        _run([*apt, 'update'], log)
        _run(
            [*apt, 'install', '-y', '--no-install-recommends', *missing],
            log,
            {'DEBIAN_FRONTEND': 'noninteractive'},
        )
    return missing


class _NoDaemons:
    """Keeps packages from starting their daemons while they are installed.

    See invoke-rc.d(8): policy-rc.d that exits 101 forbids the action.
    """

    path = pathlib.Path('/usr/sbin/policy-rc.d')

    def __enter__(self) -> None:
        self.ours = not self.path.exists()
        if self.ours:
            self.path.write_text('#!/bin/sh\nexit 101\n')
            self.path.chmod(0o755)

    def __exit__(self, *exc: object) -> None:
        if self.ours:
            self.path.unlink()


def _wanted() -> str:
    """Return a digest of what the services' environment is to contain."""
    return hashlib.sha256(
        (_HERE / 'constraints.txt').read_bytes()
        + (_HERE / 'requirements.txt').read_bytes()
    ).hexdigest()


def openstack_is_complete(config: Settings) -> bool:
    """Return whether the services' environment is there and up to date."""
    complete = config.venv / 'complete'
    return complete.exists() and complete.read_text() == _wanted()


def install_openstack(config: Settings) -> None:
    """Make the services' virtual environment where it isn't complete.

    :raises CloudError: when no fitting Python is found or uv fails
    """
    if openstack_is_complete(config):
        _copy_drivers(config)
        return
    log = config.logs / 'install.log'
    uv = _uv()
    shutil.rmtree(config.venv, ignore_errors=True)
    _run([uv, 'venv', '--python', _python(), str(config.venv)], log)
    _run(
        [
            *(uv, 'pip', 'install', '--compile-bytecode'),
            *('--python', str(config.venv / 'bin' / 'python')),
            *('--constraints', str(_HERE / 'constraints.txt')),
            *('--requirements', str(_HERE / 'requirements.txt')),
        ],
        log,
        # the machine's certificates, as apt and pip of the distro use them
        {'UV_HTTP_TIMEOUT': '180', 'UV_SYSTEM_CERTS': '1'},
    )
    _copy_drivers(config)
    (config.venv / 'complete').write_text(_wanted())


def site_packages(config: Settings) -> pathlib.Path:
    """Return the site-packages directory of the services."""
    return next(config.venv.glob('lib/python3*/site-packages'))


def _copy_drivers(config: Settings) -> None:
    for source, target in _DRIVERS.items():
        text = (_HERE / 'drivers' / source).read_text()
        path = site_packages(config) / target
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _uv() -> str:
    beside = pathlib.Path(sysconfig.get_path('scripts')) / 'uv'
    found = str(beside) if beside.exists() else shutil.which('uv')
    if not found:
        raise CloudError(
            'uv is missing: install it beside this Python (pip install uv)'
        )
    return found


def _python() -> str:
    """Return the Python for the services: a real one, 3.11 to 3.13."""
    if (3, 11) <= sys.version_info < (3, 14):
        return os.path.realpath(sys.executable)
    for minor in (13, 12, 11):
        found = shutil.which(f'python3.{minor}')
        if found:
            return found
    raise CloudError('Python 3.11, 3.12 or 3.13 is missing')


def _run(
    argv: collections.abc.Sequence[str],
    log: pathlib.Path,
    environment: dict[str, str] | None = None,
) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'ab') as output:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=process.clean_environment(environment or {}),
        )
    if done.returncode != 0:
        tail = '\n'.join(log.read_text(errors='replace').splitlines()[-15:])
        shown = re.sub(r'//[^/@\s]+@', '//***@', tail)
        raise CloudError(f'{" ".join(argv)} failed:\n{shown}')
