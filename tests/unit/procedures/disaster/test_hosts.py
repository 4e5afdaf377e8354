# SPDX-License-Identifier: Apache-2.0

"""What hosts and snapshots tell, out of their files."""

from __future__ import annotations

import datetime
import pathlib
from typing import Any

import fixtures

from nova_recovery.exceptions import RecoveryError
from nova_recovery.procedures.disaster.look import hosts, record
from nova_recovery.procedures.disaster.look.hosts import Domain
from nova_recovery.procedures.disaster.look.record import Known, Record
from nova_recovery.procedures.disaster.situation import Before
from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot.reading import Snapshot
from nova_recovery.snapshot.writing import Writer
from tests.base import TestCase

XML = '<domain><devices><disk><serial>v-1</serial></disk></devices></domain>'


class FilesTestCase(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def snapshot(
        self,
        name: str,
        source: str,
        taken_at: str,
        sections: dict[str, Any],
        **more: Any,
    ) -> Snapshot:
        """A file of one source; a section that is text is unknown."""
        path = str(self.folder / name)
        with Writer(path) as writer:
            writer.meta(taken_at=taken_at, machine='control', program='1')
            kind = source.partition(':')[0]
            writer.source(source, kind, taken_at=taken_at, **more)
            for section, rows in sections.items():
                if isinstance(rows, str):
                    state = rows
                    writer.missing(section, source, state, 'it was')
                    continue
                columns = format_module.SECTIONS[section].columns
                writer.part(
                    section,
                    source,
                    [tuple(row.get(c) for c in columns) for row in rows],
                )
            writer.finish()
        opened = Snapshot(path)
        self.addCleanup(opened.file.close)
        return opened


class HostsTest(FilesTestCase):
    def host(self, name: str, taken_at: str, **sections: Any) -> Any:
        return self.snapshot(name, 'host:np-rcc4', taken_at, sections)

    def test_what_a_host_tells(self) -> None:
        file = self.host(
            'a',
            '2026-11-22T15:00:00Z',
            domains=[
                {'uuid': 'web', 'name': 'i-1', 'state': 'running', 'xml': XML}
            ],
            sessions=[
                {
                    'target': 't',
                    'portal': 'p',
                    'lun': 1,
                    'state': 'LOGGED_IN',
                    'volume': 'v-1',
                    'server': 'web',
                }
            ],
            rules=[{'tool': 'nft', 'text': 'table'}],
        )
        host = hosts.of([file])['np-rcc4']
        self.assertEqual('2026-11-22T15:00:00Z', host.taken_at)
        self.assertEqual(
            {'web': Domain('i-1', 'running', frozenset({'v-1'}))}, host.domains
        )
        assert host.sessions is not None
        self.assertEqual(('t', 'p', '1'), host.sessions[0].key)
        self.assertEqual({'nft': 'table'}, host.rules)

    def test_unknown_is_not_none_at_all(self) -> None:
        file = self.host(
            'a',
            '2026-11-22T15:00:00Z',
            domains=format_module.UNKNOWN,
            sessions=format_module.ABSENT,
        )
        host = hosts.of([file])['np-rcc4']
        self.assertIsNone(host.domains)
        # nothing that makes sessions is installed
        self.assertEqual((), host.sessions)
        # the file doesn't have the section
        self.assertIsNone(host.rules)

    def test_its_newest_word_counts(self) -> None:
        old = self.host('a', '2026-11-22T03:00:00Z', domains=[])
        new = self.host('b', '2026-11-22T15:00:00Z', domains=[])
        for files in ([old, new], [new, old]):
            found = hosts.of(files)
            self.assertEqual('2026-11-22T15:00:00Z', found['np-rcc4'].taken_at)


class RecordTest(FilesTestCase):
    def cell(self, name: str = 'a', **sections: Any) -> Record:
        file = self.snapshot(
            name,
            'cell:cell1',
            '2026-11-22T14:00:00Z',
            sections,
            markers={'instance_actions': 7, 'migrations': None},
        )
        return record.read(file, 60)

    def test_servers_and_markers(self) -> None:
        found = self.cell(
            servers=[
                {
                    'uuid': 'web',
                    'name': 'www',
                    'host': 'np-rcc4',
                    'vm_state': 'active',
                    'power_state': 1,
                    'project_id': 'demo',
                },
                {'uuid': 'copy', 'hidden': 1},
            ]
        )
        self.assertEqual(
            {
                'web': Known(
                    'www', 'cell1', 'demo', Before('np-rcc4', 'active', 1)
                )
            },
            found.servers,
        )
        self.assertEqual({'cell1'}, found.about.cells)
        self.assertEqual(
            {'cell1': {'instance_actions': 7, 'migrations': 0}},
            found.about.markers,
        )
        self.assertEqual(
            datetime.datetime(2026, 11, 22, 14, 0), found.about.taken_at
        )

    def test_devices_in_their_order(self) -> None:
        devices = [
            {
                'server': 'web',
                'volume': v,
                'device_name': d,
                'boot_index': index,
            }
            for v, d, index in (
                ('v-aa', '/dev/vdaa', None),
                ('v-c', '/dev/vdc', -1),
                ('root', '/dev/vda', 0),
                (None, '/dev/vdz', None),
            )
        ]
        found = self.cell(
            servers=[{'uuid': 'web'}, {'uuid': 'bare'}], devices=devices
        ).devices({'web', 'bare', 'new'})
        self.assertEqual(
            [('root', True), ('v-c', False), ('v-aa', False)],
            [(one.volume, one.root) for one in found['web']],
        )
        self.assertEqual((), found['bare'])
        self.assertNotIn('new', found)

    def test_how_a_server_could_use_its_volume(self) -> None:
        attachments = [
            {'id': 'a1', 'volume': 'logs', 'server': 'web', 'mode': 'ro'},
            {'id': 'a2', 'volume': 'data', 'server': 'db', 'mode': 'rw'},
        ]
        devices = [
            {'server': 'web', 'volume': v, 'attachment': a, 'device_name': v}
            for v, a in (('logs', 'a1'), ('data', 'a3'))
        ]
        found = self.cell(
            servers=[{'uuid': 'web'}], devices=devices, attachments=attachments
        ).devices({'web'})
        self.assertEqual(
            {'logs': 'ro', 'data': ''},
            {one.volume: one.mode for one in found['web']},
        )

    def test_up_to_havana_the_server_says_which_is_the_root(self) -> None:
        found = self.cell(
            servers=[{'uuid': 'web', 'root_device_name': '/dev/vda'}],
            devices=[
                {'server': 'web', 'volume': 'r', 'device_name': '/dev/vda'},
                {'server': 'web', 'volume': 'd', 'device_name': '/dev/vdb'},
            ],
        ).devices({'web'})
        self.assertEqual([True, False], [one.root for one in found['web']])

    def test_devices_that_could_not_be_read(self) -> None:
        found = self.cell(
            servers=[{'uuid': 'web'}], devices=format_module.UNKNOWN
        )
        self.assertEqual({}, found.devices({'web'}))

    def test_computes_that_were_dead(self) -> None:
        def compute(**fields: Any) -> Any:
            return {'binary': 'nova-compute', **fields}

        about = self.cell(
            servers=[],
            services=[
                compute(last_seen_up='2026-11-22T13:59:30'),
                compute(last_seen_up='2026-11-22T13:00:00'),
                compute(updated_at='2026-11-22T13:00:00'),
                compute(disabled=1),
                {'binary': 'nova-conductor'},
            ],
        ).about
        self.assertEqual((3, 2), (about.computes, about.dead))
        self.assertTrue(about.dark)

    def test_the_agents_of_hosts(self) -> None:
        found = self.cell(
            servers=[],
            agents=[
                {
                    'host': 'np-rcc4',
                    'binary': 'neutron-openvswitch-agent',
                    'agent_type': 'Open vSwitch agent',
                },
                {
                    'host': 'np-rcc4',
                    'binary': 'neutron-metadata-agent',
                    'agent_type': 'Metadata agent',
                },
            ],
        )
        self.assertEqual(
            {'np-rcc4': 'neutron-openvswitch-agent'}, found.agents
        )

    def test_a_snapshot_of_hosts_alone(self) -> None:
        file = self.snapshot('h', 'host:np-rcc4', '2026-11-22T14:00:00Z', {})
        self.assertRaises(RecoveryError, record.read, file, 60)
