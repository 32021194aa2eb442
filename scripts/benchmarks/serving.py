#!/usr/bin/env python3
"""Measure charlstm serve on this machine, with the clients on it too: how much 64 streams at once
write in a second, beside one stream alone, and how soon a text begins.

    .venv/bin/python scripts/benchmarks/serving.py runs/first
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from urllib.parse import urlsplit

try:
    from common import cpu_name

    from charlstm.system.threads import available_cores
except ImportError as error:
    sys.exit(f"{error}: run ./scripts/setup, then .venv/bin/python scripts/benchmarks/serving.py")

STREAMS = 64
LENGTH = 500


async def stream(port: int, seed: int, length: int) -> tuple[float, float, int]:
    """Read a stream; return when it began and when it ended, in seconds, and its characters."""
    body = json.dumps({"prompt": "A", "max_tokens": length, "seed": seed, "stream": True}).encode()
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(body), body)
    )
    first, characters = None, 0
    async for line in reader:
        if line.startswith(b"data: {"):
            characters += len(json.loads(line[6:])["choices"][0]["text"])
            if first is None and characters:
                first = time.perf_counter() - began
    writer.close()
    assert characters == length and first is not None, "a text is not whole"
    return first, time.perf_counter() - began, characters


async def at_once(port: int, count: int, length: int) -> tuple[float, list[float]]:
    """Return the characters a second of some streams at once, and when each of them began."""
    began = time.perf_counter()
    found = await asyncio.gather(*(stream(port, seed, length) for seed in range(count)))
    return count * length / (time.perf_counter() - began), [first for first, _, _ in found]


def main() -> None:
    """Start a server, measure it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of a run, whose model is served")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    command = [sys.executable, "-m", "charlstm", "serve", "--port", "0", "--json", "-r"]
    with subprocess.Popen([*command, options.run], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = urlsplit(json.loads(server.stdout.readline())["url"]).port
            assert port is not None
            asyncio.run(at_once(port, STREAMS, LENGTH))  # warm-up
            alone, long, together, began_alone, began = [], [], [], [], []
            for _ in range(options.rounds):
                speed, first = asyncio.run(at_once(port, 1, LENGTH))
                alone.append(speed)
                began_alone += first
                long.append(asyncio.run(at_once(port, 1, 20 * LENGTH))[0])
                speed, first = asyncio.run(at_once(port, STREAMS, LENGTH))
                together.append(speed)
                began += first
        finally:
            server.terminate()
    median = statistics.median
    print(f"{cpu_name()}, {available_cores()} cores")
    print(f"{options.run}, {options.rounds} rounds, medians:")
    print(f"one stream of {LENGTH} characters: {median(alone):,.0f} characters a second")
    print(f"one stream of {20 * LENGTH:,} characters: {median(long):,.0f} characters a second")
    print(
        f"{STREAMS} streams of {LENGTH} at once: {median(together):,.0f} characters a second, "
        f"{median(together) / median(alone):.1f} and {median(together) / median(long):.1f} times"
    )
    print(
        f"first character after {1e3 * median(began_alone):.0f} ms alone, after "
        f"{1e3 * median(began):.0f} ms (slowest {1e3 * max(began):.0f} ms) of {STREAMS} at once"
    )


if __name__ == "__main__":
    main()
