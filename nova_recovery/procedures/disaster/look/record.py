# SPDX-License-Identifier: Apache-2.0

"""What a snapshot tells of the servers that there were."""

from __future__ import annotations

from collections.abc import Collection, Mapping
import dataclasses

from nova_recovery.exceptions import RecoveryError
from nova_recovery.procedures.disaster.situation import (
    Before,
    Device,
    Recorded,
)
from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot import reading
from nova_recovery.snapshot.reading import Snapshot

_PREFIX = 'cell:'

_SERVERS = """
SELECT source, uuid, name, project_id, host, vm_state, power_state,
task_state FROM servers WHERE hidden IS NOT 1
"""

_DEVICES = """
SELECT d.server, d.volume, d.device_name, d.boot_index,
d.boot_index IS NULL AND d.device_name IS (
    -- up to Havana only the server says which one is the root
    SELECT s.root_device_name FROM servers AS s WHERE s.uuid = d.server),
d.tag, d.delete_on_termination, d.attachment, a.mode
FROM devices AS d
-- by the volume, of which there is an index
LEFT JOIN attachments AS a ON a.volume = d.volume AND a.id = d.attachment
WHERE d.volume IS NOT NULL
ORDER BY d.server, length(d.device_name), d.device_name, d.volume
"""


#: agent_type of those that make the packet filter of a host.
_L2 = frozenset(
    {
        'Linux bridge agent',
        'OVN Controller agent',
        'OVN Controller Gateway agent',
        'Open vSwitch agent',
    }
)


@dataclasses.dataclass(frozen=True)
class Known:
    """A server of the snapshot."""

    name: str
    cell: str
    project: str
    before: Before


class Record:
    """The servers of a snapshot.

    :ivar servers: by UUID
    """

    def __init__(
        self, about: Recorded, servers: Mapping[str, Known], snapshot: Snapshot
    ) -> None:
        self.about, self.servers = about, servers
        self._snapshot = snapshot

    @property
    def agents(self) -> dict[str, str]:
        """Host -> the program that makes its packet filter."""
        return {
            str(row['host']): str(row['binary'])
            for row in self._snapshot.rows('agents')
            if row['agent_type'] in _L2 and row['binary']
        }

    def devices(
        self, servers: Collection[str]
    ) -> dict[str, tuple[Device, ...]]:
        """The volumes of servers, of each in the order of devices.

        Servers that had none, or that it doesn't know, are missing; those
        of a cell whose devices could not be read too.
        """
        found: dict[str, list[Device]] = {
            uuid: [] for uuid in servers if uuid in self.servers
        }
        unknown = {
            part.source
            for part in self._snapshot.parts
            if part.section == 'devices'
            and part.state == format_module.UNKNOWN
        }
        for uuid in [
            uuid
            for uuid in found
            if f'{_PREFIX}{self.servers[uuid].cell}' in unknown
        ]:
            del found[uuid]
        with self._snapshot.reading():
            for (
                server,
                volume,
                device,
                index,
                root,
                tag,
                delete,
                attachment,
                mode,
            ) in self._snapshot.file.execute(_DEVICES):
                if server in found:
                    found[server].append(
                        Device(
                            server=server,
                            volume=volume,
                            device=device,
                            root=index == 0 or bool(root),
                            tag=tag,
                            delete_on_termination=bool(delete),
                            attachment=attachment,
                            mode=mode or '',
                        )
                    )
        return {server: tuple(some) for server, some in found.items()}


def read(snapshot: Snapshot, down_time: int) -> Record:
    """The servers of a snapshot.

    :param down_time: seconds without a heartbeat that make a compute dead

    :raises RecoveryError: it is damaged, or has the servers of no cell
    """
    cells = frozenset(
        part.source.removeprefix(_PREFIX)
        for part in snapshot.parts
        if part.section == 'servers'
        and part.state == format_module.COMPLETE
        and part.source.startswith(_PREFIX)
    )
    if not cells:
        raise RecoveryError(
            f'snapshot {snapshot.path}: it has the servers of no cell'
        )
    with snapshot.reading():
        servers = {
            row[1]: Known(
                name=row[2] or '',
                cell=row[0].removeprefix(_PREFIX),
                project=row[3] or '',
                before=Before(*row[4:]),
            )
            for row in snapshot.file.execute(_SERVERS)
        }
    moments = {
        source.name.removeprefix(_PREFIX): moment
        for source in snapshot.sources
        if source.kind == 'cell'
        and (moment := reading.moment(source.taken_at))
    }
    computes, dead = reading.pulse(snapshot, down_time)
    return Record(
        Recorded(
            path=snapshot.path,
            cloud=snapshot.cloud,
            taken_at=reading.moment(snapshot.meta.get('taken_at')),
            cells=cells,
            markers={
                # a table that was empty has no highest id
                source.name.removeprefix(_PREFIX): {
                    table: int(value or 0)
                    for table, value in source.markers.items()
                }
                for source in snapshot.sources
                if source.kind == 'cell' and source.markers
            },
            moments=moments,
            computes=computes,
            dead=dead,
        ),
        servers,
        snapshot,
    )
