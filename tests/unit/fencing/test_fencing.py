# SPDX-License-Identifier: Apache-2.0

"""Small programs that a site might configure, run for real."""

from __future__ import annotations

import pathlib
import shlex
import stat
import sys
import textwrap

import fixtures

from nova_recovery import conf as conf_module
from nova_recovery import fencing
from nova_recovery.exceptions import ChangeFailed, ConfigError
from nova_recovery.fencing import Driver, programs, Status
from tests.base import TestCase


class Site(TestCase):
    """A site with its own nova-recovery.conf and programs.

    :ivar folder: where both are
    """

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def program(self, body: str) -> str:
        """Write a Python program; return its path."""
        path = self.folder / 'fence_site'
        path.write_text(f'#!{sys.executable}\n{textwrap.dedent(body)}')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def driver(self, words: str = '', **options: str) -> Driver:
        """The driver of a configuration with these options."""
        path = self.folder / 'nova-recovery.conf'
        path.write_text(
            '[fencing]\n'
            + ''.join(f'{name} = {value}\n' for name, value in options.items())
        )
        return fencing.load(conf_module.load([str(path)]), words)

    def status(self, command: str) -> Status:
        """What such a command_status says of np-rcc54."""
        return self.driver(driver='command', command_status=command).status(
            'np-rcc54'
        )


