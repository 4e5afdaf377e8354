# SPDX-License-Identifier: Apache-2.0

"""What is read besides the situation."""

from __future__ import annotations

import bz2
import dataclasses
import datetime
import gzip
import hashlib
import lzma
import os
import pathlib
import types
from typing import Any
from unittest import mock

import fixtures

from nova_recovery.exceptions import ApiUnavailable, DatabaseUnavailable
from nova_recovery.fencing import Status
from nova_recovery.procedures.disaster.look import gather
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.situation import Found
from nova_recovery.snapshot.mapfile import Line
from nova_recovery.snapshot.reading import Snapshot
from tests.base import TestCase
from tests.unit.changes.case import Cloud
from tests.unit.procedures.disaster import situations
from tests.unit.procedures.volumes import situations as volumes
from tests.unit.snapshot import files

DOWN = DatabaseUnavailable('cell2', 'no route to host')


class DumpTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def test_its_checksum_and_when_it_was_written(self) -> None:
        path = self.folder / 'nova.sql'
        path.write_bytes(b'CREATE TABLE x;')
        at = datetime.datetime(
            2026, 11, 22, 15, 0, tzinfo=datetime.timezone.utc
        )
        os.utime(path, (at.timestamp(), at.timestamp()))
        dump = gather.read_dump(str(path))
        self.assertEqual(
            hashlib.sha256(b'CREATE TABLE x;').hexdigest(), dump.sha256
        )
        self.assertEqual(at.replace(tzinfo=None), dump.modified)
        self.assertEqual(15, dump.size)

    def test_one_that_was_cut_off(self) -> None:
        path = self.folder / 'nova.sql'
        path.write_bytes(b'-- MariaDB dump 10.19' + b'.' * 2000)
        self.assertIn('cut off', gather.read_dump(str(path)).problem)
        with open(path, 'ab') as file:
            file.write(b'\n-- Dump completed on 2026-11-22 15:00:00\n')
        self.assertEqual('', gather.read_dump(str(path)).problem)

    def test_a_compressed_one_is_looked_into(self) -> None:
        whole = b'-- MySQL dump 10.13\n' + os.urandom(9000).hex().encode()
        ended = whole + b'\n-- Dump completed on 2026-11-22\n'
        for opened in (gzip, bz2, lzma):
            path = self.folder / opened.__name__
            path.write_bytes(opened.compress(ended))
            self.assertEqual('', gather.read_dump(str(path)).problem)
            path.write_bytes(opened.compress(whole))
            self.assertIn('cut off', gather.read_dump(str(path)).problem)
            path.write_bytes(opened.compress(ended)[:-30])
            self.assertIn('cut off', gather.read_dump(str(path)).problem)

    def test_what_is_no_dump(self) -> None:
        path = self.folder / 'nova.sql'
        path.write_bytes(b'mariadb-dump: Got error: 2002: "Can\'t connect"\n')
        problem = gather.read_dump(str(path)).problem
        self.assertIn('no SQL where it begins', problem)
        self.assertIn('mariadb-dump: Got error', problem)
        for other in (
            b'SET NAMES utf8;\n', b'/*!999999\\- sandbox */', b'XBSTCK01\0..',
        ):  # fmt: skip
            path.write_bytes(other)
            self.assertEqual('', gather.read_dump(str(path)).problem)

    def test_one_that_is_not_there(self) -> None:
        dump = gather.read_dump(str(self.folder / 'none'))
        self.assertEqual('No such file or directory', dump.problem)


class HolesTest(TestCase):
    """What a snapshot doesn't have matters where it is of the scope."""

    def holes(self, source: str, unknown: list[str]) -> tuple[str, ...]:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        path = files.write(str(folder / 's'), {}, source, unknown)
        with Snapshot(path) as snapshot:
            return gather._holes(snapshot, situations.make({'web': None}))

    def test_of_a_cell_in_scope(self) -> None:
        self.assertEqual(
            ('devices of cell:cell1: it was down',),
            self.holes('cell:cell1', ['devices']),
        )

    def test_of_cinder(self) -> None:
        self.assertEqual(
            ('volumes of cinder: it was down',),
            self.holes('cinder', ['volumes']),
        )

    def test_of_another_cell_or_of_no_account(self) -> None:
        self.assertEqual((), self.holes('cell:cell2', ['devices']))
        self.assertEqual((), self.holes('cell:cell1', ['flavors']))


