# SPDX-License-Identifier: Apache-2.0

"""What a guest says of itself, and how it is told to reboot.

The kernel makes a new boot_id at each boot (random(4)). A request to reboot
names the boot that it is for and is refused by any other, in the guest
itself: however late or often it arrives, that boot ends once.
"""

from __future__ import annotations

import dataclasses
import re

from nova_recovery.guests import ssh
from nova_recovery.guests.ssh import Said, Way

#: How the request says that the guest is another boot by now.
OTHER_BOOT = 33

_UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
_BOOT = '/proc/sys/kernel/random/boot_id'
#: Without single quotes and exclamation marks, which shells differ in.
_BEGIN = 'PATH=$PATH:/usr/sbin:/sbin; s=; test "$(id -u)" = 0 || s="sudo -n"; '

#: The UUID of the firmware is that of the server (nova/virt/libvirt/driver.py,
#: guest.uuid); only root may read it. Power has it in the device tree.
LOOK = (
    "sh -c '"
    + _BEGIN
    + f'echo "boot_id $(cat {_BOOT})"; '
    + 'for f in /sys/class/dmi/id/product_uuid /proc/device-tree/vm,uuid; '
    'do echo "machine $($s cat $f 2>/dev/null)"; done; '
    'echo "state $(systemctl is-system-running 2>/dev/null)"' + "'"
)


@dataclasses.dataclass(frozen=True)
class Boot:
    """One look at a guest.

    :ivar boot_id: of the boot that answers
    :ivar machine: the UUID of its firmware, '' where it doesn't tell
    :ivar stopping: it shuts down just now
    """

    boot_id: str
    machine: str = ''
    stopping: bool = False


class NoAnswer(Exception):
    """The guest didn't tell; the text says why.

    :ivar hopeless: waiting won't mend it
    """

    def __init__(self, reason: str, hopeless: bool = False) -> None:
        super().__init__(reason)
        self.hopeless = hopeless


def look(way: Way) -> Boot:
    """Ask a guest which boot it is.

    :raises NoAnswer: it can't be reached, or answers something else
    """
    return parse(ssh.run(way, LOOK))


def parse(said: Said) -> Boot:
    """The answer to LOOK, whatever a login prints around it.

    :raises NoAnswer: there is no boot_id in it
    """
    found = re.search(f'^boot_id ({_UUID})\\s*$', said.out, re.M)
    if found is None:
        if said.code == 0:
            raise NoAnswer(f'it has no {_BOOT}', hopeless=True)
        raise NoAnswer(said.problem, said.hopeless)
    machine = re.search(f'^machine ({_UUID})\\b', said.out, re.M | re.I)
    return Boot(
        boot_id=found.group(1),
        machine=machine.group(1).lower() if machine else '',
        stopping='\nstate stopping' in said.out,
    )


def reboot(way: Way, boot_id: str) -> Said:
    """Tell a guest to reboot if it still is that boot.

    The session may end before, with or after the answer; a hangup does the
    request no harm.
    """
    return ssh.run(way, request(boot_id))


def request(boot_id: str) -> str:
    """The line that reboots a guest.

    :raises ValueError: no boot_id
    """
    if not re.fullmatch(_UUID, boot_id):
        raise ValueError('no boot_id')
    return (
        "sh -c '"
        + 'trap "" HUP PIPE; '
        + _BEGIN
        + f'test "$(cat {_BOOT})" = {boot_id} || exit {OTHER_BOOT}; '
        + '$s shutdown -r now'
        + "'"
    )
