# SPDX-License-Identifier: Apache-2.0

"""A guest told to reboot: when it is sent, and what its silence means."""

from __future__ import annotations

import threading
from typing import Any
from unittest import mock

from nova_recovery import conf as conf_module
from nova_recovery.changes import guest_reboot
from nova_recovery.changes.guest_reboot import RebootGuest
from nova_recovery.engine.change import At, Interrupted, Observed, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, OutcomeUnknown
from nova_recovery.guests import boot, ssh
from nova_recovery.guests.boot import Boot, NoAnswer
from nova_recovery.guests.ssh import Said, Way
from tests.base import TestCase
from tests.unit.at import at

UUID = '3f57699a-e773-4650-a443-b4b37eed5a06'
OLD = Boot('old', UUID)
NEW = Boot('new', UUID)
STOPPING = Boot('old', UUID, True)
STRANGER = Boot('new', '00000000-e773-4650-a443-b4b37eed5a06')
SILENT = NoAnswer('Connection refused')
CLOSED = NoAnswer('Permission denied', hopeless=True)


def item(**data: Any) -> Item:
    return Item(
        'one', 'reboot-guest', f'guest:{UUID}', 'web',
        {
            'uuid': UUID, 'address': '10.0.0.5', 'why': 'fixed, net',
            'user': None, 'options': [],
            'identity': True, 'connect': 1, 'answer': 5, 'reach': 0.05,
            'settle': 0.05, 'patience': 0.3, **data,
        },
    )  # fmt: skip


