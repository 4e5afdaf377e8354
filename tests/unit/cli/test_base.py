# SPDX-License-Identifier: Apache-2.0

"""What holds for every command, in both programs."""

from __future__ import annotations

import argparse
import json
import subprocess
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import exit_codes
from nova_recovery.cli.base import (
    RecoveryCommand,
    RecoveryLister,
    RecoveryShowOne,
)
from nova_recovery.engine import printable
from nova_recovery.exceptions import Refused
from tests.base import TestCase
from tests.unit.cli.keystone import Keystone
from tests.unit.cli.programs import Commands, Ended, Standalone, UnifiedClient


class Do(RecoveryCommand):
    """Do something."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--end', default='done')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int | None:
        if parsed_args.end == 'refused':
            raise Refused('gate source-fenced refused\n  use --x')
        if parsed_args.end == 'ctrl-c':
            raise KeyboardInterrupt
        if parsed_args.end == 'fault':
            raise ValueError('nobody expects it')
        if parsed_args.end == 'partly':
            return exit_codes.PARTLY
        self.app.stdout.write('done\n')
        return None


class List(RecoveryLister):
    """List things."""

    refuse = False
    partly = False

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        if self.refuse:
            raise Refused('no such gate')
        if self.partly:
            self.exit_code = exit_codes.PARTLY
        return ('name', 'host'), [('at3-ui01', 'np-rcc46')]


class RefusedList(List):
    """Refuse."""

    refuse = True


class PartlyList(List):
    """A cell was down."""

    partly = True


class Show(RecoveryShowOne):
    """Show a thing."""

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        self.exit_code = exit_codes.PARTLY
        return ('name',), ('at3-ui01',)


class WhoAmI(RecoveryCommand):
    """Ask Keystone, twice."""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        for _ in range(2):
            connection = self.connection()
            self.app.stdout.write(f'{connection.current_user_id}\n')


class ShowPlaces(RecoveryCommand):
    """Show what the configuration leads to."""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        cloud = self.cloud(parsed_args)
        names = [known.cell.name for known in cloud.databases.cells]
        self.app.stdout.write(f'{names} {cloud.nova.instances_path}\n')


class Patience(RecoveryCommand):
    """How long a request may take, whatever client sends it."""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        cloud = self.cloud(parsed_args)
        self.app.stdout.write(f'{cloud.connection.session.timeout}\n')


NASTY = '\x1b]0;owned\x07\x1b[2J$(touch pwned) `id` "\\n\nother'


class NastyList(RecoveryLister):
    """A server whose name a tenant chose with care."""

    def take_action(self, parsed_args):
        return ('name',), [(NASTY,)]


class NastyShow(RecoveryShowOne):
    """The same server."""

    def take_action(self, parsed_args):
        return ('name',), (NASTY,)


class Both:
    """What both programs are asked, with the same words."""

    commands: Commands = {
        'example do': Do,
        'example list': List,
        'example refused': RefusedList,
        'example partly': PartlyList,
        'example show': Show,
        'nasty list': NastyList,
        'nasty show': NastyShow,
        'whoami': WhoAmI,
        'patience': Patience,
        'places': ShowPlaces,
    }

    def test_a_command_that_did_its_work_ends_with_0(self):
        ended = self.run_program('example do')
        self.assertEqual(Ended(exit_codes.DONE, 'done\n', ''), ended)

    def test_a_gate_that_refuses_ends_with_3_and_says_why_once(self):
        ended = self.run_program('example do --end refused')
        self.assertEqual(
            Ended(
                exit_codes.REFUSED,
                '',
                'gate source-fenced refused\n  use --x\n',
            ),
            ended,
        )

    def test_debug_shows_where_it_was_refused(self):
        ended = self.run_program('example do --end refused --debug')
        self.assertEqual(exit_codes.REFUSED, ended.code)
        self.assertIn('Traceback', ended.stderr)

    def test_work_half_done_ends_with_4(self):
        ended = self.run_program('example do --end partly')
        self.assertEqual(exit_codes.PARTLY, ended.code)

    def test_ctrl_c_ends_with_130(self):
        ended = self.run_program('example do --end ctrl-c')
        self.assertEqual(exit_codes.INTERRUPTED, ended.code)

    def test_each_end_is_logged_however_it_came(self):
        for end, code in (
            ('done', exit_codes.DONE),
            ('partly', exit_codes.PARTLY),
            ('refused', exit_codes.REFUSED),
            ('ctrl-c', exit_codes.INTERRUPTED),
            ('fault', exit_codes.ERROR),
        ):
            with mock.patch.object(Do, 'log') as log:
                self.run_program(f'example do --end {end}')
            told = [
                call.args[-1]
                for call in log.info.call_args_list
                if 'ended' in call.args[0]
            ]
            self.assertEqual([code], told, end)

    def test_an_unknown_option_ends_with_2(self):
        ended = self.run_program('example do --nonsense')
        self.assertEqual(exit_codes.USAGE, ended.code)
        self.assertIn('--nonsense', ended.stderr)

    def test_an_unknown_command_ends_with_2(self):
        ended = self.run_program('example explode')
        self.assertEqual(exit_codes.USAGE, ended.code)

    def test_a_list_can_be_refused_too(self):
        ended = self.run_program('example refused')
        self.assertEqual(
            Ended(exit_codes.REFUSED, '', 'no such gate\n'), ended
        )

    def test_a_list_with_a_cell_down_is_shown_and_ends_with_4(self):
        ended = self.run_program('example partly -f json')
        self.assertEqual(exit_codes.PARTLY, ended.code)
        self.assertEqual(
            [{'name': 'at3-ui01', 'host': 'np-rcc46'}],
            json.loads(ended.stdout),
        )

    def test_a_show_tells_its_exit_code_too(self):
        ended = self.run_program('example show -f value')
        self.assertEqual(Ended(exit_codes.PARTLY, 'at3-ui01\n', ''), ended)

    def test_names_that_tenants_chose_do_nothing_to_a_terminal(self):
        for words in ('list', 'show'):
            for formatter in ('table', 'value', 'csv', 'shell'):
                if (words, formatter) in (('list', 'shell'), ('show', 'csv')):
                    continue
                ended = self.run_program(f'nasty {words} -f {formatter}')
                self.assertNotIn('\x1b', ended.stdout)
                self.assertNotIn('\x07', ended.stdout)
                self.assertIn(r'\x1b]0;owned', ended.stdout)
        # no name makes a row of its own
        ended = self.run_program('nasty list -f value -c name')
        self.assertEqual(1, len(ended.stdout.splitlines()))

    def test_json_stays_what_it_is(self):
        ended = self.run_program('nasty list -f json')
        self.assertEqual([{'name': NASTY}], json.loads(ended.stdout))
        ended = self.run_program('nasty show -f json')
        self.assertEqual({'name': NASTY}, json.loads(ended.stdout))

    def test_a_shell_that_reads_a_name_carries_nothing_out(self):
        ended = self.run_program('nasty show -f shell')
        read = subprocess.run(
            ['sh', '-c', f'{ended.stdout}printf %s "$name"'],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(printable.clean(NASTY), read.stdout)

    def test_every_command_takes_our_configuration_files(self):
        ended = self.run_program('example list --help')
        self.assertEqual(exit_codes.DONE, ended.code)
        for option in (
            '--recovery-config-file',
            '--nova-config-file',
            '--nova-config-dir',
            '--cinder-config-file',
        ):
            self.assertIn(option, ended.stdout)

    def test_the_files_of_the_command_win_over_the_configured_ones(self):
        ours = self._file(
            '[DEFAULT]\nnova_config_file = /nonexistent/nova.conf\n'
            '[cells]\nconnection = cell1=mysql+pymysql://u:p@127.0.0.1:1/n\n'
        )
        nova = self._file('[DEFAULT]\ninstances_path = /srv/instances\n')
        cinder = self._file('[DEFAULT]\n')
        ended = self.run_program(
            f'places --recovery-config-file {ours} --nova-config-file {nova}'
            f' --cinder-config-file {cinder}'
        )
        self.assertEqual(
            Ended(exit_codes.DONE, "['cell1'] /srv/instances\n", ''), ended
        )

    def test_a_file_that_is_missing_is_named_in_one_line(self):
        nova = self._file('[api_database]\nconnection = sqlite://\n')
        for option in (
            '--recovery-config-file',
            '--nova-config-file',
            '--cinder-config-file',
        ):
            with self.subTest(option=option):
                ended = self.run_program(
                    f'places --nova-config-file {nova} {option} /nonexistent'
                )
                self.assertEqual(exit_codes.ERROR, ended.code)
                self.assertEqual(1, ended.stderr.count('\n'), ended.stderr)
                self.assertIn('/nonexistent', ended.stderr)

    def test_the_first_use_of_an_api_logs_in_and_no_second_one_does(self):
        fake = self._keystone()
        ended = self.run_program('whoami')
        self.assertEqual(Ended(exit_codes.DONE, 'u1\nu1\n', ''), ended)
        self.assertEqual(1, fake.logins)

    def test_no_request_is_waited_for_without_end(self):
        self._keystone()
        own = self._file('[timeouts]\napi = 7\n')
        ended = self.run_program(f'patience --recovery-config-file {own}')
        self.assertEqual(Ended(exit_codes.DONE, '7.0\n', ''), ended)

    def test_a_command_that_needs_no_api_does_not_log_in(self):
        fake = self._keystone()
        self.assertEqual(0, self.run_program('example list').code)
        self.assertEqual(0, fake.logins)

    def test_a_wrong_password_is_told_in_one_line(self):
        self._keystone(OS_PASSWORD='wrong')
        ended = self.run_program('whoami')
        self.assertEqual(exit_codes.ERROR, ended.code)
        self.assertEqual(1, ended.stderr.count('\n'), ended.stderr)
        self.assertIn("can't log in to the cloud", ended.stderr)
        self.assertIn('look at user, password', ended.stderr)

    def test_a_keystone_that_is_down_is_told_in_the_last_line(self):
        self._keystone(OS_AUTH_URL='http://127.0.0.1:1/v3')
        ended = self.run_program('whoami')
        self.assertEqual(exit_codes.ERROR, ended.code)
        # keystoneauth warns first that it could not ask for the versions
        last = ended.stderr.splitlines()[-1]
        self.assertIn("can't log in to the cloud", last)
        self.assertIn('nothing listens at http://127.0.0.1:1: ', last)

    def test_missing_credentials_are_told_in_one_line(self):
        ended = self.run_program('whoami')
        self.assertEqual(exit_codes.ERROR, ended.code)
        self.assertEqual(1, ended.stderr.count('\n'), ended.stderr)
        self.assertIn("can't log in to the cloud", ended.stderr)

    def _file(self, text: str) -> str:
        return self.create_tempfiles([('file', text)])[0]

    def _keystone(self, **environment: str) -> Keystone:
        fake = self.useFixture(Keystone())
        for name, value in {**fake.environment, **environment}.items():
            self.useFixture(fixtures.EnvironmentVariable(name, value))
        return fake


class TestStandalone(Both, Standalone, TestCase):
    def test_credentials_can_be_given_as_options(self):
        fake = self.useFixture(Keystone())
        options = ' '.join(
            f'--{name.lower().replace("_", "-")} {value}'
            for name, value in fake.environment.items()
        )
        ended = self.run_program(f'{options} whoami')
        self.assertEqual(Ended(exit_codes.DONE, 'u1\nu1\n', ''), ended)

    def test_no_command_is_a_usage_error(self):
        ended = self.run_program('')
        self.assertEqual(exit_codes.USAGE, ended.code)
        self.assertIn('which command?', ended.stderr)

    def test_an_abbreviated_global_option_reaches_the_command(self):
        ended = self.run_program('example do --deb')
        self.assertEqual(exit_codes.USAGE, ended.code)
        self.assertIn('unrecognized arguments: --deb', ended.stderr)


class TestUnifiedClient(Both, UnifiedClient, TestCase):
    pass
