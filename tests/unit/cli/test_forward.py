# SPDX-License-Identifier: Apache-2.0

"""A run of which one server can't go back any more, and the others do."""

from __future__ import annotations

import dataclasses
from typing import Any

import fixtures

from nova_recovery import exit_codes
from nova_recovery.engine.change import At
from nova_recovery.engine.plan import Item, Step
from nova_recovery.exceptions import ChangeFailed, OutcomeUnknown
from tests.unit import plans
from tests.unit.cli.runs import RunsTestCase

ENDED = 'at3-ui01'
OTHER = 'at3-ui02'


class Scripted(plans.Claim):
    """All goes well, but what a test says of an item.

    :ivar no: items whose apply is refused
    :ivar lost: items of whose way back nobody knows
    :ivar past: server -> why it can't go back
    """

    def __init__(self, kind: str, looks: bool = False) -> None:
        self.kind, self.looks = kind, looks
        self.no: set[str] = set()
        self.lost: set[str] = set()
        self.past: dict[str, str] = {}

    def apply(self, at: At[Any]) -> str:
        if at.item.id in self.no:
            raise ChangeFailed('no')
        return super().apply(at)

    def revert(self, at: At[Any]) -> str:
        if at.item.id in self.lost:
            raise OutcomeUnknown('no answer')
        at.note(sent=False)
        return super().revert(at)

    def past_undoing(self, at: At[Any]) -> str:
        return self.past.get(at.item.label, '')


