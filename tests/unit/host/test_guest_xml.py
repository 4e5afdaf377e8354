# SPDX-License-Identifier: Apache-2.0

"""What is found and exchanged in the XML of guests, and on hosts."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
import pathlib
from typing import Any
from unittest import mock

import fixtures

from nova_recovery.host.agent import guest_set, guest_xml
from nova_recovery.host.agent.lines import AgentError, Refused
from tests.base import TestCase

UUID = '3f57699a-e773-4650-a443-b4b37eed5a06'
ONE, TWO = 'fa:16:3e:00:00:01', 'fa:16:3e:00:00:02'
TEXT = f"""\
<?xml version="1.0"?>
<domain type='kvm' id='3' xmlns:q='urn:q'>
  <!-- listen='0.0.0.0' -->
  <uuid>{UUID}</uuid>
  <devices>
    <interface type='bridge'>
      <mac address='FA:16:3E:00:00:01'/>
      <filterref filter='nova-instance-i-1'>
        <parameter value = "10.0.0.7" name='DHCPSERVER'/>
        <parameter name='IP' value='10.0.0.7'/>
      </filterref>
    </interface>
    <interface type='bridge'><mac address='{TWO}'/></interface>
    <graphics type='spice' listen='0.0.0.0'/>
    <graphics type='vnc' port='-1'
        passwd='listen="0.0.0.0"' listen='0.0.0.0'>
      <listen type='address' address='0.0.0.0'/>
    </graphics>
  </devices>
