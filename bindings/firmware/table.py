#!/usr/bin/env python3
"""Reads what run measured, fails if it is beyond what is allowed, and prints it as tables; with `readme` it writes
them into README.md between the markers."""
import pathlib, re, sys

out = pathlib.Path(sys.argv[1])
boards = {"m4": "Cortex-M4", "m0": "Cortex-M0", "rv": "RV32IMAC"}


def numbers(text):
    return {name: int(value) for name, value in re.findall(r"^(.+) (\d+)$", text, re.M)}


found = {board: numbers((out / f"{board}.txt").read_text()) for board in boards}
linked = numbers((out / "linked.txt").read_text())
m4 = found["m4"]

# What is asked of Cortex-M4, what is allowed today, and what was measured. Where the second is more than the first
# the goal is not reached: it must not get worse.
budgets = [
    ("code of the plain calls, octets", 12288, 11800, linked["linked m4-plain"]),
    ("code of the plain calls for headers, octets", 12288, 10020, linked["linked m4-headers"]),
    ("code of all calls of the packet path, octets", 12288, 35000, linked["linked m4-packet"]),
    ("static RAM, octets", 0, 0, linked["static m4-image"] + linked["static m4-packet"]),
    ("stack of the plain calls, octets", 512, 412, m4["stack plain"]),
    ("stack of a plain drop in a tree of 1000, octets", 512, 500, m4["selectors-1000 stack-plain"]),
    ("stack of a plain drop of IPv6 in a tree of 64, octets", 512, 508, m4["stack plain-v6"]),
    ("stack of all calls of the packet path, octets", 512, 2168, m4["stack packet"]),
    ("stack of making a gateway over an image, octets", 2048, 1768, m4["stack configuration"]),
    ("SPI lookup, direct slot, instructions", 60, 44, m4["cost find-esp-direct"]),
    ("SPI lookup, first bucket, instructions", 60, 60, m4["cost find-esp-hit"]),
    ("SPI lookup, miss, instructions", 110, 78, m4["cost find-esp-miss"]),
    ("SPI lookup with its status, direct slot, instructions", 60, 54, m4["cost find-spi-direct"]),
    ("SPI lookup with its status, first bucket, instructions", 60, 71, m4["cost find-spi-hit"]),
    ("SPI lookup with its status, miss, instructions", 110, 89, m4["cost find-spi-miss"]),
    ("plain strict check of headers, 8 selectors, seven fail on an address, instructions", 200, 200, m4["selectors-8 check-plain-headers"]),
    ("plain strict check of headers, 8 selectors, seven fail on a port, instructions", 350, 326, m4["selectors-8-ports check-plain-headers"]),
    ("strict check of headers, 8 selectors, seven fail on an address, instructions", 200, 276, m4["selectors-8 check-headers"]),
    ("strict check of headers, 8 selectors, seven fail on a port, instructions", 350, 403, m4["selectors-8-ports check-headers"]),
    ("plain strict check with its parse, 8 selectors, on an address, instructions", 283, 480, m4["selectors-8 check-plain"]),
    ("plain strict check with its parse, 8 selectors, on a port, instructions", 433, 666, m4["selectors-8-ports check-plain"]),
]

lines = ["| Cortex-M4 | goal | allowed | measured |", "|---|---|---|---|"]
lines += [f"| {name} | {goal} | {allowed} | {value} |" for name, goal, allowed, value in budgets]
lines += ["", "| | " + " | ".join(boards.values()) + " |", "|---" * (len(boards) + 1) + "|"]


def row(what, values):
    lines.append(f"| {what} | " + " | ".join("" if value is None else str(value) for value in values) + " |")


row("flash: plain calls for headers", [linked[f"linked {board}-headers"] for board in boards])
row("flash: plain calls", [linked[f"linked {board}-plain"] for board in boards])
row("flash: all calls of the packet path", [linked[f"linked {board}-packet"] for board in boards])
row("flash: plain calls, image, SAs", [linked[f"linked {board}-least"] for board in boards])
row("flash: packet path, image, SAs", [linked[f"linked {board}-image"] for board in boards])
row("flash: packet path, compiler of selectors, SAs", [linked[f"linked {board}-compiled"] for board in boards])
row("RAM: static", [linked[f"static {board}-image"] for board in boards])
row("RAM: a worker without events, with 20", [f"{found[board]['size worker-without-events']}, {found[board]['size worker-with-events']}" for board in boards])
for size in (name for name in m4 if name.startswith("size ") and "worker" not in name):
    compiled = size.replace("size", "compiled")
    row(f"RAM: {size[5:].replace('-', ' ')}; compiled there", [f"{found[board][size]}; {found[board][compiled]}" for board in boards])
row("stack: plain calls", [found[board]["stack plain"] for board in boards])
row("stack: all calls of the packet path", [found[board]["stack packet"] for board in boards])
row("stack: image and SAs of these packets", [found[board]["stack configuration"] for board in boards])
names = {"find-esp-direct": "SPI lookup, direct slot", "find-esp-hit": "SPI lookup, first bucket", "find-esp-miss": "SPI lookup, miss",
         "find-spi-direct": "SPI lookup with its status, direct slot", "find-spi-hit": "SPI lookup with its status, first bucket", "find-spi-miss": "SPI lookup with its status, miss",
         "lookup-hit": "`espial_worker_lookup`, hit", "lookup-miss": "`espial_worker_lookup`, unknown SPI", "arrive": "`espial_worker_arrive`",
         "quiescent": "`espial_worker_quiescent`"}
row("stack: plain check, drop of IPv6, 64", [found[board].get("stack plain-v6") for board in boards])
for name, what in names.items():
    row(what, [found[board].get(f"cost {name}") for board in boards])
for selectors in ("1", "8", "8-ports", "64", "1000"):
    label = selectors.replace("-ports", ", by port")
    row(f"stack: plain check, drop, {label}", [found[board].get(f"selectors-{selectors} stack-plain") for board in boards])
    row(f"stack: plain check of headers, drop, {label}", [found[board].get(f"selectors-{selectors} stack-plain-headers") for board in boards])
    row(f"image, octets, {label}", [found[board].get(f"selectors-{selectors} image") for board in boards])
    for name, what in (("check-plain-headers", "plain strict check of headers"), ("check-headers", "strict check of headers"), ("check", "strict check with the parse"), ("check-plain", "plain strict check with the parse"),
                       ("any-selector", "any-selector check of headers"), ("drop", "drop, with its reason")):
        row(f"{what}, {label}", [found[board].get(f"selectors-{selectors} {name}") for board in boards])

text = "\n".join(lines) + "\n"
print(text)
if "readme" in sys.argv[2:]:
    readme = pathlib.Path(__file__).parent / "README.md"
    begin, end = "<!-- measured: bindings/firmware/run readme -->\n", "<!-- end -->"
    before, rest = readme.read_text().split(begin)
    readme.write_text(before + begin + text + end + rest.split(end)[1])
bad = [name for name, _, allowed, value in budgets if value > allowed]
missed = [name for name, goal, _, value in budgets if value > goal]
print("goals not reached: " + ("; ".join(missed) or "none"))
if bad:
    sys.exit("over what is allowed: " + "; ".join(bad))
