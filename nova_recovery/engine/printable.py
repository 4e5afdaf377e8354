# SPDX-License-Identifier: Apache-2.0

"""Names that tenants chose, on the terminals of operators."""

from __future__ import annotations


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


def lines(text: str) -> str:
    """The same, with its lines as they are."""
    return '\n'.join(clean(line) for line in text.split('\n'))
