# SPDX-License-Identifier: Apache-2.0

"""A browser without a screen: Debian's Chromium, told what to do by a pipe.

The DevTools protocol, JSON messages that end in a NUL, through file
descriptors 3 and 4 of the program (--remote-debugging-pipe).
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
from multiprocessing import connection
import os
import pathlib
import signal
import subprocess
import time
from types import TracebackType
from typing import Any

PROGRAM = 'chromium'
#: Seconds for one answer: a page of a thousand servers on a busy machine.
PATIENCE = 90


@dataclasses.dataclass
class Seen:
    """What a page looks like at some width.

    :ivar picture: PNG of the whole page
    :ivar wide: how many pixels of it stick out to the right
    """

    picture: bytes
    wide: int


@dataclasses.dataclass
class Painted:
    """What a picture shows.

    :ivar colours: red, green, blue -> its part of the picture
    """

    width: int
    height: int
    colours: dict[tuple[int, ...], float]


#: Of every 97th dot: how often each colour is there.
_COUNT = """(async () => {
  const bytes = Uint8Array.from(atob(%s), one => one.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes]));
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const dots = context.getImageData(0, 0, image.width, image.height).data;
  const found = {};
  let all = 0;
  for (let at = 0; at < dots.length; at += 4 * 97) {
    const colour = dots.slice(at, at + 3).join(' ');
    found[colour] = (found[colour] || 0) + 1;
    all += 1;
  }
  return [image.width, image.height, all, found];
})()"""

_FRAMES = (
    'new Promise(done => requestAnimationFrame('
    '() => requestAnimationFrame(() => done(1))))'
)


class Browser:
    """A context manager; one page at a time.

    :param folder: for its profile
    :ivar told: what the page wrote to the console, and what the browser had
        to say of it
    :ivar asked: the URLs that the page asked for
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._number = 0
        self._rest = b''
        self._loaded: set[str] = set()
        self.told: list[str] = []
        self.asked: list[str] = []

    def __enter__(self) -> Browser:
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        self._process = subprocess.Popen(
            [
                # dash takes no descriptor above 9 for one
                '/bin/bash', '-c', 'exec 3<&"$0" 4>&"$1"; shift; exec "$@"',
                str(theirs_in), str(theirs_out), PROGRAM,
                '--headless=new', '--no-sandbox', '--disable-gpu',
                '--disable-dev-shm-usage', '--no-first-run',
                '--disable-background-networking', '--disable-extensions',
                '--hide-scrollbars', '--remote-debugging-pipe',
                f'--user-data-dir={self._folder}', 'about:blank',
            ],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, 'HOME': str(self._folder)},
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        # the one that was made last is in front: only that one is drawn
        self._canvas, self._page = self._target(), self._target()
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self._call(f'{domain}.enable', self._page)
        self._call('Page.setLifecycleEventsEnabled', self._page, enabled=True)
        return self

    def _target(self) -> str:
        """The session of a page that is blank."""
        made = self._call('Target.createTarget', url='about:blank')
        joined = self._call(
            'Target.attachToTarget', targetId=made['targetId'], flatten=True
        )
        return str(joined['sessionId'])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # it and those that it has started
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def open(self, path: pathlib.Path) -> None:
        """Return when the page of a file is there."""
        self.told.clear()
        self.asked.clear()
        loader = self._call('Page.navigate', self._page, url=path.as_uri())
        # the answer comes before the page does: a question that is asked in
        # between is answered by the page before, or goes down with it
        while loader['loaderId'] not in self._loaded:
            self._note(self._read())
        self.run('document.fonts.ready.then(() => 1)')

    def follow(self, url: str) -> str:
        """Where one gets by a link to a page that leads to another."""
        before = set(self._loaded)
        self._call('Page.navigate', self._page, url=url)
        deadline = time.monotonic() + PATIENCE
        # the page itself may be left before all of it was there
        while not self._loaded - before:
            self._note(self._read())
        while (place := str(self.run('location.href'))) == url:
            if time.monotonic() > deadline:
                break
        return place

    def run(self, script: str) -> Any:
        """The value of a piece of JavaScript in the page."""
        return self._value(self._page, script)

    def _value(self, session: str, script: str) -> Any:
        answer = self._call(
            'Runtime.evaluate',
            session,
            expression=script,
            returnByValue=True,
            awaitPromise=True,
        )
        if 'exceptionDetails' in answer:
            raise RuntimeError(json.dumps(answer['exceptionDetails']))
        return answer['result'].get('value')

    def look(self, width: int, dark: bool = False) -> Seen:
        """The whole page, so many pixels wide."""
        scheme = 'dark' if dark else 'light'
        self._call(
            'Emulation.setEmulatedMedia',
            self._page,
            features=[{'name': 'prefers-color-scheme', 'value': scheme}],
        )
        self._call(
            'Emulation.setDeviceMetricsOverride', self._page,
            width=width, height=900, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        # what was asked for is there with the frame after the next one
        self.run(_FRAMES)
        wide = self.run(
            'document.documentElement.scrollWidth - window.innerWidth'
        )
        height = self.run('document.documentElement.scrollHeight')
        shot = self._call(
            'Page.captureScreenshot',
            self._page,
            captureBeyondViewport=True,
            clip={
                'x': 0, 'y': 0, 'width': width,
                # what is larger than a texture comes out blank
                'height': min(height, 8000), 'scale': 1,
            },
        )  # fmt: skip
        return Seen(base64.b64decode(shot['data']), wide)

    def painted(self, png: bytes) -> Painted:
        """What a picture shows."""
        text = json.dumps(base64.b64encode(png).decode())
        width, height, dots, counts = self._value(self._canvas, _COUNT % text)
        return Painted(
            width,
            height,
            {
                tuple(map(int, colour.split())): count / dots
                for colour, count in counts.items()
            },
        )

    def printed(self) -> bytes:
        """The page as PDF, as its own style wants it."""
        made = self._call(
            'Page.printToPDF',
            self._page,
            preferCSSPageSize=True,
            printBackground=False,
        )
        return base64.b64decode(made['data'])

    def _call(
        self, method: str, session: str = '', **words: Any
    ) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {
            'id': self._number, 'method': method, 'params': words,
        }  # fmt: skip
        if session:
            message['sessionId'] = session
        whole = json.dumps(message).encode() + b'\0'
        while whole:
            whole = whole[os.write(self._to, whole) :]
        while True:
            answer = self._read()
            if answer.get('id') == self._number:
                if 'error' in answer:
                    raise RuntimeError(f'{method}: {answer["error"]}')
                found: dict[str, Any] = answer['result']
                return found
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        words = event.get('params', {})
        if event['method'] == 'Page.lifecycleEvent':
            if words['name'] == 'load':
                self._loaded.add(words['loaderId'])
        elif event['method'] == 'Log.entryAdded':
            self.told.append(words['entry']['text'])
        elif event['method'] == 'Runtime.consoleAPICalled':
            self.told.append(json.dumps(words['args']))
        elif event['method'] == 'Runtime.exceptionThrown':
            self.told.append(json.dumps(words['exceptionDetails']))
        elif event['method'] == 'Network.requestWillBeSent':
            self.asked.append(words['request']['url'])

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b'\0' not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not connection.wait([self._from], left):
                raise TimeoutError(f'{PROGRAM} does not answer')
            some = os.read(self._from, 1 << 20)
            if not some:
                raise ConnectionError(f'{PROGRAM} has ended')
            self._rest += some
        message, _, self._rest = self._rest.partition(b'\0')
        found: dict[str, Any] = json.loads(message)
        return found


def pages(pdf: bytes) -> int:
    """How many a PDF has, as poppler reads it."""
    told = subprocess.run(
        ['pdfinfo', '-'], input=pdf, capture_output=True, check=True
    ).stdout.decode()
    (line,) = [one for one in told.splitlines() if one.startswith('Pages:')]
    return int(line.split()[1])