class VolumesTest(TestCase):
    """Those that only a map file names."""

    def test_they_are_read_too(self) -> None:
        here = situations.make({'web': None}, volumes={'a': None})
        asked: list[Any] = []

        def both_sides(cloud: Any, ids: Any, servers: Any) -> Any:
            asked.extend(ids)
            return volumes.make({'b': {'mappings': {'db': {}}}}, {'db': None})

        self.useFixture(
            fixtures.MonkeyPatch(
                f'{gather.__name__}.volumes_read.both_sides', both_sides
            )
        )
        found = gather._with_volumes(mock.Mock(), here, {'a', 'b'}).volumes
        assert found is not None
        self.assertEqual(['b'], asked)
        self.assertEqual({'a', 'b'}, set(found.volumes))
        self.assertEqual({'web', 'db'}, set(found.servers))
        self.assertEqual('db', found.mapped('b')[0].server)


class WatchedTest(TestCase):
    def test_what_step_2_cleans_is_watched_and_nothing_else(self) -> None:
        both = volumes.make(
            {
                'ending': {
                    'status': 'detaching',
                    'watched': None,
                    'attachments': {'a': {}},
                    'mappings': {'web': {'attachment': 'a'}},
                },
                'stale': {'status': 'in-use'},
                'young': {'status': 'reserved', 'age': 3.0},
                'busy': {'status': 'deleting'},
                'lost': {'mappings': {'web': {'attachment': 'b'}}},
            },
            {'web': None},
        )
        seen = []

        def second(cloud: Any, ids: Any, servers: Any) -> Any:
            seen.extend(ids)
            return both

        self.patch(gather.volumes_read, 'both_sides', second)
        slept: list[float] = []
        clock = mock.Mock(
            monotonic=lambda: 1000.0 + sum(slept), sleep=slept.append
        )
        self.patch(gather.volumes_read, 'time', clock)
        here = dataclasses.replace(situations.make({}), volumes=both)
        gather._watched(mock.Mock(), Found(here), lambda text: None)
        self.assertEqual(['ending'], seen)
        self.assertEqual([120], slept)


class AccessTest(TestCase):
    """How servers could use what nova may have to attach again."""

    def test_of_what_nova_does_not_map_or_may_lose_in_step_2(self) -> None:
        cloud: Any = Cloud('nova34-nova', 'nova34-cinder')
        self.addCleanup(cloud.close)
        for name in ('lost', 'leftover', 'kept', 'line'):
            cloud.cinder.add(
                'volume_attachment', id=f'a-{name}', volume_id=name,
                instance_uuid='web', attach_mode='ro', deleted=1,
            )  # fmt: skip
        mapped: Any = {'mappings': {'web': {}}}
        here = situations.make(
            {'web': None},
            volumes={
                'lost': {}, 'line': {}, 'new': {}, 'leftover': mapped,
                'kept': mapped,
            },
            devices={'web': {'lost': {}, 'leftover': {}, 'kept': {}}},
        )  # fmt: skip
        found = gather._access(
            cloud,
            here,
            [Line(1, 'line', 'web', 'auto'), Line(2, 'new', 'web', 'auto')],
            [mock.Mock(volume='leftover')],
        )
        self.assertEqual(
            {'lost': 'ro', 'leftover': 'ro', 'line': 'ro', 'new': None},
            {volume: one.mode for (_, volume), one in found.items()},
        )


