# SPDX-License-Identifier: Apache-2.0

"""The verb ``check``: what this host shows that may go wrong one day.

It tells, and judges nothing. File systems are asked in processes that may
hang: one that does is left behind, and none is added to it.
"""

import argparse
import glob
import os
import re
import subprocess  # nosec B404
import sys
import time
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from nova_recovery.host.agent import (
    ceph,
    files,
    iscsi,
    kernel,
    layout,
    lvm,
    mounts,
    programs,
    virsh,
)
from nova_recovery.host.agent.lines import AgentError
from nova_recovery.host.agent.owners import attributes

HELP = 'what may go wrong on this host: mounts, fstab, paths, clock, disks'

#: Seconds for a file system to say how full it is.
_PATIENCE = 3
_FSTAB = '/etc/fstab'
#: Unless the host stands on one.
_LEFT_OUT = ('devtmpfs', 'iso9660', 'overlay', 'squashfs', 'tmpfs')
#: How a disk hangs on this host, by the path of its device in sysfs.
_WAYS = (
    ('iscsi', re.compile(r'/session[0-9]+/')),
    ('fc', re.compile(r'/rport-[0-9]')),
    ('nvmeof', re.compile(r'/nvme-(fabrics|subsystem)/')),
)
_ASK = (
    'import os,sys;s=os.statvfs(sys.argv[1]);'
    'print(s.f_frsize*s.f_blocks,s.f_frsize*s.f_bfree,s.f_frsize*s.f_bavail,'
    's.f_files,s.f_ffree)'
)
_BY = {'UUID': 'by-uuid', 'LABEL': 'by-label'}
_BY.update({'PARTUUID': 'by-partuuid', 'PARTLABEL': 'by-partlabel'})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    found = layout.detect(parsed.set)
    table = mounted()
    try:
        domains = virsh.domains(found)  # type: Any
    except AgentError:
        domains = None
    found_maps = maps()
    targets = {os.fsdecode(mount.target) for mount in mounts.read()}
    say(
        'result',
        mounts=table,
        targets=sorted(targets),
        fstab=[led(row, targets) for row in fstab()],
        maps=found_maps,
        sessions=iscsi.sessions(),
        lvm=lvm.look(dead(table, found_maps or [])),
        ceph=ceph.look(found, domains),
        disks=forgotten(found['instances'], table),
        time=time.time(),
        synchronized=kernel.synchronized(),
    )
    return 0


def mounted() -> List[Dict[str, Any]]:
    """The file systems of this host, each once.

    :returns: rows of ``target``, ``source``, ``type``, ``read_only``,
        ``errors`` (what ext4 does at an error), ``remote`` (by its type),
        ``way`` (iscsi, fc, nvmeof or ''), ``answers``, and of one that does
        ``bytes``, ``free`` (to all but root), ``files`` and ``free_files``
    """
    table = mounts.Table(mounts.read())
    rows = {}  # type: Dict[str, Dict[str, Any]]
    for mount in table.below(b'/') + [table.mount_of(b'/')]:
        if mount is None or mount.type in mounts.PSEUDO:
            continue
        if mount.type in _LEFT_OUT and mount.target != b'/':
            continue
        if mount.device in rows and mount.root != b'/':
            # the same once more, such as a bind mount
            continue
        rows[mount.device] = _row(mount)
    hung = _hung()
    asked = [
        (row, None if row['target'] in hung else _asked(row['target']))
        for row in rows.values()
    ]
    deadline = time.monotonic() + _PATIENCE
    for row, process in asked:
        if process is None:
            row['answers'] = False
        else:
            row.update(_answer(process, deadline))
    return sorted(rows.values(), key=lambda row: str(row['target']))


def _row(mount: mounts.Mount) -> Dict[str, Any]:
    source = os.fsdecode(mount.source)
    return {
        'target': os.fsdecode(mount.target),
        'source': source,
        'type': mount.type,
        'read_only': bool({b'ro', b'emergency_ro'} & mount.super_options),
        'errors': _errors(mount.device),
        'remote': mount.shared,
        'way': way(source),
    }


