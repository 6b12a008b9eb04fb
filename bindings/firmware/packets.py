#!/usr/bin/env python3
"""Writes packets.h: packets of the captures in ../cli/samples, opened, with what is known of each; and GATEWAY.toml, the
part of the receiving gateway's configuration that they need.

    python3 packets.py

AES is left to openssl(1). Integrity is not looked at: the captures' own keys open them, and this is the stand-in
for a device whose crypto engine has done so.
"""
import json, pathlib, re, struct, subprocess, tomllib

HERE = pathlib.Path(__file__).parent
SAMPLES = HERE.parent / "cli" / "samples"
# Capture, tunnels, numbers of packets.
CHOSEN = [
    ("kernel-03-wrong-sa-native", [2, 4, 40, 19, 23, 25, 35]),
    ("scapy-esp-ah", [68, 25, 116, 50, 120, 21, 162, 24, 57, 73, 6, 112, 55, 23]),
]


def frames(path):
    octets, at = path.read_bytes(), 24
    ethernet = struct.unpack_from("<I", octets, 20)[0] == 1
    while at < len(octets):
        length = struct.unpack_from("<I", octets, at + 8)[0]
        yield octets[at + 16 + (14 if ethernet else 0):at + 16 + length]
        at += 16 + length


def ipsec_offset(packet):
    """Where ESP or AH starts, and which it is; ESP in UDP too."""
    version = packet[0] >> 4
    protocol, at = (packet[9], 4 * (packet[0] & 15)) if version == 4 else (packet[6], 40)
    if protocol == 17:
        protocol, at = 50, at + 8
    assert protocol in (50, 51), protocol
    end = struct.unpack_from(">H", packet, 2)[0] if version == 4 else 40 + struct.unpack_from(">H", packet, 4)[0]
    return protocol, at, end


def aes(mode, key, iv, octets):
    name = "chacha20" if mode == "chacha20" else f"aes-{8 * len(key)}-{mode}"
    command = ["openssl", "enc", "-d", f"-{name}", "-nopad", "-K", key.hex(), "-iv", iv.hex()]
    return subprocess.run(command, input=octets, capture_output=True, check=True).stdout


def opened(packet, sa):
    """What the host's crypto hands on: next header and payload."""
    protocol, at, end = ipsec_offset(packet)
    if protocol == 51:
        return packet[at], packet[at + 4 * (packet[at + 1] + 2):end]
    body, cipher = packet[at + 8:end], sa["encryption"]
    key = bytes.fromhex(sa.get("encryption-key", ""))
    tag = int(sa.get("integrity", "-128").split("-")[-1]) // 8
    if cipher == "null":
        body = body[:-tag]
    elif cipher == "chacha20-poly1305":
        body = aes("chacha20", key[:-4], bytes([1, 0, 0, 0]) + key[-4:] + body[:8], body[8:-16])
    elif cipher == "aes-gcm-16":
        body = aes("ctr", key[:-4], key[-4:] + body[:8] + bytes([0, 0, 0, 2]), body[8:-16])
    elif cipher == "aes-cbc":
        body = aes("cbc", key, body[:16], body[16:-tag])
    else:
        raise SystemExit(f"no {cipher} here")
    return body[-1], body[:-2 - body[-2]]


def selector(one):
    one = {"addr": one} if isinstance(one, str) else one
    rest = "".join(f", {key} = {json.dumps(one[key])}" for key in ("protocol", "ports") if key in one)
    return f'{{ addr = "{one["addr"]}"{rest} }}' if rest else f'"{one["addr"]}"'


def octets(say, name, value):
    rows = [", ".join(str(octet) for octet in value[at:at + 24]) for at in range(0, len(value), 24)]
    say(f"static const uint8_t {name}[{len(value)}] = {{\n    " + ",\n    ".join(rows) + "};")