class TestForward(RunsTestCase):
    """Two servers of two hosts; one's source cleaned up meanwhile."""

    HOSTS = {ENDED: 'h1', OTHER: 'h2'}

    def setUp(self) -> None:
        super().setUp()
        self.registry = {
            one.kind: one
            for one in (
                Scripted('claim-host'),
                Scripted('move'),
                Scripted('verify', looks=True),
                Scripted('start'),
                Scripted('release-host'),
            )
        }
        self.plan = dataclasses.replace(
            self.plan,
            steps=tuple(
                Step(kind, kind, tuple(self.item(kind, n) for n in (1, 2)))
                for kind in self.registry
            ),
        )
        self.given: list[str] = []
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.changes.claims.give_back', self.give_back
            )
        )

    def give_back(self, plan: Any, cloud: Any, run_id: str, _: str) -> Any:
        self.given.append(run_id)
        return []

    def item(self, kind: str, number: int) -> Item:
        server = dataclasses.replace(
            plans.server(number, kind), follows=(f'host:h{number}',)
        )
        if not kind.endswith('-host'):
            return server
        return Item(
            f'{kind}:h{number}', kind, f'host:h{number}', f'h{number}', {},
            (server.subject,) if kind == 'release-host' else (),
        )  # fmt: skip

    def item_id(self, kind: str, number: int) -> str:
        return self.item(kind, number).id

    def states(self) -> dict[str, list[str]]:
        """Kind -> the states of the first and the second."""
        found: dict[str, list[str]] = {}
        for item in self.journal().items(self.only_run()):
            found.setdefault(item.kind, []).append(item.state)
        return found

    def run_ended(self, code: int, *words: str) -> str:
        return self.ended(code, *words, self.only_run(), '--yes').stderr

    def moved(self) -> None:
        """Both are moved, and neither starts."""
        self.registry['start'].no = {self.item_id('start', n) for n in (1, 2)}
        self.ended(exit_codes.PARTLY, 'host', 'recover', '--yes')
        self.registry['move'].past = {ENDED: 'h1 cleaned up its copy'}

    def undone(self) -> None:
        """The other one went back, and the first may start."""
        self.moved()
        told = self.run_ended(exit_codes.PARTLY, 'run', 'undo')
        self.assertIn('run resume', told)
        self.assertEqual(['done', 'reverted'], self.states()['move'])
        self.assertEqual([], self.given)
        self.registry['start'].no.clear()

    def test_it_goes_forward_and_its_claim_is_given_back(self) -> None:
        self.undone()
        self.run_ended(exit_codes.PARTLY, 'run', 'resume')
        self.assertEqual(
            {
                'claim-host': ['done', 'reverted'],
                'move': ['done', 'reverted'],
                'verify': ['done', 'reverted'],
                'start': ['done', 'skipped'],
                # that claim is given back already
                'release-host': ['done', 'skipped'],
            },
            self.states(),
        )
        # and it is over: what an undo claims again it gives back
        self.run_ended(exit_codes.PARTLY, 'run', 'undo')
        self.assertEqual([self.only_run()] * 2, self.given)
        ended = self.run_ended(exit_codes.REFUSED, 'run', 'undo')
        self.assertNotIn('run resume', ended)

    def test_not_before_the_others_are_back(self) -> None:
        self.moved()
        lost = {self.item_id('move', 2)}
        self.registry['move'].lost = lost
        told = self.run_ended(exit_codes.INTERRUPTED, 'run', 'undo')
        shown = self.ended(0, 'run', 'show', self.only_run()).stdout
        for text in (told, shown):
            self.assertIn('run undo', text)
            self.assertNotIn('run resume', text)
        before = self.states()
        told = self.run_ended(exit_codes.REFUSED, 'run', 'resume')
        self.assertIn('run undo', told)
        self.assertEqual(before, self.states())
        lost.clear()
        told = self.run_ended(exit_codes.PARTLY, 'run', 'undo')
        self.assertIn('run resume', told)
        self.registry['start'].no.clear()
        self.run_ended(exit_codes.PARTLY, 'run', 'resume')
        self.assertEqual(['done', 'skipped'], self.states()['start'])

    def test_stopped_before_its_claim_was_given_back(self) -> None:
        self.undone()
        self.registry['release-host'].no = {self.item_id('release-host', 1)}
        told = self.run_ended(exit_codes.PARTLY, 'run', 'resume')
        self.assertIn('run resume', told)
        self.assertEqual([], self.given)
        self.registry['release-host'].no.clear()
        self.run_ended(exit_codes.PARTLY, 'run', 'resume')
        self.assertEqual('done', self.states()['release-host'][0])

    def test_of_a_run_that_ended_nothing_has_to_go_forward(self) -> None:
        """Its owner uses the first one; the claim is given back."""
        self.ended(0, 'host', 'recover', '--yes')
        self.registry['move'].past = {ENDED: 'it went on'}
        told = self.run_ended(exit_codes.PARTLY, 'run', 'undo')
        self.assertNotIn('run resume', told)
        self.assertEqual(
            {
                'claim-host': ['done', 'reverted'],
                'move': ['done', 'reverted'],
                'verify': ['done', 'reverted'],
                'start': ['done', 'reverted'],
                'release-host': ['reverted', 'reverted'],
            },
            self.states(),
        )
        self.assertEqual([self.only_run()], self.given)
        self.run_ended(exit_codes.REFUSED, 'run', 'resume')
        told = self.run_ended(exit_codes.REFUSED, 'run', 'undo')
        self.assertNotIn('run resume', told)

    def test_a_claim_that_the_undo_took_again_is_given_back(self) -> None:
        """It had been given back although a look had found something."""
        self.registry['verify'].no = {self.item_id('verify', 1)}
        self.plan = dataclasses.replace(
            self.plan,
            steps=tuple(s for s in self.plan.steps if s.name != 'start'),
        )
        self.ended(exit_codes.PARTLY, 'host', 'recover', '--yes')
        self.assertEqual(['done', 'done'], self.states()['release-host'])
        self.registry['move'].past = {ENDED: 'it went on'}
        self.run_ended(exit_codes.PARTLY, 'run', 'undo')
        self.assertEqual('reverted', self.states()['release-host'][0])
        self.run_ended(exit_codes.PARTLY, 'run', 'resume')
        self.assertEqual([], self.given)
        self.registry['verify'].no.clear()
        self.run_ended(exit_codes.PARTLY, 'run', 'resume')
        self.assertEqual([self.only_run()], self.given)

    def test_what_is_half_back_when_its_source_cleans_up_is_kept(self) -> None:
        self.moved()
        self.registry['move'].lost = {self.item_id('move', 2)}
        self.run_ended(exit_codes.INTERRUPTED, 'run', 'undo')
        self.registry['move'].past[OTHER] = 'h2 cleaned up its copy'
        told = self.run_ended(exit_codes.PARTLY, 'run', 'undo')
        self.assertIn('run resume', told)
        self.assertEqual(['done', 'kept'], self.states()['move'])
        self.registry['start'].no.clear()
        self.run_ended(exit_codes.PARTLY, 'run', 'resume')
        self.assertEqual(['done', 'skipped'], self.states()['start'])
        self.assertEqual(['done', 'done'], self.states()['release-host'])
