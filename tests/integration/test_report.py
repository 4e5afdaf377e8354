# SPDX-License-Identifier: Apache-2.0

"""The page of a report, in a browser: it is seen, fits, and prints.

Of runs that the engine carried out, one with three servers and one with a
thousand.
"""

from __future__ import annotations

import pathlib
import time
from typing import Any

import fixtures

from nova_recovery.report import story, writing
from tests.base import TestCase
from tests.integration import browser as browsing
from tests.integration.browser import Browser, Seen
from tests.unit.report import stories
from tests.unit.report.stories import Story

#: Seconds and bytes that a page of a thousand servers may take.
PATIENCE, LARGEST = 60, 6 * 1024**2
DESK, PHONE = 1280, 390


class ReportTestCase(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.story = Story(self.folder)
        self.addCleanup(self.story.journal.close)

    def browser(self) -> Browser:
        profile = self.folder / 'profile'
        profile.mkdir()
        browser = Browser(profile)
        browser.__enter__()
        self.addCleanup(browser.__exit__, None, None, None)
        return browser

    def page(self, *run_ids: str) -> pathlib.Path:
        path = self.folder / 'report.html'
        path.write_text(''.join(writing.as_html(self.report(*run_ids))))
        return path

    def report(self, *run_ids: str) -> dict[str, Any]:
        return story.of_runs(
            self.story.journal,
            run_ids,
            self.story.registry,
            now=self.story.clock.now(),
        )

    def assert_looks(self, browser: Browser, seen: Seen, width: int) -> None:
        """Not blank, as wide as it was asked for, and nothing sticks out."""
        self.assertLessEqual(seen.wide, 0)
        painted = browser.painted(seen.picture)
        self.assertEqual(width, painted.width)
        self.assertGreater(painted.height, 900)
        # text is smoothed, so there are many
        self.assertGreater(len(painted.colours), 40)
        self.assertLess(max(painted.colours.values()), 0.97)

    def assert_quiet(self, browser: Browser, path: pathlib.Path) -> None:
        """Nothing was complained of, and nothing asked of elsewhere."""
        self.assertEqual([], browser.told)
        self.assertEqual([path.as_uri()], browser.asked)


class FewTest(ReportTestCase):
    def test_a_disaster_of_three_servers_and_its_repair(self) -> None:
        evil = '"><script>console.log(1)</script>\u202e{}'
        self.story.restart.fails[evil.format(2)] = evil
        first = self.story.create(stories.disaster(3, name=evil))
        self.story.run(first)
        self.story.clock.wait(hours=3)
        second = self.story.create(stories.repair(2, name=evil))
        self.story.run(second)
        path = self.page(first, second)
        browser = self.browser()
        browser.open(path)
        looks = [
            (browser.look(width, dark), width)
            for width in (DESK, PHONE)
            for dark in (False, True)
        ]
        self.assertIn(
            'all 3 servers run again',
            browser.run('document.querySelector(".verdict").innerText'),
        )
        # each has its line in the picture, which leads to its row
        self.assertEqual(
            3,
            browser.run(
                '[...document.querySelectorAll("svg a")].filter(one =>'
                ' one.getAttribute("href").startsWith("#server-") &&'
                ' document.querySelector(one.getAttribute("href"))).length'
            ),
        )
        self.assertGreater(browsing.pages(browser.printed()), 0)
        self.assert_quiet(browser, path)
        for seen, width in looks:
            self.assert_looks(browser, seen, width)
        light, dark = (
            max(colours, key=lambda one: colours[one])
            for colours in (
                browser.painted(seen.picture).colours for seen, _ in looks[:2]
            )
        )
        self.assertGreater(sum(light), 3 * 200)
        self.assertLess(sum(dark), 3 * 60)


class ManyTest(ReportTestCase):
    def test_a_thousand_servers(self) -> None:
        for number in (2, 437, 990):
            label = f'at3-ui{number:04}'
            self.story.restart.fails[label] = 'no valid host was found'
        run_id = self.story.create(stories.disaster(1000))
        self.story.run(run_id)
        began = time.monotonic()
        path = self.page(run_id)
        self.assertLess(time.monotonic() - began, PATIENCE)
        self.assertLess(path.stat().st_size, LARGEST)
        browser = self.browser()
        browser.open(path)
        looks = [(browser.look(width), width) for width in (DESK, PHONE)]
        # bars by wave, in about as much room as two screens have
        high = browser.run(
            'document.querySelector("svg").getBoundingClientRect().height'
        )
        self.assertLess(high, 2000)
        self.assertEqual(
            ['at3-ui0002', 'at3-ui0437', 'at3-ui0990'],
            browser.run(
                '[...document.querySelectorAll("svg a:has(.open) text")]'
                '.map(one => one.firstChild.textContent)'
                '.filter(one => one != "not up")'
            ),
        )
        # a row a server, and none is cut off by a page
        self.assertIn(browsing.pages(browser.printed()), range(10, 120))
        self.assert_quiet(browser, path)
        for seen, width in looks:
            self.assert_looks(browser, seen, width)
