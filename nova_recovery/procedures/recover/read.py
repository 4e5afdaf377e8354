# SPDX-License-Identifier: Apache-2.0

"""Read all that a recovery decides on. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent import futures
import dataclasses
import datetime
import time
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud import clock, records
from nova_recovery.cloud.api import network
from nova_recovery.cloud.db import (
    aggregates,
    compute_hosts,
    mappings,
    schema,
    services,
    tombstones,
    volumes,
)
from nova_recovery.cloud.db import servers as servers_module
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.db.servers import list_servers, parsed
from nova_recovery.cloud.providers import Providers
from nova_recovery.cloud.records import ServerFacts, Service
from nova_recovery.exceptions import (
    DatabaseUnavailable,
    NotFound,
    RecoveryError,
)
from nova_recovery.fencing import Driver, Status
from nova_recovery.procedures import whereabouts
from nova_recovery.procedures.recover import situation
from nova_recovery.procedures.recover.situation import (
    Host,
    JSON,
    Node,
    Request,
    Server,
    Situation,
    Volume,
)
from nova_recovery.procedures.recover.ways import needs

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


#: What a move needs of a cell's schema.
MODERN = ('node', 'tombstones', 'migration-uuid', 'attachment-id')
#: Requests to the APIs side by side.
READERS = 8


def read(
    cloud: Cloud,
    request: Request,
    driver: Driver,
    progress: Callable[[str], None] = lambda text: None,
    known: Mapping[str, str] | None = None,
) -> Situation:
    """The situation of dead hosts and their servers.

    Takes two report intervals at least, for the heartbeats are watched that
    long; ``service_down_time`` where the last heartbeat is younger than that
    or from the future.

    :param progress: told what takes its time
    :param known: host -> its cell, of those that a run has begun to move
        servers off: nothing may name them any more
    :raises NotFound: nova has no such host
    :raises DatabaseUnavailable: a cell of theirs doesn't answer
    """
    known = known or {}
    cells = {
        name: known.get(name) or compute_hosts.cell_of(cloud.databases, name)
        for name in request.hosts
    }
    databases = {
        name: cloud.databases.cell(name)
        for name in sorted(set(cells.values()))
    }
    first = {name: _reports(db) for name, db in databases.items()}
    began = time.monotonic()
    reader = _Reader(cloud, request, driver, cells)
    servers = reader.servers()
    targets = reader.targets(servers)
    interval = 2.0 * cloud.nova.report_interval
    down_after = float(cloud.nova.service_down_time)
    watched = interval
    if not all(
        _long_ago(database, request.hosts, down_after)
        for database in databases.values()
    ):
        watched = max(interval, down_after)
    left = watched - (time.monotonic() - began)
    if left > 0:
        progress(
            f'watching the heartbeats of {", ".join(databases)} for '
            f'{watched:.0f} s'
        )
        # Not a wait for something to happen, but a measurement: silence
        # can only be seen over time.
        time.sleep(left)
    apart = time.monotonic() - began
    found: dict[str, Host] = {}
    for name, database in databases.items():
        for host in reader.hosts(database, first[name], apart, targets):
            found[host.name] = host
    for name in request.hosts:
        if name in found:
            continue
        if name not in known and not any(
            server.host == name for server in servers
        ):
            raise NotFound(
                f'{name} is mapped to a cell that has no nova-compute of it, '
                'and no server is to be recovered there'
            )
        found[name] = reader.without_service(name, apart)
    servers = [
        dataclasses.replace(
            server, serviceless=found[server.host].service_id is None
        )
        for server in servers
    ]
    off = {name for name in request.hosts if found[name].fence == 'off'}
    return Situation(
        hosts=found,
        servers=tuple(reader.placed(server, off) for server in servers),
        apis=reader.apis,
        unreachable=reader.unreachable,
        evacuates_with_task=reader.evacuates_with_task(),
        modern=cloud.databases.api is not None
        and all(set(MODERN) <= schema.features(d) for d in databases.values()),
        reports_apart=interval,
        down_after=down_after,
        unknown_cells=reader.unknown_cells,
    )


def _long_ago(database: Database, hosts: Iterable[str], age: float) -> bool:
    """Whether none of these was heard of for so many seconds."""
    today = clock.database_now(database)
    ages = [
        _age(service.last_seen, today)
        for service in services.compute_services(database)
        if service.host in hosts
    ]
    return all(one is not None and one >= age for one in ages)


def _reports(database: Database) -> dict[str, int]:
    found = services.compute_services(database)
    return {service.host: service.report_count for service in found}


class _Reader:
    """Databases first, then what the APIs add if they answer."""

    def __init__(
        self,
        cloud: Cloud,
        request: Request,
        driver: Driver,
        cells: Mapping[str, str],
    ) -> None:
        self._cloud = cloud
        self._cells = cells
        self._request = request
        self._dead = request.hosts
        self._driver = driver
        self.apis: dict[str, str] = {}
        self.unreachable: dict[str, str] = {}
        self.unknown_cells: dict[str, str] = {}
        self._facts: Mapping[str, ServerFacts] = {}
        self._providers: Providers | None = None
        self._ping()
        if 'placement' not in self.unreachable:
            self._providers = Providers(cloud)

    def _ping(self) -> None:
        asked: dict[str, Callable[[], str]] = {
            'nova': lambda: self._cloud.compute.ping(),
            'placement': lambda: self._cloud.placement.ping(),
            'neutron': lambda: self._cloud.network.ping(),
            'cinder': lambda: self._cloud.volume.ping(),
        }
        for name, ping in asked.items():
            try:
                self.apis[name] = ping()
            except RecoveryError as error:
                self.unreachable[name] = str(error)

    def evacuates_with_task(self) -> bool:
        # Zed's 2.93; its 26.0.0 dropped the check of the task state.
        return 'nova' in self.apis and self._cloud.compute.speaks('2.93')

    def servers(self) -> list[situation.Server]:
        found: list[records.Server] = []
        for host in self._dead:
            some, unknown = list_servers(self._cloud.databases, host=host)
            cell = self._cells[host]
            if cell in unknown:
                raise unknown[cell]
            self._note(unknown)
            found.extend(s for s in some if s.cell == cell)
        only = self._request.servers
        if only:
            found = [server for server in found if server.uuid in only]
        facts = servers_module.facts(self._cloud.databases, found)
        self._facts = facts
        stored = self._stored(facts.values())
        groups = self._groups([server.uuid for server in found])
        metadata, tags = self._owners_words(found)
        mapped = self.mapped([server.uuid for server in found])
        unheld = self._unheld(found)

        def complete(server: records.Server) -> situation.Server:
            return dataclasses.replace(
                of_facts(
                    facts[server.uuid],
                    connectors=stored,
                    group=groups.get(server.uuid),
                    allocations=self._asked('placement', server.uuid),
                    ports=self._asked('neutron', server.uuid),
                ),
                metadata=metadata.get(server.uuid, {}),
                tags=tags.get(server.uuid, frozenset()),
                mapped=mapped.get(server.uuid),
                specless=self._cloud.databases.api is not None
                and facts[server.uuid].request_spec is None,
                unheld=unheld.get(server.uuid),
            )

        with futures.ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(complete, found))

    def _unheld(
        self, found: Iterable[records.Server]
    ) -> dict[str, mappings.Unheld]:
        """What cinder doesn't hold for the servers as nova says."""
        by_cell: dict[str, list[str]] = {}
        for server in found:
            by_cell.setdefault(server.cell, []).append(server.uuid)
        unheld: dict[str, mappings.Unheld] = {}
        for cell, uuids in by_cell.items():
            unheld |= mappings.unheld(
                self._cloud,
                self._cloud.databases.cell(cell),
                uuids,
                started=True,
            )
        return unheld

    def _owners_words(
        self, found: Iterable[records.Server]
    ) -> tuple[dict[str, dict[str, str]], dict[str, frozenset[str]]]:
        """Metadata and tags of servers, where something asks for them."""
        metadata: dict[str, dict[str, str]] = {}
        tags: dict[str, set[str]] = {}
        by_cell: dict[str, list[str]] = {}
        for server in found:
            by_cell.setdefault(server.cell, []).append(server.uuid)
        for cell, uuids in by_cell.items():
            with Reader.of(self._cloud.databases.cell(cell)) as reader:
                if self._request.exclude_metadata:
                    metadata |= _metadata(reader, uuids)
                if self._request.exclude_tags:
                    for row in reader.select(
                        'tags', ('resource_id', 'tag'), 'resource_id', uuids
                    ):
                        tags.setdefault(row['resource_id'], set()).add(
                            row['tag']
                        )
        return metadata, {uuid: frozenset(some) for uuid, some in tags.items()}

    def placed(
        self, server: situation.Server, off: Collection[str]
    ) -> situation.Server:
        """The server with where its guest may run.

        :param off: hosts on which no guest runs any more
        """
        facts = self._facts[server.uuid]
        held = None
        devices: tuple[str, ...] = ()
        if self._providers is not None and server.allocations is not None:
            held = self._providers.of(server.allocations)
            devices = self._providers.devices(server.allocations)
        said = whereabouts.not_there(self._request.not_running)
        seen = {**dict.fromkeys(off, False), **said.get(server.uuid, {})}
        answer = whereabouts.judge(facts.server, facts.migrations, held, seen)
        return dataclasses.replace(server, whereabouts=answer, devices=devices)

    def _asked(self, api: str, uuid: str) -> Any:
        if api in self.unreachable:
            return None
        if api == 'placement':
            return self._cloud.placement.allocations(uuid)['allocations']
        return self._cloud.network.ports(uuid)

    def targets(self, servers: list[situation.Server]) -> set[str] | None:
        """Providers that the servers could go to, None: placement is mute.

        Only these are asked for their room, for a cell may have hundreds.
        """
        if 'placement' in self.unreachable:
            return None
        found: set[str] = set()
        if self._request.target_host is None:
            for wanted in {tuple(sorted(needs(s).items())) for s in servers}:
                if wanted:
                    found.update(
                        self._cloud.placement.candidates(dict(wanted), 200)
                    )
        return found

    def _stored(
        self, facts: Iterable[ServerFacts]
    ) -> dict[str, dict[str, Any]]:
        cinder = self._cloud.databases.cinder
        wanted = [
            device.attachment_id
            for one in facts
            for device in one.devices
            if device.attachment_id
        ]
        if cinder is None or not wanted:
            return {}
        return volumes.connectors(cinder, wanted)

    def _groups(self, uuids: list[str]) -> dict[str, dict[str, Any]]:
        api = self._cloud.databases.api
        if api is None or not uuids:
            return {}
        groups = aggregates.groups(api, uuids)
        members = sorted({m for g in groups.values() for m in g['members']})
        hosts: dict[str, str | None] = {}
        if members:
            others, unknown = list_servers(
                self._cloud.databases, uuids=members
            )
            self._note(unknown)
            if unknown:
                # Else it is deleted, and only the group's table has it.
                hosts = dict.fromkeys(members)
            hosts.update({server.uuid: server.host or '' for server in others})
        return {
            uuid: {
                'policy': group['policy'],
                'most': group['most'],
                'members': {
                    m: hosts[m] for m in group['members'] if m in hosts
                },
            }
            for uuid, group in groups.items()
        }

    def _note(self, unknown: Mapping[str, DatabaseUnavailable]) -> None:
        for cell, error in unknown.items():
            self.unknown_cells[cell] = error.reason

    def hosts(
        self,
        database: Database,
        first: dict[str, int],
        apart: float,
        providers: set[str] | None,
    ) -> list[Host]:
        """All hosts of a cell, after the second reading.

        :param providers: see ``targets``
        """
        api, cinder = self._cloud.databases.api, self._cloud.databases.cinder
        default = self._cloud.nova.default_availability_zone
        zones = aggregates.zones(api, default) if api else {}
        seen = services.compute_services(database)
        names = [service.host for service in seen]
        connectors = volumes.host_connectors(cinder, names) if cinder else {}
        nodes: dict[str, list[Node]] = {}
        for node in services.compute_nodes(database):
            nodes.setdefault(node.host or '', []).append(
                Node(
                    node.id,
                    node.uuid,
                    node.hypervisor_hostname or '',
                    node.host_ip,
                    node.hypervisor_type,
                )
            )
        today = clock.database_now(database)
        states = self._api_states()
        named = {self._request.target_host, *self._request.target_for.values()}

        def complete(service: Service) -> Host:
            own = tuple(nodes.get(service.host, ()))
            dead = service.host in self._dead
            fence = (
                self._driver.status(service.host)
                if dead
                else Status('unknown', '')
            )
            return Host(
                name=service.host,
                cell=database.name,
                service_id=service.id,
                disabled=service.disabled,
                disabled_reason=service.disabled_reason,
                forced_down=bool(service.forced_down),
                nodes=own,
                reports=(
                    # A service that appeared meanwhile is not silent.
                    first.get(service.host, -1),
                    service.report_count,
                ),
                apart=apart,
                heartbeat_age=_age(service.last_seen, today),
                heartbeat=_seconds(service.last_seen),
                zone=zones.get(service.host, default),
                api_state=states.get(service.host),
                free=(
                    self._free(own)
                    if not dead
                    and (
                        service.host in named
                        or {node.uuid for node in own} & (providers or set())
                    )
                    else None
                ),
                connector=connectors.get(service.host),
                fence=fence.state,
                fence_detail=fence.detail,
            )

        with futures.ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(complete, seen))

    def without_service(self, name: str, apart: float) -> Host:
        """A host whose nova-compute is in no database any more."""
        fence = self._driver.status(name)
        return Host(
            name=name,
            cell=self._cells[name],
            service_id=None,
            disabled=False,
            disabled_reason=None,
            forced_down=False,
            nodes=(),
            reports=(0, 0),
            apart=apart,
            fence=fence.state,
            fence_detail=fence.detail,
        )

    def mapped(self, uuids: list[str]) -> dict[str, str]:
        """The cells that nova's API looks for servers in, by server.

        What has no mapping is left out: then nova's API has no such server.
        """
        api = self._cloud.databases.api
        if api is None:
            return dict.fromkeys(uuids, '')
        names = {
            known.cell.uuid: known.cell.name
            for known in self._cloud.databases.cells
        }
        with Reader.of(api) as reader:
            cells = {
                row['id']: str(names.get(row['uuid'], row['uuid']))
                for row in reader.select('cell_mappings', ('id', 'uuid'))
            }
            return {
                row['instance_uuid']: cells.get(row['cell_id'], 'no cell')
                for row in reader.select(
                    'instance_mappings',
                    ('instance_uuid', 'cell_id'),
                    'instance_uuid',
                    uuids,
                )
            }

    def _api_states(self) -> dict[str, str]:
        if 'nova' in self.unreachable:
            return {}
        return {
            service['host']: service['state']
            for service in self._cloud.compute.services()
        }

    def _free(self, nodes: tuple[Node, ...]) -> dict[str, int] | None:
        if 'placement' in self.unreachable or len(nodes) != 1:
            return None
        try:
            return self._cloud.placement.free(nodes[0].uuid or '')
        except NotFound:
            return {}