def main():
    header = ["/* Written by packets.py from bindings/cli/samples; do not edit. */\n"]
    say = header.append
    # In the order of the file that they are written to, which is that of their numbers.
    children, sas, packets, tunnels = {}, [], [], []
    few = None
    for capture, numbers in CHOSEN:
        gateway = tomllib.loads((SAMPLES / f"{capture}.gateway.toml").read_text())
        known = [json.loads(line) for line in (SAMPLES / f"{capture}.expect.jsonl").read_text().splitlines()]
        known = {one["packet"]: one for one in known}
        every = list(frames(SAMPLES / f"{capture}.pcap"))
        named = {(t["name"], c["name"]): c for t in gateway["tunnel"] for c in t["child"]}

        def place(key):
            """The number of a Child SA, added with its first SA if it is new."""
            if key not in children:
                assert key[0] not in tunnels[:-1], "numbers follow tunnels"
                if key[0] not in tunnels:
                    tunnels.append(key[0])
                children[key] = named[key]
                sas.append((len(children) - 1, named[key]["sa"][0]))
            return list(children).index(key)

        for number in numbers:
            wire, what = every[number - 1], known[number]
            if "child" in what:
                own = place((what["tunnel"], what["child"]))
                for other in what.get("belongs_to", [])[:1]:
                    place((what["tunnel"], other))
                key = (what["tunnel"], what["child"])
                spi = int(what["spi"], 16)
                sa = next(one for one in named[key]["sa"] if int(one["spi"], 16) == spi)
                if not any(int(one["spi"], 16) == spi for _, one in sas):
                    sas.append((own, sa))
                next_header, payload = opened(wire, sa)
            else:
                next_header, payload = 0, b""
            packets.append((capture, number, wire, payload, next_header, what))
        few = few or (len(sas), len(packets))

    for number, (capture, place, wire, payload, _, _) in enumerate(packets):
        octets(say, f"wire{number}", wire)
        if payload:
            octets(say, f"opened{number}", payload)

    every = (len(sas), len(packets))
    say("\n#ifdef FW_FEW /* The first capture only. */")
    for head, counts in (("", few), ("#else\n", every)):
        say(head + f"enum {{FW_SAS = {counts[0]}, FW_PACKETS = {counts[1]}}};")
    say(f"#endif\n\nenum {{FW_TUNNELS = {len(tunnels)}, FW_CHILDREN = {len(children)}}};\n")
    say("/* child: its number in GATEWAY.toml, from 0. */")
    say("static const struct { uint32_t child, spi; uint8_t ipsec, mode; } fw_sas[] = {")
    for child, sa in sas:
        protocol, mode = {"esp": 50, "ah": 51}[sa["protocol"]], {"tunnel": 1, "transport": 2}[sa["mode"]]
        say(f"    {{{child}, {int(sa['spi'], 16):#x}, {protocol}, {mode}}},")
    say("};\n\n/* strict and any: the drop reason, 0 = accept. */")
    say("static const struct { const uint8_t *wire, *opened; uint16_t wire_len, opened_len; uint8_t next_header, strict, any; } fw_packets[] = {")
    for number, (capture, place, wire, payload, next_header, what) in enumerate(packets):
        reason = f"ESPIAL_DROP_{what['reason'][0].upper()}" if what["strict-sa"] == "drop" else "0"
        loose = "0" if what["any-selector"] == "accept" else reason
        pointer = f"opened{number}" if payload else "0"
        say(f"    {{wire{number}, {pointer}, {len(wire)}, {len(payload)}, {next_header}, {reason}, {loose}}}, /* {capture} {place} */")
    say("};")
    (HERE / "packets.h").write_text("\n".join(header) + "\n")

    toml = ["# Written by packets.py from bindings/cli/samples; do not edit. SAs come by key exchange: fw_sas in packets.h."]
    for tunnel in tunnels:
        toml += ["", "[[tunnel]]", f"name = {json.dumps(tunnel)}", 'mode = "strict-sa"']
        for (of, name), child in children.items():
            if of == tunnel:
                toml += ["[[tunnel.child]]", f"name = {json.dumps(name)}"]
                toml += [f"{side} = [{', '.join(selector(one) for one in child[side])}]" for side in ("local", "remote")]
    (HERE / "GATEWAY.toml").write_text("\n".join(toml) + "\n")


if __name__ == "__main__":
    main()
