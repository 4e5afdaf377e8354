# SPDX-License-Identifier: Apache-2.0

"""What the contributors' guide says of the house, beside the house."""

from __future__ import annotations

import pathlib
import re

from nova_recovery import procedures
from tests.base import TestCase
from tests.unit import test_layers
from tests.unit.test_layers import COMMON, ROOT

GUIDE = (
    pathlib.Path(__file__).parents[2]
    / 'doc/source/contributor/architecture.rst'
)
PACKAGES = {
    path.stem
    for path in ROOT.iterdir()
    if path.suffix == '.py' or (path / '__init__.py').exists()
} - {'__init__', '__main__'}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading of the guide."""
    text = GUIDE.read_text()
    section = text.split(f'\n{heading}\n===')[1]
    table = section.split('.. list-table::')[1].split('\n\n\n')[0]
    found: list[list[str]] = []
    for line in table.splitlines():
        if line.startswith('   * - '):
            found.append([line[7:]])
        elif line.startswith('     - '):
            found[-1].append(line[7:])
        elif line.startswith('       ') and found:
            found[-1][-1] += f' {line.strip()}'
        elif found and line.strip():
            break
    return found[1:]


def names(cell: str) -> set[str]:
    return set(re.findall(r'``([a-z_]+)``', cell))


def imported() -> dict[str, set[str]]:
    """Package -> those that it imports, but for what all may."""
    found: dict[str, set[str]] = {}
    for one in test_layers.imports():
        own, other = one.packages
        if other not in {own, '__init__'} | COMMON:
            found.setdefault(own, set()).add(other)
    return found


class ArchitectureTest(TestCase):
    def test_each_package_is_there_with_what_it_imports(self) -> None:
        told = {
            name: names(imports)
            for first, _, imports in rows('The packages')
            for name in names(first)
        }
        self.assertEqual(PACKAGES - COMMON, set(told))
        really = imported()
        self.assertEqual(
            {name: really.get(name, set()) for name in told}, told
        )

    def test_each_module_that_it_names_is_there(self) -> None:
        for first, what, _ in rows('The packages'):
            (package,) = names(first)
            for name in names(what):
                place = ROOT / package / name
                self.assertTrue(
                    place.is_dir() or place.with_suffix('.py').exists(),
                    f'{package}.{name}',
                )

    def test_imports_go_down_in_the_picture(self) -> None:
        floors = {}
        lines = re.findall(r'^   \| (.{31})', GUIDE.read_text(), re.MULTILINE)
        for number, line in enumerate(lines):
            floors |= dict.fromkeys(line.split(), number)
        self.assertEqual(PACKAGES, set(floors))
        for own, others in imported().items():
            for other in others:
                if own in floors:
                    self.assertLess(
                        floors[own], floors[other], f'{own} -> {other}'
                    )

    def test_each_procedure_is_there(self) -> None:
        told = {
            name.strip('`'): module.strip('`')
            for name, module, _ in rows('The procedures')
        }
        self.assertEqual(procedures.MODULES, told)
