# SPDX-License-Identifier: Apache-2.0

"""The record of a run, as it is handed to the review of an incident."""

from __future__ import annotations

from html import parser
import json
import pathlib
import re
import stat
from typing import Any

import fixtures

from nova_recovery import exit_codes
from nova_recovery.exceptions import RecoveryError
from nova_recovery.report import writing
from tests.base import TestCase
from tests.unit import golden, plans
from tests.unit.cli.test_run import RunTestCase

GOLDEN = pathlib.Path(__file__).parent / 'golden'
EVIL = '"><script>alert(1)</script>\x1b[2J\u202egnp\u2066'


def record() -> dict[str, Any]:
    """A story of one run, of which one item failed."""
    who = {'who': 'anna', 'machine': 'ctl1'}
    subjects = [f'server:{plans.UUID.format(number)}' for number in (1, 2)]
    return {
        'format': 3,
        'made_at': '2026-03-01T15:00:00.000Z',
        'made_with': 'nova-recovery 1.0.0',
        'title': 'Run 98c9e74a: recover servers of np-rcc54',
        'began_at': '2026-03-01T14:02:11.000Z',
        'ended_at': '2026-03-01T14:21:02.300Z',
        'took': '18 min',
        'sums': {
            'servers': 2,
            'up': 1,
            'down': 1,
            'median': 595.0,
            'longest': 595.0,
            'total': 1726.3,
            'items': {'done': 1, 'failed': 1},
        },
        'failures': [
            {
                'run': '98c9e74a',
                'step': 'move what nova refuses to evacuate',
                'mended_by': '',
                'number': 2,
                'kind': 'move',
                'subject': subjects[1],
                'label': 'at3-ui02',
                'name': plans.UUID.format(2),
                'state': 'failed',
                'detail': 'no valid host',
                'finished_at': '2026-03-01T14:12:06Z',
            }
        ],
        'left': [
            left('Go on', '', 'nova-recovery run resume 98c9e74a'),
            left('Not up', 'at3-ui02: down for 18 min 51 s at least'),
        ],
        'decisions': [
            {
                'run': '98c9e74a',
                'at': '2026-03-01T14:12:00.100Z',
                **who,
                'what': 'overridden',
                'about': 'disk-reachable at3-ui02',
                'reason': 'the owner has the image',
                'observed': 'its disk is local to np-rcc54',
            }
        ],
        'servers': [
            server(subjects[1], 'at3-ui02', 'failed', ''),
            server(subjects[0], 'at3-ui01', 'done', '14:12:06.000'),
        ],
        'runs': [a_run(who)],
    }


def left(what: str, text: str, command: str = '') -> dict[str, Any]:
    """A line of what is left to do."""
    return {
        'run': '98c9e74a',
        'what': what,
        'text': text,
        'command': command,
        'subject': '',
    }


def server(subject: str, label: str, state: str, until: str) -> dict[str, Any]:
    """A row of a server that went down with its host."""
    return {
        'subject': subject,
        'label': label,
        'name': subject.partition(':')[2],
        'host': 'np-rcc54',
        'target': 'np-rcc46',
        'method': 'move',
        'state': state,
        'detail': 'moved to np-rcc46' if until else 'no valid host',
        'group': 'start those that ran',
        'runs': ['98c9e74a'],
        'down': [
            {
                'since': '2026-03-01T14:02:11.000Z',
                'how': 'known',
                'until': f'2026-03-01T{until}Z' if until else '',
                'seen': False,
                'last': '' if until else '2026-03-01T14:21:02.300Z',
            }
        ],
        'up': bool(until),
        'seconds': 595.0 if until else 1131.3,
        'at_least': not until,
        'at_most': False,
    }


