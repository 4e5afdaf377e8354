# SPDX-License-Identifier: Apache-2.0

"""The before-images, on the host: a file that is only ever added to.

Frames of <length, CRC-32, payload>, the payload's first byte its kind::

    H  JSON: the root, the pairs, when and in which boot it began
    M  JSON: what was mounted where it walks, {where: type}
    B  a batch: when, in which boot, then records of directories (D) and of
       the entries (E) below the D before them, as they were
    L  where an entry's record is, and the chattr flags that were lifted
    K  a batch, by its number, was carried out in this boot
    F  all was carried out, and the file systems have it
    U  an undo began        X  it ended

H, M, B, L, F, U and X are on disk before anything happens that they speak of.
K is not waited for: it saves work, and after a power cut it may have come to
the disk before the changes did, so it counts in its own boot only (or once
there is an F). What stands last and is cut short was never acted upon; what
is cut short and has something whole after it was damaged later.
"""

import binascii
import collections
import errno
import hashlib
import json
import os
import stat
import struct
from typing import Any, Dict, Iterator, List, Optional, Tuple

from nova_recovery.host.agent import kernel, lines
from nova_recovery.host.agent.owners import attributes

_FRAME = struct.Struct('<II')
_BATCH = struct.Struct('<Q16s')  # time in ns, boot
_MARK = struct.Struct('<I16s')  # batch, boot
_LIFTED = struct.Struct('<QI')  # place of the entry, flags
_TIME = struct.Struct('<Q')
#: kind, device, inode, length of the path
DIRECTORY = struct.Struct('<cQQI')
#: kind, inode, uid, gid, mode, length of the name, number of attributes
ENTRY = struct.Struct('<cQIIHHB')
_ATTRIBUTE = struct.Struct('<BI')  # which, length of the value

#: A directory as it was found; path relative to the root.
Directory = collections.namedtuple('Directory', 'device inode path')
#: Something in it; attributes [(name, value)] that a change has to do with.
Entry = collections.namedtuple(
    'Entry', 'place inode uid gid mode name attributes'
)
#: Where its records are, and as of when and in which boot.
Batch = collections.namedtuple('Batch', 'start end time boot')


def pack_directory(device: int, inode: int, path: bytes) -> bytes:
    return DIRECTORY.pack(b'D', device, inode, len(path)) + path


def pack_entry(
    inode: int, uid: int, gid: int, mode: int, name: bytes, found: list
) -> bytes:
    record = ENTRY.pack(b'E', inode, uid, gid, mode, len(name), len(found))
    if not found:
        return record + name
    parts = [record, name]
    for attribute, value in found:
        parts.append(
            _ATTRIBUTE.pack(attributes.ALL.index(attribute), len(value))
        )
        parts.append(value)
    return b''.join(parts)


def pack_batch(time: int, boot: bytes, records: List[bytes]) -> bytes:
    return _BATCH.pack(time, boot) + b''.join(records)


def unpack_entry(data: bytes, at: int, base: int) -> Tuple[Entry, int]:
    """The record at a place of the data, and where the next one is there.

    :param base: where the data begins in the journal
    """
    start = base + at
    _kind, inode, uid, gid, mode, size, count = ENTRY.unpack_from(data, at)
    at += ENTRY.size
    name = data[at : at + size]
    at += size
    found = []
    for _ in range(count):
        which, size = _ATTRIBUTE.unpack_from(data, at)
        at += _ATTRIBUTE.size
        found.append((attributes.ALL[which], data[at : at + size]))
        at += size
    return Entry(start, inode, uid, gid, mode, name, found), at


class Damaged(lines.AgentError):
    """The journal isn't what was written."""


