# SPDX-License-Identifier: Apache-2.0

"""Files of which a change could not tell what their number means.

Where numbers are exchanged, 112 is an old number and a new one. What was made
or changed since the change began may have it by either account: it is told
and left alone. Whoever knows says so by chown, which moves a file's time of
status change and not that of its content, as writing does.
"""

import base64
import os
from typing import Any, Dict

from nova_recovery.host.agent import files, lines
from nova_recovery.host.agent.owners import walk

#: Of more than these nobody is asked one by one; then any may be one.
_MOST = 10000


class Doubts:
    """Those of one change, remembered in its state directory."""

    def __init__(self, state: str) -> None:
        self._file = path(state)
        #: path -> inode, time of status change in ns, whether it is settled
        self._rows: Dict[bytes, Any] = {
            base64.b64decode(row[0]): row[1:]
            for row in files.load(self._file) or ()
        }
        self._inodes = {row[0] for row in self._rows.values()}

    def look(self, tree: walk.Tree) -> None:
        """See which of them somebody has given an owner since."""
        for name, row in self._rows.items():
            try:
                status = os.stat(
                    name or b'.', dir_fd=tree.descriptor, follow_symlinks=False
                )
            except OSError:
                # gone; or too deep, then it stays told
                continue
            row[2] = row[2] or (
                status.st_ino == row[0]
                and status.st_ctime_ns > max(row[1], status.st_mtime_ns)
            )

    def has(self, inode: int) -> bool:
        """Whether it is one of them, whatever it is called by now."""
        return inode in self._inodes or len(self._rows) >= _MOST

    def settled(self, name: bytes, inode: int) -> bool:
        """Whether it has the number that somebody means it to have.

        :param name: below the root
        """
        row = self._rows.get(name)
        return row is not None and row[0] == inode and row[2]

    def add(self, fields: Dict[str, Any]) -> None:
        """One more.

        :param fields: as :func:`told` made them
        """
        if len(self._rows) < _MOST:
            coded = fields.get('path_base64')
            name = (
                base64.b64decode(coded) if coded else fields['path'].encode()
            )
            self._rows[name] = [fields['inode'], fields['ctime_ns'], False]
            self._inodes.add(fields['inode'])

    def save(self) -> None:
        if self._rows or os.path.exists(self._file):
            files.save(
                self._file,
                [
                    [base64.b64encode(name).decode(), *row]
                    for name, row in sorted(self._rows.items())
                ],
            )


def path(state: str) -> str:
    return os.path.join(os.path.abspath(state), 'owners.doubts')


def told(name: bytes, status: os.stat_result) -> Dict[str, Any]:
    """The fields of the problem."""
    return dict(
        lines.path_fields(name),
        code='in-doubt',
        inode=status.st_ino,
        ctime_ns=status.st_ctime_ns,
        text='made or changed since the change began: its number may be the'
        ' old one or the new one. See whose it is and chown -h it, also where'
        ' that changes nothing; then the same again',
    )