def _metadata(
    reader: Reader, uuids: Iterable[str]
) -> dict[str, dict[str, str]]:
    return {
        uuid: {row['key']: row['value'] for row in some}
        for uuid, some in reader.grouped(
            'instance_metadata', 'instance_uuid', uuids, ('key', 'value')
        ).items()
    }


def _age(
    then: datetime.datetime | None, today: datetime.datetime
) -> float | None:
    if then is None:
        return None
    return (
        today.replace(tzinfo=None) - then.replace(tzinfo=None)
    ).total_seconds()


def _seconds(then: datetime.datetime | None) -> float | None:
    if then is None:
        return None
    return then.replace(tzinfo=datetime.timezone.utc).timestamp()


def of_facts(
    facts: ServerFacts,
    connectors: Mapping[str, Mapping[str, Any]],
    group: dict[str, Any] | None,
    allocations: dict[str, dict[str, int]] | None,
    ports: list[network.Port] | None,
) -> Server:
    """One server, from the databases' facts and the APIs' answers.

    :param connectors: attachment -> {'mode', 'connector'}
    """
    own = facts.server
    fields = {f.name: getattr(own, f.name) for f in dataclasses.fields(own)}
    fields |= {'host': own.host or '', 'node': own.node or ''}
    return Server(
        **fields,
        volumes=tuple(_volumes(facts, connectors)),
        ports=None if ports is None else tuple(_port(p) for p in ports),
        allocations=allocations,
        local_disk=_local_disk(facts),
        config_drive=bool(own.row.get('config_drive')),
        vtpm=_vtpm(facts),
        shares=facts.shares,
        special=tuple(_special(facts)),
        open_migrations=tuple(
            f'its {m.migration_type} {m.source_compute} -> {m.dest_compute} '
            f'is {m.status}'
            for m in facts.migrations
            if not m.deleted and m.status not in whereabouts.OVER
        ),
        resized_from=tuple(
            m.source_compute or ''
            for m in whereabouts.unconfirmed(facts.migrations)
        ),
        armed=_armed(facts),
        pinned_zone=(facts.request_spec or {}).get('availability_zone'),
        group=group,
    )


