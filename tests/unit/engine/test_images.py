# SPDX-License-Identifier: Apache-2.0

"""Before-images in files: there before anything is sent, and as written."""

from __future__ import annotations

import contextlib
import pathlib
import stat
from typing import Any

from nova_recovery.cli import show_run
from nova_recovery.engine import records
from nova_recovery.engine.change import At, Observed
from nova_recovery.engine.images import Images, KEY
from nova_recovery.exceptions import ChangeFailed, RecoveryError
from nova_recovery.report import story, writing
from tests.unit.engine import world
from tests.unit.engine.test_runner import RunnerTestCase

SECRET = b'<graphics passwd="geheim"/>\xff\n'
TIMES = 40_000


class ImagesTestCase(RunnerTestCase):
    """An item that keeps a part of its before-image aside, of 1 MB."""

    def setUp(self) -> None:
        super().setUp()
        self.script.update(observe=self.observe, revert=self.revert)
        self.read: list[bytes] = []
        self.run_id = self.one()
        self.folder = self.site.directory / 'images'

    def observe(self, at: At[Any]) -> Observed:
        if at.cloud.value(at.item.subject) == 'new':
            return Observed.after('is new')
        aside = (SECRET for _ in range(TIMES))
        return Observed.before({'value': 'old'}, aside=aside)

    def revert(self, at: At[Any]) -> str:
        with at.aside() as file:
            self.read.append(file.read())
        at.cloud.add(set=at.item.subject, to=at.image['value'])
        return 'set back'

    def kept(self) -> dict[str, Any]:
        kept: dict[str, Any] = self.only(self.run_id).image[KEY]
        return kept

    def path(self) -> pathlib.Path:
        return self.folder / self.kept()['path']


class TestImages(ImagesTestCase):
    def test_it_is_for_its_owner_alone(self) -> None:
        self.site.run(self.run_id)
        for path, mode in (
            (self.path(), 0o600),
            (self.path().parent, 0o700),
            (self.folder, 0o700),
        ):
            self.assertEqual(mode, stat.S_IMODE(path.stat().st_mode))
        self.assertEqual(SECRET * TIMES, self.path().read_bytes())
        self.assertEqual(len(SECRET) * TIMES, self.kept()['size'])

    def test_the_journal_has_nothing_of_it(self) -> None:
        self.site.run(self.run_id)
        for path in self.site.directory.glob('journal*'):
            self.assertNotIn(b'geheim', path.read_bytes())
        with contextlib.closing(self.site.open()) as journal:
            made = story.of_runs(journal, [self.run_id], {}, now=records.now())
        for write in writing.FORMATS.values():
            text = ''.join(write(made))
            self.assertNotIn('geheim', text)
            self.assertIn(self.kept()['path'], text)
        (item,) = self.site.items(self.run_id).values()
        (line,) = show_run.item_lines(item)
        self.assertIn(self.kept()['path'], str(line))

    def test_the_way_back_reads_what_was_there(self) -> None:
        self.site.run(self.run_id)
        self.assertEqual({'reverted': 1}, self.site.undo(self.run_id).counts)
        self.assertEqual([SECRET * TIMES], self.read)

    def test_without_it_nothing_is_sent(self) -> None:
        self.folder.write_text('in the way')
        self.assertEqual({'failed': 1}, self.site.run(self.run_id).counts)
        self.assertIn("can't be made", self.only(self.run_id).detail)
        self.assertFalse(self.only(self.run_id).begun)
        self.assertEqual('old', self.site.world.value('s:1'))
        self.folder.unlink()
        self.assertEqual({'done': 1}, self.site.run(self.run_id).counts)

    def test_one_that_was_changed_or_is_gone_takes_nothing_back(self) -> None:
        self.site.run(self.run_id)
        whole = self.path().read_bytes()
        for damaged in (whole[:-1], whole.replace(b'g', b'x', 1), None):
            if damaged is None:
                self.path().unlink()
            else:
                self.path().write_bytes(damaged)
            self.assertEqual({'kept': 1}, self.site.undo(self.run_id).counts)
            self.assertIn(str(self.path()), self.only(self.run_id).detail)
            self.assertEqual('new', self.site.world.value('s:1'))
        self.path().write_bytes(whole)
        self.assertEqual({'reverted': 1}, self.site.undo(self.run_id).counts)

    def test_after_a_no_the_next_attempt_has_its_own(self) -> None:
        def no(at: At[Any]) -> str:
            raise ChangeFailed('no')

        self.script['apply'] = no
        self.site.run(self.run_id)
        first = self.kept()
        del self.script['apply']
        self.site.run(self.run_id)
        self.assertNotEqual(first['path'], self.kept()['path'])
        with Images(self.folder).open(first) as file:
            self.assertEqual(SECRET, file.readline())

    def test_a_name_is_only_of_its_run(self) -> None:
        for path in ('../x', f'{self.run_id}/../../x', 'other/1-ab', '/x'):
            self.assertRaises(
                RecoveryError, Images(self.folder).put, self.run_id, path, ()
            )


class TestTransfer(ImagesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.site.run(self.run_id)
        self.file = self.site.directory / 'run.jsonl'
        self.export()
        there = self.site.directory / 'there'
        there.mkdir()
        self.other = world.Site(there, scripted=self.site.scripted)
        self.other.world = self.site.world

    def export(self) -> None:
        with contextlib.closing(self.site.open()) as journal:
            journal.export(self.run_id, self.file)

    def import_(self) -> None:
        with contextlib.closing(self.other.open()) as journal:
            journal.import_(self.file)

    def test_it_is_taken_along(self) -> None:
        self.import_()
        self.path().unlink()
        self.assertEqual({'reverted': 1}, self.other.undo(self.run_id).counts)
        self.assertEqual([SECRET * TIMES], self.read)

    def test_a_run_whose_image_is_lost_is_not_taken_for_whole(self) -> None:
        self.path().unlink()
        self.file.unlink()
        error = self.assertRaises(RecoveryError, self.export)
        self.assertIn(str(self.path()), str(error))
        self.assertFalse(self.file.exists())

    def test_where_it_cant_be_written_there_is_no_run(self) -> None:
        (self.other.directory / 'images').write_text('in the way')
        self.assertRaises(RecoveryError, self.import_)
        with contextlib.closing(self.other.open()) as journal:
            self.assertEqual([], journal.runs())
