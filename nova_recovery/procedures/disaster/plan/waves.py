# SPDX-License-Identifier: Apache-2.0

"""Which servers come back first: one of each kind, then by priority.

A canary tells of trouble with a back end before fifty servers run into it.
It is the least important server of its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import dataclasses

from nova_recovery.procedures.disaster.situation import Server
from nova_recovery.procedures.volumes.situation import Situation

LOCAL = 'local disk'


@dataclasses.dataclass(frozen=True)
class Wave:
    """Servers that come back together.

    :ivar name: short and stable
    :ivar servers: UUIDs, the most important first
    """

    name: str
    title: str
    servers: tuple[str, ...]
    canary: bool = False


def divide(
    ordered: Sequence[str], kinds: Mapping[str, frozenset[str]], size: int
) -> list[Wave]:
    """The waves of servers.

    :param ordered: UUIDs, the most important first
    :param kinds: UUID -> what it is an example of, see ``kinds_of``
    :param size: of each wave after the canaries
    """
    first = canaries(ordered, kinds)
    rest = [uuid for uuid in ordered if uuid not in first]
    waves = []
    if first:
        waves.append(
            Wave(
                'canary',
                'canary: one server of each back end and kind',
                tuple(uuid for uuid in ordered if uuid in first),
                canary=True,
            )
        )
    total = -(-len(rest) // size)
    for number in range(total):
        some = rest[number * size : (number + 1) * size]
        waves.append(
            Wave(
                f'wave-{number + 1}',
                f'wave {number + 1} of {total}',
                tuple(some),
            )
        )
    return waves


def canaries(
    ordered: Sequence[str], kinds: Mapping[str, frozenset[str]]
) -> frozenset[str]:
    """As few of the least important ones as show every kind."""
    shown: set[str] = set()
    chosen = set()
    for uuid in reversed(ordered):
        if not kinds[uuid] <= shown:
            chosen.add(uuid)
            shown |= kinds[uuid]
    return frozenset(chosen)


def kinds_of(server: Server, volumes: Iterable[str | None]) -> frozenset[str]:
    """What a server is an example of.

    Each back end that it needs, with whether the server boots from a volume
    or from an image.

    :param volumes: the cinder-volume of each of its volumes, as
        ``host@backend#pool``; None: not known
    """
    boots = 'volume' if server.boots_from_volume else 'image'
    ends = {backend(host) for host in volumes}
    if not server.boots_from_volume:
        ends.add(LOCAL)
    return frozenset(f'{end}, boots from {boots}' for end in ends)


def backend(host: str | None) -> str:
    """``host@backend`` of a volume: its pools are of one storage."""
    return (host or 'unknown').partition('#')[0]


def by_server(found: Situation | None) -> dict[str, list[str]]:
    """Server -> its volumes, as nova maps them."""
    volumes: dict[str, list[str]] = {}
    for mapping in found.mappings if found else ():
        volumes.setdefault(mapping.server, []).append(mapping.volume)
    return volumes