class PlacesTest(TestCase):
    """Where guests may run, asked in bulk; hosts that are off have none."""

    def setUp(self) -> None:
        super().setUp()
        self.cloud: Any = Cloud('nova34-nova', 'nova34-cinder')
        self.addCleanup(self.cloud.close)
        self.cloud.placement.providers.return_value = {}
        self.cloud.placement.consumers.return_value = []
        self.cloud.placement.allocations.return_value = {'allocations': {}}
        self.off: set[str] = set()
        self.asked: list[str] = []
        self.patch(gather.fencing, 'load', lambda conf, words: self)
        self.cloud.cell.add(
            'migrations', id=1, instance_uuid='web', deleted=0, hidden=0,
            source_compute='np-rcc4', dest_compute='np-rcc46',
            status='running', migration_type='live-migration',
        )  # fmt: skip

    def status(self, host: str) -> Status:
        self.asked.append(host)
        return Status('off' if host in self.off else 'on', '')

    def places(
        self, unreachable: dict[str, str] | None = None, **asked: Any
    ) -> Any:
        here = situations.make({'web': None, 'db': None})
        silent = {} if unreachable is None else unreachable
        return gather._places(self.cloud, Request(**asked), here, silent)

    def test_what_was_on_its_way_when_the_power_went(self) -> None:
        found = self.places()
        self.assertEqual({'np-rcc46'}, found['web'].hosts())
        self.assertTrue(found['db'].here_only)
        self.assertEqual(['np-rcc46'], self.asked)

    def test_a_host_that_is_proven_off_runs_nothing(self) -> None:
        self.off = {'np-rcc46'}
        self.assertTrue(self.places()['web'].here_only)

    def test_an_operator_who_looked(self) -> None:
        found = self.places(not_running={'web@np-rcc46': 'virsh list'})
        self.assertTrue(found['web'].here_only)
        self.assertEqual([], self.asked)

    def test_without_placement_its_gate_refuses(self) -> None:
        self.cloud.placement.providers.side_effect = ApiUnavailable('down')
        silent: dict[str, str] = {}
        found = self.places(silent)
        self.assertEqual({'placement': 'down'}, silent)
        self.assertTrue(found['db'].here_only)
        self.assertEqual({'np-rcc46'}, found['web'].hosts())


class LegacyTest(TestCase):
    """What a cloud is while one of its cells is silent.

    :ivar named: whether the cell that answers names attachments
    """

    def setUp(self) -> None:
        super().setUp()
        self.named = True
        cell = types.SimpleNamespace(
            tables=types.SimpleNamespace(has=lambda *names: self.named)
        )
        self.cloud: Any = types.SimpleNamespace(
            databases=types.SimpleNamespace(cell=lambda name: cell)
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                f'{gather.__name__}.cleaning_module.layout',
                mock.Mock(side_effect=DOWN),
            )
        )

    def test_the_others_tell_that_it_is_modern(self) -> None:
        here = situations.make({'web': None})
        self.assertIsNone(gather._legacy(self.cloud, here))

    def test_what_is_left_alone_keeps_its_volumes(self) -> None:
        """Of a host to skip, or with a migration under way."""
        self.patch(gather.cleaning_module, 'layout', lambda databases: 'M1')
        self.patch(
            gather,
            '_migrating',
            lambda cell, uuids: {u: 'move' for u in uuids if u == 'mail'},
        )
        clean = mock.Mock()
        self.patch(gather.cleaning_module, 'clean', clean)
        here = situations.make(
            {'web': {'host': 'on'}, 'db': None, 'mail': None},
            scope={'skip_hosts': {'on': 'it kept its power'}},
        )
        gather._legacy(self.cloud, here)
        clean.assert_called_once_with(
            self.cloud.databases, None, frozenset({'web', 'mail'})
        )

    def test_of_an_old_one_all_must_be_known(self) -> None:
        self.named = False
        self.assertRaises(
            DatabaseUnavailable,
            gather._legacy,
            self.cloud,
            situations.make({'web': None}),
        )

    def test_where_none_answers_a_gate_refuses(self) -> None:
        here = situations.make({}, marks={})
        self.assertIsNone(gather._legacy(self.cloud, here))
