# SPDX-License-Identifier: Apache-2.0

"""One thing that a power loss did, or that stands in the way."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.procedures.volumes import situation as volumes

if TYPE_CHECKING:
    from nova_recovery.procedures.disaster.situation import Server

#: To go on as it is may lose a disk, or run a guest twice.
DANGER = volumes.DANGER
#: What the outage left, and the procedure mends.
STALE = volumes.STALE
#: To know; nothing is to be done with it here.
NOTE = volumes.NOTE
SEVERITIES = volumes.SEVERITIES


@dataclasses.dataclass(frozen=True)
class Finding:
    """One finding.

    :ivar code: stable, such as ``SRV-DOWN``
    :ivar severity: DANGER, STALE or NOTE
    :ivar subject: such as ``server:UUID``, ``host:np-rcc4``
    :ivar cause: in words, the most likely one
    :ivar name: what people call the subject
    :ivar host: the compute host concerned, '' if none is
    :ivar fix: the one safe command, to be typed as it is; '': none is safe
    :ivar server: UUID, '' where none is concerned
    :ivar volume: the same
    """

    code: str
    severity: str
    subject: str
    cause: str
    name: str = ''
    project: str = ''
    host: str = ''
    fix: str = ''
    server: str = ''
    volume: str = ''


def of_server(
    server: Server,
    code: str,
    severity: str,
    cause: str,
    fix: str = '',
    host: str | None = None,
    volume: str = '',
) -> Finding:
    """A finding about a server.

    :param host: where it was found; None: where the server is
    """
    return Finding(
        code,
        severity,
        f'server:{server.uuid}',
        cause,
        name=server.name,
        project=server.project,
        host=(server.host or '') if host is None else host,
        fix=fix,
        server=server.uuid,
        volume=volume,
    )
