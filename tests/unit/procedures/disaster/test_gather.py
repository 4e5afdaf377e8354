# SPDX-License-Identifier: Apache-2.0

"""What is read besides the situation."""

from __future__ import annotations

import datetime
import hashlib
import os
import pathlib
import types
from typing import Any
from unittest import mock

import fixtures

from nova_recovery.exceptions import DatabaseUnavailable
from nova_recovery.procedures.disaster.look import gather
from nova_recovery.snapshot.reading import Snapshot
from tests.base import TestCase
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
        at = datetime.datetime(2026, 11, 22, 15, 0, tzinfo=datetime.UTC)
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
