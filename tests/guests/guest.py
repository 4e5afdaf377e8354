# SPDX-License-Identifier: Apache-2.0

"""One guest: a qemu process that answers ssh on a port of loopback."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import uuid as uuid_module

from tests.cloud import process
from tests.cloud.process import CloudError, Daemon
from tests.guests.image import Image

#: Seconds for a guest to boot on a busy machine without KVM.
BOOT = 60
#: Where a guest finds this machine's loopback (qemu's user network).
HOST = '10.0.2.2'


class Guest:
    """A guest that is started, counted, frozen and ended.

    :param directory: for its console and pid file
    :param vanishes: it resets with its connections open, and tells nobody;
        else a session that asks for the reboot ends in good order
    :param reboot_after: seconds from the request to the reset
    :param uuid: of its machine, as a server's guest has it; '': a new one
    """

    def __init__(
        self,
        name: str,
        image: Image,
        directory: pathlib.Path,
        vanishes: bool = False,
        reboot_after: int = 1,
        uuid: str = '',
    ) -> None:
        self.name = name
        self.uuid = uuid or str(uuid_module.uuid4())
        self.port = process.free_port()
        words = [
            'console=ttyS0 quiet panic=-1 mitigations=off nokaslr',
            f'random.trust_cpu=on net.ifnames=0 reboot_after={reboot_after}',
        ]
        if vanishes:
            words.append('vanish')
        emulator = process.program('qemu-system-x86_64', 'qemu-system-x86')
        network = f'user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22'
        self._daemon = Daemon(
            name=name,
            argv=[
                *(emulator, '-nodefaults', '-no-user-config'),
                *('-display', 'none', '-serial', 'stdio'),
                *('-accel', 'tcg', '-m', '128', '-uuid', self.uuid),
                *('-kernel', str(image.kernel)),
                *('-initrd', str(image.archive)),
                *('-append', ' '.join(words)),
                *('-netdev', network),
                *('-device', 'virtio-net-pci,netdev=net,romfile='),
                *('-device', 'virtio-rng-pci'),
            ],
            pid_file=directory / f'{name}.pid',
            log_file=directory / f'{name}.console',
        )

    def start(self) -> None:
        """Start it; don't wait until it serves."""
        self._daemon.start()

    def stop(self) -> None:
        """End it, whatever state it is in."""
        self._daemon.kill()

    def freeze(self) -> None:
        """Make it vanish: nothing is answered, no connection is closed."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        self._signal(signal.SIGCONT)

    def boots(self) -> list[str]:
        """Return the boot_id of each of its boots, oldest first."""
        return re.findall(r'^boot (\S+)\s*$', self.console(), re.M)

    def asked(self) -> int:
        """Return how often it was asked from inside to reboot."""
        return self.console().count('asked to reboot')

    def wait_booted(self, times: int = 1) -> None:
        """Wait until it serves for the nth time.

        :raises CloudError: it doesn't come up; with what its console says
        """
        try:
            process.wait_for(
                lambda: len(self.boots()) >= times, BOOT, 'a boot', 0.1
            )
        except CloudError as error:
            raise CloudError(
                f'{self.name}: {error}\n{self._daemon.log_tail()}'
            ) from error

    def console(self) -> str:
        """Return what it has written on its console."""
        try:
            return self._daemon.log_file.read_text(errors='replace')
        except FileNotFoundError:
            return ''

    def _signal(self, number: signal.Signals) -> None:
        pid = self._daemon.pid()
        assert pid is not None, f'{self.name} does not run'
        os.kill(pid, number)
