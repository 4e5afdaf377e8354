# SPDX-License-Identifier: Apache-2.0

"""The journal: where it lives, what it keeps, and how it moves."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import socket
import sqlite3
import stat
import tempfile
import threading
import time
from typing import Any
from unittest import mock

import fixtures
import hypothesis
from hypothesis import strategies

from nova_recovery.engine import records, states
from nova_recovery.engine.journal import (
    Journal,
    lease,
    location,
    models,
    Writer,
)
from nova_recovery.engine.journal.lease import Holder
from nova_recovery.engine.plan import LeftOut
from nova_recovery.exceptions import (
    Ambiguous,
    JournalError,
    JournalNewer,
    NotFound,
    RecoveryError,
    Refused,
    RunLocked,
)
from tests.base import TestCase
from tests.unit.engine import world

PLAN = dataclasses.replace(
    world.plan_of(
        [world.set_item('s:1', follows=('h:1',)), world.set_item('s:2')],
        [world.set_item('s:1', 'up', from_='new')],
        limits={'target': 2},
    ),
    arguments={'host': 'np-rcc54'},
    notes=('a note',),
    left_out=(LeftOut('s:9', 'web: db', 'ist löschbar'),),
)


class JournalTestCase(TestCase):
    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.path = self.directory / 'state' / 'journal.sqlite'
        self.url = f'sqlite:///{self.path}'

    def create(self, journal: Journal) -> str:
        return journal.create_run(
            PLAN, who='anna', machine='ctl1', command='recovery host recover'
        )


class TestPlace(JournalTestCase):
    def test_it_is_for_its_owner_alone(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        journal = Journal.open(self.url)
        with journal.carrying_out(self.create(journal)) as writer:
            writer.write(0, detail='so that the WAL is there')
            for path in self.path.parent.iterdir():
                self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
        mode = stat.S_IMODE(self.path.parent.stat().st_mode)
        self.assertEqual(0o700, mode)

    def test_it_is_written_through_to_the_disk(self) -> None:
        journal = Journal.open(self.url)
        with journal._engine.connect() as connection:
            for pragma, value in {
                'journal_mode': 'wal', 'synchronous': 2,
            }.items():  # fmt: skip
                found = connection.exec_driver_sql(f'PRAGMA {pragma}')
                self.assertEqual(value, found.scalar())

    def test_a_network_file_system_is_refused(self) -> None:
        with mock.patch.object(location, 'file_system', return_value='nfs4'):
            error = self.assertRaises(JournalError, Journal.open, self.url)
        self.assertIn('nfs4', str(error))
        self.assertFalse(self.path.exists())

    def test_the_file_system_is_the_one_mounted_last(self) -> None:
        mounts = (
            '1 0 8:1 / / rw - ext4 /dev/sda rw\n'
            '2 1 0:5 / /var/lib rw - xfs /dev/sdb rw\n'
            '3 1 0:6 / /var/lib rw shared:1 - nfs4 filer:/lib rw\n'
            '4 1 0:7 / /var/with\\040blank rw - tmpfs tmpfs rw\n'
            '5 1 0:8 / /var/li rw - cifs //a/b rw\n'
        )
        read = mock.patch.object(
            pathlib.Path, 'read_text', return_value=mounts
        )
        with read:
            for place, kind in {
                '/var/lib/nova-recovery': 'nfs4',
                '/var/with blank/x': 'tmpfs',
                '/var/library': 'ext4',
            }.items():
                self.assertEqual(
                    kind, location.file_system(pathlib.Path(place))
                )

    def test_a_newer_one_is_refused_naming_both_versions(self) -> None:
        Journal.open(self.url).close()
        with sqlite3.connect(self.path) as connection:
            connection.execute("UPDATE alembic_version SET version_num='0099'")
        connection.close()
        error = self.assertRaises(JournalNewer, Journal.open, self.url)
        self.assertIn('0099', str(error))
        self.assertIn(models.HEAD, str(error))

    def test_an_older_one_is_brought_up_to_date(self) -> None:
        journal = Journal.open(self.url)
        run_id = self.create(journal)
        journal.close()
        with sqlite3.connect(self.path) as connection:
            connection.execute("UPDATE alembic_version SET version_num='0001'")
        connection.close()
        with contextlib.closing(Journal.open(self.url)) as journal:
            self.assertEqual(PLAN, journal.plan(run_id))
            with journal._read() as read:
                version = location._version(read)
        self.assertEqual(models.HEAD, version)

    def test_something_else_is_left_alone(self) -> None:
        self.path.parent.mkdir()
        with sqlite3.connect(self.path) as connection:
            connection.execute('CREATE TABLE mine (x)')
        connection.close()
        error = self.assertRaises(JournalError, Journal.open, self.url)
        self.assertIn('mine', str(error))

    def test_rubbish_is_named(self) -> None:
        self.path.parent.mkdir()
        self.path.write_text('rubbish ' * 1000)
        error = self.assertRaises(JournalError, Journal.open, self.url)
        self.assertIn(str(self.path), str(error))

    def test_a_password_is_never_in_an_error(self) -> None:
        for url in (
            'mysql+pymysql://nova:hunter2@127.0.0.1:1/journal',
            'postgresql://nova:hunter2@localhost/journal',
            'sqlite://',
            'hunter2',
        ):
            error = self.assertRaises(JournalError, Journal.open, url)
            self.assertNotIn('hunter2', str(error))

    def test_two_processes_may_make_it_at_once(self) -> None:
        def act() -> int:
            Journal.open(self.url)
            return 0

        pids = [world.start(act) for _ in range(4)]
        self.assertEqual([0] * 4, [world.ended(pid) for pid in pids])


class TestRuns(JournalTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.journal = Journal.open(self.url)
        self.run_id = self.create(self.journal)

    def test_the_plan_comes_back_as_it_was(self) -> None:
        self.assertEqual(PLAN, self.journal.plan(self.run_id))
        run = self.journal.run(self.run_id[:5])
        self.assertEqual(PLAN.digest, run.digest)
        self.assertEqual(states.READY, run.state)
        self.assertEqual({'pending': 3}, run.counts)
        self.assertEqual(
            f'nova-recovery run={self.run_id} by=anna@ctl1', run.marker
        )
        self.assertRegex(run.created_at, r'^\d{4}-\d\d-\d\dT.*\.\d{3}Z$')

    def test_items_of_a_step_and_a_state(self) -> None:
        with self.journal.carrying_out(self.run_id) as writer:
            writer.write(1, state=states.DONE)
        found = self.journal.items(self.run_id, [states.PENDING])
        self.assertEqual([0, 2], [record.number for record in found])
        found = self.journal.items(self.run_id, step=0)
        self.assertEqual(
            [('s0', 0), ('s0', 1)], [(r.step, r.position) for r in found]
        )

    def test_unknown_and_ambiguous(self) -> None:
        self.assertRaises(NotFound, self.journal.run, 'nope')
        self.assertRaises(NotFound, self.journal.run, '%')
        other = self.create(self.journal)
        error = self.assertRaises(Ambiguous, self.journal.run, '')
        self.assertIn(other, str(error))
        self.assertEqual(
            [other], [run.id for run in self.journal.runs(limit=1)]
        )

    def test_the_same_item_twice_is_a_defect(self) -> None:
        twice = world.plan_of([world.set_item('s:1')], [world.set_item('s:1')])
        self.assertRaises(
            ValueError, self.journal.create_run, twice,
            who='', machine='', command='',
        )  # fmt: skip

    def test_what_may_be_under_way_is_not_skipped(self) -> None:
        with self.journal.carrying_out(self.run_id) as writer:
            writer.write(0, state=states.INTENT, begun=True)
        item = next(self.journal.items(self.run_id))
        self.assertRaises(
            Refused, self.journal.skip, self.run_id, item.id,
            who='anna', machine='ctl1', reason='tired',
        )  # fmt: skip

    def test_large_and_small_values_come_back(self) -> None:
        for image in ({'a': 'ä'}, {'a': 'x' * 100_000}, {}):
            with self.journal.carrying_out(self.run_id) as writer:
                writer.write(0, image=records.pack(image))
            record = next(self.journal.items(self.run_id))
            self.assertEqual(image, record.image)
        self.assertGreater(100_000, self.path.stat().st_size)


class TestUnusable(TestCase):
    """Where a journal can't be is told, and nothing of its password."""

    def test_urls_that_lead_nowhere(self) -> None:
        for url in (
            'hunter2',
            'mysql://u:p@hunter2@127.0.0.1/j',
            'mysql://u:hunter2@127.0.0.1:x/j',
            'mysql://u:hunter2@127.0.0.1:1/j',
            'mariadb://u:hunter2@127.0.0.1:1/j',
            'mysql://u:hunter2@127.0.0.1:1/j?strange=1',
            'mysql://u:hunter2@127.0.0.1:1/j?ssl_ca=/nowhere',
            'mysql://u:hunter2%E2%82%AC@127.0.0.1:1/j',
            'mysql://u:hunter2@127.0.0.1:1/j?read_timeout=x',
            'postgresql://u:hunter2@127.0.0.1:1/j',
        ):
            error = self.assertRaises(JournalError, Journal.open, url)
            self.assertNotIn('hunter2', str(error))
            self.assertEqual(1, len(str(error).splitlines()))

    def test_a_server_that_says_nothing_is_not_waited_for(self) -> None:
        with socket.create_server(('127.0.0.1', 0)) as silent:
            url = f'mysql://u:p@127.0.0.1:{silent.getsockname()[1]}/j'
            with mock.patch.object(location, 'LIMIT', '1'):
                began = time.monotonic()
                error = self.assertRaises(JournalError, Journal.open, url)
        self.assertLess(time.monotonic() - began, 20)
        self.assertIn('timed out', str(error))

    def test_a_journal_is_not_written_through_a_link(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        victim = folder / 'victim'
        victim.write_text('')
        victim.chmod(0o644)
        (folder / 'journal').symlink_to(victim)
        self.assertRaises(
            RecoveryError, Journal.open, f'sqlite:///{folder}/journal'
        )
        self.assertEqual(0o644, victim.stat().st_mode & 0o777)
        self.assertEqual('', victim.read_text())


class TestLease(JournalTestCase):
    def setUp(self) -> None:
        super().setUp()
        # where packages are built, machines have none
        self.useFixture(
            fixtures.MockPatchObject(lease, '_machine_id', lambda: 'mine')
        )
        self.journal = Journal.open(self.url)
        self.run_id = self.create(self.journal)

    def held_by(self, **values: Any) -> None:
        holder = dataclasses.replace(Holder.mine(), **values)
        self.execute('UPDATE runs SET holder=?', holder.to_column())

    def execute(self, statement: str, *values: Any) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute(statement, values)
        connection.close()

    def take(self) -> None:
        with self.journal.carrying_out(self.run_id):
            pass

    def test_another_machine_is_believed_for_a_minute(self) -> None:
        self.held_by(machine='ctl2', where='elsewhere', pid=77)
        self.execute("UPDATE runs SET heard=strftime('%s','now') - 30")
        error = self.assertRaises(RunLocked, self.take)
        self.assertIn('pid 77 on ctl2', str(error))
        self.execute("UPDATE runs SET heard=strftime('%s','now') - 100")
        self.take()

    def test_a_dead_process_of_this_machine_is_known_at_once(self) -> None:
        self.execute("UPDATE runs SET heard=strftime('%s','now')")
        # the same pid, started at another time
        self.held_by(started='1')
        self.take()
        self.assertEqual('', self.journal.run(self.run_id).holder)

    def test_one_of_an_earlier_boot_of_this_machine_is_gone(self) -> None:
        self.held_by(where='old-boot pid:[1]', pid=999_999, started='1')
        self.execute("UPDATE runs SET heard=strftime('%s','now')")
        self.take()

    def test_a_clone_or_a_namesake_is_another_machine(self) -> None:
        for values in (
            {'machine': 'ctl2'},
            {'machine_id': 'another'},
            {'machine_id': ''},
        ):
            self.held_by(where='old-boot pid:[1]', **values)
            self.execute("UPDATE runs SET heard=strftime('%s','now')")
            self.assertRaises(RunLocked, self.take)

    def test_the_same_boot_in_a_container_is_believed_for_a_minute(
        self,
    ) -> None:
        boot = Holder.mine().where.split(' ')[0]
        self.held_by(where=f'{boot} pid:[1]', pid=999_999)
        self.execute("UPDATE runs SET heard=strftime('%s','now')")
        self.assertRaises(RunLocked, self.take)

    def test_a_clock_that_went_back_holds_a_run_for_a_minute(self) -> None:
        self.held_by(machine='ctl2', where='elsewhere', pid=77)
        # it came up five hours behind after the power loss
        self.execute("UPDATE runs SET heard=strftime('%s','now') + 18000")
        self.assertRaises(RunLocked, self.take)
        self.journal = Journal.open(self.url)
        error = self.assertRaises(RunLocked, self.take)
        self.assertIn('last heard of 0 s ago', str(error))
        self.execute('UPDATE runs SET heard=heard - 61')
        self.take()

    def test_a_living_one_is_never_given_up(self) -> None:
        self.held_by()
        self.execute('UPDATE runs SET heard=1')
        self.assertRaises(RunLocked, self.take)
        self.assertRaises(
            RunLocked, self.journal.take_over, self.run_id,
            who='bob', machine='ctl2', reason='impatient',
        )  # fmt: skip

    def test_who_lost_it_can_write_no_intent(self) -> None:
        def lose() -> None:
            with self.journal.carrying_out(self.run_id) as writer:
                writer.write(0, state=states.INTENT)
                self.held_by(pid=1)
                self.assertRaises(
                    RunLocked, writer.write, 1,
                    state=states.INTENT,
                )  # fmt: skip
                # nor anything later
                writer.submit(1, state=states.INTENT)

        self.assertRaises(RunLocked, lose)
        found = [record.state for record in self.journal.items(self.run_id)]
        self.assertEqual(['intent', 'pending', 'pending'], found)

    def test_an_idle_writer_shows_that_it_lives(self) -> None:
        with mock.patch.object(lease, 'PERIOD', 0.01):
            with self.journal.carrying_out(self.run_id):
                self.execute('UPDATE runs SET heard=1')
                world.poll(lambda: self.heard() > 1)

    def heard(self) -> int:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute('SELECT heard FROM runs').fetchone()[0]
        finally:
            connection.close()


class TestWriter(JournalTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.journal = Journal.open(self.url)
        self.run_id = self.create(self.journal)

    def test_many_writers_share_commits(self) -> None:
        commits = []
        commit = Writer._commit

        def counted(writer: Any, group: Any) -> None:
            commits.append(len(group))
            commit(writer, group)

        plan = world.plan_of([world.set_item(f's:{n}') for n in range(400)])
        run_id = self.journal.create_run(
            plan, who='anna', machine='ctl1', command=''
        )
        with mock.patch.object(Writer, '_commit', counted):
            with self.journal.carrying_out(run_id) as writer:
                threads = [
                    threading.Thread(
                        target=lambda first=first: [
                            writer.write(n, state=states.INTENT)
                            for n in range(first, 400, 8)
                        ]
                    )
                    for first in range(8)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        self.assertEqual(400, sum(commits))
        self.assertLess(len(commits), 200)
        self.assertEqual({'intent': 400}, self.journal.run(run_id).counts)

    def test_an_item_that_is_not_there_is_not_passed_over(self) -> None:
        def write() -> None:
            with self.journal.carrying_out(self.run_id) as writer:
                writer.write(99, state=states.INTENT)

        self.assertRaises(JournalError, write)


class TestTransfer(JournalTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.journal = Journal.open(self.url)
        self.run_id = self.create(self.journal)
        self.file = self.directory / 'run.jsonl'
        with self.journal.carrying_out(self.run_id) as writer:
            writer.write(0, state=states.DONE, begun=True,
                         image=b'{"a":1}', notes=b'{"b":2}')  # fmt: skip
        self.journal.export(self.run_id, self.file)
        self.other = Journal.open(f'sqlite:///{self.directory}/other')

    def test_the_other_journal_has_all_of_it(self) -> None:
        mode = stat.S_IMODE(self.file.stat().st_mode)
        self.assertEqual(0o600, mode)
        self.assertEqual(self.run_id, self.other.import_(self.file))
        self.assertEqual(PLAN, self.other.plan(self.run_id))
        self.assertEqual(
            list(self.journal.items(self.run_id)),
            list(self.other.items(self.run_id)),
        )
        self.assertEqual(
            self.journal.run(self.run_id), self.other.run(self.run_id)
        )
        kinds = [event.kind for event in self.other.events(self.run_id)]
        self.assertEqual(['created', 'imported'], kinds)

    def test_not_while_it_is_carried_out(self) -> None:
        """The copy would not know what is sent after it was made."""
        path = self.directory / 'stale.jsonl'
        with self.journal.carrying_out(self.run_id):
            error = self.assertRaises(
                RunLocked,
                self.journal.export, self.run_id, path,
            )  # fmt: skip
        self.assertIn(f'carried out by pid {os.getpid()}', str(error))
        self.assertFalse(path.exists())
        self.journal.export(self.run_id, path)

    def test_not_twice(self) -> None:
        error = self.assertRaises(
            JournalError, self.journal.import_, self.file
        )
        self.assertIn(f'{self.run_id} is in the journal', str(error))
        self.assertEqual(1, len(self.journal.events(self.run_id)))

    def test_a_damaged_file_is_refused_whole(self) -> None:
        whole = self.file.read_bytes()
        for damaged in (
            whole.replace(b'np-rcc54', b'np-rcc55'),
            whole[: len(whole) // 2],
            whole[: whole.rindex(b'{"sha256"')],
            b'',
            b'rubbish\n',
            b'\xff\xfe',
        ):
            self.file.write_bytes(damaged)
            self.assertRaises(JournalError, self.other.import_, self.file)
            self.assertEqual([], self.other.runs())

    def signed(self, change: Callable[[list[Any]], Any]) -> pathlib.Path:
        """A file whose maker knew how to sign it."""
        lines = [json.loads(x) for x in self.file.read_text().splitlines()]
        change(lines)
        lines.pop()
        text = ''.join(
            json.dumps(line, separators=(',', ':')) + '\n' for line in lines
        )
        digest = hashlib.sha256(text.encode()).hexdigest()
        forged = self.directory / 'forged.jsonl'
        forged.write_text(f'{text}{{"sha256":"{digest}"}}\n')
        return forged

    def forged(self, change: Callable[[list[Any]], Any]) -> JournalError:
        """Why such a file isn't taken."""
        forged = self.signed(change)
        before = self.everything(self.other)
        error = self.assertRaises(JournalError, self.other.import_, forged)
        self.assertEqual(before, self.everything(self.other))
        return error

    def everything(self, journal: Journal) -> list[Any]:
        return [
            (run, list(journal.items(run.id)), journal.events(run.id))
            for run in journal.runs()
        ]

    def test_a_forged_file_touches_no_other_run(self) -> None:
        victim = self.create(self.other)

        def another_name(lines: list[Any]) -> None:
            lines[0]['run'] = lines[1]['runs']['id'] = 'aaaaaaaa'
            lines[2]['events']['run_id'] = 'aaaaaaaa'
            for line in lines[3:-1]:
                line['items']['run_id'] = 'aaaaaaaa'

        def an_event(lines: list[Any]) -> None:
            another_name(lines)
            lines[2]['events'].update(run_id=victim, kind='again')

        def an_item(lines: list[Any]) -> None:
            another_name(lines)
            lines[3]['items'].update(run_id=victim, number=99)

        def the_run(lines: list[Any]) -> None:
            another_name(lines)
            lines[1]['runs']['id'] = victim

        def an_image(lines: list[Any]) -> None:
            another_name(lines)
            piece = {'path': f'{victim}/0-aa', 'piece': ''}
            lines.insert(4, {'images': piece})

        def the_name_of_an_image(lines: list[Any]) -> None:
            another_name(lines)
            kept = {'path': f'aaaaaaaa/../{victim}/0-aa', 'sha256': 'x'}
            lines[3]['items']['image'] = {'file': kept}

        for change in (
            an_event, an_item, the_run, an_image, the_name_of_an_image
        ):  # fmt: skip
            error = self.forged(change)
            self.assertIn('of another run', str(error))

    def test_a_forged_file_is_whole_or_nothing(self) -> None:
        def changed(place: int, **values: Any) -> Callable[[list[Any]], Any]:
            def change(lines: list[Any]) -> None:
                (row,) = lines[place].values()
                row.update(values)

            return change

        for change in (
            changed(1, state='rubbish'),
            changed(1, state=5),
            changed(1, digest='0' * 64),
            changed(1, plan=[]),
            changed(1, plan={}),
            changed(1, strange='x'),
            changed(1, created_at='x' * 5000),
            changed(2, id=1),
            changed(2, detail=None),
            changed(3, data=[1]),
            changed(3, data={'uuid': 'forged'}),
            changed(3, follows={'a': 1}),
            changed(3, follows=[1]),
            changed(3, number=7),
            changed(3, number=-1),
            changed(3, step=9),
            changed(3, step=2**80),
            changed(3, begun='yes'),
            changed(3, label='\ud800'),
            changed(3, image='x'),
            changed(3, image={'file': {'path': 'x', 'sha256': 'x'}}),
            changed(3, image={'file': 'x'}),
            lambda lines: lines.insert(1, lines.pop(2)),
            lambda lines: lines.insert(4, {'images': 1}),
            lambda lines: lines.insert(
                4, {'images': {'path': f'{self.run_id}/0-aa', 'piece': '*'}}
            ),
            lambda lines: lines.pop(1),
            lambda lines: lines.pop(3),
            lambda lines: lines.insert(1, lines[1]),
            lambda lines: lines.insert(4, lines[3]),
            lambda lines: lines.insert(1, {'alembic_version': {'a': 1}}),
            lambda lines: lines.insert(1, {'runs': 1}),
            lambda lines: lines.insert(1, {}),
            lambda lines: lines[0].update(run='../../etc'),
            lambda lines: lines[0].pop('run'),
        ):
            self.forged(change)

    @hypothesis.settings(
        max_examples=60, deadline=None, derandomize=True, database=None
    )
    @hypothesis.given(strategies.data())
    def test_any_file(self, data: Any) -> None:
        def change(lines: list[Any]) -> None:
            place = data.draw(strategies.integers(0, len(lines) - 1))
            made = data.draw(
                strategies.recursive(
                    strategies.none()
                    | strategies.booleans()
                    | strategies.integers()
                    | strategies.floats()
                    | strategies.text(),
                    lambda inner: (
                        strategies.lists(inner)
                        | strategies.dictionaries(strategies.text(), inner)
                    ),
                    max_leaves=5,
                )
            )
            row = next(iter(lines[place].values()))
            if isinstance(row, dict) and data.draw(strategies.booleans()):
                key = data.draw(strategies.sampled_from(sorted(row)))
                row[key] = made
            else:
                lines[place] = made

        others = self.everything(self.other)
        try:
            run_id = self.other.import_(self.signed(change))
        except JournalError:
            self.assertEqual(others, self.everything(self.other))
            return
        # what is taken can be shown and resumed
        self.assertEqual(PLAN.digest, self.other.plan(run_id).digest)
        self.everything(self.other)
        with sqlite3.connect(self.directory / 'other') as connection:
            for table, key in (
                ('runs', 'id'), ('items', 'run_id'), ('events', 'run_id')
            ):  # fmt: skip
                connection.execute(f'DELETE FROM {table} WHERE {key} = ?',
                                   (run_id,))  # fmt: skip

    def test_a_newer_format_is_refused(self) -> None:
        text = self.file.read_text()
        head, _, rest = text.partition('\n')
        values = {**json.loads(head), 'format': 9}
        self.file.write_text(json.dumps(values) + '\n' + rest)
        error = self.assertRaises(JournalError, self.other.import_, self.file)
        self.assertIn('format 9', str(error))

    def test_a_file_is_never_replaced(self) -> None:
        before = self.file.read_bytes()
        self.assertRaises(
            JournalError,
            self.journal.export, self.run_id, self.file,
        )  # fmt: skip
        self.assertEqual(before, self.file.read_bytes())
        self.assertEqual(
            ['other', 'run.jsonl', 'state'],
            sorted(path.name for path in self.directory.iterdir()),
        )

    def test_taking_over_changes_the_marker_and_keeps_the_history(
        self,
    ) -> None:
        self.other.import_(self.file)
        self.other.take_over(
            self.run_id, who='bob', machine='ctl2', reason='ctl1 burnt'
        )
        run = self.other.run(self.run_id)
        self.assertEqual(
            f'nova-recovery run={self.run_id} by=bob@ctl2', run.marker
        )
        event = self.other.events(self.run_id)[-1]
        self.assertEqual(
            ('taken-over', 'bob', 'from anna@ctl1: ctl1 burnt'),
            (event.kind, event.who, event.detail),
        )
