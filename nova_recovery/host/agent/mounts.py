# SPDX-License-Identifier: Apache-2.0

"""Which file systems below a directory are walked, and where.

All is decided by /proc/self/mountinfo (proc(5)) before anything is looked
at: a stat of a dead NFS server's directory hangs for ever.
"""

import heapq
import os
import re
from typing import Dict, Iterator, List, Optional, Sequence, Set, Tuple

MOUNTINFO = '/proc/self/mountinfo'

#: Of the kernel's own making, or (autofs) what mounts at a look.
PSEUDO = frozenset(
    'autofs binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs devpts'
    ' efivarfs fusectl hugetlbfs mqueue nsfs proc pstore resctrl rpc_pipefs'
    ' securityfs selinuxfs smackfs sysfs tracefs'.split()
)
#: Shared with other hosts, or served by a program: may hang.
_SHARED = re.compile(
    r'9p|afs|beegfs|ceph|cifs|coda|fuse(\..*)?|gfs2|glusterfs|gpfs|lustre'
    r'|ncpfs|nfs[0-9]?|ocfs2|orangefs|smb3|smbfs|virtiofs|vboxsf'
)
#: Where container engines keep the layers of images, which are not edited.
LAYERS = (
    b'/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs',
    b'/var/lib/containers/storage/overlay',
    b'/var/lib/docker/overlay2',
)

_ESCAPED = re.compile(rb'\\([0-7]{3})')


def remote(kind: str) -> bool:
    """Whether file systems of this type come from elsewhere."""
    return bool(_SHARED.fullmatch(kind))


class Mount:
    """One line of mountinfo."""

    def __init__(self, line: bytes) -> None:
        before, _dash, after = line.partition(b' - ')
        left, right = before.split(b' '), after.split(b' ')
        self.id, self.parent = int(left[0]), int(left[1])
        self.device = left[2].decode('ascii')
        #: Which directory (or file) of its file system this shows.
        self.root = _unescaped(left[3])
        self.target = _unescaped(left[4])
        self.type = right[0].decode('ascii', 'replace')
        #: What is mounted, such as ``server:/export``.
        self.source = _unescaped(right[1])
        self.options = set(left[5].split(b','))
        #: Of the file system itself.
        self.super_options = set(right[2].strip().split(b','))

    @property
    def read_only(self) -> bool:
        return b'ro' in self.options or b'ro' in self.super_options

    @property
    def shared(self) -> bool:
        return remote(self.type)


class Region:
    """A part of a file system, as it is seen below the root of a walk."""

    def __init__(self, path: bytes, place: bytes, mount: Mount) -> None:
        #: Relative to the root of the walk; b'' is the root itself.
        self.path = path
        #: The same directory, in its file system.
        self.place = place
        self.mount = mount
        #: Places that other mounts hide here.
        self.holes: List[bytes] = []

    def covers(self, other: 'Region') -> bool:
        """Whether the other's files are found in this one, too."""
        return (
            self.mount.device == other.mount.device
            and under(other.place, self.place)
            and not any(under(other.place, hole) for hole in self.holes)
        )


class Plan:
    """What is walked below a root, what isn't, and why."""

    def __init__(self) -> None:
        self.regions: List[Region] = []
        #: [(path relative to the root, type, why)]
        self.left_out: List[Tuple[bytes, str, str]] = []
        #: Directory -> names in it that nobody may look at from there.
        self.points: Dict[bytes, Set[bytes]] = {}

    def avoid(self, path: bytes) -> None:
        """Don't look at this path when its directory is walked."""
        directory, _slash, name = path.rpartition(b'/')
        self.points.setdefault(directory, set()).add(name)

    def leave_out(self, path: bytes, kind: str, why: str) -> None:
        self.left_out.append((path, kind, why))


def read(path: str = MOUNTINFO) -> List[Mount]:
    """All mounts that this process sees.

    :raises OSError: that can't be read
    """
    with open(path, 'rb') as file:
        return [Mount(line) for line in file]


