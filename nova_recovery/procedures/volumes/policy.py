# SPDX-License-Identifier: Apache-2.0

"""Which states of a volume are stale, and which only look so.

Pure functions over what both sides have. Nothing that is consistent is a
finding, whatever its status is called; nothing that cinder itself is at is
ever touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import dataclasses
from typing import Any

from nova_recovery.cloud.db.mappings import Mapping
from nova_recovery.cloud.db.volumes import Attachment, Volume
from nova_recovery.cloud.records import Server
from nova_recovery.engine.findings import DANGER, NOTE, STALE
from nova_recovery.procedures.volumes import situation
from nova_recovery.procedures.volumes.situation import BothSides, Mismatch


def findings(found: BothSides) -> list[Mismatch]:
    """Everything that is wrong, by volume."""
    by_volume: dict[str, list[Mapping]] = {}
    for mapping in found.mappings:
        by_volume.setdefault(mapping.volume, []).append(mapping)
    wrong: list[Mismatch] = []
    for volume in sorted(set(found.volumes) | set(by_volume)):
        wrong += _Volume(found, volume, by_volume.get(volume, [])).findings()
    return wrong


def once_each(
    mappings: Iterable[Mapping], volume: Volume | None
) -> tuple[list[Mapping], list[tuple[Mapping, Mapping]]]:
    """One mapping for each server, and those that are one too many.

    nova leaves an empty one behind when an attach times out and is repeated.
    Kept is the one whose attachment cinder has for the server, then one that
    is connected, then the oldest.

    :param mappings: of the volume, of all servers
    :returns: those that are kept; and the others, each with the one kept
    """
    held = {
        (one.id, one.server) for one in (volume.attachments if volume else ())
    }
    by_server: dict[tuple[str, str], list[Mapping]] = {}
    for one in sorted(mappings, key=lambda m: (m.cell, m.id)):
        by_server.setdefault((one.cell, one.server), []).append(one)
    kept, twice = [], []
    for some in by_server.values():
        best = max(
            some,
            key=lambda m: (
                (m.attachment, m.server) in held,
                m.connected,
                -m.id,
            ),
        )
        kept.append(best)
        twice += [(one, best) for one in some if one is not best]
    return kept, twice


class _Volume:
    """One volume on both sides."""

    def __init__(
        self, found: BothSides, volume: str, mappings: list[Mapping]
    ) -> None:
        self.found = found
        self.id = volume
        self.volume = found.volumes.get(volume)
        self.mappings, self.twice = once_each(mappings, self.volume)

    def findings(self) -> Iterator[Mismatch]:
        if self.volume is None:
            for mapping in self.mappings:
                yield self._lost(mapping)
            return
        why = situation.untouchable(self.volume)
        if why:
            yield self._make(
                'VOL-BUSY', NOTE, '', f'{why}: not of attachments'
            )
        for mapping, kept in self.twice:
            one = self._twice(self.volume, mapping, kept)
            yield one if not why else _without_fix(one)
        pairs = list(self._pairs(self.volume))
        for mapping, attachment in pairs:
            for one in self._of_mapping(self.volume, mapping, attachment):
                yield one if not why else _without_fix(one)
        if why:
            return
        matched = {a.id for _, a in pairs if a is not None}
        for attachment in self.volume.attachments:
            if attachment.id not in matched:
                yield from self._unmatched(self.volume, attachment)
        yield from self._status(self.volume, pairs)

    def _make(
        self, code: str, severity: str, server: str, cause: str, **more: Any
    ) -> Mismatch:
        status = self.volume.status if self.volume else ''
        return situation.mismatch(
            code, severity, self.id, status, server, cause, **more
        )

    def _lost(self, mapping: Mapping) -> Mismatch:
        root = 'it boots from it' if mapping.root else ''
        return self._make(
            'VOL-LOST',
            DANGER,
            mapping.server,
            '; '.join(
                filter(
                    None, ('nova maps it, and cinder has no such volume', root)
                )
            ),
            remedy='' if mapping.root else 'detach-stale',
        )

    # nova's side

    def _twice(
        self, volume: Volume, mapping: Mapping, kept: Mapping
    ) -> Mismatch:
        """One too many: each start would connect the volume twice."""
        severity, more = DANGER, ''
        if situation.young(volume):
            severity, more = NOTE, '; perhaps under way'
        what = 'its boot volume' if kept.root else 'it'
        return self._make(
            'VOL-TWICE',
            severity,
            mapping.server,
            f'nova maps {what} twice for the server: mapping {mapping.id} is '
            f'one too many, {kept.id} is kept{more}',
            remedy='detach-stale',
            mapping=mapping.id,
        )

    def _pairs(
        self, volume: Volume
    ) -> Iterator[tuple[Mapping, Attachment | None]]:
        """Each mapping with its live attachment, None where it has none."""
        by_id = {one.id: one for one in volume.attachments}
        for mapping in self.mappings:
            if mapping.attachment is not None:
                yield mapping, by_id.get(mapping.attachment)
                continue
            # Attached before Queens: the server is all that joins them.
            own = [a for a in volume.attachments if a.server == mapping.server]
            yield mapping, own[0] if len(own) == 1 else None

    def _of_mapping(
        self, volume: Volume, mapping: Mapping, attachment: Attachment | None
    ) -> Iterator[Mismatch]:
        server = self.found.servers.get(mapping.server)
        if server is None:
            yield self._make(
                'VOL-LEFTOVER',
                STALE,
                mapping.server,
                'nova maps it for a server that was deleted',
                remedy='detach-stale',
            )
        elif server.vm_state == 'building':
            return
        elif attachment is None:
            yield self._unlinked(volume, mapping, server)
        elif attachment.server != mapping.server:
            yield self._make(
                'VOL-CROSSED',
                DANGER,
                mapping.server,
                f'nova names attachment {attachment.id}, which is of server '
                f'{attachment.server or "none"}',
                attachment=attachment.id,
            )
        elif _of_other_host(mapping, attachment, server):
            yield self._make(
                'VOL-HOST',
                DANGER,
                mapping.server,
                f'attachment {attachment.id} was made for {attachment.host}, '
                f'and the server is on {server.host}: used there it may be '
                "another's volume",
                remedy='attach',
                attachment=attachment.id,
            )
        elif mapping.attachment is None and mapping.cell in self.found.strict:
            yield self._make(
                'VOL-LEGACY',
                DANGER,
                mapping.server,
                'attached before Queens, nova names no attachment: a reboot '
                "by its project deletes cinder's",
                remedy='attach',
                attachment=attachment.id,
            )
        elif self._has_no_data(volume, mapping, attachment, server):
            yield self._make(
                'VOL-NODATA',
                DANGER,
                mapping.server,
                'nova has no usable connection: the guest would start '
                'without it, and nothing would say so',
                remedy='attach',
                attachment=attachment.id,
            )

    def _unlinked(
        self, volume: Volume, mapping: Mapping, server: Server
    ) -> Mismatch:
        never_had = mapping.attachment is None and not mapping.connected
        if never_had and not mapping.root and volume.status == 'available':
            severity, more = STALE, ''
            if situation.young(volume):
                severity, more = NOTE, '; perhaps under way'
            return self._make(
                'VOL-LEFTOVER',
                severity,
                mapping.server,
                'nova maps it without an attachment, and it is available: '
                f'left by an attach that failed or was replayed{more}',
                remedy='detach-stale',
            )
        own = [a for a in volume.attachments if a.server == mapping.server]
        others = [a for a in volume.attachments if a not in own]
        remedy, more = 'attach', ''
        if own:
            remedy = 'detach-stale'
            more = f'; cinder has {own[0].id} for the same server instead'
        elif others and not volume.multiattach:
            remedy = ''
            more = f'; cinder has it attached to {others[0].server}'
        elif volume.status == 'error':
            remedy = ''
            more = '; cinder attaches nothing that is in error'
        elif not server.host:
            remedy = ''
            more = '; the server is on no host'
        named = mapping.attachment or 'no attachment'
        what = 'its boot volume' if mapping.root else 'the mapping'
        effect = (
            f'a reboot makes nova drop {what}'
            if mapping.cell in self.found.strict and mapping.attachment
            else 'nobody holds it for the server'
        )
        return self._make(
            'VOL-UNLINKED',
            DANGER,
            mapping.server,
            f'nova names {named}, which cinder does not have: {effect}{more}'
            if mapping.attachment
            else f'nova names no attachment and cinder has none: {effect}'
            f'{more}',
            remedy=remedy,
            attachment=own[0].id if own else None,
        )

    def _has_no_data(
        self,
        volume: Volume,
        mapping: Mapping,
        attachment: Attachment,
        server: Server,
    ) -> bool:
        if not server.host or server.task_state or situation.young(volume):
            # Shelved and offloaded it has none; an evacuation or an attach
            # that is under way brings it.
            return False
        if attachment.status in ('attaching', 'error_attaching'):
            # A data volume's attach that never ended is simply ended.
            return mapping.root and not mapping.connected
        return not mapping.connected or attachment.status == 'reserved'

    # cinder's side

    def _unmatched(
        self, volume: Volume, attachment: Attachment
    ) -> Iterator[Mismatch]:
        if attachment.server is None:
            # A host's: glance's own store, a backup, an image copy.
            return
        fate = self.found.fate(attachment.server)
        if fate == situation.ELSEWHERE:
            return
        code, cause = 'VOL-ORPHAN', 'cinder has it attached, and '
        if fate == situation.LIVE:
            server = self.found.servers[attachment.server]
            if server.vm_state == 'building':
                return
            if any(m.server == server.uuid for m in self.mappings):
                if server.task_state or server.vm_state == 'resized':
                    # A migration has one for each host.
                    return
                code = 'VOL-EXTRA'
                cause += 'nova names another attachment or none'
            else:
                cause += 'nova does not map it for this server'
        elif fate == situation.DELETED:
            cause += 'the server was deleted'
        else:
            cause += (
                'nova has no record of such a server: long deleted, or a '
                'machine of Ironic or a container of Zun'
            )
        severity = STALE
        if fate == situation.LIVE and situation.young(volume):
            severity, cause = NOTE, f'{cause}; perhaps under way'
        yield self._make(
            code,
            severity,
            attachment.server,
            cause,
            remedy='detach-stale',
            attachment=attachment.id,
        )

    def _status(
        self, volume: Volume, pairs: list[tuple[Mapping, Attachment | None]]
    ) -> Iterator[Mismatch]:
        """What the volume itself says, against what holds it."""
        severity, more = STALE, ''
        if situation.young(volume):
            severity, more = NOTE, '; perhaps under way'
        if not volume.attachments:
            yield from self._unattached(volume, severity, more)
            return
        for mapping, attachment in pairs:
            if attachment is None or attachment.status not in (
                'attaching',
                'error_attaching',
            ):
                continue
            if mapping.root and not mapping.connected:
                continue
            cause = (
                'the attach is done and cinder was not told'
                if mapping.connected
                else 'the attach never came to its end'
            )
            yield self._make(
                'VOL-ATTACHING',
                severity,
                mapping.server,
                cause + more,
                remedy='reset' if mapping.connected else 'detach-stale',
                attachment=attachment.id,
            )
        holders = [
            m.server
            for m, a in pairs
            if a is not None and a.status in ('attached', 'detaching')
        ]
        says = (volume.status, volume.attach_status)
        if not holders or says == ('in-use', 'attached'):
            return
        if volume.status in ('attaching', 'error_attaching') and any(
            a.status in ('attaching', 'error_attaching')
            for a in volume.attachments
        ):
            return
        code, cause = 'VOL-STATUS', f'it says {" and ".join(says)}'
        if volume.status in ('detaching', 'error_detaching'):
            code, cause = 'VOL-DETACHING', 'the detach never came to its end'
        elif volume.status == 'error':
            code = 'VOL-ERROR'
            cause = 'cinder could not export it again when it started'
        yield self._make(
            code,
            severity,
            holders[0],
            f'{cause}, while the server has it{more}',
            remedy='reset',
        )

    def _unattached(
        self, volume: Volume, severity: str, more: str
    ) -> Iterator[Mismatch]:
        says = (volume.status, volume.attach_status)
        if self.mappings or self.found.silent:
            # Told of the mappings; or it can't be known.
            return
        if says == ('available', 'detached'):
            return
        if volume.status == 'error' and volume.attach_status == 'detached':
            yield self._make(
                'VOL-FAILED',
                NOTE,
                '',
                'it failed, attached to nothing: not of attachments',
            )
            return
        yield self._make(
            'VOL-STALE',
            severity,
            '',
            f'it says {" and ".join(says)}, and nothing holds it{more}',
            remedy='reset',
        )


def _of_other_host(
    mapping: Mapping, attachment: Attachment, server: Server
) -> bool:
    """Whether its connection data is good for another host only.

    A migration that was rolled back leaves that. One that is under way, or
    waits to be confirmed, has one for each host.
    """
    return (
        mapping.host_bound
        and bool(attachment.host and server.host)
        and attachment.host != server.host
        and not server.task_state
        and server.vm_state != 'resized'
    )


def _without_fix(finding: Mismatch) -> Mismatch:
    return dataclasses.replace(
        finding,
        cause=f'{finding.cause}; not to be mended before cinder is done',
        remedy='',
        fix='',
    )