def a_run(who: dict[str, str]) -> dict[str, Any]:
    """It alone, as the journal has it."""
    return {
        'run': {
            'id': '98c9e74a',
            'procedure': 'host-recover',
            'title': 'recover servers of np-rcc54',
            'state': 'partly',
            'reason': '',
            **who,
            'cloud': 'practice',
            'versions': ['nova-recovery 1.0.0'],
            'command': 'nova-recovery host recover np-rcc54',
            'digest': '19bc4713' * 8,
            'created_at': '2026-03-01T14:12:00.100Z',
            'started_at': '2026-03-01T14:12:01.200Z',
            'finished_at': '2026-03-01T14:21:02.300Z',
            'took': '9 min',
            'counts': {'done': 1, 'failed': 1},
        },
        'plan': {
            'arguments': {'host': 'np-rcc54'},
            'created_at': '2026-03-01T14:11:30Z',
            'down_since': {'host:np-rcc54': '2026-03-01T14:02:11.000Z'},
            'notes': ['np-rcc54 cleans up after itself when it returns.'],
            'left_out': [
                {
                    'subject': 'server:9',
                    'label': 'at3-ui09',
                    'why': 'deleted meanwhile',
                }
            ],
        },
        'gates': [
            {
                'name': 'disk-reachable',
                'subject': 'at3-ui02',
                'klass': 'soft',
                'state': 'overridden',
                'observed': 'its disk is local to np-rcc54',
                'remedy': '',
                'reason': 'the owner has the image',
            }
        ],
        'overrides': [
            {
                'gate': 'disk-reachable',
                'subject': 'at3-ui02',
                'reason': 'the owner has the image',
            }
        ],
        'events': [
            {
                'at': '2026-03-01T14:12:00.100Z',
                'kind': 'created',
                'detail': 'nova-recovery host recover np-rcc54',
                **who,
            },
            {
                'at': '2026-03-01T14:21:02.300Z',
                'kind': 'finished',
                'detail': '',
                **who,
            },
        ],
        'sessions': [
            {
                'began': 'started',
                'ended': 'finished',
                'since': '2026-03-01T14:12:01.200Z',
                'until': '2026-03-01T14:21:02.300Z',
                **who,
            }
        ],
        'steps': [
            {
                'name': 'move',
                'heading': 'Step 1',
                'title': 'move what nova refuses to evacuate',
                'counts': {'done': 1, 'failed': 1},
                'items': [
                    item(1, 'done', 'moved to np-rcc46'),
                    item(2, 'failed', 'no valid host'),
                ],
            }
        ],
    }


def item(number: int, state: str, detail: str) -> dict[str, Any]:
    """What came of one server."""
    uuid = plans.UUID.format(number)
    return {
        'id': f'move:{uuid}',
        'number': number,
        'kind': 'move',
        'subject': f'server:{uuid}',
        'label': f'at3-ui{number:02}',
        'name': uuid,
        'state': state,
        'detail': detail,
        'started_at': '2026-03-01T14:12:02Z',
        'finished_at': '2026-03-01T14:12:06Z',
        'took': '4 s',
        'changes': ['~ host, node  np-rcc54 -> np-rcc46'],
        'before': {'host': 'np-rcc54'},
        'notes': {},
    }


