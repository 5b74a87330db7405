"""One Dask build on three hosts: network namespaces of this machine, with a folder that all of them see.

Needs root and iproute2. The scheduler and the driver are on this machine; hosts h1, h2, h3 have an address
each on a bridge, and see nothing else of the network. What is built is compared with a build without them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

NET, HOSTS = "10.213.7", ("h1", "h2", "h3")
BRIDGE = "dimtool0"


def ip(*words: str) -> None:
    """Run iproute2's `ip`."""
    subprocess.run(["ip", *words], check=True)


@contextmanager
def network() -> Iterator[None]:
    """A bridge with an address of this machine, and a namespace a host on it."""
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("addr", "add", f"{NET}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for number, host in enumerate(HOSTS, start=2):
            space, near, far = f"dimtool-{host}", f"dimtool-{host}", "eth0"
            ip("netns", "add", space)
            ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
            ip("link", "set", near, "master", BRIDGE, "up")
            ip("-n", space, "addr", "add", f"{NET}.{number}/24", "dev", far)
            ip("-n", space, "link", "set", far, "up")
            ip("-n", space, "link", "set", "lo", "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", f"dimtool-{host}"], check=False)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False)


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """A scheduler on this machine and a worker on each host; its address."""
    python, quiet = [sys.executable, "-m"], ["--no-dashboard"]
    log = (folder / "log").open("wb")
    file = folder / "scheduler.json"
    scheduler = [*python, "distributed.cli.dask_scheduler", "--host", f"{NET}.1", *quiet]
    worker = [*python, "distributed.cli.dask_worker", f"tcp://{NET}.1:8786", *quiet, "--nthreads", "1"]
    spaces = [["ip", "netns", "exec", f"dimtool-{host}", *worker, "--no-nanny"] for host in HOSTS]
    commands = [[*scheduler, "--scheduler-file", str(file)], *spaces]
    started = [
        subprocess.Popen(each, stdout=log, stderr=log, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"})
        for each in commands
    ]
    try:
        while not file.exists():
            time.sleep(0.05)
        yield json.loads(file.read_text())["address"]
    finally:
        for each in started:
            each.terminate()
            each.wait()
        log.close()


def dimtool(*words: object) -> dict[str, object]:
    """Run a command; its result."""
    done = subprocess.run(
        [sys.executable, "-m", "dimtool", *map(str, words), "--json"], stdout=subprocess.PIPE, check=True
    )
    values: dict[str, object] = json.loads(done.stdout)
    return values


def main() -> None:
    """Build on three hosts and on this machine; print what each host did, and whether the sets agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--foregrounds", type=int, default=24)
    parser.add_argument("--per-fg", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dimtool-") as name:
        folder = Path(name)
        numbers = ("--foregrounds", options.foregrounds, "--backgrounds", options.foregrounds)
        dimtool("draw-set", folder / "set", *numbers, "--size", 128, "--per-fg", options.per_fg)
        lists = ("--fg-list", folder / "set/train_fg.txt", "--per-fg", options.per_fg, "--alpha-max", 255)
        alone = dimtool("build-dataset", *lists, "--out", folder / "alone", "--jobs", 1)
        with network(), cluster(folder) as address, Client(address) as client:
            client.wait_for_workers(len(HOSTS), timeout=60)
            where = ("--out", folder / "shared", "--engine", "dask", "--address", address)
            shared = dimtool("build-dataset", *lists, *where)
            spent = client.run(time.process_time)
        for address, seconds in sorted(spent.items()):
            print(f"{address}: {seconds:.1f} s of processor time")
        print(f"{shared['composites']} composites in {shared['seconds']:.1f} s")
        print("fingerprints agree:", shared["fingerprint"] == alone["fingerprint"])
        same = all(
            path.read_bytes() == (folder / "alone" / path.name).read_bytes()
            for path in (folder / "shared").glob("*.h5")
        )
        print("shards are the same, byte for byte:", same)


if __name__ == "__main__":
    main()