class Journal:
    """What was written down, and writing more of it."""

    def __init__(self, path: str, descriptor: int) -> None:
        """Read it; the descriptor is its own from now on.

        :raises Damaged: something in the middle isn't what was written
        """
        self.path = path
        self._descriptor = descriptor
        self.device = os.fstat(descriptor).st_dev
        self.boot = kernel.boot_id()
        self.head: Optional[Dict[str, Any]] = None
        #: Of all its runs, each with the type that it had last.
        self.mounts: Dict[str, str] = {}
        self.batches: List[Batch] = []
        self._done: Dict[int, bytes] = {}
        self.lifted: Dict[int, int] = {}
        #: When it was whole the first time; None before that.
        self.finished: Optional[int] = None
        self._lasting = 0
        self.undo_began = self.undone = False
        self._digest = hashlib.sha256()
        try:
            self.end = self._read()
        except BaseException:
            self.close()
            raise

    @classmethod
    def read(cls, path: str) -> Optional['Journal']:
        """The journal of a path, to be read; None if there is none.

        :raises lines.AgentError: it is damaged, or somebody else's
        """
        if not os.path.lexists(path):
            return None
        return cls(path, _opened(path, os.O_RDONLY))

    @classmethod
    def open(cls, path: str) -> 'Journal':
        """The journal of a path, empty at first.

        :raises lines.AgentError: it is damaged, or somebody else's
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        journal = cls(path, _opened(path, flags))
        # what was cut short was never acted upon
        os.ftruncate(journal._descriptor, journal.end)
        return journal

    def close(self) -> None:
        os.close(self._descriptor)

    @property
    def began(self) -> int:
        """When the change began, in ns."""
        return int((self.head or {})['began'])

    @property
    def digest(self) -> str:
        """Of all before-images, in order."""
        return 'sha256:' + self._digest.hexdigest()

    def done(self, number: int) -> bool:
        """Whether a batch is known to be carried out and to last."""
        return number < self._lasting or self._done.get(number) == self.boot

    # -- reading -------------------------------------------------------------

    def _read(self) -> int:
        size = os.fstat(self._descriptor).st_size
        place = 0
        while place < size:
            head = os.pread(self._descriptor, _FRAME.size, place)
            length, crc = _FRAME.unpack(head.ljust(_FRAME.size, b'\0'))
            end = place + _FRAME.size + length
            data = b''
            if end <= size:
                data = os.pread(self._descriptor, length, place + _FRAME.size)
            if not data or binascii.crc32(data) != crc:
                if self._cut_short(place, end, size):
                    return place
                raise Damaged(
                    '%s is damaged at byte %d of %d: nothing was done. Put a'
                    ' copy of it there that is whole: the result of the'
                    ' change has the digest of its before-images'
                    % (self.path, place, size)
                )
            self._take(data[:1], data[1:], place + _FRAME.size + 1)
            place = end
        return place

    def _cut_short(self, place: int, end: int, size: int) -> bool:
        """Whether what isn't whole is the last that was written.

        Nothing whole comes after it then. Its length may be what is wrong, so
        a frame is looked for that ends where the file does, wherever it
        begins; from the end, where a short one is found at once.
        """
        rest = os.pread(self._descriptor, size - place, place)
        if not rest.strip(b'\0'):
            # given room, but never written (a power cut)
            return True
        if end < size or (not place and rest[_FRAME.size : 9] not in b'H\0'):
            return False
        for at in range(len(rest) - _FRAME.size - 1, 0, -1):
            length, crc = _FRAME.unpack_from(rest, at)
            start = at + _FRAME.size
            if length == len(rest) - start:
                if binascii.crc32(rest[start:]) == crc:
                    return False
        return True

    def _take(self, kind: bytes, body: bytes, start: int) -> None:
        if kind == b'B':
            time, boot = _BATCH.unpack_from(body)
            self.batches.append(
                Batch(start + _BATCH.size, start + len(body), time, boot)
            )
            self._digest.update(body)
        elif kind == b'K':
            number, boot = _MARK.unpack(body)
            self._done[number] = boot
        elif kind == b'H':
            self.head = json.loads(body.decode('ascii'))
        elif kind == b'M':
            self.mounts.update(json.loads(body.decode('ascii')))
        elif kind == b'L':
            place, flags = _LIFTED.unpack(body)
            self.lifted[place] = flags
        elif kind == b'F':
            self.finished = self.finished or _TIME.unpack(body)[0]
            self._lasting = len(self.batches)
        elif kind == b'U':
            self.undo_began, self.undone = True, False
        elif kind == b'X':
            self.undone = True

    def directories(
        self, number: int
    ) -> Iterator[Tuple[Directory, List[Entry]]]:
        """The records of a batch, a directory at a time."""
        batch = self.batches[number]
        data = os.pread(self._descriptor, batch.end - batch.start, batch.start)
        at, size = 0, len(data)
        directory: Optional[Directory] = None
        entries: List[Entry] = []
        while at < size:
            if data[at : at + 1] == b'D':
                if directory is not None:
                    yield directory, entries
                directory, at = unpack_directory(data, at)
                entries = []
            else:
                entry, at = unpack_entry(data, at, batch.start)
                entries.append(entry)
        if directory is not None:
            yield directory, entries

    def entry(self, place: int) -> Entry:
        """The record of an entry that stands at a place."""
        for size in (512, 1 << 20):
            data = os.pread(self._descriptor, size, place)
            try:
                entry, end = unpack_entry(data, 0, place)
            except struct.error:
                continue
            if end <= len(data):
                return entry
        raise Damaged('%s: no entry at byte %d' % (self.path, place))

    # -- writing -------------------------------------------------------------

    def begin(self, head: Dict[str, Any]) -> None:
        """Say what this is about."""
        body = json.dumps(head, sort_keys=True).encode('ascii')
        self._write(b'H', body, True)
        directory = os.open(os.path.dirname(self.path), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def see(self, mounts: Dict[str, str]) -> None:
        """Say what is mounted."""
        body = json.dumps(mounts, sort_keys=True).encode('ascii')
        self._write(b'M', body, True)

    def batch(self, body: bytes) -> int:
        """Write a batch down for good; its number."""
        self._write(b'B', body, True)
        return len(self.batches) - 1

    def mark(self, number: int) -> None:
        self._write(b'K', _MARK.pack(number, self.boot), False)

    def lift(self, place: int, flags: int) -> None:
        self._write(b'L', _LIFTED.pack(place, flags), True)

    def finish(self, time: int) -> None:
        """All is changed.

        :param time: what is there by now has an earlier one, what comes none
        """
        self._write(b'F', _TIME.pack(time), True)

    def begin_undo(self) -> None:
        self._write(b'U', b'', True)

    def end_undo(self) -> None:
        self._write(b'X', b'', True)

    def _write(self, kind: bytes, body: bytes, wait: bool) -> None:
        data = kind + body
        frame = _FRAME.pack(len(data), binascii.crc32(data)) + data
        try:
            written = os.write(self._descriptor, frame)
            if written != len(frame):
                os.ftruncate(self._descriptor, self.end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if wait:
                os.fdatasync(self._descriptor)
        except OSError as error:
            raise OSError(
                error.errno,
                '%s: before-images can not be written, so nothing more is'
                ' changed; when they can be, type the same again'
                % error.strerror,
                self.path,
            ) from error
        self._take(kind, body, self.end + _FRAME.size + 1)
        self.end += written


def _opened(path: str, flags: int) -> int:
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise lines.AgentError('%s is not a file of ours' % path)
    return descriptor


def unpack_directory(data: bytes, at: int) -> Tuple[Directory, int]:
    _kind, device, inode, size = DIRECTORY.unpack_from(data, at)
    at += DIRECTORY.size
    return Directory(device, inode, data[at : at + size]), at + size
