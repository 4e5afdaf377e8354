# SPDX-License-Identifier: Apache-2.0

"""Multipath maps and their paths."""

from __future__ import annotations

import dataclasses
import re

from nova_recovery.host import commands

# mpatha (36001405…) dm-0 LIO-ORG,disk; without a friendly name the WWID
_MAP = re.compile(r'^(\S+)(?: \(\S+\))? dm-\d+ ')
# | `- 7:0:0:1 sdc 8:32 active ready running
_PATH = re.compile(r'\d+:\d+:\d+:\d+ +(\S+) +\S+ +(\S+) +(\S+)')


@dataclasses.dataclass(frozen=True)
class Paths:
    """The paths of a map, as kernel names of disks."""

    good: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def maps() -> dict[str, Paths]:
    """The maps of this host, by name.

    :raises HostError: that can't be known
    """
    return parse(commands.run(['multipath', '-ll'], timeout=8))


def parse(text: str) -> dict[str, Paths]:
    """Maps out of what ``multipath -ll`` writes."""
    found: dict[str, Paths] = {}
    name = ''
    for line in text.splitlines():
        match = _MAP.match(line)
        if match:
            name = match[1]
            found[name] = Paths()
            continue
        match = _PATH.search(line)
        if match and name:
            seen = found[name]
            # the kernel's word, then that of the checker
            if match[2] == 'active' and match[3] in ('ready', 'ghost'):
                seen = dataclasses.replace(seen, good=(*seen.good, match[1]))
            else:
                seen = dataclasses.replace(
                    seen, failed=(*seen.failed, match[1])
                )
            found[name] = seen
    return found
