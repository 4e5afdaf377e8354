# SPDX-License-Identifier: Apache-2.0

"""Look at everything below a root; change nothing.

This is where the time goes: half a million calls of ``_scan``'s loop. It
works in the working directory of its process, since names are looked up
fastest from there, and a directory listed by a descriptor needs Python 3.7.
"""

import binascii
import errno
import os
import stat
import struct
import time
from typing import Any, Dict, IO, List, Optional, Sequence

from nova_recovery.host.agent import kernel, lines, mounts
from nova_recovery.host.agent.owners import attributes, descent
from nova_recovery.host.agent.owners.inodes import Inodes
from nova_recovery.host.agent.owners.pairs import Pairs

_KIND = 0o170000
_DIRECTORY, _LINK = stat.S_IFDIR, stat.S_IFLNK
#: btrfs: a subvolume is a directory with this inode and a device of its own.
_SUBVOLUME = 256
#: Where a snapshot had a subvolume in it: nothing, and nobody can change it.
_NO_SUBVOLUME = 2
_SPOOLED = struct.Struct('<II')
#: How wrong another machine's clock may be, in ns.
_SLACK = 3600 * 10**9


class Tree:
    """The root of a walk, and what is mounted below it."""

    def __init__(
        self,
        root: str,
        state: Optional[str] = None,
        without: Sequence[str] = (),
    ) -> None:
        """Open it.

        :param state: a directory that is not walked if it lies below
        :param without: others
        :raises lines.AgentError: it can't be, or may not be walked
        """
        path = os.fsencode(os.path.abspath(root))
        self.table = table = mounts.Table(mounts.read())
        top = table.mount_of(path)
        if top is not None and top.type in mounts.PSEUDO:
            raise lines.Refused('--root %s is on a %s' % (root, top.type))
        real = os.path.realpath(path)
        if real != path:
            raise lines.Usage(
                '--root %s leads over a link: give --root %s'
                % (root, os.fsdecode(real))
            )
        self.path = path
        self.descriptor = descent.open_root(path)
        left = [os.fsencode(os.path.abspath(one)) for one in without]
        try:
            self.plan = mounts.plan(path, table, left)
        except ValueError as error:
            raise lines.Refused(str(error)) from error
        #: What it lies on.
        self.mount = self.plan.regions[0].mount
        if state is not None:
            inside = os.fsencode(os.path.realpath(state))
            if inside != path and mounts.under(inside, path):
                self.plan.avoid(mounts.relative(inside, path))

    def check_left_out(self, words: Sequence[str]) -> None:
        """That it is as it was meant, before anything is changed.

        What leads over a link, lies elsewhere or is a slip of the pen leaves
        nothing out, and nobody would know.

        :raises lines.Usage: it isn't
        """
        for word in words:
            path = os.fsencode(os.path.abspath(word))
            if path == self.path or not mounts.under(path, self.path):
                raise lines.Usage(
                    '--leave-out %s is not below --root %s'
                    % (word, os.fsdecode(self.path))
                )
            place = self.path
            for name in mounts.relative(path, self.path).split(b'/'):
                place = mounts.join(place, name)
                on = self.table.mount_of(place)
                if on is not None and on.id != self.mount.id:
                    if on.shared or on.type in mounts.PSEUDO:
                        # no link, and a look may hang
                        break
                try:
                    status = os.lstat(place)
                except OSError as error:
                    raise lines.Usage(
                        '--leave-out %s: %s' % (word, error.strerror)
                    ) from error
                if stat.S_ISLNK(status.st_mode):
                    raise lines.Usage(
                        '--leave-out %s leads over a link: give what it leads'
                        ' to, if that is below --root' % word
                    )

    def next_tick(self) -> int:
        """As ``kernel.next_tick``, by the clock that stamps these files.

        That of a shared file system is its server's, which may be another: it
        is asked by a file that is made, and gone at once.
        """
        if not self.mount.shared:
            return kernel.next_tick()
        name = b'.nova-recovery-' + binascii.hexlify(os.urandom(8))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        was = os.fstat(self.descriptor)
        made = os.open(name, flags, 0o600, dir_fd=self.descriptor)
        try:
            return os.fstat(made).st_ctime_ns
        finally:
            os.close(made)
            os.unlink(name, dir_fd=self.descriptor)
            times = was.st_atime_ns, was.st_mtime_ns
            os.utime(self.descriptor, ns=times)


class Sink:
    """What is told what a walk finds."""

    #: Inodes that are asked for whoever owns them; None for none.
    wanted: Any = None

    def directory(self, device: int, inode: int, path: bytes) -> None:
        """What is found next lies in this one."""

    def found(
        self, name: bytes, status: os.stat_result, found: list, owned: bool
    ) -> None:
        """An owner, a group or an attribute names an old number.

        The working directory is its directory.

        :param found: what ``attributes.read`` says
        :param owned: whether the owner or the group do
        """

    def asked_for(self, name: bytes, status: os.stat_result) -> bool:
        """One of the wanted; whether that is all about it."""
        return True

    def problem(self, code: str, path: bytes, text: str) -> None:
        """Something can't be looked at."""

    def tick(self, seen: int, share: float, path: bytes) -> None:
        """Now and then.

        :param share: how much of the walk is done, from 0 to 1, guessed
            from the number of directories beside each one
        """


