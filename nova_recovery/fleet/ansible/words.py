# SPDX-License-Identifier: Apache-2.0

"""What Ansible, ssh and sudo say, in one line that says what to do next.

Their text is for who wrote a playbook; who reads it here has written none.
"""

from __future__ import annotations

from collections.abc import Sequence
import os
import re
import shlex

#: What ssh says of a connection that there is none of, and who carries it:
#: what stands in their text -> what is so, and what next.
_CONNECTION = (
    (
        'Could not resolve hostname|Name or service not known',
        'its name can not be resolved: look at ansible_host in the inventory',
    ),
    (
        'Connection refused',
        'nothing listens at its ssh port: is sshd up there, and the port '
        'right (ansible_port)?',
    ),
    (
        'No route to host|Network is unreachable',
        'there is no route to it: is it on, and the network up?',
    ),
    (
        'Connection timed out|Operation timed out|banner exchange',
        'no answer at its ssh port: is it on, and its way open?',
    ),
    (
        'Host key verification failed|IDENTIFICATION HAS CHANGED',
        'its host key is not the one that is known: compare it, then ssh '
        'there once by hand',
    ),
    (
        'Permission denied|Authentication failed|Too many authentication',
        'it refuses the login: look at ansible_user, and at the key and the '
        'agent that ssh takes',
    ),
    ('sshpass', 'logging in with a password needs sshpass: install it'),
)
#: What else Ansible says, and sudo, wherever it stops.
_ASIDE = (
    (
        'Missing sudo password|password is required|Incorrect sudo password',
        'becoming root needs a password: name the file with it in [fleet] '
        'become_password_file',
    ),
    (
        'no vault secrets|vault password|Decryption failed',
        'the inventory is encrypted: name the file with its password in '
        '[fleet] vault_password_file',
    ),
)
_NOISE = re.compile(
    r'\[(?:WARNING|ERROR|DEPRECATION WARNING)\]:?|ERROR!|fatal:|'
    r'Failed to connect to the host via ssh:|None'
)
#: So much of what is not known is quoted.
_QUOTED = 160


def plain(text: str) -> str:
    """One line; what is not known is quoted, as Ansible's."""
    for words, told in (*_ASIDE, *_CONNECTION):
        if re.search(words, text):
            return told
    left = _left(text)
    return f'Ansible says "{left[:_QUOTED]}"' if left else ''


def failed(text: str) -> str:
    """As :func:`plain`, of what failed on a host that was reached.

    Words of ssh are the script's own there, such as those of a file that it
    may not write; why it stopped stands last.
    """
    for words, told in _ASIDE:
        if re.search(words, text):
            return told
    left = _left(text)
    return f'Ansible says "{left[-_QUOTED:].strip()}"' if left else ''


def _left(text: str) -> str:
    return ' '.join(_NOISE.sub(' ', text).split())


def no_hosts(places: Sequence[str], words: Sequence[str]) -> str:
    """An inventory without hosts.

    :param places: what ``[fleet] inventory`` names; none: Ansible's own
    :param words: the command that lists it
    """
    gone = [
        one for one in places if ',' not in one and not os.path.exists(one)
    ]
    if gone:
        return f'[fleet] inventory: no such file: {", ".join(gone)}'
    if not places:
        return (
            'no host can be reached: name your Ansible inventory in '
            'nova-recovery.conf: [fleet] inventory = FILE'
        )
    return (
        f'the inventory {", ".join(places)} has no hosts, or Ansible can not '
        f'read it; what it says of that: {by_hand(words)}'
    )


def unreadable(text: str, words: Sequence[str]) -> str:
    """ansible-inventory ended with an error."""
    told = plain(text) or 'it does not say why'
    return f'ansible-inventory failed: {told}; by hand: {by_hand(words)}'


def by_hand(words: Sequence[str]) -> str:
    """The command as it is typed; --list would print passwords."""
    return shlex.join([*words, '--graph'])