class RebootTestCase(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.change = RebootGuest()
        self.stopping = threading.Event()
        for target, name, answer in (
            (guest_reboot, 'POLL', 0.01),
            (guest_reboot, 'SELDOM', 0.01),
            (boot, 'look', self.look),
            (boot, 'reboot', self.reboot),
        ):
            patch = mock.patch.object(target, name, answer)
            patch.start()
            self.addCleanup(patch.stop)
        #: The answers to looks; the last one for ever.
        self.answers: list[Boot | NoAnswer] = []
        self.said = Said(0)
        self.sent: list[str] = []

    def look(self, way: Way) -> Boot:
        self.way = way
        answer = self.answers[0]
        if len(self.answers) > 1:
            self.answers.pop(0)
        if isinstance(answer, NoAnswer):
            raise answer
        return answer

    def reboot(self, way: Way, boot_id: str) -> Said:
        self.sent.append(boot_id)
        return self.said

    def observe(
        self,
        *answers: Boot | NoAnswer,
        notes: dict[str, Any] | None = None,
        **data: Any,
    ) -> Observed:
        """:param notes: what was kept of one that is begun"""
        self.answers = list(answers)
        where = at(item(**data), stopping=self.stopping)
        if notes is not None:
            where = self.begun(notes, **data)
        return self.change.observe(where)

    def begun(
        self, notes: dict[str, Any] | None = None, **data: Any
    ) -> At[Any]:
        return at(item(**data), image={'boot_id': 'old'}, notes=notes)


class TestFirstLook(RebootTestCase):
    def test_ssh_config_is_of_whoever_carries_it_out(self) -> None:
        self.answers = [OLD]
        conf = conf_module.load([])
        for own in (None, '/etc/my'):
            conf.set_override('config_file', own, 'guests')
            # as a plan of somebody else may have it
            forged = item(config_file='/tmp/runs_a_program')
            self.change.observe(at(forged, cloud=mock.Mock(conf=conf)))
            self.assertEqual(own, self.way.config_file)

    def test_the_boot_is_written_down(self) -> None:
        seen = self.observe(OLD)
        self.assertEqual(
            (State.BEFORE, {'boot_id': 'old'}), (seen.state, seen.image)
        )

    def test_a_guest_that_is_starting_is_waited_for(self) -> None:
        seen = self.observe(SILENT, SILENT, OLD, reach=5)
        self.assertIs(State.BEFORE, seen.state)

    def test_one_that_stays_silent_is_named(self) -> None:
        seen = self.observe(SILENT)
        self.assertIs(State.UNKNOWN, seen.state)
        self.assertEqual('10.0.0.5: Connection refused', seen.detail)

    def test_a_key_that_does_not_open_is_not_tried_again(self) -> None:
        seen = self.observe(CLOSED, OLD, reach=5)
        self.assertIs(State.UNKNOWN, seen.state)

    def test_another_machine_at_this_address_is_left_alone(self) -> None:
        seen = self.observe(STRANGER)
        self.assertIs(State.NEITHER, seen.state)
        self.assertIn('is another machine', seen.detail)
        self.assertIs(
            State.NEITHER, self.observe(STRANGER, identity=False).state
        )

    def test_a_machine_that_does_not_say_which_it_is(self) -> None:
        nameless = Boot('old')
        self.assertIs(State.NEITHER, self.observe(nameless).state)
        self.assertIs(
            State.BEFORE, self.observe(nameless, identity=False).state
        )

    def test_somebody_else_shuts_it_down(self) -> None:
        self.assertIs(State.UNDERWAY, self.observe(STOPPING).state)

    def test_the_operator_need_not_wait(self) -> None:
        self.stopping.set()
        self.assertRaises(Interrupted, self.observe, SILENT, reach=60)


class TestAfterACrash(RebootTestCase):
    def test_another_boot_is_done(self) -> None:
        seen = self.observe(NEW, notes={})
        self.assertEqual(
            (State.AFTER, 'rebooted: boot old -> new'),
            (seen.state, seen.detail),
        )

    def test_the_same_boot_that_stays_may_be_told(self) -> None:
        seen = self.observe(OLD, notes={})
        self.assertEqual(
            (State.BEFORE, {'boot_id': 'old'}), (seen.state, seen.image)
        )

    def test_a_request_on_its_way_is_seen_while_it_settles(self) -> None:
        for next_, state in (
            (NEW, State.AFTER),
            (STOPPING, State.UNDERWAY),
            (SILENT, State.UNDERWAY),
        ):
            seen = self.observe(OLD, OLD, next_, notes={}, settle=5)
            self.assertIs(state, seen.state)

    def test_what_it_agreed_to_and_did_not_do_is_for_a_person(self) -> None:
        seen = self.observe(OLD, notes={'accepted': True})
        self.assertIs(State.NEITHER, seen.state)
        self.assertIn('--again web=REASON', seen.detail)

    def test_another_machine_proves_nothing(self) -> None:
        seen = self.observe(STRANGER, notes={})
        self.assertIs(State.UNKNOWN, seen.state)


class TestSending(RebootTestCase):
    def apply(self, *said: Any, **more: Any) -> str:
        self.said = Said(*said, **more)
        self.at = self.begun()
        return self.change.apply(self.at)

    def test_it_names_the_boot_that_it_is_for(self) -> None:
        self.assertEqual('told to reboot (boot old)', self.apply(0))
        self.assertEqual(['old'], self.sent)
        self.assertEqual({'accepted': True}, self.at.notes)

    def test_another_boot_by_now(self) -> None:
        self.assertIn('by somebody else', self.apply(boot.OTHER_BOOT))
        self.assertEqual({}, self.at.notes)

    def test_a_refusal_is_no_reboot(self) -> None:
        error = self.assertRaises(
            ChangeFailed,
            self.apply, 1, err='sudo: a password is required\n',
        )  # fmt: skip
        self.assertEqual(
            'shutdown was refused: sudo: a password is required', str(error)
        )

    def test_a_session_that_ends_without_an_answer_says_nothing(self) -> None:
        for code in (None, ssh.FAILED, 143):
            self.assertRaises(OutcomeUnknown, self.apply, code)


class TestFollowing(RebootTestCase):
    def follow(self, *answers: Boot | NoAnswer, **data: Any) -> str:
        self.answers = list(answers)
        return self.change.follow(self.begun(**data))

    def test_until_it_is_another_boot(self) -> None:
        self.assertEqual(
            'rebooted: boot old -> new',
            self.follow(OLD, STOPPING, SILENT, CLOSED, NEW),
        )

    def test_one_that_goes_on_as_if_nothing_was_said(self) -> None:
        error = self.assertRaises(ChangeFailed, self.follow, OLD, patience=30)
        self.assertIn('did not reboot within 0.05 s', str(error))

    def test_one_that_takes_its_time_to_stop(self) -> None:
        """All the while its boot is the same, which is no refusal."""
        slow = [OLD, *[STOPPING] * 20, SILENT, NEW]
        self.assertIn('new', self.follow(*slow, patience=30))

    def test_one_that_does_not_come_back(self) -> None:
        error = self.assertRaises(
            OutcomeUnknown, self.follow, STOPPING, SILENT
        )
        self.assertEqual(
            'it did not come back within 0.3 s; 10.0.0.5: Connection refused',
            str(error),
        )

    def test_another_machine_that_took_the_address(self) -> None:
        error = self.assertRaises(OutcomeUnknown, self.follow, STRANGER)
        self.assertIn('is another machine', str(error))
