# SPDX-License-Identifier: Apache-2.0

"""What the kernel offers and Python's ``os`` doesn't."""

import ctypes
import errno
import fcntl
import os
import stat
import struct
import time
from typing import Optional, Set, Tuple

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
#: chattr(1): +i and +a; linux/fs.h.
IMMUTABLE = 0x10
APPEND_ONLY = 0x20

_libc = ctypes.CDLL(None, use_errno=True)

#: fchownat(descriptor, name, uid, gid, flags): 0, or -1 and an errno. With
#: b'' and AT_EMPTY_PATH it changes the inode of an O_PATH descriptor itself,
#: which os.chown can't (fchown refuses O_PATH).
fchownat = _libc.fchownat
fchownat.argtypes = (
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
    ctypes.c_uint,
    ctypes.c_int,
)

_STATX_BTIME = 0x800
_BTIME = struct.Struct('=qI')
_BTIME_AT = 80
# powerpc, mips, sparc and alpha have the direction's bits the other way
_TURNED = os.uname().machine.startswith(('ppc', 'mips', 'sparc', 'alpha'))
_READ, _WRITE = (1, 2) if _TURNED else (2, 1)
_LONG = struct.Struct('@l')
_GETFLAGS = _READ << (29 if _TURNED else 30) | _LONG.size << 16 | 0x6601
_SETFLAGS = _WRITE << (29 if _TURNED else 30) | _LONG.size << 16 | 0x6602
_PR_SET_PDEATHSIG = 1
#: linux/capability.h.
_CAPABILITIES = {
    'CHOWN': 0,
    'DAC_OVERRIDE': 1,
    'FOWNER': 3,
    'FSETID': 4,
    'SYS_ADMIN': 21,
    'SETFCAP': 31,
}


def failed() -> OSError:
    """The error of the call to the C library that has just failed."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def boot_id() -> bytes:
    """The 16 bytes that are others after a restart of the machine."""
    with open('/proc/sys/kernel/random/boot_id') as file:
        return bytes.fromhex(file.read().strip().replace('-', ''))


def ticked() -> int:
    """The clock that file systems stamp with, in ns: it goes in ticks.

    No file that is made from now on has an earlier time: seconds with a
    fraction are known to 240 ns, and 3.6 has no others.
    """
    return int(time.clock_gettime(5) * 10**9) - 1000  # CLOCK_REALTIME_COARSE


def process(pid: int) -> Tuple[str, int, float]:
    """The name of a process, its parent, and when it began.

    :returns: the last in seconds since boot (proc_pid_stat(5))
    :raises OSError: there is none
    """
    with open('/proc/%d/stat' % pid) as file:
        name, _paren, rest = file.read().partition('(')[2].rpartition(')')
    words = rest.split()
    return name, int(words[1]), int(words[19]) / os.sysconf('SC_CLK_TCK')


def capabilities() -> Set[str]:
    """Those of ``_CAPABILITIES`` that this process has."""
    with open('/proc/self/status') as file:
        for line in file:
            key, _colon, value = line.partition(':')
            if key == 'CapEff':
                mask = int(value, 16)
                return {
                    name
                    for name, bit in _CAPABILITIES.items()
                    if mask >> bit & 1
                }
    return set()


def next_tick() -> int:
    """That clock's next time: all that is there has an earlier one."""
    before = after = ticked()
    while after == before:
        time.sleep(0.001)
        after = ticked()
    return after


def now() -> int:
    """In ns; no file that is there has a later time."""
    return int(time.time() * 10**9) + 1000


def born(descriptor: int, name: bytes = b'') -> Optional[int]:
    """When an inode was made, in ns; None where that isn't kept.

    :param name: in the directory of the descriptor; b'' is the descriptor
    """
    statx = getattr(_libc, 'statx', None)  # glibc 2.28
    if statx is None:
        return None
    buffer = ctypes.create_string_buffer(256)
    flags = AT_SYMLINK_NOFOLLOW if name else AT_EMPTY_PATH
    if statx(descriptor, name, flags, _STATX_BTIME, buffer):
        return None
    if not struct.unpack_from('=I', buffer)[0] & _STATX_BTIME:
        return None
    seconds, nanoseconds = _BTIME.unpack_from(buffer, _BTIME_AT)
    return seconds * 10**9 + nanoseconds


def mount_id(descriptor: int) -> int:
    """On which line of mountinfo a descriptor is."""
    with open('/proc/self/fdinfo/%d' % descriptor) as file:
        for line in file:
            key, _colon, value = line.partition(':')
            if key == 'mnt_id':
                return int(value)
    raise OSError(errno.ENOSYS, 'no mnt_id in /proc/self/fdinfo')


def flags(descriptor: int) -> int:
    """The flags of chattr that hinder us; 0 where there are none.

    :param descriptor: O_PATH is enough
    """
    with _Readable(descriptor) as readable:
        return _flags(readable) & (IMMUTABLE | APPEND_ONLY)


def set_flags(descriptor: int, wanted: int) -> None:
    """Set those flags of chattr to exactly these; others stay.

    :raises OSError: the file system refuses
    """
    with _Readable(descriptor) as readable:
        rest = _flags(readable) & ~(IMMUTABLE | APPEND_ONLY)
        fcntl.ioctl(readable, _SETFLAGS, _LONG.pack(rest | wanted))


def _flags(readable: int) -> int:
    if readable < 0:
        return 0
    try:
        answer = fcntl.ioctl(readable, _GETFLAGS, bytes(_LONG.size))
    except OSError:
        # ENOTTY: this file system has no such flags
        return 0
    # the kernel writes an int, whatever the number of the call says
    return int(struct.unpack_from('=I', answer)[0])


class _Readable:
    """A descriptor for ioctl of the same inode, which O_PATH's isn't.

    Of files and directories only: to open a device or a fifo does something.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> int:
        kind = stat.S_IFMT(os.fstat(self._descriptor).st_mode)
        self._readable = -1
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            self._readable = os.open(
                '/proc/self/fd/%d' % self._descriptor,
                os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC,
            )
        return self._readable

    def __exit__(self, *_exception: object) -> None:
        if self._readable >= 0:
            os.close(self._readable)


def synchronized() -> Optional[bool]:
    """Whether a time service keeps the clock; None where nobody says."""
    # adjtimex(2): struct timex of zeros only reads; TIME_ERROR is 5
    state = _libc.adjtimex(ctypes.create_string_buffer(512))
    return None if state < 0 else state != 5


def sync_file_system(descriptor: int) -> None:
    """Everything that was written to it is on disk.

    :raises OSError: it isn't
    """
    if _libc.syncfs(descriptor):
        raise failed()


def die_with_parent() -> None:
    """SIGKILL for this process when the one that forked it is gone."""
    _libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)
