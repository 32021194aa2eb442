"""A headless Chromium without network, driven over its DevTools pipe: pages, keys, pictures."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from gate_pages import BROWSERS, FLAGS

KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "End": 35, "Home": 36,
        "Tab": 9, "Enter": 13, "Escape": 27}  # fmt: skip
# The browser reads commands from descriptor 3 and writes answers to descriptor 4.
LAUNCH = """import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
SECONDS = 60  # for the answer to a command, on a machine that does other things too


class Page:
    """A tab. messages: what stood in its console, violations of its policy included."""

    def __init__(self, browser, session):
        self._browser, self._session, self.messages = browser, session, []

    def call(self, method, **parameters):
        """Call a method of the DevTools protocol."""
        return self._browser.call(method, self._session, **parameters)

    def evaluate(self, expression):
        """Return the value of an expression of JavaScript, or of its promise."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, *keys):
        """Press keys, one after the other."""
        for key in keys:
            for kind in ("keyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                          windowsVirtualKeyCode=KEYS[key])  # fmt: skip

    def wait_for(self, expression, seconds=SECONDS):
        """Wait until an expression is true; return the seconds that it took."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            try:
                if self.evaluate(expression):
                    return time.monotonic() - began
            except (AssertionError, RuntimeError):
                pass  # The page is being loaded.
            time.sleep(0.05)
        raise AssertionError(f"not true within {seconds} s: {expression}")

    def show_as(self, width, height=900, dark=False):
        """Give the page a width and a colour scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path):
        """Write a picture of the whole page."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))


class Browser:
    """A running browser."""

    def __init__(self, folder):
        program = next(filter(None, map(shutil.which, BROWSERS)), None)
        if program is None:
            pytest.skip("there is no Chromium here")
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        flags = [flag for flag in FLAGS if flag.startswith("--") and "time" not in flag]
        flags.remove("--dump-dom")
        offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(commands), str(answers), program, *flags, offline,
             f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe"],
            pass_fds=(commands, answers), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        self._buffer, self._count, self._pages = b"", 0, {}

    def call(self, method, session=None, **parameters):
        self._count += 1
        command = {"id": self._count, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == self._count:
                if "error" in message:
                    raise RuntimeError(message["error"])
                return message["result"]
            self._keep(message)

    def _next(self):
        while b"\0" not in self._buffer:
            received = os.read(self._read, 1 << 20)
            assert received, "the browser has ended"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _keep(self, message):
        page, told = self._pages.get(message.get("sessionId")), message.get("params")
        if page and message["method"] == "Log.entryAdded":
            page.messages.append(told["entry"]["text"])
        elif page and message["method"] == "Runtime.consoleAPICalled":
            page.messages.append(str(told["args"]))
        elif page and message["method"] == "Runtime.exceptionThrown":
            page.messages.append(str(told["exceptionDetails"]))

    def open(self, place, width=800, height=900, dark=False):
        """Open a file, or an address of this machine, in a new tab; return its Page once loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        page.call("Emulation.setScrollbarsHidden", hidden=True)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.show_as(width, height, dark)
        url = place if isinstance(place, str) else place.resolve().as_uri()
        page.call("Page.navigate", url=url)
        page.wait_for("document.readyState === 'complete' && location.protocol !== 'about:'")
        return page

    def close(self):
        os.close(self._write)
        self._process.terminate()
        self._process.wait(20)
        os.close(self._read)


@contextmanager
def browser_in(folder):
    """A browser that keeps its files in a folder, in a with block."""
    browser = Browser(folder)
    try:
        yield browser
    finally:
        browser.close()