class Reader(parser.HTMLParser):
    """The words of a page, its tags, and those that were not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = '', set()
        self.open: list[str] = []
        self.feed(page)

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.tags.add(tag)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.add(tag)
        if tag not in ('meta', 'br'):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ['style']:
            self.text += data


class WrittenTest(TestCase):
    def made(self, form: str, of: dict[str, Any]) -> str:
        return ''.join(writing.FORMATS[form](of))

    def test_text(self) -> None:
        text = self.made('text', record())
        golden.compare(self, GOLDEN / 'report.txt', text)

    def test_html(self) -> None:
        page = self.made('html', record())
        golden.compare(self, GOLDEN / 'report.html', page)
        read = Reader(page)
        self.assertEqual([], read.open)
        self.assertNotRegex(page, 'https?://|src=')

    def test_html_says_what_the_text_says(self) -> None:
        page = Reader(self.made('html', record())).text
        for word in re.findall(r'[\w@.-]+', self.made('text', record())):
            if not re.fullmatch('[=-]+', word):
                self.assertIn(word, page)

    def test_json_is_the_record(self) -> None:
        self.assertEqual(record(), json.loads(self.made('json', record())))

    def test_what_tenants_and_operators_wrote_stays_text(self) -> None:
        odd = evil(record())
        page = self.made('html', odd)
        self.assertNotIn('script', Reader(page).tags)
        # in the picture as well, and where it leads to
        self.assertIn('svg', Reader(page).tags)
        self.assertIn('&lt;script&gt;', page)
        for text in (page, self.made('text', odd)):
            for sign in ('\x1b', '\u202e', '\u2066'):
                self.assertNotIn(sign, text)
        self.assertEqual(odd, json.loads(self.made('json', odd)))

    def test_nothing_of_elsewhere_and_nothing_that_runs(self) -> None:
        page = self.made('html', record())
        self.assertNotRegex(page, r'https?:|//|url\(|@import|<script|\son\w+=')
        for target in re.findall('href="([^"]*)"', page):
            self.assertTrue(target.startswith('#'), target)
            self.assertIn(f'id="{target[1:]}"', page)

    def test_of_very_many_those_that_failed_are_all_there(self) -> None:
        many = record()
        many['servers'] = []
        many['runs'][0]['steps'][0]['items'] = [
            item(number, 'failed' if number % 100 == 99 else 'done', '')
            for number in range(5000)
        ]
        for form in ('text', 'html'):
            text = self.made(form, many)
            self.assertIn('at3-ui4999', text)
            self.assertIn('and 3950 more that went well', text)
            self.assertNotIn('at3-ui4998', text)
        self.assertIn('at3-ui4998', self.made('json', many))


#: Words by which the code knows what is meant; all else is anybody's.
OURS = ('state', 'how', 'ended', 'what', 'klass')


def evil(value: Any, name: str = '') -> Any:
    """The same with a hostile text wherever there may be one."""
    if isinstance(value, dict):
        return {key: evil(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [evil(one, name) for one in value]
    times = ('_at', 'since', 'until', 'last')
    if isinstance(value, str) and not name.endswith((*times, *OURS)):
        return value + EVIL
    return value


class ReportTest(RunTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.move.refuses = ('at3-ui02',)
        self.plan = plans.make(2, (plans.LOCAL_DISK,))
        self.ended(
            exit_codes.PARTLY,
            'host',
            'recover',
            '--yes',
            '--override',
            'disk-reachable:at3-ui04=the owner has the image',
        )
        self.run_id = self.only_run()

    def test_it_has_who_why_what_and_how_it_was_before(self) -> None:
        ended = self.ended(0, 'run', 'report', self.run_id, '--format', 'json')
        (made,) = json.loads(ended.stdout)['runs']
        self.assertEqual(
            ('anna', 'ctl1', 'partly'),
            tuple(made['run'][name] for name in ('who', 'machine', 'state')),
        )
        self.assertEqual(
            [
                {
                    'gate': 'disk-reachable',
                    'subject': 'at3-ui04',
                    'reason': 'the owner has the image',
                }
            ],
            made['overrides'],
        )
        self.assertEqual(
            ['created', 'started', 'finished'],
            [event['kind'] for event in made['events']],
        )
        moved = made['steps'][1]['items'][0]
        self.assertEqual(
            ('done', {'host': 'np-rcc54'}, 'moved to np-rcc46'),
            (moved['state'], moved['before'], moved['detail']),
        )
        self.assertIn('~ host, node  np-rcc54 -> np-rcc46', moved['changes'])
        self.assertLessEqual(moved['started_at'], moved['finished_at'])

    def test_text_is_for_a_ticket(self) -> None:
        text = self.ended(0, 'run', 'report', self.run_id).stdout
        self.assertIn('Overrides and decisions', text)
        self.assertRegex(text, r'failed +at3-ui02 \S+  no valid host')

    def test_no_secret_that_somebody_gave_as_a_reason(self) -> None:
        journal = self.journal()
        (run,) = journal.runs()
        journal.overridden(
            run.id, 'capacity: password=geheim', who='anna', machine='ctl1'
        )
        for form in ('text', 'html', 'json'):
            words = ('run', 'report', run.id, '--format', form)
            made = self.ended(0, *words).stdout
            self.assertNotIn('geheim', made)
            self.assertIn('password=***', made)

    def test_which_cloud_it_was(self) -> None:
        for name, value, told in (
            (
                'OS_AUTH_URL',
                'http://eve:x@keystone.example:5000/v3',
                'keystone.example',
            ),
            ('OS_CLOUD', 'practice', 'practice'),
        ):
            self.useFixture(fixtures.EnvironmentVariable(name, value))
            self.ended(
                exit_codes.PARTLY,
                'host',
                'recover',
                '--yes',
                '--override',
                'disk-reachable:at3-ui04=known',
            )
            newest = self.journal().runs()[0]
            made = self.ended(0, 'run', 'report', newest.id).stdout
            self.assertIn(f'Cloud:      {told}\n', made)

    def test_several_runs_are_one_report(self) -> None:
        other = self.journal().create_run(
            plans.make(1), who='berta', machine='ctl2', command='x'
        )
        made = self.ended(
            0, 'run', 'report', other, self.run_id, '--format', 'json'
        ).stdout
        self.assertEqual(
            [self.run_id, other],
            [one['run']['id'] for one in json.loads(made)['runs']],
        )

    def test_a_file_is_for_its_owner_only(self) -> None:
        path = self.folder / 'report.html'
        ended = self.ended(
            0,
            'run',
            'report',
            self.run_id,
            '--format',
            'html',
            '--output',
            str(path),
        )
        self.assertEqual('', ended.stdout)
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
        self.assertIn('no valid host', Reader(path.read_text()).text)

    def test_a_file_that_cant_be_written(self) -> None:
        ended = self.ended(
            RecoveryError.exit_code,
            'run',
            'report',
            self.run_id,
            '--output',
            str(self.folder / 'none' / 'report.txt'),
        )
        self.assertIn("report.txt: can't be written", ended.stderr)
