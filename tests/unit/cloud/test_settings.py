# SPDX-License-Identifier: Apache-2.0

"""nova.conf and cinder.conf, read as the services read them."""

from __future__ import annotations

import dataclasses
import os
import pathlib

import fixtures

from nova_recovery import conf as nova_recovery_conf
from nova_recovery.cloud import settings
from nova_recovery.cloud.db import databases
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.exceptions import ConfigError
from tests.base import TestCase

URL = 'mysql+pymysql://nova:secret@db1/nova'


class SettingsTestCase(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.home = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(fixtures.EnvironmentVariable('HOME', str(self.home)))

    def write(self, name: str, text: str) -> str:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def environment(self, name: str, value: str) -> None:
        self.useFixture(fixtures.EnvironmentVariable(name, value))


class TestNova(SettingsTestCase):
    def test_defaults_are_those_of_the_packages(self) -> None:
        read = settings.read_nova([self.write('nova.conf', '')])
        self.assertIsNone(read.database)
        self.assertIsNone(read.api_database)
        self.assertEqual('/var/lib/nova/instances', read.instances_path)
        self.assertEqual('instance-%08x', read.instance_name_template)
        self.assertEqual({}, read.origins)

    def test_options_refer_to_each_other(self) -> None:
        path = self.write(
            'nova.conf',
            '[DEFAULT]\nmy_ip = 10.0.0.5\nstate_path = $pybasedir/state\n'
            '[database]\nconnection = mysql://nova:s@$my_ip/nova\n',
        )
        read = settings.read_nova([path])
        self.assertEqual('/var/lib/nova/state/instances', read.instances_path)
        self.assertEqual('mysql://nova:s@10.0.0.5/nova', read.database)

    def test_percent_and_doubled_dollar_are_themselves(self) -> None:
        path = self.write(
            'nova.conf',
            '[api_database]\nconnection = mysql://nova:a%40b$$c#d@db1/nova\n',
        )
        self.assertEqual(
            'mysql://nova:a%40b$c#d@db1/nova',
            settings.read_nova([path]).api_database,
        )

    def test_a_bare_dollar_is_told_without_the_password(self) -> None:
        path = self.write(
            'nova.conf', '[database]\nconnection = mysql://nova:a$ecret@h/n\n'
        )
        error = self.assertRaises(ConfigError, settings.read_nova, [path])
        self.assertIn(path, str(error))
        self.assertIn('[database] connection', str(error))
        self.assertNotIn('ecret', str(error))

    def test_the_last_of_repeated_options_and_files_wins(self) -> None:
        first = self.write(
            'a.conf', '[database]\nconnection = one\nconnection = two\n'
        )
        second = self.write('b.conf', '[DEFAULT]\nhost = np-rcc4\n')
        read = settings.read_nova([first, second])
        self.assertEqual('two', read.database)
        self.assertEqual('np-rcc4', read.host)
        third = self.write('c.conf', '[database]\nconnection = three\n')
        read = settings.read_nova([first, third])
        self.assertEqual('three', read.database)
        self.assertEqual(third, read.origins['[database] connection'])

    def test_a_directory_overrides_in_the_order_of_names(self) -> None:
        base_file = self.write('nova.conf', '[DEFAULT]\nhost = file\n')
        two = self.write('conf.d/20.conf', '[DEFAULT]\nhost = twenty\n')
        one = self.write('conf.d/10.conf', '[DEFAULT]\nhost = ten\n')
        self.write('conf.d/30.conf.bak', '[DEFAULT]\nhost = bak\n')
        read = settings.read_nova([base_file], [os.path.dirname(one)])
        self.assertEqual('twenty', read.host)
        self.assertEqual((base_file, one, two), read.files)

    def test_a_directory_that_is_not_there(self) -> None:
        path = self.write('nova.conf', '')
        error = self.assertRaises(
            ConfigError, settings.read_nova, [path], ['/nowhere/conf.d']
        )
        self.assertIn('/nowhere/conf.d', str(error))

    def test_the_environment_overrides_as_for_novas_services(self) -> None:
        self.environment('OS_DATABASE__CONNECTION', URL)
        path = self.write('nova.conf', '[database]\nconnection = other\n')
        read = settings.read_nova([path])
        self.assertEqual(URL, read.database)
        self.assertEqual(
            'environment (OS_DATABASE__CONNECTION)',
            read.origins['[database] connection'],
        )

    def test_the_default_places(self) -> None:
        path = self.write('.nova/nova.conf', '[DEFAULT]\nhost = home\n')
        more = self.write('.nova/nova.conf.d/1.conf', '[DEFAULT]\nmy_ip=::1\n')
        read = settings.read_nova()
        self.assertEqual(('home', '::1'), (read.host, read.my_ip))
        self.assertEqual((path, more), read.files)

    def test_the_places_of_a_wsgi_server(self) -> None:
        one = self.write('etc/nova.conf', '[DEFAULT]\nhost = one\n')
        two = self.write('etc/more.conf', '[DEFAULT]\nhost = two\n')
        self.environment('OS_NOVA_CONFIG_DIR', os.path.dirname(one))
        self.assertEqual((one,), settings.read_nova().files)
        self.environment(
            'OS_NOVA_CONFIG_FILES', 'api-paste.ini; nova.conf;more.conf'
        )
        read = settings.read_nova()
        self.assertEqual((one, two), read.files)
        self.assertEqual('two', read.host)

    def test_kolla_keeps_the_files_of_its_containers(self) -> None:
        path = self.write('kolla/nova.conf', '[DEFAULT]\nhost = kolla\n')
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.cloud.settings.KOLLA_NOVA', path
            )
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'oslo_config.cfg.find_config_files', lambda *unused: []
            )
        )
        self.assertEqual('kolla', settings.read_nova().host)

    def test_names_of_old_releases(self) -> None:
        for text in (
            f'[DEFAULT]\nsql_connection = {URL}\n',
            f'[DATABASE]\nsql_connection = {URL}\n',
            f'[sql]\nconnection = {URL}\n',
        ):
            path = self.write('nova.conf', text)
            self.assertEqual(URL, settings.read_nova([path]).database)

    def test_parameters_of_connections_are_appended(self) -> None:
        path = self.write(
            'nova.conf',
            f'[database]\nconnection = {URL}\n'
            'connection_parameters = charset=utf8\n'
            f'[api_database]\nconnection = {URL}_api?a=1\n'
            'connection_parameters = plugin=dbcounter\n',
        )
        read = settings.read_nova([path])
        self.assertEqual(f'{URL}_api?a=1&plugin=dbcounter', read.api_database)
        # templates of cells are filled in from the URL as it is written;
        # what is appended comes behind them
        self.assertEqual(URL, read.database)
        cell = Cell('', 'cell1', 'mysql://c1/nova')
        conf = nova_recovery_conf.load([])
        conf.set_override('connection', [f'{cell.name}={cell.url}'], 'cells')
        (found,) = databases.find_cells(
            conf, dataclasses.replace(read, database=None), None
        )
        self.assertEqual('mysql://c1/nova?charset=utf8', found.url)

    def test_no_secret_in_its_repr(self) -> None:
        path = self.write(
            'nova.conf',
            f'[database]\nconnection={URL}\n[api_database]\nconnection={URL}\n',
        )
        self.assertNotIn('secret', repr(settings.read_nova([path])))

    def test_a_number_that_is_none(self) -> None:
        path = self.write('nova.conf', '[DEFAULT]\nservice_down_time = soon\n')
        error = self.assertRaises(ConfigError, settings.read_nova, [path])
        self.assertIn('service_down_time', str(error))


class TestCinder(SettingsTestCase):
    def test_novas_environment_does_not_count(self) -> None:
        self.environment('OS_DATABASE__CONNECTION', 'mysql://nova')
        path = self.write('cinder.conf', f'[database]\nconnection = {URL}\n')
        read = settings.read_cinder([path])
        self.assertEqual(URL, read.database)
        self.assertNotIn('secret', repr(read))

    def test_parameters_of_the_connection_are_appended(self) -> None:
        path = self.write(
            'cinder.conf',
            f'[database]\nconnection = {URL}\n'
            'connection_parameters = ssl_ca=/ca\n',
        )
        self.assertEqual(
            f'{URL}?ssl_ca=/ca', settings.read_cinder([path]).database
        )

    def test_there_is_no_cinder(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch(
                'oslo_config.cfg.find_config_files', lambda *unused: []
            )
        )
        read = settings.read_cinder()
        self.assertEqual(((), None), (read.files, read.database))
