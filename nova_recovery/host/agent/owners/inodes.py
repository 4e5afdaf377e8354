# SPDX-License-Identifier: Apache-2.0

"""Sets and tables of inode numbers that fit into little memory."""

import array
import bisect
import collections
from typing import Dict, Iterator, List, Tuple


class Inodes:
    """A set of numbers; those of neighbours share their room."""

    def __init__(self) -> None:
        self._masks: Dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._masks)

    def __contains__(self, number: int) -> bool:
        return bool(self._masks.get(number >> 6, 0) >> (number & 63) & 1)

    def add(self, number: int) -> bool:
        """Put it in; whether it is new there."""
        mask = self._masks.get(number >> 6, 0)
        bit = 1 << (number & 63)
        self._masks[number >> 6] = mask | bit
        return not mask & bit


#: A record of an inode in a journal: batch, place, device as it was then.
Record = collections.namedtuple('Record', 'batch place device')


class Index:
    """inode -> its records in a journal.

    All are added first, then looked up: 28 bytes each.
    """

    def __init__(self) -> None:
        self._columns = [array.array(code) for code in 'QLQQ']
        self._sorted = False

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(self, inode: int, batch: int, place: int, device: int) -> None:
        for column, value in zip(self._columns, (inode, batch, place, device)):
            column.append(value)
        self._sorted = False

    def get(self, inode: int) -> List[Record]:
        """The records of an inode, the newest first."""
        if not self._sorted:
            self._sort()
        inodes = self._columns[0]
        at = bisect.bisect_left(inodes, inode)
        found = []
        while at < len(inodes) and inodes[at] == inode:
            found.append(Record(*[column[at] for column in self._columns[1:]]))
            at += 1
        return found[::-1]

    def __contains__(self, inode: int) -> bool:
        if not self._sorted:
            self._sort()
        inodes = self._columns[0]
        at = bisect.bisect_left(inodes, inode)
        return at < len(inodes) and inodes[at] == inode

    def rows(self) -> Iterator[Tuple[int, Record]]:
        """(inode, its record) of all."""
        for inode, batch, place, device in zip(*self._columns):
            yield inode, Record(batch, place, device)

    def _sort(self) -> None:
        # what is added comes in the order of the journal: stable
        inodes = self._columns[0]
        order = sorted(range(len(inodes)), key=inodes.__getitem__)
        self._columns = [
            array.array(column.typecode, (column[at] for at in order))
            for column in self._columns
        ]
        self._sorted = True