class StatusTest(Site):
    def says(self, text: str, code: int, errors: str = '') -> Status:
        """What a program proves that prints this and ends so."""
        path = self.program(
            f"""
            import sys
            sys.stdout.write({text!r})
            sys.stderr.write({errors!r})
            sys.exit({code})
            """
        )
        return self.status(path)

    def test_what_real_programs_say(self) -> None:
        # fence_ipmilan 4.12 and fence_redfish 4.12, ipmitool 1.8, curl
        for expected, text, code in (
            ('off', 'Status: OFF\n', 2),
            ('on', 'Status: ON\n', 0),
            ('off', 'Chassis Power is off\n', 0),
            ('on', 'Chassis Power is on\n', 0),
            ('off', 'off\n', 2),
            ('off', '{"Id": "1","PowerState":"Off","Status": {}}', 0),
            ('off', '{\n  "Id": "1",\n  "PowerState": "Off",\n}\n', 0),
            ('on', '{"PowerState": "On"}\n', 0),
            ('unknown', '{"PowerState": "PoweringOff"}\n', 0),
            ('unknown', '{"PowerState": "Paused"}\n', 0),
        ):
            self.assertEqual(expected, self.says(text, code).state, text)

    def test_off_is_told_with_the_words_of_the_program(self) -> None:
        found = self.says('Status: OFF\n', 2)
        self.assertIn('off, says command_status: Status: OFF', found.detail)

    def test_verbose_agents_say_more_on_stderr(self) -> None:
        debug = (
            'INFO: Executing: ipmitool -H np-rcc54 chassis power status\n'
            'DEBUG: 0 Chassis Power is off\n'
        )
        self.assertEqual('off', self.says('Status: OFF\n', 2, debug).state)
        self.assertEqual('unknown', self.says('', 2, debug).state)

    def test_a_usage_text_proves_nothing(self) -> None:
        argparse = (
            'usage: fence_site [-h] --password-file F {on,off,status}\n'
            'fence_site: error: the following arguments are required: F\n'
        )
        for text, errors in (
            (argparse, ''),
            ('', argparse),
            ('Usage: fence_site [on|off]\non\noff\n', ''),
            ('Actions:\n  off   turns it off\n', ''),
            ('Status: OFF\n', argparse),
        ):
            found = self.says(text, 2, errors)
            self.assertEqual('unknown', found.state, found.detail)

    def test_a_real_program_called_wrongly_proves_nothing(self) -> None:
        path = self.program(
            """
            import argparse
            parser = argparse.ArgumentParser()
            parser.add_argument('--password-file', required=True)
            parser.add_argument('action', choices=['on', 'off', 'status'])
            parser.parse_args()
            """
        )
        self.assertEqual('unknown', self.status(f'{path} status').state)

    def test_an_exit_code_that_contradicts_proves_nothing(self) -> None:
        for text, code in (
            ('Status: OFF\n', 0),
            ('Status: OFF\n', 1),
            ('Status: ON\n', 2),
            ('Chassis Power is off\n', 1),
            ('Chassis Power is off\n', 2),
            ('Status: ON\nStatus: OFF\n', 2),
            ('"PowerState": "Off"\n"PowerState": "On"\n', 0),
            ('"PowerState":"On","PowerState":"Off"\n', 0),
        ):
            self.assertEqual('unknown', self.says(text, code).state, text)

    def test_an_error_beside_it_proves_nothing(self) -> None:
        # fence_ipmilan tells this with 1, others have been seen with 2
        error = 'ERROR: Failed: Unable to obtain correct plug status\n'
        for code in (1, 2):
            found = self.says('Status: OFF\n', code, error)
            self.assertEqual('unknown', found.state)

    def test_off_in_passing_proves_nothing(self) -> None:
        for text in (
            'plug 14 was off by one\n',
            'Status: OFFLINE\n',
            'turned off the log\n',
            'Status: OFF?\n',
        ):
            self.assertEqual('unknown', self.says(text, 2).state, text)

    def test_exit_code_0_without_a_word_is_on(self) -> None:
        self.assertEqual('on', self.says('', 0).state)

    def test_any_other_exit_code_proves_nothing(self) -> None:
        for code in (1, 3, 255):
            path = self.program(
                f"""
                import sys
                sys.exit(print("no route to host", file=sys.stderr) or {code})
                """
            )
            found = self.status(path)
            self.assertEqual('unknown', found.state)
            self.assertIn('no route to host', found.detail)

    def test_a_program_that_was_killed_proves_nothing(self) -> None:
        path = self.program('import os; os.kill(os.getpid(), 2)')
        self.assertEqual('unknown', self.status(path).state)

    def test_a_program_that_hangs_proves_nothing(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch('nova_recovery.fencing.PATIENCE', 0.2)
        )
        path = self.program('import signal; signal.pause()')
        found = self.status(f'{path} --password hunter2')
        self.assertEqual(
            Status(
                'unknown',
                '[fencing] command_status for np-rcc54: no answer within '
                '0.2 s: look at the power controller',
            ),
            found,
        )

    def test_a_missing_program_proves_nothing(self) -> None:
        found = self.status('/nowhere/fence_site -a {host}')
        self.assertEqual('unknown', found.state)
        self.assertIn('no program /nowhere/fence_site here', found.detail)

    def test_nor_does_one_that_may_not_be_run(self) -> None:
        path = self.folder / 'fence_site'
        path.write_text('#!/bin/sh\necho off\nexit 2\n')
        self.assertIn('may not be run', self.status(str(path)).detail)

    def test_what_goes_wrong_is_told_with_what_to_do(self) -> None:
        # fence_ipmilan and fence_redfish 4.12, ipmitool 1.8.19, as they said
        # it; sh of one that isn't there
        when = '2026-11-29 14:15:49,478 ERROR: '
        usage = f"\n{when}Please use '-h' for usage\n"
        for text, told in (
            (f'{when}Connection timed out', 'does not answer'),
            (
                f'{when}Failed: You have to enter fence address{usage}',
                'by hand',
            ),
            (
                f'ERROR:root:Parse error: option --lan not recognized{usage}',
                'called wrongly',
            ),
            (
                f'{when}Ipmitool not found or not accessible{usage}',
                'not installed',
            ),
            (
                f'{when}Failed: Unable to obtain correct plug status or plug '
                'is not available',
                'no such plug',
            ),
            (
                f'{when}Unable to connect/login to fencing device',
                'refuses the login',
            ),
            (f'{when}Failed: Timed out waiting to power OFF', 'at the host'),
            (
                f'{when}Failed: send_get_request: HTTPSConnectionPool(host='
                "'127.0.0.1', port=443): Max retries exceeded with url: /x "
                '(Caused by NewConnectionError(...: [Errno 111] Connection '
                f"refused')){usage}",
                'does not answer',
            ),
            (
                'Error: Unable to establish IPMI v2 / RMCP+ session',
                'does not answer',
            ),
            (
                'Address lookup for nosuch.invalid failed\nCould not open '
                'socket!\nError: Unable to establish IPMI v2 / RMCP+ session',
                'can not be resolved',
            ),
            (
                'Could not open device at /dev/ipmi0 or /dev/ipmi/0 or '
                '/dev/ipmidev/0: No such file or directory',
                '-I lanplus',
            ),
            ('sh: 1: ipmitool: not found', 'not installed'),
            (
                'Traceback (most recent call last):\n  File "fencing.py", '
                "line 4\nModuleNotFoundError: No module named 'pexpect'",
                'not installed',
            ),
        ):
            found = self.says('', 1, text)
            self.assertEqual('unknown', found.state, text)
            self.assertIn(told, found.detail, text)
            self.assertNotIn('ERROR', found.detail)

    def test_what_is_not_known_is_quoted(self) -> None:
        self.assertIn(
            'plug 7 is on fire', self.says('', 1, 'plug 7 is on fire').detail
        )

    def test_a_command_that_cant_be_split_proves_nothing(self) -> None:
        found = self.status('fence_site --lanplus "{host}')
        self.assertEqual('unknown', found.state)
        self.assertIn('command_status', found.detail)

    def test_no_command_proves_nothing(self) -> None:
        found = self.driver(driver='command').status('np-rcc54')
        self.assertEqual(
            Status('unknown', '[fencing] command_status is not set'), found
        )

    def test_output_that_is_no_text_is_no_matter(self) -> None:
        path = self.program(
            r"""
            import sys
            sys.stdout.buffer.write(b"Status: OFF\n\xff\n")
            sys.exit(2)
            """
        )
        self.assertEqual('off', self.status(path).state)

    def test_the_host_is_one_word_and_no_shell_sees_it(self) -> None:
        path = self.program(
            'import sys; print(sys.argv[1:]); print("off"); sys.exit(2)'
        )
        driver = self.driver(
            driver='command',
            command_status=f"{path} -n '{{host}} ipmi' '$$PATH'",
        )
        self.assertIn(
            "['-n', 'a;b ipmi', '$PATH']", driver.status('a;b').detail
        )

    def test_it_reads_no_terminal(self) -> None:
        path = self.program('input("Password: ")')
        found = self.status(path)
        self.assertEqual('unknown', found.state)
        self.assertIn('EOFError', found.detail)

    def test_many_words_are_cut(self) -> None:
        path = self.program('print("x " * 1000); raise SystemExit(2)')
        self.assertLess(len(self.status(path).detail), 250)


