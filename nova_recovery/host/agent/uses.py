# SPDX-License-Identifier: Apache-2.0

"""Who uses a disk: mounts, swap, maps, loops, and programs that hold it.

A disk is used with what lies on it: its partitions and all that device
mapper makes of them. Every process is looked at, in whichever container it
is, and every mount that any of them sees.
"""

import os
import re
import stat
from typing import Dict, Iterator, List, Optional, Sequence, Set, Tuple

from nova_recovery.host.agent import files, mounts

#: As qemu is started by libvirt, whose UUID nova makes that of the server.
_UUID = re.compile(
    rb'-uuid\0([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\0', re.IGNORECASE
)

Use = Dict[str, Optional[str]]


def of(disks: Sequence[str], top: str = '') -> Dict[str, List[Use]]:
    """Who uses each of these disks; this process counts for nobody.

    :param disks: kernel's names, such as ``sdb``
    :param top: before /sys and /proc
    :returns: disk -> rows of ``kind`` (mount, swap, map, loop or open),
        ``what`` (for people) and ``server`` (UUID of a guest, else None)
    """
    owner = {}  # type: Dict[str, str]
    found = {disk: [] for disk in disks}  # type: Dict[str, List[Use]]
    for disk in disks:
        for name, made in family(disk, top):
            owner[name] = disk
            if made:
                # md has no other name
                _add(found[disk], 'map', mapped(name, top) or name)
    numbers = {
        number: name for name in owner for number in _numbers(name, top)
    }
    for kind, name, what, server in _held(top, numbers, owner):
        _add(found[owner[name]], kind, what, server)
    return found


def told(disk: str, uses: Sequence[Use]) -> str:
    """Who uses it, one line."""
    return '{}: {}'.format(
        disk, ', '.join('{kind} {what}'.format(**use) for use in uses)
    )


def word(top: str, name: str, *inside: str) -> Optional[str]:
    """What sysfs says of a block device; None where it says nothing."""
    return value(os.path.join(top + '/sys/class/block', name, *inside))


def value(path: str) -> Optional[str]:
    """The only line of a file of sysfs; None where it can't be read.

    A session that isn't logged in answers ENOTCONN, what has just gone
    ENODEV.
    """
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None


def mapped(name: str, top: str = '') -> Optional[str]:
    """What device mapper calls it; None where it is none of its."""
    return word(top, name, 'dm', 'name')


def _add(
    uses: List[Use], kind: str, what: str, server: Optional[str] = None
) -> None:
    use = {'kind': kind, 'what': what, 'server': server}
    if use not in uses:
        uses.append(use)


def family(disk: str, top: str = '') -> List[Tuple[str, bool]]:
    """The disk, its partitions, and (true) what is made of any of them."""
    found = []  # type: List[Tuple[str, bool]]
    ahead = [(disk, False)]
    while ahead:
        one = ahead.pop()
        if one in found:
            continue
        found.append(one)
        place = '{}/sys/class/block/{}'.format(top, one[0])
        for inside in _names(place):
            if os.path.exists(os.path.join(place, inside, 'partition')):
                ahead.append((inside, one[1]))
        ahead += [(n, True) for n in _names(os.path.join(place, 'holders'))]
    return found


def _numbers(name: str, top: str) -> Iterator[str]:
    """Of the block device, and of those by which SCSI itself is talked.

    A guest whose disk is a host device of SCSI has ``/dev/sg3`` open, not
    ``/dev/sdb``.
    """
    number = word(top, name, 'dev')
    if number:
        yield number
    for kind in ('scsi_generic', 'bsg'):
        place = '{}/sys/class/block/{}/device/{}'.format(top, name, kind)
        for one in _names(place):
            number = value(os.path.join(place, one, 'dev'))
            if number:
                yield 'character {}'.format(number)


def _names(directory: str) -> List[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _held(
    top: str, numbers: Dict[str, str], owner: Dict[str, str]
) -> Iterator[Tuple[str, str, str, Optional[str]]]:
    """(kind, name of the block device, what, server) of each use."""
    for line in files.read(top + '/proc/swaps')[1:]:
        name = _name(line.split()[0])
        if name in owner:
            yield 'swap', name, line.split()[0], None
    for loop in _names(top + '/sys/class/block'):
        behind = word(top, loop, 'loop', 'backing_file')
        if behind and _name(behind) in owner:
            yield 'loop', _name(behind), loop, None
    seen = set()  # type: Set[str]
    for pid in filter(str.isdigit, _names(top + '/proc')):
        place = '{}/proc/{}'.format(top, pid)
        for name, target in _mounted(top, place, seen, numbers, owner):
            yield 'mount', name, target, None
        if int(pid) == os.getpid():
            continue
        for name in sorted(_opened(place, numbers)):
            program, server = who(place)
            yield 'open', name, '{} ({})'.format(program, pid), server


def _mounted(
    top: str,
    place: str,
    seen: Set[str],
    numbers: Dict[str, str],
    owner: Dict[str, str],
) -> Iterator[Tuple[str, str]]:
    try:
        space = os.readlink(place + '/ns/mnt')
        if space in seen:
            return
        seen.add(space)
        found = mounts.read(place + '/mountinfo')
    except OSError:
        # it has ended meanwhile
        return
    for mount in found:
        # btrfs has a number of its own: its source tells
        name = numbers.get(mount.device)
        if name is None and mount.source.startswith(b'/dev/'):
            name = _name(os.fsdecode(mount.source))
        for one in _of_file_system(mount, name, top):
            if one in owner:
                yield one, os.fsdecode(mount.target)


def _of_file_system(
    mount: mounts.Mount, name: Optional[str], top: str
) -> Iterator[str]:
    """All devices of what is mounted, of which mountinfo names one."""
    if name is not None:
        yield name
    for option in mount.super_options:
        # of xfs: its journal, and its data of real time
        key, _equals, path = os.fsdecode(option).partition('=')
        if key in ('logdev', 'rtdev'):
            yield _name(path)
    if mount.type == 'btrfs':
        for uuid in _names(top + '/sys/fs/btrfs'):
            several = _names('{}/sys/fs/btrfs/{}/devices'.format(top, uuid))
            if name in several:
                yield from several


def _opened(place: str, numbers: Dict[str, str]) -> Set[str]:
    """The devices that a process holds, as block devices."""
    found = set()  # type: Set[str]
    for descriptor in _names(place + '/fd'):
        path = os.path.join(place, 'fd', descriptor)
        try:
            # not what it leads to elsewhere: a dead NFS server hangs
            if '/dev/' not in os.readlink(path):
                continue
            status = os.stat(path)
        except OSError:
            continue
        number = status.st_rdev
        text = '{}:{}'.format(os.major(number), os.minor(number))
        if stat.S_ISCHR(status.st_mode):
            text = 'character ' + text
        if text in numbers:
            found.add(numbers[text])
    return found


def who(place: str) -> Tuple[str, Optional[str]]:
    """The name of a process, and whose guest it is."""
    try:
        with open(place + '/cmdline', 'rb') as file:
            match = _UUID.search(file.read())
    except OSError:
        match = None
    name = value(place + '/comm') or '?'
    if match is None:
        return name, None
    return name, match.group(1).decode('ascii').lower()


def _name(path: str) -> str:
    """The kernel's name of what lies in /dev."""
    return os.path.basename(os.path.realpath(path))
