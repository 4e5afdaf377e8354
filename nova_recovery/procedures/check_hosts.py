# SPDX-License-Identifier: Apache-2.0

"""``host check``: what hosts show that will go wrong at the next outage.

The guide's tips for the hosts of volumes and guests are here as findings, and
what a power loss leaves behind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
import dataclasses
import time
from typing import Any, TYPE_CHECKING

from nova_recovery import program
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Assessment, Columns, Finding
from nova_recovery.procedures import check_storage, reached
from nova_recovery.procedures.check_storage import FULL, NEARLY
from nova_recovery.procedures.iscsi.show import LOGGED_IN
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.uid import facts as uid_facts
from nova_recovery.procedures.uid import show as uid_show
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

#: Seconds that two clocks may be apart.
APART = 1.0
#: For all images that are checked at once.
_IMAGES = 1800
_EXT = frozenset({'ext2', 'ext3', 'ext4'})
#: They stop at an error of their disk, rather than go on writing.
_STOPS = ('errors=remount-ro', 'errors=panic')
#: What they know of ``errors=``; xfs and btrfs have no such option, and no
#: file system is mounted with one that it does not know.
_ERRORS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(_EXT, ('errors=continue', *_STOPS)),
    **dict.fromkeys(('xfs', 'btrfs'), ()),
}
#: What systemd takes for a network mount by its type (systemd.mount(5)).
_KNOWN_REMOTE = frozenset({'nfs', 'nfs4', 'cifs', 'ceph', 'glusterfs', 'gfs2'})

_COLUMNS: Columns = (
    *findings.OF_HOST,
    ('What', lambda one: one.label),
    ('Seen', lambda one: one.cause),
    ('To do', lambda one: one.fix or one.expected),
)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What hosts say.

    :ivar between: our clock before they were asked, and after
    :ivar silent: hosts that could not even be named, lines
    :ivar images: of the one host, see the agent's ``images``
    """

    hosts: tuple[Reached, ...]
    between: tuple[float, float]
    silent: tuple[str, ...] = ()
    images: tuple[Mapping[str, Any], ...] = ()


def assess(
    cloud: Cloud,
    names: Collection[str],
    images: Sequence[str] = (),
    running: bool = False,
) -> Assessment:
    """Ask hosts, all of the cells where none is named.

    :param images: disks of guests to be checked, on the one host that is
        named
    :param running: also those that a process has open
    :raises ChangeFailed: the images could not be checked
    """
    silent: tuple[str, ...] = ()
    if not names:
        names, silent = reached.hosts_of(cloud)
    begun = time.time()
    hosts = reached.read(cloud, names, ('check', {}))
    between = begun, time.time()
    known = [host.name for host in hosts if not host.problem]
    checked: Sequence[Mapping[str, Any]] = ()
    if images and known:
        words = {'path': list(images), 'running': running}
        (name,) = known
        answered = cloud.fleet.run(name, 'images', words, _IMAGES)
        checked = answered.need()['images']
    found = Facts(tuple(hosts), between, silent, tuple(checked))
    return judge(found, differences(cloud, known))


def differences(cloud: Cloud, names: Sequence[str]) -> list[Finding]:
    """How the accounts of hosts that answer differ from each other."""
    if len(names) < 2:
        return []
    accounts = uid_show.judge(uid_facts.read(cloud, names))
    return [one for one in accounts.findings if one.severity != findings.GOOD]


def judge(found: Facts, more: Sequence[Finding] = ()) -> Assessment:
    """All that is wrong with each host, or that nothing is.

    :param more: of the same hosts
    """
    made: list[Finding] = []
    for host in found.hosts:
        own = [*_of_host(host, found.between)]
        own += [_of_accounts(one) for one in more if one.host == host.name]
        own += [check_storage.image(host, row) for row in found.images]
        made += own or [
            reached.finding(host, 'HOST-GOOD', findings.GOOD, 'as it should')
        ]
    made.sort(key=lambda one: findings.SEVERITIES.index(one.severity))
    result = Assessment(found, tuple(made), _COLUMNS, silent=found.silent)
    told = findings.counted(
        {k: n for k, n in result.counts.items() if k != findings.GOOD}
    )
    hosts = wording.count(len(found.hosts), 'host')
    line = f'{hosts}: {told or "nothing is wrong"}.'
    return dataclasses.replace(result, summary=(line,))


