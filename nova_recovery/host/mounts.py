# SPDX-License-Identifier: Apache-2.0

"""What is mounted, and what /etc/fstab says."""

from __future__ import annotations

import dataclasses
import re

from nova_recovery.host.commands import HostError

MOUNTINFO = '/proc/self/mountinfo'
FSTAB = '/etc/fstab'

#: File systems of the kernel, which say nothing about storage.
_VIRTUAL = frozenset(
    'autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs'
    ' efivarfs fusectl hugetlbfs mqueue nsfs overlay proc pstore ramfs'
    ' rpc_pipefs securityfs selinuxfs squashfs sysfs tmpfs tracefs'.split()
)

_ESCAPED = re.compile(r'\\([0-7]{3})')


@dataclasses.dataclass(frozen=True)
class Mount:
    """One mounted file system; its options may hold keys."""

    target: str
    device: str
    fstype: str
    options: str


def mounted(path: str = MOUNTINFO) -> list[Mount]:
    """The file systems on disks and in the network.

    :raises HostError: that can't be read
    """
    found = []
    for line in _lines(path):
        # proc(5): … root target options [fields] - type source options
        before, _dash, after = line.partition(' - ')
        left, right = before.split(), after.split()
        if len(left) < 6 or len(right) < 2 or right[0] in _VIRTUAL:
            continue
        options = [left[5], *right[2:3]]
        found.append(
            Mount(
                target=_unescaped(left[4]),
                device=_unescaped(right[1]),
                fstype=right[0],
                options=_unescaped(','.join(options)),
            )
        )
    return found


def fstab(path: str = FSTAB) -> list[tuple[int, str]]:
    """The lines that mean something, with their numbers; [] without file.

    :raises HostError: it can't be read
    """
    found = []
    for number, line in enumerate(_lines(path, missing=True), 1):
        text = ' '.join(line.split())
        if text and not text.startswith('#'):
            found.append((number, text))
    return found


def _lines(path: str, missing: bool = False) -> list[str]:
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read().splitlines()
    except FileNotFoundError:
        if missing:
            return []
        raise HostError(f'{path}: no such file') from None
    except OSError as error:
        raise HostError(f'{path}: {error.strerror}') from error


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
