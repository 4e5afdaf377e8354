# SPDX-License-Identifier: Apache-2.0

"""The root tree that all beds stand on, made once from Debian packages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil

from tests.hosts import packages
from tests.hosts.packages import BedError

_HERE = pathlib.Path(__file__).parent
_SKELETON = _HERE / 'skeleton'

#: What a compute host has; libvirt and qemu bring their users and groups.
_INCLUDE = (
    'acl',
    'attr',
    'busybox',
    'dbus',
    'e2fsprogs',
    'ebtables',
    'iproute2',
    'iptables',
    'iputils-ping',
    'kmod',
    'libcap2-bin',
    'libvirt-clients',
    'libvirt-daemon-config-nwfilter',
    'libvirt-daemon-system',
    'linux-image-cloud-amd64',
    'lvm2',
    'nfs-kernel-server',
    'nftables',
    'open-iscsi',
    'openssh-server',
    'procps',
    'python3',
    'python3-libvirt',
    'qemu-system-x86',
    'qemu-utils',
    'sudo',
    'systemd',
    'systemd-sysv',
    'tgt',
    'udev',
)
_LEFT_OUT = ('man', 'doc', 'locale', 'info')
#: Settings of this machine's apt that decide whether it can fetch at all.
_FETCHING = ('http::', 'https::', 'Check-', 'Retries', 'Force')


def state_directory() -> pathlib.Path:
    """Return where the tree and the beds are kept."""
    given = os.environ.get('NOVA_RECOVERY_HOSTS')
    return pathlib.Path(given or _HERE.parent.parent / '.hosts').absolute()


def build() -> pathlib.Path:
    """Return the tree; make it first where it isn't there or is old.

    It is never written to again: a bed lays its own files over it, and a
    tree with another recipe is another directory.

    :raises BedError: the packages can't be had
    """
    directory = state_directory()
    directory.mkdir(parents=True, exist_ok=True)
    tree = directory / f'tree-{_recipe()[:12]}'
    with locked(directory / 'lock'):
        # here: apt's lists have a lock for which nobody waits
        packages.install()
        if not tree.exists():
            used = {
                json.loads(plan.read_text())['tree']
                for plan in directory.glob('beds-*/plan')
            }
            for old in directory.glob('tree-*'):
                if str(old) not in used:
                    shutil.rmtree(old)
            unfinished = directory / 'tree-unfinished'
            unpack(unfinished, _INCLUDE)
            _configure(unfinished)
            unfinished.rename(tree)
    return tree


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """Hold a lock file as long as the context lasts."""
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _recipe() -> str:
    files = [pathlib.Path(__file__), _HERE / 'configure.sh']
    files += [path for path in _SKELETON.rglob('*') if path.is_file()]
    recipe = hashlib.sha256()
    for path in sorted(files):
        recipe.update(f'{path.relative_to(_HERE)}\0'.encode())
        recipe.update(path.read_bytes())
    return recipe.hexdigest()


def _sources() -> list[str]:
    """Return this machine's own sources of Debian, a line each."""
    lines = packages.run(
        *('apt-get', 'indextargets', '--format'),
        'deb $(REPO_URI) $(RELEASE) $(COMPONENT)',
        *('Created-By: Packages', 'Origin: Debian'),
    ).splitlines()
    if not lines:
        raise BedError('apt knows no packages: apt-get update')
    return sorted(set(lines))


def _fetching() -> list[str]:
    """Return the options with which this machine's apt fetches."""
    return [
        f'--aptopt={line.rstrip(";")}'
        for line in packages.run('apt-config', 'dump').splitlines()
        if line.startswith(tuple(f'Acquire::{name}' for name in _FETCHING))
        and not line.endswith(' "";')
    ]


def unpack(tree: pathlib.Path, include: Iterable[str]) -> None:
    """Make a root tree of a small Debian and of these packages.

    :raises BedError: the packages can't be had
    """
    shutil.rmtree(tree, ignore_errors=True)
    complete = tree / 'complete'
    argv = [
        # what it mounts is gone with it, however it ends
        *('unshare', '--mount', '--pid', '--fork', '--kill-child'),
        *('mmdebstrap', '--variant=minbase', '--mode=root', '--quiet'),
        f'--include={",".join(include)}',
        '--aptopt=APT::Install-Recommends "false"',
        *_fetching(),
        *(f'--dpkgopt=path-exclude=/usr/share/{it}/*' for it in _LEFT_OUT),
        '--customize-hook=touch "$1/complete"',
        *('', str(tree), *_sources()),
    ]
    try:
        packages.run(*argv)
    except BedError:
        # it may find a /proc of its own busy at the very end (code 25)
        if not complete.exists():
            raise
    complete.unlink()


def _configure(tree: pathlib.Path) -> None:
    for source in _SKELETON.rglob('*'):
        if source.is_file():
            target = tree / source.relative_to(_SKELETON)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    script = (_HERE / 'configure.sh').read_text()
    packages.run('chroot', str(tree), '/bin/sh', '-eu', input=script)