def _of_accounts(one: Finding) -> Finding:
    """A finding of ``host uid show`` with what is to be done."""
    return dataclasses.replace(
        one, label='accounts', fix=program.call(f'host uid show {one.host}')
    )


def _of_host(host: Reached, between: tuple[float, float]) -> Iterator[Finding]:
    if host.problem:
        yield reached.unknown(host)
        return
    (said,) = host.said
    for row in said['fstab']:
        yield from _fstab(host, row, said)
    for row in said['mounts']:
        yield from _mount(host, row, said['fstab'])
    yield from _sessions(host, said['sessions'])
    yield from _maps(host, said['maps'])
    yield from check_storage.lvm(host, said['lvm'])
    yield from check_storage.ceph(host, said['ceph'])
    for row in said['disks']:
        yield _forgotten(host, row)
    yield from _clock(host, said, between)


def _fstab(
    host: Reached, row: Mapping[str, Any], said: Mapping[str, Any]
) -> Iterator[Finding]:
    """The guide's tips on fstab."""
    label = f'/etc/fstab:{row["line"]} {row["target"]}'
    options = set(row['options'])
    ext = row['type'] in _EXT
    given = [one for one in row['options'] if one.startswith('errors=')]
    for option in given:
        if option in _ERRORS.get(row['type'], given):
            continue
        yield reached.finding(
            host,
            'FSTAB-WRONG',
            findings.DANGER,
            f'{option} is no option of {row["type"]}: it is not mounted',
            label,
            'write errors=remount-ro' if ext else f'take {option} out',
        )
    away = bool(row['way']) or row['remote']
    if away and row['target'] in ('/home', '/root'):
        yield reached.finding(
            host,
            'HOME-ON-SAN',
            findings.NOTE,
            'while its storage is away nobody logs in with a key below it',
            label,
            'keep an authorized_keys in the directory beneath, too',
        )
    if 'noauto' in options:
        return
    if row['target'] not in said['targets'] and row['target'] != 'none':
        yield reached.finding(
            host,
            'MOUNT-MISSING',
            findings.DANGER,
            'it is to be mounted, and is not',
            label,
            f'mount {row["target"]}',
        )
    # without _netdev it counts as local, and the emergency shell is the end
    # of a boot without local file systems (systemd.special(7))
    wants: set[str] = set()
    if row['way']:
        wants = {'_netdev', 'nofail'}
    elif row['remote'] and row['type'] not in _KNOWN_REMOTE:
        wants = {'_netdev'}
    if wants - options:
        lacks = ','.join(sorted(wants - options))
        yield reached.finding(
            host,
            'FSTAB-SAN',
            findings.STALE,
            f'its disk comes over {row["way"] or row["type"]}: a boot without '
            f'the storage waits for it, or stops in the emergency shell',
            label,
            f'add {lacks}',
        )
    mounted = [m for m in said['mounts'] if m['target'] == row['target']]
    errors = mounted[0]['errors'] if mounted else ''
    if ext and row['way'] and not {*options, f'errors={errors}'} & {*_STOPS}:
        yield reached.finding(
            host,
            'FSTAB-ERRORS',
            findings.STALE,
            'it goes on writing after an error of its disk',
            label,
            f'write errors=remount-ro in place of {given[-1]}'
            if given
            else 'add errors=remount-ro',
        )