class ControlTest(Site):
    """What is called off must not be called so of everything."""

    def controlled(self, said: dict[str, str], *controls: str) -> Status:
        """What is proved of np-rcc54, by what the program says of hosts."""
        path = self.program(
            f"""
            import sys
            said = {said}.get(sys.argv[1], 'OFF')
            print('Status:', said)
            sys.exit({{'ON': 0, 'OFF': 2}}.get(said, 1))
            """
        )
        return self.driver(
            driver='command',
            command_status=f'{path} {{host}}',
            control_host=','.join(controls),
        ).status('np-rcc54')

    def test_a_host_that_is_on_is_said_to_be_on(self) -> None:
        found = self.controlled({'np-rcc4': 'ON'}, 'np-rcc4')
        self.assertEqual('off', found.state)
        self.assertIn('np-rcc4 is on', found.detail)

    def test_a_program_that_calls_every_host_off_proves_nothing(self) -> None:
        found = self.controlled({}, 'np-rcc4', 'np-rcc5')
        self.assertEqual('unknown', found.state)
        self.assertIn('np-rcc4: off, says command_status', found.detail)

    def test_one_of_them_is_enough(self) -> None:
        found = self.controlled({'np-rcc5': 'ON'}, 'np-rcc4', 'np-rcc5')
        self.assertEqual('off', found.state)

    def test_a_control_that_does_not_answer_is_none(self) -> None:
        found = self.controlled({'np-rcc4': 'mute'}, 'np-rcc4')
        self.assertEqual('unknown', found.state)

    def test_a_host_is_no_control_of_itself(self) -> None:
        found = self.controlled({}, 'np-rcc54')
        self.assertEqual('off', found.state)
        self.assertIn('not tried on a host that is on', found.detail)

    def test_without_a_control_that_is_told(self) -> None:
        found = self.controlled({})
        self.assertEqual('off', found.state)
        self.assertIn('[fencing] control_host', found.detail)