class Walk:
    """Passes over a tree."""

    def __init__(
        self,
        tree: Tree,
        pairs: Pairs,
        sink: Sink,
        spool: Optional[IO[bytes]] = None,
    ) -> None:
        """Nothing is looked at yet.

        :param spool: a file for the names of the directories, needed for
            ``look_again`` only
        """
        self._tree, self._pairs, self._sink = tree, pairs, sink
        self._spool = spool
        self._descent = descent.Descent(tree.descriptor)
        self.seen = 0
        self.share = 0.0
        self._links: Dict[int, Inodes] = {}
        self._new = set(pairs.uids.values()), set(pairs.gids.values())
        self._last = time.monotonic()

    def run(self) -> None:
        """Look at everything once."""
        regions = self._tree.plan.regions
        for number, region in enumerate(regions):
            try:
                descriptor = self._descent.to(region.path)
                if kernel.mount_id(descriptor) != region.mount.id:
                    self._sink.problem(
                        'mounts-changed', region.path, 'something was mounted'
                    )
                    continue
            except OSError as error:
                self._problem(region.path, error)
                continue
            self._use(number)
            self._file_systems([region.path], 1 / len(regions))

    def look_again(self, since: int) -> None:
        """Look into the directories into which something came since then.

        :param since: a time of ``kernel.ticked()``
        """
        spool = self._spool
        if spool is None:
            raise TypeError('there is no spool')
        end = spool.tell()
        self._links = {}
        at = 0
        while at < end:
            spool.seek(at)
            size, number = _SPOOLED.unpack(spool.read(_SPOOLED.size))
            path = spool.read(size)
            at = spool.tell()
            self._use(number)
            # another machine's clock
            slack = _SLACK if self._mount.shared else 0
            if self._changed(path, since - slack):
                spool.seek(0, os.SEEK_END)
                self._again(path, since - slack)
        spool.seek(0, os.SEEK_END)

    # -- one file system -----------------------------------------------------

    def _use(self, number: int) -> None:
        self._number = number
        self._mount = self._tree.plan.regions[number].mount

    def _file_systems(self, paths: List[bytes], share: float) -> None:
        """All below these, on which a file system or a subvolume begins."""
        self._subvolumes = paths
        while paths:
            path = paths.pop()
            try:
                self._top(self._descent.to(path), path)
            except OSError as error:
                self._problem(path, error)
                continue
            self._below(path, share)
            share = 0.0

    def _top(self, descriptor: int, path: bytes) -> None:
        """The directory itself on which a file system begins."""
        os.fchdir(descriptor)
        status = os.fstat(descriptor)
        self._on(status.st_dev)
        self.seen += 1
        self._here, self._entered = (descriptor, path), False
        wanted = self._sink.wanted
        if wanted is not None and status.st_ino in wanted:
            self._enter()
            if self._sink.asked_for(b'.', status):
                return
        names = self._listxattr(b'.', follow_symlinks=False)
        self._take(b'.', status, names)

    def _on(self, device: int) -> None:
        """Go on with this file system, where the working directory is."""
        self._device = device
        self._links.setdefault(device, Inodes())
        self._listxattr: Any = os.listxattr
        try:
            os.listxattr(b'.', follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                # then none of its files has any
                self._listxattr = _no_attributes

    def _below(self, path: bytes, share: float) -> None:
        """Everything in a directory, which is open already."""
        base = path.count(b'/') + 1 if path else 0
        levels: List[Any] = []
        self._scan_into(levels, self._descent.to(path), share)
        while levels:
            names, share = levels[-1]
            if not names:
                levels.pop()
                continue
            name = names.pop()
            depth = base + len(levels) - 1
            try:
                descriptor = self._descent.enter(depth, name)
            except OSError as error:
                self.share += share
                if error.errno != errno.ENOENT:
                    self._problem(self._named(name), error)
                continue
            self._scan_into(levels, descriptor, share)

    def _scan_into(
        self, levels: List[Any], descriptor: int, share: float
    ) -> None:
        path = self._descent.path
        if self._spool is not None:
            self._spool.write(_SPOOLED.pack(len(path), self._number) + path)
        inner = self._scan(descriptor, path)
        share /= len(inner) + 1
        self.share += share
        levels.append((inner, share))
        now = time.monotonic()
        if now - self._last > 0.5:
            self._last = now
            self._sink.tick(self.seen, self.share, path)

    def _scan(
        self, descriptor: int, path: bytes, since: Optional[int] = None
    ) -> List[bytes]:
        """Look at what is in one directory.

        :param since: of the directories in it, only those that came or were
            changed since then are wanted
        :returns: the names of the directories in it that are to be walked
        """
        inner: List[bytes] = []
        seen = 0
        uids, gids = self._pairs.uids, self._pairs.gids
        device, listxattr = self._device, self._listxattr
        wanted, found = self._sink.wanted, self._sink.found
        avoided = self._tree.plan.points.get(path)
        self._entered = False
        try:
            os.fchdir(descriptor)
            self._here = descriptor, path
            entries = os.scandir(b'.')
        except OSError as error:
            self._problem(path, error)
            return inner
        try:
            with entries:
                for entry in entries:
                    seen += 1
                    if avoided is not None and entry.name in avoided:
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                        kind = status[0] & _KIND
                        if kind == _DIRECTORY:
                            if status[2] != device:
                                self._foreign(entry.name, status)
                                continue
                            if since is None or status.st_ctime_ns >= since:
                                inner.append(entry.name)
                        if wanted is not None and status[1] in wanted:
                            self._enter()
                            if self._sink.asked_for(entry.name, status):
                                continue
                        if status[4] in uids or status[5] in gids:
                            names: Any = ()
                            if kind != _LINK:
                                names = listxattr(
                                    entry.name, follow_symlinks=False
                                )
                            if (
                                names
                                or status[3] > 1
                                and kind != _DIRECTORY
                                or status[2] != device
                            ):
                                self._take(entry.name, status, names)
                                continue
                            # most of them: nothing but an owner
                            if not self._entered:
                                self._enter()
                            found(entry.name, status, names, True)
                        elif kind != _LINK:
                            names = listxattr(
                                entry.name, follow_symlinks=False
                            )
                            if names:
                                self._take(entry.name, status, names)
                    except FileNotFoundError:
                        continue
                    except OSError as error:
                        # EIO, ESTALE; the others are looked at
                        self._problem(self._named(entry.name), error)
        except OSError as error:
            # the rest of its list can't be had
            self._problem(path, error)
        self.seen += seen
        return inner

    def _take(self, name: bytes, status: os.stat_result, names: Any) -> None:
        """Tell of one, if it has to do with us."""
        pairs = self._pairs
        owned = status[4] in pairs.uids or status[5] in pairs.gids
        found = attributes.read(name, names, owned, pairs) if names else []
        if not owned and not found:
            return
        if status[2] != self._device and self._mount.type != 'overlay':
            self._sink.problem(
                'mounts-changed', self._named(name), 'something was mounted'
            )
            return
        if status[3] > 1 and status[0] & _KIND != _DIRECTORY:
            if not self._links[self._device].add(status[1]):
                # taken by another of its names
                return
        self._enter()
        self._sink.found(name, status, found, owned)

    def _enter(self) -> None:
        if not self._entered:
            self._entered = True
            descriptor, path = self._here
            inode = os.fstat(descriptor).st_ino
            self._sink.directory(self._device, inode, path)

    def _foreign(self, name: bytes, status: os.stat_result) -> None:
        path = self._named(name)
        btrfs = self._mount.type == 'btrfs'
        if btrfs and status.st_ino == _SUBVOLUME:
            self._subvolumes.append(path)
        elif not (btrfs and status.st_ino == _NO_SUBVOLUME):
            self._sink.problem(
                'mounts-changed', path, 'something was mounted meanwhile'
            )

    def _named(self, name: bytes) -> bytes:
        return mounts.join(self._here[1], name)

    def _problem(self, path: bytes, error: OSError) -> None:
        code = errno.errorcode.get(error.errno or 0, 'error')
        self._sink.problem(code, path, error.strerror or str(error))

    # -- again ---------------------------------------------------------------

    def _changed(self, path: bytes, since: int) -> bool:
        """Whether something came into a directory since then.

        Its time of status change tells, too, since its time of modification
        can be set back; but where its owner is a new one that was us.
        """
        try:
            status = os.stat(
                path or b'.',
                dir_fd=self._tree.descriptor,
                follow_symlinks=False,
            )
        except OSError as error:
            # too long a name: it can only be opened step by step
            return error.errno == errno.ENAMETOOLONG
        if status.st_mtime_ns >= since:
            return True
        ours = status.st_uid in self._new[0] or status.st_gid in self._new[1]
        return status.st_ctime_ns >= since and not ours

    def _again(self, path: bytes, since: int) -> None:
        try:
            descriptor = self._descent.to(path)
            os.fchdir(descriptor)
            self._on(os.fstat(descriptor).st_dev)
        except OSError as error:
            if error.errno != errno.ENOENT:
                self._problem(path, error)
            return
        subvolumes: List[bytes] = []
        self._subvolumes = subvolumes
        base = path.count(b'/') + 1 if path else 0
        for name in self._scan(descriptor, path, since):
            try:
                self._descent.enter(base, name)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    self._problem(mounts.join(path, name), error)
                continue
            self._below(mounts.join(path, name), 0.0)
        self._file_systems(subvolumes, 0.0)


def _no_attributes(_name: bytes, follow_symlinks: bool = True) -> List[str]:
    return []
