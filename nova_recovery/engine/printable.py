# SPDX-License-Identifier: Apache-2.0

"""Names that tenants chose, on the terminals of operators."""

from __future__ import annotations

from collections.abc import Sequence
import shlex


def clean(text: object) -> str:
    """The text on one line and harmless for a terminal.

    Tenants name servers as they like; what moves the cursor, colours the
    screen or turns the direction of writing is shown as its escape.
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return ''.join(
        one if one.isprintable() else one.encode('unicode_escape').decode()
        for one in shown
    )


def some(names: Sequence[str], most: int) -> str:
    """The first of them, and how many more there are; '' for none."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return f'{", ".join(names[:most])}{more}'


def typed(name: str, instead: str) -> str:
    """A name as it is typed in a command that is printed to be copied.

    Tenants call their servers ``$(id)``, ``-rf`` or what can't be typed at
    all.

    :param instead: such as its UUID, where the name would be taken for
        something else
    """
    if not name or not name.isprintable() or name[0] == '-' or '=' in name:
        return instead
    return shlex.quote(name)


def lines(text: str) -> str:
    """The same, with its lines as they are."""
    return '\n'.join(clean(line) for line in text.split('\n'))