def _mount(
    host: Reached, row: Mapping[str, Any], fstab: Sequence[Mapping[str, Any]]
) -> Iterator[Finding]:
    label = row['target']
    if not row['answers']:
        yield reached.finding(
            host,
            'MOUNT-SILENT',
            findings.DANGER,
            f'{row["source"]} ({row["type"]}) does not answer; whoever '
            'looks at it hangs',
            label,
            'bring its server back; umount -l is the last way out',
        )
        return
    lines = [one for one in fstab if one['target'] == row['target']]
    if row['read_only'] and not any('ro' in one['options'] for one in lines):
        yield reached.finding(
            host,
            'MOUNT-READ-ONLY',
            findings.DANGER if lines or label == '/' else findings.NOTE,
            f'{row["source"]} is read-only'
            + (', and should not be' if lines else ''),
            label,
            'find out what its disk said (dmesg); then unmount, fsck, mount'
            if lines
            else '',
        )
        # full or not, nobody writes to it
        return
    for what, total, free in (
        ('space', row['bytes'], row['free']),
        ('inodes', row['files'], row['free_files']),
    ):
        if total and (total - free) / total >= NEARLY:
            used = (total - free) / total
            yield reached.finding(
                host,
                'FS-FULL',
                findings.DANGER if used >= FULL else findings.STALE,
                f'{used:.0%} of its {what} are in use',
                label,
                'make room: guests whose disks can not grow are paused',
            )


def _sessions(
    host: Reached, sessions: Sequence[Mapping[str, Any]]
) -> Iterator[Finding]:
    for one in sessions:
        blocked = [
            f'{disk["device"]} is {disk["state"]}'
            for disk in one['disks']
            if disk['state'] != 'running'
        ]
        if one['state'] != LOGGED_IN or blocked:
            yield reached.finding(
                host,
                'ISCSI-DEAD',
                findings.DANGER,
                '; '.join([f'{one["portal"]}: {one["state"]}', *blocked]),
                f'session {one["session"]}',
                fix=program.call(f'iscsi session list {host.name}'),
            )


def _maps(
    host: Reached, maps: Sequence[Mapping[str, Any]] | None
) -> Iterator[Finding]:
    if maps is None:
        yield reached.finding(
            host,
            'PATHS-UNKNOWN',
            findings.UNKNOWN,
            'dmsetup does not tell of its maps',
            'multipath',
        )
    for one in maps or ():
        dead = not one['good']
        if one['failed'] or dead:
            yield reached.finding(
                host,
                'MAP-DEAD' if dead else 'PATH-FAILED',
                findings.DANGER if dead else findings.STALE,
                f'{len(one["failed"])} of '
                f'{len(one["failed"]) + len(one["good"])} paths failed: '
                + ', '.join(one['failed'])
                if one['failed']
                else 'it has no path: its sessions are closed, and whoever '
                'reads it may wait for ever',
                one['name'],
                'look at the switch, the portal and multipath -ll'
                if one['failed']
                else 'if nobody needs it: multipath -f ' + one['name'],
            )


def _forgotten(host: Reached, row: Mapping[str, Any]) -> Finding:
    uid, gid = row['was']
    return reached.finding(
        host,
        'OWNER-LEFT',
        findings.STALE,
        f'it is {row["uid"]}:{row["gid"]}, and no guest runs: the power went '
        f'before libvirt gave it back to {uid}:{gid}, and its next start '
        'forgets that',
        row['path'],
        f'chown {uid}:{gid} {row["path"]}',
    )


def _clock(
    host: Reached, said: Mapping[str, Any], between: tuple[float, float]
) -> Iterator[Finding]:
    begun, ended = between
    apart = max(begun - said['time'], said['time'] - ended)
    if apart > APART:
        yield reached.finding(
            host,
            'CLOCK-APART',
            findings.STALE,
            f'at least {apart:.0f} s from the clock here: nova takes it for '
            'down, and tokens for not yet valid',
            'clock',
            'set it by NTP, before its services start',
        )
    if said['synchronized'] is False:
        yield reached.finding(
            host,
            'CLOCK-FREE',
            findings.STALE,
            'no time service keeps it (the kernel says unsynchronized)',
            'clock',
            'start chrony, ntpd or systemd-timesyncd',
        )
