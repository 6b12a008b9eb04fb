#!/usr/bin/env python3
"""Prints the GATEWAY.toml of a set of selectors that costs are measured on: one Child SA that has them all, in a
strict-sa tunnel and in an any-selector one. The packet of main.c is covered by the last selector alone; those before
fail on an address, or with `ports` on the remote port.

    python3 sets.py SELECTORS [ports | v6]

`v6`: as many of IPv6, for the stack of a drop.
"""
import sys

selectors, by_port, v6 = int(sys.argv[1]), sys.argv[2:] == ["ports"], sys.argv[2:] == ["v6"]
# The calls of C take 255 ranges a side, so firmware could build the same: four local ranges beside 250 remote ones.
locals_ = 4 if selectors > 250 else 1
remotes = selectors // locals_


def rows(ranges):
    return "[" + ", ".join(ranges) + "]"


local = [f"10.{9 + locals_ - 1 - number}.0.0/16" for number in range(locals_)]
if v6:
    local = ['"2001:db8:9::/64"']
    remote = [f'"2001:db8:0:{number:x}::/64"' for number in range(remotes)]
elif by_port:
    local = [f'{{ addr = "{one}", protocol = 17 }}' for one in local]
    remote = [f'{{ addr = "10.0.0.0/24", protocol = 17, ports = "{port}-{port}" }}'
              for port in range(1000, 1000 + 2 * remotes, 2)]
else:
    local = [f'"{one}"' for one in local]
    remote = [f'"10.{number >> 8}.{number & 255}.0/24"' for number in range(remotes)]
for mode in ("strict-sa", "any-selector"):
    print(f'[[tunnel]]\nname = "{mode}"\nmode = "{mode}"\n[[tunnel.child]]\nname = "all"')
    print(f"local = {rows(local)}\nremote = {rows(remote)}\n")
