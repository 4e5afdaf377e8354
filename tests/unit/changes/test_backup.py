# SPDX-License-Identifier: Apache-2.0

"""Which backup is ours, and when one is asked for."""

from __future__ import annotations

import datetime
import threading
from typing import Any
from unittest import mock

from nova_recovery.changes import backup
from nova_recovery.changes.backup import CreateBackup
from nova_recovery.cloud.db import backups
from nova_recovery.cloud.db.backups import Backup, Inventory, Volume
from nova_recovery.engine.change import At, Interrupted, Observed, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import (
    ChangeFailed,
    NotRevertible,
    OutcomeUnknown,
)
from tests.base import TestCase
from tests.unit.at import at

NOW = datetime.datetime(2026, 5, 4, 12)


class TestBackup(TestCase):
    def setUp(self) -> None:
        super().setUp()
        #: What cinder has: id -> row.
        self.rows: dict[str, dict[str, Any]] = {}
        self.status = 'available'
        self.known: tuple[Backup, ...] = ()
        for name, answer in (
            ('of_run', lambda *args: list(self.rows.values())),
            ('state', lambda cinder, uuid: self.rows.get(uuid)),
            ('of_cinder', lambda *args: self.inventory()),
        ):
            self.patch(backups, name, answer)
        self.patch(backup, 'POLL', 0.01)

    def patch(self, where: Any, name: str, answer: Any) -> None:
        patch = mock.patch.object(where, name, answer)
        patch.start()
        self.addCleanup(patch.stop)

    def inventory(self) -> Inventory:
        volume = Volume('v', 'v', 'p', self.status, 1, 'b')
        return Inventory({'v': volume}, {'v': self.known}, NOW)

    def good(self, name: str, **given: Any) -> Backup:
        return Backup(
            **{
                'id': name,
                'volume': 'v',
                'project': 'ours',
                'status': 'available',
                'parent': None,
                'taken': NOW,
                'size': 1,
                **given,
            }
        )

    def add(self, uuid: str, status: str, reason: str = '') -> None:
        self.rows[uuid] = {
            'id': uuid, 'status': status, 'fail_reason': reason, 'host': 'h',
        }  # fmt: skip

    def item(self, **data: Any) -> Item:
        values = {
            'volume': 'v', 'size': 1, 'force': False, 'base': None,
            'why_full': '', 'newest': None, 'settle': 0, 'patience': 5,
        }  # fmt: skip
        return Item(
            'one', 'create-backup', 'volume:v', 'v', {**values, **data}
        )

    def at(self, notes: dict[str, str] | None = None, **data: Any) -> At[Any]:
        """Where one is that was begun."""
        return at(self.item(**data), image={'known': []}, notes=notes)

    def first_look(self, **data: Any) -> Observed:
        return CreateBackup().observe(at(self.item(**data)))

    def look(self, begun: At[Any]) -> Observed:
        return CreateBackup().observe(begun)

    def follow(self, notes: dict[str, str], **data: Any) -> str:
        return CreateBackup().follow(self.at(notes, **data))

    # before it is sent

    def test_what_is_there_already_is_not_ours(self) -> None:
        self.add('earlier', 'error')
        seen = self.first_look()
        self.assertIs(State.BEFORE, seen.state)
        begun = at(self.item(), image=seen.image)
        self.assertIs(State.BEFORE, self.look(begun).state)
        self.add('new', 'available')
        seen = self.look(begun)
        self.assertIs(State.AFTER, seen.state)
        self.assertEqual('backup new', seen.detail)

    def test_only_in_a_state_that_was_agreed_to(self) -> None:
        self.status = 'in-use'
        self.assertIs(State.NEITHER, self.first_look().state)
        self.assertIs(State.BEFORE, self.first_look(force=True).state)
        self.status = 'backing-up'
        self.assertIs(State.NEITHER, self.first_look(force=True).state)

    def test_not_where_somebody_was_quicker(self) -> None:
        self.known = (self.good('theirs'),)
        self.assertIs(State.AFTER, self.first_look().state)
        self.assertIs(State.BEFORE, self.first_look(newest='theirs').state)

    def test_not_on_what_broke_since_the_plan(self) -> None:
        full = self.good('full')
        self.known = (full,)
        on_it = {'base': 'full', 'newest': 'full'}
        self.assertIs(State.BEFORE, self.first_look(**on_it).state)
        for known in ((), (self.good('full', status='error_deleting'),)):
            self.known = known
            seen = self.first_look(**on_it)
            self.assertIs(State.NEITHER, seen.state)
            self.assertIn('no longer good', seen.detail)

    # after it was sent, perhaps

    def test_what_became_of_it(self) -> None:
        begun = self.at({'backup': 'b'})
        for status, state in (
            ('creating', State.UNDERWAY),
            ('available', State.AFTER),
            ('restoring', State.AFTER),
            ('error', State.NEITHER),
            ('deleting', State.NEITHER),
        ):
            self.add('b', status, 'no room')
            self.assertIs(state, self.look(begun).state, status)
        self.add('b', 'error', 'no room')
        self.assertIn('no room', self.look(begun).detail)
        self.rows.clear()
        self.assertIn('was deleted', self.look(begun).detail)

    def test_an_api_that_died_half_way(self) -> None:
        """The volume is marked and there is no backup: nobody may know."""
        self.status = 'backing-up'
        self.assertIs(State.UNKNOWN, self.look(self.at()).state)

    def test_waits_while_it_may_still_arrive(self) -> None:
        late = threading.Timer(0.1, self.add, ['ours', 'creating'])
        late.start()
        self.addCleanup(late.join)
        self.assertIs(State.UNDERWAY, self.look(self.at(settle=5)).state)

    def test_the_first_signal_ends_that_wait(self) -> None:
        begun = self.at(settle=1)
        begun.draining.set()
        self.assertRaises(Interrupted, self.look, begun)

    def test_follow_reads_from_a_node_that_is_behind(self) -> None:
        late = threading.Timer(0.1, self.add, ['b', 'available'])
        late.start()
        self.addCleanup(late.join)
        self.assertEqual('backup b', self.follow({'backup': 'b'}, settle=5))

    def test_follow_ends(self) -> None:
        self.add('b', 'error', 'no room')
        failed = self.assertRaises(ChangeFailed, self.follow, {'backup': 'b'})
        self.assertIn('no room', str(failed))
        self.add('b', 'creating')
        self.assertRaises(
            OutcomeUnknown, self.follow, {'backup': 'b'},
            patience=0,
        )  # fmt: skip

    def test_no_backup_is_ever_deleted(self) -> None:
        kind = CreateBackup()
        begun = self.at({'backup': 'b'})
        self.assertEqual('there is no backup', kind.revert(begun))
        self.add('b', 'available')
        refused = self.assertRaises(NotRevertible, kind.revert, begun)
        self.assertIn('openstack volume backup delete b', str(refused))
