# SPDX-License-Identifier: Apache-2.0

"""One volume and one server, as ``volume attach`` sees them."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

from nova_recovery.cloud.db import mappings as nova
from nova_recovery.procedures.volumes import policy, situation
from nova_recovery.procedures.volumes.guards import Outside

#: Findings of a mapping that an attachment made anew mends.
LOST = frozenset({'VOL-UNLINKED', 'VOL-NODATA', 'VOL-LEGACY'})


@dataclasses.dataclass(frozen=True)
class Request:
    """Which volume to which server.

    :ivar server: UUID
    :ivar device: only a wish, as for nova
    :ivar connectors: host -> how it connects, given by the operator
    """

    server: str
    volume: str
    device: str | None = None
    tag: str | None = None
    connectors: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settle: int = 60
    patience: int = 600


@dataclasses.dataclass(frozen=True)
class Found:
    """The pair on both sides.

    :ivar connector: how the server's host connects to volumes; None:
        unknown
    :ivar mode: of the attachment that it had, 'rw' or 'ro'
    """

    situation: situation.Situation
    outside: Outside
    connector: dict[str, Any] | None = None
    mode: str = 'rw'


def mapping_of(
    request: Request, found: situation.Situation
) -> nova.Mapping | None:
    for one in found.mapped(request.volume):
        if one.server == request.server:
            return one
    return None


def findings_of(
    request: Request, found: situation.Situation
) -> list[situation.Finding]:
    """What is wrong between these two."""
    return [
        one
        for one in policy.findings(found)
        if one.volume == request.volume and one.server == request.server
    ]


def lost_by(request: Request, found: Found) -> situation.Finding | None:
    for one in findings_of(request, found.situation):
        if one.code in LOST and one.remedy == 'attach':
            return one
    return None


def own_attachments(request: Request, found: Found) -> list[str]:
    volume = found.situation.volumes[request.volume]
    return sorted(
        one.id for one in volume.attachments if one.server == request.server
    )


def adoptable(
    lost: situation.Finding, mapping: nova.Mapping, found: Found
) -> bool:
    """Whether naming cinder's attachment is all that is missing.

    A live migration takes connection data from the attachment: one that has
    none would break it.
    """
    if lost.code != 'VOL-LEGACY' or not mapping.connected:
        return False
    volume = found.situation.volumes[lost.volume]
    server = found.situation.servers[lost.server]
    return any(
        one.id == lost.attachment
        and one.connected
        and one.status == 'attached'
        and one.host == server.host
        for one in volume.attachments
    )


def not_attachable(request: Request, found: Found) -> str:
    """Why nova can't attach it, '' if it can."""
    volume = found.situation.volumes[request.volume]
    others = found.situation.mapped(request.volume)
    if volume.status == 'available' and volume.attach_status == 'detached':
        if others and not volume.multiattach:
            return f'nova maps it for server {others[0].server}'
        return ''
    if volume.multiattach and volume.status == 'in-use':
        return ''
    held = ', '.join(
        found.situation.name(one.server) if one.server else 'a host'
        for one in volume.attachments
    )
    return f'it is {volume.status} and {volume.attach_status}' + (
        f', attached to {held}' if held else ''
    )
