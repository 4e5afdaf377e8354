# SPDX-License-Identifier: Apache-2.0

"""The record of a run, as it is handed to the review of an incident."""

from __future__ import annotations

from html import parser
import json
import pathlib
import re
import stat
from typing import Any

from nova_recovery import exit_codes
from nova_recovery.exceptions import RecoveryError
from nova_recovery.report import run
from tests.base import TestCase
from tests.unit import golden, plans
from tests.unit.cli.test_run import RunTestCase

GOLDEN = pathlib.Path(__file__).parent / 'golden'
EVIL = '<script>alert(1)</script>\x1b[2J'


def record() -> dict[str, Any]:
    """A run of which one item failed."""
    who = {'who': 'anna', 'machine': 'ctl1'}
    return {
        'format': 1,
        'run': {
            'id': '98c9e74a',
            'procedure': 'host-recover',
            'title': 'recover servers of np-rcc54',
            'state': 'partly',
            **who,
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
    """The words of a page and its tags that were opened and not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = '', set()
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.add(tag)
        if tag not in ('meta', 'br'):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text += data


class WrittenTest(TestCase):
    def made(self, form: str, of: dict[str, Any]) -> str:
        return ''.join(run.FORMATS[form](of))

    def test_text(self) -> None:
        text = self.made('text', record())
        golden.compare(self, GOLDEN / 'run.txt', text)

    def test_html(self) -> None:
        page = self.made('html', record())
        golden.compare(self, GOLDEN / 'run.html', page)
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
        odd = record()
        for place in (
            odd['run'],
            odd['gates'][0],
            odd['overrides'][0],
            odd['events'][0],
            odd['steps'][0]['items'][0],
        ):
            for name, value in place.items():
                if isinstance(value, str) and not name.endswith('_at'):
                    place[name] = EVIL
        odd['run']['state'] = odd['steps'][0]['items'][0]['state'] = 'done'
        odd['steps'][0]['items'][0]['changes'] = [EVIL]
        odd['steps'][0]['items'][0]['before'] = {EVIL: EVIL}
        odd['plan'].update(
            left_out=[{'subject': EVIL, 'label': EVIL, 'why': EVIL}],
            notes=[EVIL],
        )
        page = self.made('html', odd)
        self.assertNotIn('script', Reader(page).tags)
        for text in (page, self.made('text', odd)):
            self.assertNotIn('\x1b', text)

    def test_of_very_many_those_that_failed_are_all_there(self) -> None:
        many = record()
        many['steps'][0]['items'] = [
            item(number, 'failed' if number % 100 == 99 else 'done', '')
            for number in range(5000)
        ]
        for form in ('text', 'html'):
            text = self.made(form, many)
            self.assertIn('at3-ui4999', text)
            self.assertIn('and 3950 more that went well', text)
            self.assertNotIn('at3-ui4998', text)
        self.assertIn('at3-ui4998', self.made('json', many))


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
        made = json.loads(ended.stdout)
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
        self.assertIn('Overridden gates', text)
        self.assertRegex(text, r'failed +at3-ui02 \S+  no valid host')

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