def _errors(device: str) -> str:
    """Such as ``remount-ro``, also where it stands in the superblock."""
    name = os.path.basename(os.path.realpath('/sys/dev/block/' + device))
    for line in files.read('/proc/fs/ext4/{}/options'.format(name)):
        if line.startswith('errors='):
            return line.partition('=')[2]
    return ''


def _hung() -> Set[str]:
    """What earlier looks still wait for; another one may look just now."""
    found = set()
    latest = time.clock_gettime(7) - _PATIENCE  # CLOCK_BOOTTIME
    for path in glob.glob('/proc/[0-9]*/cmdline'):
        try:
            with open(path, 'rb') as file:
                words = file.read().split(b'\0')
            if words[1:3] != [b'-c', _ASK.encode()]:
                continue
            began = kernel.process(int(path.split('/')[2]))[2]
        except OSError:
            continue
        if began <= latest:
            found.add(os.fsdecode(words[3]))
    return found


def _asked(path: str) -> 'subprocess.Popen[str]':
    return subprocess.Popen(  # nosec B603
        [sys.executable, '-c', _ASK, path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        universal_newlines=True,
    )


def _answer(
    process: 'subprocess.Popen[str]', deadline: float
) -> Dict[str, Any]:
    """What it says; it may never end, not even by force.

    On a busy host it takes longer than that to be started: what still works
    does not wait for a file system.
    """
    at_most = deadline + 10 * _PATIENCE
    while process.poll() is None:
        now = time.monotonic()
        if _works(process.pid):
            deadline = max(deadline, now + _PATIENCE)
        if now > min(deadline, at_most):
            process.kill()
            return {'answers': False}
        time.sleep(0.02)
    words = (process.stdout.read() if process.stdout else '').split()
    if len(words) != 5:
        return {'answers': False}
    total, free, available, inodes, unused = map(int, words)
    return {
        'answers': True,
        # as df(1): what only root may use counts for nobody
        'bytes': total - free + available,
        'free': available,
        'files': inodes,
        'free_files': unused,
    }


def _works(pid: int) -> bool:
    """Whether it has, or wants, a processor: see proc_pid_stat(5)."""
    try:
        with open('/proc/{}/stat'.format(pid)) as file:
            return file.read().rpartition(')')[2].split()[0] == 'R'
    except (OSError, IndexError):
        return False


def fstab(path: str = _FSTAB) -> Iterator[Dict[str, Any]]:
    """Its lines that mount something.

    :returns: rows of ``line`` (its number), ``source``, ``target``, ``type``,
        ``options``, ``remote`` and ``way`` as of a mount
    """
    for number, text in enumerate(files.read(path), 1):
        words = text.split()
        if len(words) < 3 or words[0].startswith('#') or words[2] == 'swap':
            continue
        target = os.path.normpath(_unescaped(words[1]))
        yield {
            'line': number,
            'source': words[0],
            'target': target,
            'type': words[2],
            'options': words[3].split(',') if len(words) > 3 else [],
            'remote': mounts.remote(words[2]),
            'way': way(device(words[0])),
        }


def led(row: Dict[str, Any], targets: Set[str]) -> Dict[str, Any]:
    """A line of fstab with the target that the kernel knows it by.

    It may lead through a link, which mount(8) follows. It is looked at by a
    program that is given up: below a dead NFS server it would hang.

    :param targets: of all mounts
    """
    if row['target'] in targets or not row['target'].startswith('/'):
        return row
    words = ['realpath', '--canonicalize-missing', '--', row['target']]
    try:
        real = programs.run(words, _PATIENCE)[1].rstrip('\n')
    except AgentError:
        return row
    return dict(row, target=real) if real in targets else row


def _unescaped(text: str) -> str:
    return re.sub(
        r'\\([0-7]{3})', lambda match: chr(int(match.group(1), 8)), text
    )


def device(source: str) -> str:
    """The path of what a line of fstab names; '' of what is no disk here."""
    key, equals, value = source.partition('=')
    if equals and key in _BY:
        return '/dev/disk/{}/{}'.format(_BY[key], value.strip('"'))
    return source if source.startswith('/dev/') else ''


def way(path: str) -> str:
    """How a block device hangs on this host; '' where it is its own.

    One that is not there now is told by its name: by-path has it.
    """
    if not path.startswith('/dev/'):
        return ''
    if '/by-path/' in path and '-iscsi-' in path:
        return 'iscsi'
    if '/by-path/' in path and '-fc-' in path:
        return 'fc'
    for name in _below(os.path.basename(os.path.realpath(path))):
        place = os.path.realpath('/sys/class/block/' + name)
        for kind, pattern in _WAYS:
            if pattern.search(place):
                return kind
    return ''


def _below(name: str) -> Iterator[str]:
    """What a block device is made of, itself first."""
    yield name
    for slave in glob.glob('/sys/class/block/{}/slaves/*'.format(name)):
        for one in _below(os.path.basename(slave)):
            yield one


def maps() -> Optional[List[Dict[str, Any]]]:
    """The multipath maps and how many of their paths are good.

    :returns: rows of ``name``, ``good`` and ``failed`` (paths, such as
        ``sdb``); None where that can't be known
    """
    if not glob.glob('/sys/class/block/dm-*'):
        return []
    try:
        code, text, _complained = programs.run(
            ['dmsetup', 'status', '--target', 'multipath']
        )
    except AgentError:
        return None
    if code:
        return None
    return [_map(line) for line in text.splitlines() if ' multipath ' in line]


def _map(line: str) -> Dict[str, Any]:
    """``mpatha: 0 2097152 multipath 2 0 0 0 1 1 A 0 1 2 8:16 A 0 0 1``."""
    name, _colon, rest = line.partition(': ')
    found = {'A': [], 'F': []}  # type: Dict[str, List[str]]
    for number, state in re.findall(r'([0-9]+:[0-9]+) ([AF])\b', rest):
        path = os.path.realpath('/sys/dev/block/' + number)
        found[state].append(os.path.basename(path))
    return {'name': name, 'good': found['A'], 'failed': found['F']}


def dead(
    table: Sequence[Dict[str, Any]], found_maps: Sequence[Dict[str, Any]]
) -> str:
    """A map without a good path, or a mount of a disk that is silent."""
    names = [row['name'] for row in found_maps if not row['good']]
    names += [
        row['target'] for row in table if not (row['answers'] or row['remote'])
    ]
    return str(names[0]) if names else ''


def forgotten(
    instances: str, table: Sequence[Dict[str, Any]]
) -> List[Dict[str, Any]]:
    """Disks of guests that libvirt took and nobody gave back.

    What libvirt remembers of the owner goes at the guest's end; where it is
    there and no guest runs, the power went first. libvirt's next start of
    the guest forgets who it was.

    :returns: rows of ``path``, ``uid``, ``gid`` (as they are now) and
        ``was`` (``[uid, gid]``)
    """
    hung = [str(row['target']) for row in table if not row['answers']]
    if any((instances + '/').startswith(path + '/') for path in hung):
        return []
    rows = []
    held = None  # type: Optional[Set[Tuple[int, int]]]
    for path in sorted(glob.glob(os.path.join(instances, '*', 'disk*'))):
        try:
            status = os.lstat(path)
            value = os.getxattr(
                path, attributes.REMEMBERED, follow_symlinks=False
            )
        except OSError:
            continue
        was = [n for _k, n in attributes.ids(attributes.REMEMBERED, value)]
        if len(was) != 2 or was == [status.st_uid, status.st_gid]:
            continue
        if held is None:
            held = set(opened(instances))
        if (status.st_dev, status.st_ino) not in held:
            rows.append(
                {
                    'path': path,
                    'uid': status.st_uid,
                    'gid': status.st_gid,
                    'was': was,
                }
            )
    return rows


def opened(directory: str) -> Iterator[Tuple[int, int]]:
    """The files below a directory that any process has open."""
    name = '/' + os.path.basename(directory) + '/'
    for path in glob.glob('/proc/[0-9]*/fd/*'):
        try:
            if name in os.readlink(path):
                status = os.stat(path)
                yield status.st_dev, status.st_ino
        except OSError:
            continue
