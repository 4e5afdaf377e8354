# SPDX-License-Identifier: Apache-2.0

"""The archive that a kernel unpacks as its first root file system.

See Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
"""

from __future__ import annotations

import stat


class Archive:
    """Collects files; everything belongs to root and is of 1970."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._entries = 0
        self._directories: set[str] = set()

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory, and those above it, once."""
        if not path or path in self._directories:
            return
        self.directory(path.rpartition('/')[0])
        self._directories.add(path)
        self._entry(path, stat.S_IFDIR | mode, b'')

    def file(self, path: str, content: bytes, mode: int = 0o755) -> None:
        """Add a file."""
        self.directory(path.rpartition('/')[0])
        self._entry(path, stat.S_IFREG | mode, content)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self.directory(path.rpartition('/')[0])
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def finished(self) -> bytes:
        """Return the archive."""
        self._entry('TRAILER!!!', 0, b'')
        return bytes(self._data)

    def _entry(self, path: str, mode: int, content: bytes) -> None:
        self._entries += 1
        name = path.encode() + b'\0'
        numbers = [self._entries, mode, 0, 0, 1, 0, len(content)]
        numbers += [0, 0, 0, 0, len(name), 0]
        header = '070701' + ''.join(f'{number:08x}' for number in numbers)
        self._data += header.encode() + name
        self._pad()
        self._data += content
        self._pad()

    def _pad(self) -> None:
        self._data += b'\0' * (-len(self._data) % 4)
