# SPDX-License-Identifier: Apache-2.0

"""The directory of the snapshots."""

from __future__ import annotations

import datetime
import os
import pathlib
import time

import fixtures

from nova_recovery.exceptions import NotFound, RecoveryError
from nova_recovery.snapshot import store, writing
from tests.base import TestCase
from tests.unit.snapshot import files

NOW = datetime.datetime(2026, 11, 22, 12, 0, 0)


class TestStore(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def add(
        self, days: int, host: str = '', unknown: bool = False, cloud: str = ''
    ) -> str:
        taken = NOW - datetime.timedelta(days=days)
        name = store.new_name(taken, host)
        files.write(
            str(self.folder / name),
            {'servers': []},
            source=f'host:{host}' if host else 'cell:cell1',
            unknown=['tags'] if unknown else (),
            cloud=cloud.split(),
        )
        return name.removesuffix(store.SUFFIX)

    def prune(self, count: int, days: int) -> list[str]:
        return store.prune(str(self.folder), count, days, NOW)

    def dark(self, days: int) -> str:
        """One that a timer took while the power was gone."""
        taken = NOW - datetime.timedelta(days=days)
        name = store.new_name(taken)
        files.write(
            str(self.folder / name),
            {
                'services': [
                    {
                        'id': 1,
                        'binary': 'nova-compute',
                        'host': 'np-rcc4',
                        'last_seen_up': '2026-11-21T00:00:00',
                        'disabled': 0,
                    }
                ]
            },
            taken_at='2026-11-22T14:49:51',
        )
        return name.removesuffix(store.SUFFIX)

    def latest(self, *ours: str) -> tuple[str, list[str]]:
        found, passed = store.latest(str(self.folder), ours=frozenset(ours))
        return found.name, [entry.name for entry in passed]

    def test_latest_is_whole_and_of_a_cloud_that_lived(self) -> None:
        oldest = self.add(5)
        good = self.add(4)
        partly = self.add(3, unknown=True)
        dark = self.dark(2)
        self.add(1, host='np-rcc4')
        self.assertEqual((good, [dark, partly]), self.latest())
        path = store.resolve(str(self.folder), 'latest')
        self.assertEqual(f'{good}.snapshot', os.path.basename(path))
        for name in (good, oldest):
            os.unlink(self.folder / f'{name}.snapshot')
        self.assertEqual((dark, []), self.latest())

    def test_a_path_is_the_same_from_everywhere(self) -> None:
        name = self.add(1) + store.SUFFIX
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.assertEqual(
            str(self.folder / name), store.resolve('/nowhere', f'./{name}')
        )

    def test_latest_is_never_another_clouds(self) -> None:
        ours, old = self.add(3, cloud='a b'), self.add(4)
        self.add(1, cloud='c')
        # a cell came, another one went
        self.assertEqual((ours, []), self.latest('b', 'd'))
        # those of other clouds and of none remain
        self.assertEqual((old, []), self.latest('e'))
        os.unlink(self.folder / f'{old}.snapshot')
        error = self.assertRaises(NotFound, self.latest, 'e')
        self.assertIn('2 of other clouds', str(error))

    def test_where_nobody_tells_which_is_ours_latest_is_refused(self) -> None:
        newest = self.add(1, cloud='a b')
        self.add(2, cloud='b')
        # from before snapshots told it
        self.add(4)
        self.assertEqual((newest, []), self.latest())
        self.add(3, cloud='c')
        error = self.assertRaises(NotFound, self.latest)
        self.assertIn('name one', str(error))

    def test_each_cloud_keeps_its_own(self) -> None:
        ours = [self.add(n, cloud='a b') for n in (1, 2, 3)]
        others = [self.add(n, cloud='c') for n in (4, 5)]
        old = [self.add(n) for n in (6, 7)]
        dropped = self.prune(1, 0)
        self.assertEqual({*ours[1:], others[1], old[1]}, set(dropped))

    def test_a_timer_in_the_dark_pushes_out_no_good_one(self) -> None:
        good = self.add(9)
        older = self.add(10)
        dark = [self.dark(n) for n in range(4)]
        self.assertEqual({older, *dark[2:]}, set(self.prune(2, 1)))
        left = [entry.name for entry in store.entries(str(self.folder))]
        self.assertIn(good, left)

    def test_those_of_runs_stay(self) -> None:
        names = [self.add(n) for n in range(4)]
        path = str(self.folder / f'{names[3]}.snapshot')
        dropped = store.prune(str(self.folder), 1, 0, NOW, [path])
        self.assertEqual(names[1:3], dropped)

    def test_newest_first_and_nothing_else(self) -> None:
        old, new = self.add(2), self.add(1)
        (self.folder / 'notes.snapshot').write_text('')
        self.assertEqual(
            [new, old], [e.name for e in store.entries(str(self.folder))]
        )
        self.assertEqual([], store.entries(str(self.folder / 'nowhere')))

    def test_a_damaged_one_is_listed_as_that(self) -> None:
        name = self.add(1)
        (self.folder / f'{name}.snapshot').write_text('damaged')
        (entry,) = store.entries(str(self.folder))
        self.assertFalse(entry.complete)
        self.assertIn('not a snapshot', entry.problem)

    def test_kept_by_count_for_the_cloud_and_each_host(self) -> None:
        names = [self.add(n) for n in range(4)]
        self.add(9, host='np-rcc4')
        self.assertEqual(names[2:], self.prune(2, 0))
        self.assertEqual(3, len(store.entries(str(self.folder))))
        self.assertEqual([], self.prune(0, 0))

    def test_kept_by_age(self) -> None:
        self.add(1)
        old = self.add(31)
        self.assertEqual([old], self.prune(0, 30))

    def test_the_last_complete_one_is_kept_whatever_its_age(self) -> None:
        good = self.add(90)
        dropped = self.add(2, unknown=True)
        newest = self.add(1, unknown=True)
        self.assertEqual([dropped], self.prune(1, 30))
        self.assertEqual(
            [newest, good], [e.name for e in store.entries(str(self.folder))]
        )

    def test_what_a_killed_writer_left_is_removed_a_day_later(self) -> None:
        for name, age in (('old', 90000), ('new', 100)):
            path = self.folder / f'{writing.TEMPORARY}{name}'
            path.write_text('')
            os.utime(path, (time.time() - age,) * 2)
        self.prune(1, 1)
        self.assertEqual([f'{writing.TEMPORARY}new'], os.listdir(self.folder))

    def test_latest_is_the_newest_of_the_cloud(self) -> None:
        cloud = self.add(2)
        self.add(1, host='np-rcc4')
        self.assertEqual(
            str(self.folder / f'{cloud}.snapshot'),
            store.resolve(str(self.folder), 'latest'),
        )

    def test_only_snapshots_are_deleted(self) -> None:
        good = str(self.folder / f'{self.add(1)}.snapshot')
        notes = self.folder / 'notes'
        notes.write_text('mine')
        self.assertRaises(RecoveryError, store.delete, [good, str(notes)])
        self.assertEqual(2, len(os.listdir(self.folder)))
        store.delete([good])
        self.assertEqual(['notes'], os.listdir(self.folder))