class SecretsTest(Site):
    ECHO = 'import sys; print("Running:", *sys.argv); raise SystemExit(1)'

    def test_a_password_never_comes_back(self) -> None:
        path = self.program(self.ECHO)
        for words in (
            '-l root -p hunter2',
            '--username root --password hunter2',
            '--password=hunter2',
            '--ssh-passphrase hunter2',
            '--api-token hunter2',
            '-I lanplus -P hunter2',
            '-k hunter2',
        ):
            found = self.status(f'{path} {words} -a {{host}}')
            self.assertNotIn('hunter2', found.detail)
            self.assertIn('***', found.detail)
            self.assertIn('-a np-rcc54', found.detail)

    def test_a_command_line_that_is_kept_has_no_password(self) -> None:
        for typed in (
            'curl -k -u root:hunter2 -X POST https://bmc/',
            'curl -uroot:hunter2 https://bmc/',
            'curl --user root:hunter2 https://bmc/',
            'curl --user=root:hunter2 https://bmc/',
            "sh -c 'curl -u root:hunter2 https://bmc/'",
            'fence_ipmilan -phunter2 -a np-rcc54',
            '/usr/bin/ipmitool -H np-rcc54 -Phunter2 power off',
            'site-off --password=hunter2',
            'env IPMI_PASSWORD=hunter2 ipmitool -E power off',
        ):
            shown = programs.shown('[drill] site_power_off', typed)
            self.assertNotIn('hunter2', shown)
            self.assertIn('***', shown)
            said = programs._said(f'{typed}: hunter2', shlex.split(typed))
            if not typed.startswith('sh '):
                self.assertNotIn('hunter2', said)

    def test_an_empty_password_hides_nothing(self) -> None:
        found = self.status(f"{self.program(self.ECHO)} -p '' -a {{host}}")
        self.assertIn('-a np-rcc54', found.detail)

    def test_nor_does_it_when_turning_off_fails(self) -> None:
        path = self.program(self.ECHO)
        driver = self.driver(
            driver='command', command_off=f'{path} -p hunter2 -a {{host}}'
        )
        error = self.assertRaises(ChangeFailed, driver.off, 'np-rcc54')
        self.assertNotIn('hunter2', str(error))
        self.assertIn('ended with 1: Running:', str(error))


class OffTest(Site):
    def test_off_runs_the_other_command(self) -> None:
        done = self.folder / 'done'
        path = self.program(
            f"""
            import pathlib, sys
            pathlib.Path({str(done)!r}).write_text(sys.argv[1])
            """
        )
        driver = self.driver(driver='command', command_off=f'{path} {{host}}')
        driver.off('np-rcc54')
        self.assertEqual('np-rcc54', done.read_text())

    def test_what_cant_be_run_has_turned_nothing_off(self) -> None:
        driver = self.driver(driver='command')
        self.assertRaises(ChangeFailed, driver.off, 'np-rcc54')


class OperatorTest(Site):
    def test_the_operators_word(self) -> None:
        found = self.driver(words=' PDU port 14 is off ').status('np-rcc54')
        self.assertEqual(Status('off', 'operator: PDU port 14 is off'), found)

    def test_it_goes_before_what_is_configured(self) -> None:
        path = self.program('print("Status: ON")')
        driver = self.driver(
            words='I pulled the plug', driver='command', command_status=path
        )
        self.assertEqual('off', driver.status('np-rcc54').state)

    def test_without_a_word_nothing_is_known(self) -> None:
        for words in ('', ' '):
            found = self.driver(words=words).status('np-rcc54')
            self.assertEqual('unknown', found.state)

    def test_nobody_turns_a_host_off_by_word(self) -> None:
        driver = self.driver()
        self.assertRaises(ChangeFailed, driver.off, 'np-rcc54')

    def test_a_driver_that_is_not_installed(self) -> None:
        error = self.assertRaises(ConfigError, self.driver, driver='ipmi')
        self.assertIn("'ipmi'", str(error))