def _volumes(
    facts: ServerFacts, connectors: Mapping[str, Mapping[str, Any]]
) -> Iterator[Volume]:
    for device in facts.devices:
        if not device.volume_id:
            continue
        info = device.connection_info or {}
        stored = connectors.get(device.attachment_id or '', {})
        yield Volume(
            id=device.volume_id,
            mapping=device.id,
            device=device.device_name,
            root=device.is_root,
            attachment=device.attachment_id,
            protocol=info.get('driver_volume_type'),
            encrypted=bool((info.get('data') or {}).get('encrypted')),
            mode=stored.get('mode') or '',
            source_connector=stored.get('connector'),
        )


def _port(port: network.Port) -> situation.Port:
    return situation.Port(
        id=port.id,
        address=', '.join(port.addresses) or 'no address',
        host=port.host,
        vnic_type=port.vnic_type,
        has_resources=port.has_resources,
    )


def _local_disk(facts: ServerFacts) -> bool:
    """Whether the server has files of its own on the hypervisor."""
    if facts.server.row.get('kernel_id') or facts.server.row.get('ramdisk_id'):
        return True
    if any(device.destination_type == 'local' for device in facts.devices):
        return True
    return not any(
        device.is_root and device.volume_id for device in facts.devices
    )


def _armed(facts: ServerFacts) -> dict[str, list[JSON]]:
    found: dict[str, list[JSON]] = {}
    for migration in facts.migrations:
        if migration.migration_type == 'evacuation' and (
            migration.status in tombstones.ARMED
        ):
            found.setdefault(migration.source_compute or '', []).append(
                {'id': migration.id, 'status': migration.status}
            )
    return found