</domain>
""".encode()


class Xml(TestCase):
    def test_what_it_says(self) -> None:
        self.assertEqual(
            {'vnc': '0.0.0.0', ONE: '10.0.0.7', TWO: ''},
            guest_xml.values(TEXT),
        )
        self.assertEqual({'vnc': ''}, guest_xml.values(b'<domain/>'))

    def test_all_else_stays_to_the_byte(self) -> None:
        made = guest_xml.exchanged(TEXT, 'vnc', '0.0.0.0', 'fd00::1')
        self.assertEqual(
            TEXT.replace(b"' listen='0.0.0.0'>", b"' listen='fd00::1'>")
            .replace(b"address='0.0.0.0'", b"address='fd00::1'"),
            made,
        )  # fmt: skip
        made = guest_xml.exchanged(TEXT, ONE, '10.0.0.7', '10.0.0.254')
        self.assertEqual(TEXT.replace(b'"10.0.0.7"', b'"10.0.0.254"'), made)
        self.assertEqual(
            TEXT, guest_xml.exchanged(made, ONE, '10.0.0.254', '10.0.0.7')
        )

    def test_what_has_another_value_stays(self) -> None:
        self.assertEqual(
            TEXT, guest_xml.exchanged(TEXT, 'vnc', '127.0.0.1', '::1')
        )

    def test_two_addresses_of_one_console_are_both_told(self) -> None:
        text = TEXT.replace(b"address='0.0.0.0'", b"address='10.0.0.1'")
        self.assertEqual('0.0.0.0, 10.0.0.1', guest_xml.values(text)['vnc'])

    def test_an_interface_alone(self) -> None:
        made = guest_xml.interface(TEXT, ONE)
        self.assertTrue(made.startswith(b"<interface type='bridge'>"))
        self.assertTrue(made.endswith(b'</interface>'))
        self.assertEqual(1, made.count(b'<interface'))
        self.assertRaises(AgentError, guest_xml.interface, TEXT, 'aa')

    def test_nothing_is_expanded_or_fetched(self) -> None:
        for text in (
            b'<!DOCTYPE d [<!ENTITY a "b">]><domain>&a;</domain>',
            b'<!DOCTYPE d SYSTEM "http://127.0.0.1/d"><domain/>',
            b'<domain>&a;</domain>',
            b'<domain',
        ):
            self.assertRaises(AgentError, guest_xml.values, text)


class Conf(TestCase):
    def listens(self, text: str | None) -> tuple[str | None, str]:
        folder = self.useFixture(fixtures.TempDir()).path
        path = f'{folder}/nova.conf'
        if text is not None:
            pathlib.Path(path).write_text(text)
        found, where = guest_set.listens([path])
        return found, where.replace(path, 'FILE')

    def test_which_option_decides(self) -> None:
        for text, wanted, where in (
            ('[vnc]\nserver_listen=10.0.0.4', '10.0.0.4', '[vnc] server_'),
            ('[vnc]\nvncserver_listen=::', '::', '[vnc] vncserver_listen of'),
            ('[DEFAULT]\nvncserver_listen=::1', '::1', '[DEFAULT] vncserver'),
            ('[DEFAULT]\nmy_ip=10.0.0.4\n[vnc]\nserver_listen=$my_ip\n',
             '10.0.0.4', '[vnc] server_listen of FILE'),
            ('[vnc]\nserver_listen=$my_ip\n', None, '[vnc] server_listen of'),
            ('[vnc]\nserver_listen=$other\n', None, '[vnc] server_listen of'),
            ('', '127.0.0.1', 'the default of [vnc] server_listen'),
            (None, None, 'there is no nova.conf'),
        ):  # fmt: skip
            found, told = self.listens(text)
            self.assertEqual(wanted, found)
            self.assertTrue(told.startswith(where), told)

    def test_whether_the_host_has_an_address(self) -> None:
        self.assertTrue(guest_set.bindable('127.0.0.1'))
        self.assertFalse(guest_set.bindable('192.0.2.1'))
        self.assertFalse(guest_set.bindable('no address'))

    def test_what_an_edit_is(self) -> None:
        self.assertEqual(
            [('config', 'vnc', '0.0.0.0', '::1')],
            guest_set.edits(['config,vnc,0.0.0.0,::1']),
        )
        # a console may have listened on a name, and is set back to it
        for name in ('np-rcc4.example.org', 'localhost', 'fe80::1%eth0'):
            self.assertEqual(
                [('config', 'vnc', '::1', name)],
                guest_set.edits([f'config,vnc,::1,{name}']),
            )
        for word in (
            'config,vnc,::1',
            'else,vnc,::,::1',
            'config,vnc,::,x"',
            'config,vnc,::,<x',
            'config,vnc,::,::1\n',
            'config,vnc,::,',
        ):
            self.assertRaises(Refused, guest_set.edits, [word])


class Changed(TestCase):
    """On a directory that is there, and a virsh that is not."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.found: dict[str, Any] = {'instances': str(self.folder)}
        self.config, self.live, self.persistent = TEXT, TEXT, True
        self.orders: list[tuple[str, ...]] = []
        self.row = {'uuid': UUID, 'name': 'instance-00000001', 'active': True}
        virsh = self.useFixture(
            fixtures.MockPatchObject(guest_set, 'virsh')
        ).mock
        virsh.INPUT = '/dev/stdin'
        virsh.domains.side_effect = lambda _found: [self.row]
        virsh.run.side_effect = self._run
        virsh.order.side_effect = self._order

    def _run(self, _found: Any, words: str) -> str:
        if 'list' in words:
            return UUID if self.persistent else ''
        return (self.config if '--inactive' in words else self.live).decode()

    def _order(self, _found: Any, *words: str, text: str = '') -> str:
        self.orders.append(words)
        if words[0] == 'define':
            self.config = text.encode()
        elif words[0] == 'update-device':
            self.live = self.live.replace(b'"10.0.0.7"', b'"10.0.0.1"')
        return self.config.decode() if words[0] == 'dumpxml' else ''

    def file(self, name: str = UUID) -> pathlib.Path:
        path = self.folder / name / 'libvirt.xml'
        path.parent.mkdir()
        path.write_bytes(TEXT)
        path.chmod(0o640)
        return path

    def change(self, *edits: tuple[str, str, str, str]) -> dict[str, Any]:
        found: dict[str, Any] = guest_set.change(self.found, UUID, edits)
        return found['guest']

    def test_three_places(self) -> None:
        path = self.file('instance-00000001')
        found = self.change(
            ('config', 'vnc', '0.0.0.0', '10.0.0.4'),
            ('config', ONE, '10.0.0.7', '10.0.0.1'),
            ('live', ONE, '10.0.0.7', '10.0.0.1'),
            ('file', 'vnc', '0.0.0.0', '10.0.0.4'),
        )
        self.assertEqual(
            {'vnc': '10.0.0.4', ONE: '10.0.0.1', TWO: ''}, found['config']
        )
        self.assertEqual('10.0.0.1', found['live'][ONE])
        self.assertEqual(
            ('10.0.0.4', '10.0.0.7'),
            (found['file']['vnc'], found['file'][ONE]),
        )
        self.assertEqual(0o640, path.stat().st_mode & 0o777)
        self.assertEqual(['libvirt.xml'], os.listdir(path.parent))
        self.assertEqual(
            ['dumpxml', 'define', 'update-device'], [o[0] for o in self.orders]
        )
        self.assertIn('--security-info', self.orders[0])

    def test_nothing_is_changed_where_one_is_neither(self) -> None:
        self.file()
        error = self.assertRaises(
            Refused,
            self.change,
            ('config', 'vnc', '0.0.0.0', '10.0.0.4'),
            ('file', ONE, '10.0.0.9', '10.0.0.1'),
        )
        self.assertIn('is 10.0.0.7, it was 10.0.0.9', str(error))
        self.assertEqual([], self.orders)

    def test_once_more_changes_nothing(self) -> None:
        edits = ('config', 'vnc', '0.0.0.0', '10.0.0.4')
        self.change(edits)
        self.change(edits)
        self.assertEqual(
            ['dumpxml', 'define', 'dumpxml'], [o[0] for o in self.orders]
        )

    def test_one_that_was_undefined_meanwhile_is_not_defined_again(
        self,
    ) -> None:
        self.persistent = False
        edit = ('config', 'vnc', '0.0.0.0', '10.0.0.4')
        error = self.assertRaises(Refused, self.change, edit)
        self.assertIn('gone when it ends', str(error))
        self.assertEqual([], self.orders)

    def test_what_lies_there_and_is_no_libvirt_xml_is_named(self) -> None:
        path = self.file()
        edit = ('config', 'vnc', '0.0.0.0', '10.0.0.4')
        for text, why in (
            # as a power loss leaves it
            (b'', 'no element found: line 1, column 0; put it right'),
            (b'<domain>' + b' ' * (1 << 20), 'bytes'),
        ):
            path.write_bytes(text)
            error = self.assertRaises(AgentError, self.change, edit)
            self.assertIn(why, str(error))
            self.assertIn(str(path), str(error))
        os.link(path, self.folder / 'other')
        error = self.assertRaises(AgentError, self.change, edit)
        self.assertEqual(f'{path}: not a plain file', str(error))
        self.assertEqual([], self.orders)

    def test_one_that_has_ended_is_not_updated(self) -> None:
        self.row['active'] = False
        found = self.change(('live', ONE, '10.0.0.7', '10.0.0.1'))
        self.assertIsNone(found['live'])
        self.assertEqual(['dumpxml'], [o[0] for o in self.orders])

    def test_a_link_in_nova_s_directory_leads_nowhere(self) -> None:
        path = self.file()
        path.rename(self.folder / 'elsewhere')
        path.symlink_to(self.folder / 'elsewhere')
        error = self.assertRaises(
            AgentError, self.change, ('file', 'vnc', '0.0.0.0', '10.0.0.4')
        )
        self.assertTrue(str(error).startswith(str(path)), error)
        self.assertEqual(TEXT, (self.folder / 'elsewhere').read_bytes())

    def test_what_virsh_did_not_do_is_told(self) -> None:
        with self._deaf():
            self.assertRaises(
                AgentError,
                self.change,
                ('config', 'vnc', '0.0.0.0', '10.0.0.4'),
            )

    @contextlib.contextmanager
    def _deaf(self) -> Iterator[None]:
        said = TEXT.decode()
        with mock.patch.object(
            guest_set.virsh, 'order', side_effect=lambda *_w, **_t: said
        ):
            yield

    def test_shown_by_its_name_with_all_of_it(self) -> None:
        self.file()
        self.found['nova_conf'] = []
        found = guest_set.show(
            self.found, 'instance-00000001', '127.0.0.1', True
        )
        self.assertIs(True, found['bindable'])
        self.assertIsNone(found['listen'])
        one = found['guest']
        self.assertEqual({'config', 'file'}, set(one['xml']))
        self.assertTrue(one['persistent'])
        self.assertTrue(one['path'].endswith('/libvirt.xml'))
        found = guest_set.show(self.found, 'web', None, False)
        self.assertIsNone(found['guest'])