class Table:
    """What is mounted where, for path lookups that touch nothing."""

    def __init__(self, found: List[Mount]) -> None:
        self._found = found
        known = {mount.id for mount in found}
        self._on: Dict[Tuple[Optional[int], bytes], Mount] = {}
        self._children: Dict[int, List[bytes]] = {}
        for mount in found:
            top = mount.parent not in known or mount.parent == mount.id
            self._on[None if top else mount.parent, mount.target] = mount
            if not top:
                children = self._children.setdefault(mount.parent, [])
                children.append(mount.target)

    def mount_of(self, path: bytes) -> Optional[Mount]:
        """Where a path without links leads to; None where nobody says."""
        current: Optional[Mount] = None
        number: Optional[int] = None
        place = b'/'
        for name in [b''] + [part for part in path.split(b'/') if part]:
            place = join(place, name)
            while True:
                on = self._on.get((number, place))
                if on is None:
                    break
                current, number = on, on.id
        return current

    def below(self, root: bytes) -> List[Mount]:
        """The mounts below a directory that no later one hides."""
        return [
            mount
            for mount in self._found
            if mount.target != root
            and under(mount.target, root)
            and self.mount_of(mount.target) is mount
        ]

    def region(self, path: bytes, place: bytes, mount: Mount) -> 'Region':
        """A part of a mount, with what other mounts hide of it."""
        region = Region(path, place, mount)
        for target in self._children.get(mount.id, ()):
            hole = join(mount.root, relative(target, mount.target))
            if under(hole, place):
                region.holes.append(hole)
        return region


def plan(root: bytes, table: Table, without: Sequence[bytes] = ()) -> Plan:
    """Decide for everything that is mounted below a directory.

    :param root: the directory, absolute, without links; what it lies on is
        walked, whatever it is
    :param without: directories that are left out, with all below them
    :raises ValueError: nobody says what it lies on
    """
    top = table.mount_of(root)
    if top is None:
        raise ValueError('mountinfo does not say what %r lies on' % root)
    result = Plan()
    queue: List[Tuple[bool, int, int, bytes, Region]] = []

    def put(region: Region) -> None:
        # what is walked comes before what is left out, large before small
        heapq.heappush(
            queue,
            (
                bool(why_not(region.mount)),
                len(region.place),
                region.mount.id,
                region.path,
                region,
            ),
        )

    place = join(top.root, relative(root, top.target))
    result.regions.append(table.region(b'', place, top))
    for mount in table.below(root):
        path = relative(mount.target, root)
        result.avoid(path)
        if any(under(mount.target, other) for other in without):
            continue
        if mount.type not in PSEUDO:
            put(table.region(path, mount.root, mount))
    while queue:
        region = heapq.heappop(queue)[-1]
        for part in _take(region, result, root):
            put(table.region(*part))
    for path in LAYERS:
        if path != root and under(path, root) and os.path.isdir(path):
            inside = relative(path, root)
            result.avoid(inside)
            result.leave_out(inside, 'directory', 'layers of images')
    for path in without:
        if path != root and under(path, root):
            inside = relative(path, root)
            result.avoid(inside)
            result.leave_out(inside, 'directory', 'as asked')
    return result


def _take(
    region: Region, result: Plan, root: bytes
) -> Iterator[Tuple[bytes, bytes, Mount]]:
    """Put a region where it belongs; what of it is still to be decided."""
    mount = region.mount
    for other in result.regions:
        if other.covers(region):
            # what is hidden there may be seen here
            for hole in other.holes:
                if hole != region.place and under(hole, region.place):
                    if not any(under(hole, own) for own in region.holes):
                        inside = relative(hole, region.place)
                        yield join(region.path, inside), hole, mount
            return
    why = why_not(mount)
    if why:
        result.leave_out(region.path, mount.type, why)
        return
    if not os.path.isdir(join(root, region.path)):
        result.leave_out(region.path, mount.type, 'a single file, mounted')
        return
    for other in result.regions:
        if region.covers(other):
            # walked already, under its other name
            inside = relative(other.place, region.place)
            result.avoid(join(region.path, inside))
            for hole in other.holes:
                if not any(under(hole, own) for own in region.holes):
                    inside = relative(hole, region.place)
                    yield join(region.path, inside), hole, mount
    result.regions.append(region)


def why_not(mount: Mount) -> str:
    """Why a file system is left out; '' if it is walked."""
    if mount.shared:
        return 'shared or remote: walk it by itself, on one host alone'
    if mount.read_only:
        return 'read-only'
    if b'idmapped' in mount.options:
        return 'idmapped: its numbers are not those on the disk'
    if mount.type == 'overlay' and mount.target != b'/':
        return "a container's: a chown would copy its files up"
    return ''


def under(path: bytes, directory: bytes) -> bool:
    """Whether a path is the directory or lies below it."""
    return path == directory or path.startswith(directory.rstrip(b'/') + b'/')


def relative(path: bytes, directory: bytes) -> bytes:
    """What of a path lies below the directory; b'' for itself."""
    return path[len(directory.rstrip(b'/')) :].lstrip(b'/')


def join(directory: bytes, inside: bytes) -> bytes:
    """The path of something relative in a directory that may be b''."""
    if not inside or (inside == b'.' and directory):
        return directory
    if not directory or directory == b'/':
        return directory + inside
    return directory + b'/' + inside


def _unescaped(text: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: bytes([int(match.group(1), 8)]), text)
