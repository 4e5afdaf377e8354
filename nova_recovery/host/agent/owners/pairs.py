# SPDX-License-Identifier: Apache-2.0

"""Old and new numbers of users and groups, all to be changed at once.

All pairs are looked up together, so chains (108 becomes 112 while 112
becomes 119) and swaps are what they say. Two old numbers may become one: the
before-image knows which was which. Root's numbers are neither given away nor
given to anybody.
"""

import argparse
import re
from typing import Any, Dict, Iterable, List, Tuple

#: (uid_t)-1 means "leave it" to chown.
HIGHEST = 2**32 - 2


class Pairs:
    """``uids`` and ``gids`` as {old: new}."""

    def __init__(
        self, uids: Iterable[Tuple[int, int]], gids: Iterable[Tuple[int, int]]
    ) -> None:
        """Check them.

        :raises ValueError: they don't make sense, and why
        """
        self.uids = _checked('uid', uids)
        self.gids = _checked('gid', gids)
        if not self.uids and not self.gids:
            raise ValueError('no --uid and no --gid: nothing to change')
        #: Numbers that are an old and a new one: what has them can't be
        #: told by the number alone once a change has begun.
        self.chained_uids = frozenset(self.uids) & set(self.uids.values())
        self.chained_gids = frozenset(self.gids) & set(self.gids.values())
        self.chained = bool(self.chained_uids or self.chained_gids)

    def ids(self, uid: int, gid: int) -> Tuple[int, int]:
        """What an owner and group become."""
        return self.uids.get(uid, uid), self.gids.get(gid, gid)

    def certain(self, kind: str, number: int) -> bool:
        """Whether this number is an old one and can't be a new one."""
        if kind == 'uid':
            return number in self.uids and number not in self.chained_uids
        return number in self.gids and number not in self.chained_gids

    def chained_number(self, kind: str, number: int) -> bool:
        """Whether this number is an old one and a new one."""
        chained = self.chained_uids if kind == 'uid' else self.chained_gids
        return number in chained

    def as_json(self) -> Dict[str, List[List[int]]]:
        """Sorted, as they stand in the journal."""
        return {
            'uid': [list(pair) for pair in sorted(self.uids.items())],
            'gid': [list(pair) for pair in sorted(self.gids.items())],
        }

    @classmethod
    def from_json(cls, data: Dict[str, Any]) -> 'Pairs':
        """What ``as_json`` made."""
        return cls(data['uid'], data['gid'])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pairs) and (self.uids, self.gids) == (
            other.uids,
            other.gids,
        )

    def __str__(self) -> str:
        words = ['--uid %d:%d' % pair for pair in sorted(self.uids.items())]
        words += ['--gid %d:%d' % pair for pair in sorted(self.gids.items())]
        return ' '.join(words)


def argument(text: str) -> Tuple[int, int]:
    """One OLD:NEW of the command line."""
    match = re.match(r'([0-9]{1,10}):([0-9]{1,10})\Z', text)
    if not match:
        raise argparse.ArgumentTypeError(
            '%r is not OLD:NEW, two numbers' % text
        )
    return int(match.group(1)), int(match.group(2))


def _checked(kind: str, pairs: Iterable[Tuple[int, int]]) -> Dict[int, int]:
    found: Dict[int, int] = {}
    for old, new in pairs:
        text = '--%s %d:%d' % (kind, old, new)
        if old in found:
            raise ValueError('%s: %d stands twice' % (text, old))
        if old == new:
            raise ValueError('%s: changes nothing' % text)
        for number in (old, new):
            if number == 0:
                raise ValueError("%s: 0 is root's" % text)
            if number > HIGHEST:
                raise ValueError('%s: %d is no %s' % (text, number, kind))
        found[old] = new
    return found