def _vtpm(facts: ServerFacts) -> bool:
    return bool(
        _extra_specs(facts).get('hw:tpm_version')
        or facts.system_metadata.get('image_hw_tpm_version')
    )


def _extra_specs(facts: ServerFacts) -> Mapping[str, Any]:
    return (facts.flavor or {}).get('extra_specs') or {}


def _special(facts: ServerFacts) -> Iterator[str]:
    """What only an evacuation can make anew on another host."""
    extra = facts.extra
    yield from _numa(_loaded(extra.get('numa_topology'), 'numa_topology'))
    requests = _loaded(extra.get('pci_requests'), 'pci_requests')
    if requests:
        yield 'it has PCI devices'
    if extra.get('resources'):
        yield 'it has persistent memory'
    if extra.get('migration_context'):
        yield 'a migration of it was not finished'
    specs = _extra_specs(facts)
    if any('VGPU' in key for key in specs):
        yield 'it has a virtual GPU'
    if 'accel:device_profile' in specs:
        yield 'it has an accelerator'
    if _true(specs.get('hw:mem_encryption')) or _true(
        facts.system_metadata.get('image_hw_mem_encryption')
    ):
        yield 'its memory is encrypted'
    if facts.server.hidden:
        yield 'it is hidden: a cross-cell resize was not finished'


def _numa(topology: Any) -> Iterator[str]:
    if not topology:
        return
    cells = [
        cell.get('nova_object.data', cell)
        for cell in topology.get('nova_object.data', topology).get('cells', ())
    ]
    if any(
        cell.get('cpu_pinning_raw')
        or cell.get('pcpuset')
        or cell.get('cpu_policy') in ('dedicated', 'mixed')
        for cell in cells
    ):
        yield 'it has pinned CPUs'
    elif len(cells) > 1 or any(cell.get('pagesize') for cell in cells):
        yield 'it has a NUMA topology'


def _loaded(text: str | None, what: str) -> Any:
    return parsed(text, f'instance_extra.{what}')


def _true(value: Any) -> bool:
    return str(value).lower() in ('true', '1', 'yes')
