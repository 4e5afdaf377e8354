# SPDX-License-Identifier: Apache-2.0

"""Tables as somebody reads them on a terminal.

cliff draws every column and squeezes them until they fit, which makes rubble
of a wide table: UUIDs in five pieces, and commands in nine. On a terminal
ours leave out what is empty, shorten UUIDs as far as they differ, divide no
word, and put commands below, each on one line, ready to be copied. Pipes,
files, ``-f``, ``-c``, ``--long`` and cliff's own options about the width get
all as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TYPE_CHECKING

from nova_recovery.compat import pairs
from nova_recovery.engine import printable
from nova_recovery.report import wording

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

#: Columns with what is to be done. What of it is to be typed is shown below
#: the table.
COMMANDS = ('Fix', 'Mend', 'To do')
#: What is longer is prose, which is wrapped where room is short.
PROSE = 24
#: The same of the first column.
SUBJECT = 40
#: It wants so much room, or it is put below.
ROOM = 30
#: Between columns.
GAP = '  '
Row = Sequence[Any]


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that shows all there is, on a terminal too."""
    parser.add_argument(
        '--long',
        action='store_true',
        help='Show every column and whole ids on a terminal, too, as -f and '
        'pipes have them',
    )


def wanted(parsed: argparse.Namespace, stream: Any) -> bool:
    """Whether somebody is there to read, and asked for nothing special."""
    return (
        parsed.formatter == 'table'
        and not getattr(parsed, 'long', False)
        and not parsed.columns
        and not parsed.fit_width
        and not parsed.max_width
        and bool(stream.isatty())
    )


def show(
    columns: Sequence[str],
    rows: Iterable[Row],
    short: Sequence[str],
    stream: Any,
) -> None:
    """Print a table that fits, and the commands in it below.

    :param rows: cells that are harmless for a terminal
    :param short: the columns that are worth their room; () is all
    """
    from rich.console import Console

    told = [[_text(cell) for cell in row] for row in rows]
    if not told:
        return
    screen = Console(
        file=stream,
        width=wording.columns(stream) or None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for part in _drawn(columns, told, short or columns, screen.width):
        screen.print(part)
    for line in commands(columns, told):
        screen.print(line, soft_wrap=True)


def show_fields(
    names: Sequence[str], values: Sequence[Any], stream: Any
) -> None:
    """Print what one thing has, a line each, nothing of it divided.

    :param values: harmless for a terminal
    """
    told = {
        name: text
        for name, value in pairs(names, values)
        if (text := _text(value))
    }
    column = max(map(len, told), default=0)
    for name, text in told.items():
        head = f'{name:<{column}}{GAP}'
        for line in text.split('\n'):
            stream.write(
                f'{head}{line}\n'
                if wording.is_command(line)
                else '\n'.join(
                    [*wording.wrap(line, head, wording.columns(stream)), '']
                )
            )
            head = ' ' * len(head)


def commands(
    columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterator[str]:
    """What is to be typed, each once, under the rows that it is for."""
    places = [n for n, name in enumerate(columns) if name in COMMANDS]
    told: dict[str, list[str]] = {}
    for row in rows:
        for place in places:
            if wording.is_command(row[place]):
                told.setdefault(row[place], []).append(_named(columns, row))
    for command, names in told.items():
        yield f'# {printable.some(names, 1)}'
        yield command


def _named(columns: Sequence[str], row: Sequence[str]) -> str:
    """``SRV-UNPROVEN host2``: the first cell, and what the row is about."""
    label = dict(pairs(columns, row)).get('Name', '')
    about = label or (row[2] if len(row) > 2 else '')
    return f'{row[0]} {about}'.rstrip()


def _drawn(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    short: Sequence[str],
    width: int,
) -> Iterator[Table | Text]:
    """The table; prose is below its row where it has no room beside it."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    ids = wording.abbreviated(cell for row in rows for cell in row)
    shown = {
        name: [
            ''
            if name in COMMANDS and wording.is_command(row[place])
            else wording.shortened(row[place], ids)
            for row in rows
        ]
        for place, name in enumerate(columns)
        if name in short or name in COMMANDS
    }
    widths = {
        name: max(map(cell_len, '\n'.join([name, *cells]).split('\n')))
        for name, cells in shown.items()
        if any(cells)
    }
    prose = [
        name
        for name, widest in widths.items()
        # what a row is about begins it
        if widest > (PROSE if name != columns[0] else SUBJECT)
    ]
    # of several the shorter ones, if the longest has room below all
    for name in sorted(prose, key=lambda one: widths[one])[:-1]:
        taken = [widths[n] + len(GAP) for n in widths if n not in prose]
        if sum(taken) + widths[name] <= width * 2 // 3:
            prose.remove(name)
    beside = [name for name in widths if name not in prose]
    room = width - sum(widths[name] + len(GAP) for name in beside)
    if room >= ROOM * len(prose):
        table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0))
        for name in widths:
            table.add_column(Text(name), no_wrap=name in beside)
        for row in zip(*(shown[name] for name in widths)):
            table.add_row(*map(Text, row))
        yield table
        return
    for number in range(-1, len(rows)):
        cells = [shown[n][number] if number >= 0 else n for n in beside]
        yield Text(
            GAP.join(
                cell + ' ' * (widths[name] - cell_len(cell))
                for name, cell in pairs(beside, cells)
            ).rstrip(),
            style='bold' if number < 0 else '',
        )
        told = [shown[name][number] for name in prose] if number >= 0 else []
        for text in filter(None, told):
            for line in wording.wrap(text, '    ', width):
                yield Text(line)


def _text(cell: Any) -> str:
    """As cliff shows it: nothing for what isn't known."""
    return '' if cell is None else str(cell)
