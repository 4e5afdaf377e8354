# SPDX-License-Identifier: Apache-2.0

"""The map file of the guide, written and read."""

from __future__ import annotations

import pathlib

import fixtures

from nova_recovery.exceptions import RecoveryError
from nova_recovery.snapshot import mapfile
from nova_recovery.snapshot.mapfile import Line
from nova_recovery.snapshot.reading import Snapshot
from tests.base import TestCase
from tests.unit.snapshot import files

OTHER = '49c9a6f3-9a0c-4e2c-9f06-7b0c6d3f9cc2'


class TestMapFile(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.path = str(self.folder / 'map')

    def lines(self, devices: list[dict], **more: object) -> list[str]:
        path = files.write(
            str(self.folder / 's'),
            {'devices': devices, 'servers': [
                {'uuid': files.DATABASE, 'root_device_name': '/dev/vda'}
            ]},
            **more,
        )  # fmt: skip
        with Snapshot(path) as snapshot:
            return list(mapfile.lines(snapshot))

    def test_data_volumes_in_the_order_of_their_devices(self) -> None:
        def device(server: str, volume: str, name: str, index: int | None):
            return {
                'server': server,
                'volume': volume,
                'device_name': name,
                'boot_index': index,
            }

        self.assertEqual(
            [
                f'{files.VOLUME} {files.WEB} /dev/vdb\n',
                f'{OTHER} {files.WEB} /dev/vdaa\n',
            ],
            self.lines(
                [
                    device(files.WEB, OTHER, '/dev/vdaa', -1),
                    device(files.WEB, files.VOLUME, '/dev/vdb', None),
                    device(files.WEB, files.ROOT, '/dev/vda', 0),
                    # up to Havana only the server names its root
                    device(files.DATABASE, '12', '/dev/vda', None),
                    {'server': files.WEB, 'device_name': '/dev/vdc'},
                ]
            ),
        )

    def test_a_snapshot_that_does_not_know_them_all(self) -> None:
        path = files.write(str(self.folder / 's'), {}, unknown=['devices'])
        with Snapshot(path) as snapshot:
            error = self.assertRaises(
                RecoveryError, list, mapfile.lines(snapshot)
            )
        self.assertIn('cell:cell1 (it was down)', str(error))

    def read(self, text: bytes) -> list[Line]:
        pathlib.Path(self.path).write_bytes(text)
        return mapfile.load(self.path)

    def test_read_back(self) -> None:
        text = f'# by hand\n\n{files.VOLUME.upper()}  {files.WEB}\t/dev/vdb'
        self.assertEqual(
            [Line(3, files.VOLUME, files.WEB, '/dev/vdb')],
            self.read(text.encode()),
        )
        self.assertEqual([], self.read(b''))

    def test_every_broken_line_is_named_by_its_number(self) -> None:
        good = f'{files.VOLUME} {files.WEB} /dev/vdb\n'
        error = self.assertRaises(
            RecoveryError,
            self.read,
            (
                good
                + f'{files.VOLUME} {files.WEB}\n'
                + f'data {files.WEB} /dev/vdc\n'
                + f'{OTHER} web /dev/vdc\n'
                + f'{OTHER} {files.WEB} vdc\n'
                + good
                + f'{OTHER} {files.WEB} /dev/vdb\n'
            ).encode()
            + b'\xff\n',
        )
        self.assertEqual(
            f'map file {self.path}: '
            'line 2: 2 words instead of "volume instance mountpoint"; '
            "line 3: 'data' is no id of a volume; "
            "line 4: 'web' is no UUID of a server; "
            "line 5: 'vdc' is no device such as /dev/vdb; "
            f'line 6: volume {files.VOLUME} of server {files.WEB} is in '
            f'line 1 already; '
            f'line 7: device /dev/vdb of server {files.WEB} is in line 1 '
            f'already; '
            'line 8: not UTF-8',
            str(error),
        )

    def test_many_broken_lines(self) -> None:
        error = self.assertRaises(RecoveryError, self.read, b'x\n' * 100)
        self.assertIn('line 20: ', str(error))
        self.assertTrue(str(error).endswith('; and 80 more'))

    def test_not_there(self) -> None:
        error = self.assertRaises(RecoveryError, mapfile.load, '/nowhere/map')
        self.assertIn('No such file', str(error))
