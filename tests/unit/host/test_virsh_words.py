# SPDX-License-Identifier: Apache-2.0

"""What libvirt complains of, in one line that leads on."""

from __future__ import annotations

from nova_recovery.host.agent import virsh
from tests.base import TestCase

#: virsh 9.0 says it before what is wrong.
VIRSH = 'error: failed to connect to the hypervisor error: '


class WordsTest(TestCase):
    def test_each_tells_what_to_do(self) -> None:
        socket = "Failed to connect socket to '/var/run/libvirt/libvirt-sock'"
        # as virsh and libvirt-python 9.0 said it, but for the lock and the
        # login, which stand so in their sources
        for text, told in (
            (f'{VIRSH}{socket}: No such file or directory', 'start libvirtd'),
            (f'{socket}: Connection refused', 'start libvirtd'),
            (f'{VIRSH}{socket}: Permission denied', 'group libvirt'),
            (
                'authentication unavailable: no polkit agent available to '
                "authenticate action 'org.libvirt.unix.manage'",
                'group libvirt',
            ),
            ('authentication failed: authentication failed', 'refuses'),
            (f'{VIRSH}Cannot recv data: Connection reset by peer', 'its log'),
            ("error: failed to get domain '1111'", 'no such guest'),
            ('Domain not found', 'no such guest'),
            (
                'Timed out during operation: cannot acquire state change '
                'lock (held by monitor=remoteDispatchDomainDestroy)',
                'domjobinfo',
            ),
        ):
            self.assertIn(told, virsh.plain(text), text)
            self.assertNotIn('error', virsh.plain(text), text)

    def test_what_is_not_known_is_quoted(self) -> None:
        self.assertEqual(
            'libvirt says "operation forbidden: read only access prevents '
            'virDomainDestroy"',
            virsh.plain(
                "error: Failed to destroy domain '1111' error: operation "
                'forbidden: read only access prevents virDomainDestroy'
            ),
        )
        self.assertIn('log', virsh.plain(''))
