#!/usr/bin/env python3
"""Writes what `espial-bpf test` reads: DIR/NAME.gateway.toml, .sas and .packets, of the captures in ../cli/samples and of
generated gateways.

    python3 cases.py DIR
"""
import ipaddress, json, pathlib, random, struct, subprocess, sys, tomllib

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "firmware"))
import packets as captures

CAPTURES = ["kernel-03-wrong-sa-native", "scapy-esp-ah"]
SIZES = [1, 8, 64, 1000]
PACKETS = 3000


def write(out, name, gateway, sas, packets):
    (out / f"{name}.gateway.toml").write_text(gateway)
    (out / f"{name}.sas").write_text("".join("\t".join(map(str, sa)) + "\n" for sa in sas))
    rows = (f"{next_header}\t{known}\t{wire.hex()}\t{'-' if opened is None else opened.hex()}\n"
            for next_header, known, wire, opened in packets)
    (out / f"{name}.packets").write_text("".join(rows))


# Captures: every packet of which something is known.

def capture(out, name):
    text = (captures.SAMPLES / f"{name}.gateway.toml").read_text()
    sas, keys, skipped = [], {}, set()
    for tunnel in tomllib.loads(text)["tunnel"]:
        for child in tunnel["child"]:
            for sa in child["sa"]:
                key = (int(sa["spi"], 16), sa["protocol"], str(ipaddress.ip_address(sa["dst"])))
                if sa["mode"] != "tunnel":
                    skipped.add(key)  # espial-bpf has none
                elif key not in keys:
                    keys[key] = sa
                    sas.append((sa["spi"], sa["protocol"], sa.get("encap", "none"), key[2], "-", tunnel["name"], child["name"]))
    wires = list(captures.frames(captures.SAMPLES / f"{name}.pcap"))
    packets = []
    for line in (captures.SAMPLES / f"{name}.expect.jsonl").read_text().splitlines():
        what = json.loads(line)
        wire = wires[what["packet"] - 1]
        dst = str(ipaddress.ip_address(wire[16:20] if wire[0] >> 4 == 4 else wire[24:40]))
        known, is_unknown = what["strict-sa"], what.get("reason") == ["unknown_spi"]
        next_header, opened = 0, None
        try:
            protocol, at, _ = captures.ipsec_offset(wire)
            spi = struct.unpack_from(">I", wire, at + (4 if protocol == 51 else 0))[0]
            key = (spi, "ah" if protocol == 51 else "esp", dst)
            # SAs come and go in the captures, and all live here; those in transport mode do not.
            if key in skipped or (is_unknown and key in keys):
                known = "-"
            if key in keys:
                next_header, opened = captures.opened(wire, keys[key])
        except (AssertionError, IndexError, struct.error, subprocess.CalledProcessError):
            pass  # altered on the way
        packets.append((next_header, known if opened or is_unknown else "-", wire, opened))
    write(out, name, text, sas, packets)


# Generated: every mode, both families, and packets that are near what is allowed.

V4, V6 = int(ipaddress.ip_address("10.0.0.0")), int(ipaddress.ip_address("2001:db8::"))


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.selectors, self.sas = [], []

    def pick(self, *options):
        return self.random.choice(options)

    def addresses(self, version):
        """A range of few or many addresses in a small part of the space, so that ranges meet."""
        bits, base = (32, V4) if version == 4 else (128, V6)
        width = self.pick(0, 0, 3, 8, 8, 12) if version == 4 else self.pick(0, 16, 64, 64, 70, 80)
        start = base + (self.random.getrandbits(16 if version == 4 else 84) >> width << width)
        end = start + (1 << width) - 1
        if self.random.random() < 0.2:
            end = min(end + self.random.getrandbits(6), (1 << bits) - 1)
        return start, end

    def traffic(self):
        """Protocol and values, as TOML says them and as packets have them."""
        protocol = self.pick(0, 0, 0, 6, 6, 17, 1, 58, 47, 132, 135)
        values, text = None, ""
        if protocol in (6, 17, 132):
            low = self.random.randrange(0, 1000)
            values = self.pick(None, (low, low), (low, low + self.random.randrange(200)), "opaque")
            text = "" if values is None else ', ports = "opaque"' if values == "opaque" else f', ports = "{values[0]}-{values[1]}"'
        elif protocol == 135 and self.random.random() < 0.5:
            kind = self.random.randrange(8)
            values, text = (kind << 8, kind << 8), f', mh = "{kind}"'
        return protocol, values, (f", protocol = {protocol}{text}" if protocol else "")

    def tunnel(self, number, mode, size):
        """Two Child SAs that share the selectors, a small one, and one that has no SA."""
        seen, shared = [], {}
        rows = [f'[[tunnel]]\nname = "t{number}"\nmode = "{mode}"\n']
        parts = [(f"c{n}", count) for n, count in enumerate([max(1, size // 2), max(1, size - size // 2), min(size, 3), min(size, 5)])]
        for name, count in parts:
            local, remote = {}, []
            while len(remote) < count:
                version = self.pick(4, 4, 6)
                protocol, values, text = self.traffic()
                if version not in local:
                    local[version] = self.pick(shared.get(version), None) or self.addresses(version)
                start, end = self.addresses(version)
                if seen and self.random.random() < 0.3:
                    # As another Child SA has it, or wider.
                    version, start, end, *_ = self.pick(*seen)
                    start -= self.pick(0, 0, min(start, 256))
                elif self.random.random() < 0.05:
                    # To the end of the space, but not for all that there is.
                    start, end = self.pick(0, start), (1 << (32 if version == 4 else 128)) - 1
                    while not isinstance(values, tuple):
                        protocol, values, text = self.traffic()
                local.setdefault(version, shared.get(version))
                remote.append((version, start, end, protocol, values, text))
            seen += remote
            for version, span in local.items():
                shared.setdefault(version, span)
            sides = {"local": [f'{{ addr = "{self.span(version, *span)}" }}' for version, span in local.items()],
                     "remote": [f'{{ addr = "{self.span(version, start, end)}"{text} }}' for version, start, end, _, _, text in remote]}
            rows.append(f'[[tunnel.child]]\nname = "{name}"\n')
            rows += [f"{side} = [{', '.join(ones)}]\n" for side, ones in sides.items()]
            if name != "c3":
                self.add_sas(f"t{number}", name)
            self.selectors += [(f"t{number}", name, one, local[one[0]]) for one in remote]
        return "".join(rows)

    def span(self, version, start, end):
        address = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
        return f"{address(start)}-{address(end)}"

    def add_sas(self, tunnel, child):
        spi = 0x1000 + len(self.sas)
        self.sas.append((hex(spi), self.pick("esp", "esp", "ah"), "none", "-", "-", tunnel, child))
        self.sas.append((hex(spi + 1), "esp", "udp", self.pick("192.0.2.1", "2001:db8:ffff::1"), "-", tunnel, child))
        # One SPI, found by ever longer keys.
        shared = self.pick(0x100, 0x101)
        for dst, src in (("-", "-"), ("192.0.2.1", "-"), ("192.0.2.1", "192.0.2.9"), ("2001:db8:ffff::1", "2001:db8:ffff::9")):
            if not any((int(one[0], 16), one[1], one[3], one[4]) == (shared, "esp", dst, src) for one in self.sas):
                self.sas.append((hex(shared), "esp", "none", dst, src, tunnel, child))
                break

    def within(self, start, end, bits):
        """An address of a range, often at its edge, sometimes beside it."""
        address = self.pick(start, end, self.random.randint(start, end), self.random.randint(start, end), start - 1, end + 1)
        return address % (1 << bits)

    def next_layer(self, protocol, values):
        """A protocol and what follows the IP header."""
        if not protocol or self.random.random() < 0.1:
            protocol = self.pick(6, 17, 1, 58, 50, 47, 135, 132, 33, 136)
        low, high = values if isinstance(values, tuple) else (0, 65535)
        source = self.pick(low, high, max(low - 1, 0), min(high + 1, 65535), self.random.randint(low, high))
        if protocol in (1, 58):
            body = bytes([self.pick(0, 1, 2, 3, 4, 5, 8, 11, 12, 127, 128, 255), self.random.randrange(4)])
        elif protocol == 135:
            body = bytes([59, 0, source >> 8, 0])
        else:
            body = struct.pack(">HH", source, self.random.getrandbits(16))
        body += bytes(self.random.choice((0, 4, 20)))
        return protocol, body[:self.random.randrange(len(body) + 1)] if self.random.random() < 0.05 else body

    def ipv4(self, src, dst, protocol, body):
        options = bytes(4 * self.pick(0, 0, 0, 0, 1, 10))
        fragment = self.pick(0, 0, 0, 0, 0, 0x4000, 0x2000, 0x0001, 0x2007, 0x1fff)
        head = 20 + len(options)
        length = (head + len(body)) if self.random.random() < 0.97 else self.pick(0, head - 1, head, head + 1, 65535, head + len(body) + 1)
        version = 0x40 | head // 4 if self.random.random() < 0.98 else self.random.randrange(256)
        return struct.pack(">BBHHHBBHII", version, 0, length, 0, fragment, 64, protocol, 0, src, dst) + options + body

    def ipv6(self, src, dst, protocol, body):
        for _ in range(self.pick(0, 0, 0, 0, 1, 1, 2, 3, 8, 9)):
            kind = self.pick(0, 43, 44, 44, 60, 60, 60)
            if kind == 44:
                place = self.pick(0, 0, 1, 1, 8, 9, 0xfff8, 6)
                head = struct.pack(">BBHI", protocol, self.pick(0, 7), place, 0)
            elif kind == 43:
                head = bytes([protocol, 0, self.pick(0, 2, 4), self.pick(0, 0, 1)]) + bytes(4)
            else:
                units = self.pick(0, 0, 0, 1, 5, 130)
                head = bytes([protocol, units]) + bytes(6 + 8 * units)
            protocol, body = kind, head + body
            if len(body) > 2300:
                break
        if self.random.random() < 0.02:
            body = body[:self.random.randrange(len(body) + 1)]
        length = len(body) if self.random.random() < 0.97 else self.pick(0, len(body) + 1, 65535, max(0, len(body) - 1))
        return struct.pack(">IHBB", 0x60000000, length, protocol, 64) + src.to_bytes(16) + dst.to_bytes(16) + body

    def packet(self, one, local):
        """A packet that this selector covers, or nearly; sometimes an ICMP error about one."""
        version, start, end, protocol, values, _ = one
        bits = 32 if version == 4 else 128
        build = self.ipv4 if version == 4 else self.ipv6
        src, dst = self.within(start, end, bits), self.within(*local, bits)
        number, body = self.next_layer(protocol, values)
        if self.random.random() < 0.12:
            # About a packet that went the other way; from anywhere, to whom sent it.
            if number in (6, 17, 132) and len(body) >= 4:
                body = body[2:4] + body[:2] + body[4:]
            if self.random.random() < 0.05:
                build = self.ipv6 if version == 4 else lambda src, dst, *rest: self.ipv4(src % (1 << 32), dst % (1 << 32), *rest)
            about = build(dst if self.random.random() < 0.9 else dst ^ 1, src, number, body)
            kind = self.pick(3, 4, 5, 11, 12, 0) if version == 4 else self.pick(1, 2, 3, 4, 0, 100)
            body = bytes([kind, self.random.randrange(4)]) + bytes(6) + about
            number, src = (1, V4 + 0xfffffe) if version == 4 else (58, V6 + (7 << 90))
        packet = (self.ipv4 if version == 4 else self.ipv6)(src, dst, number, body)
        chance = self.random.random()
        if chance < 0.02:
            packet = packet[:self.random.randrange(len(packet) + 1)]
        elif chance < 0.06:
            packet += bytes(self.random.randrange(1, 40))  # TFC padding
        next_header = 4 if version == 4 else 41
        return (next_header if self.random.random() < 0.98 else self.pick(4, 41, 6, 0)), packet

    def wire(self, sa):
        """The outer packet of an SA, or nearly; what is in it nobody opens."""
        spi, protocol, encap, dst, src, _, _ = sa
        version = 6 if ":" in dst else 4 if dst != "-" else self.pick(4, 6)
        to = {4: "192.0.2.1", 6: "2001:db8:ffff::1"}[version] if dst == "-" else dst
        of = {4: "192.0.2.7", 6: "2001:db8:ffff::7"}[version] if src == "-" else src
        spi = int(spi, 16)
        if protocol == "ah":
            words = self.pick(4, 4, 4, 4, 4, 3, 0, 5, 255)
            number, body = 51, struct.pack(">BBHII", 4, words, 0, spi, 1) + bytes(28)
        else:
            number, body = 50, struct.pack(">II", spi, 1) + bytes(28)
        if self.random.random() < 0.02:
            body = body[:self.random.randrange(len(body))]
        chance = self.random.random()
        if (encap == "udp") == (chance < 0.93):
            if self.random.random() < 0.1:
                body = self.pick(b"", b"\xff", b"\x00", b"\xff\xff", bytes(4), bytes(3), b"\x01\x02\x03\x04\x05", bytes(4) + body, body)
            port = self.pick(4500, 4500, 4500, 4500, 4500, 4500, 4500, 4500, 500, 53)
            length = 8 + len(body) + (self.pick(0, 0, 0, 0, 0, 0, 0, 0, 1, -1, -9) if self.random.random() < 0.3 else 0)
            number, body = 17, struct.pack(">HHHH", self.pick(4500, 1024, 500), port, max(0, length), 0) + body
        plain = self.random.random() < 0.85
        source, target = int(ipaddress.ip_address(of)), int(ipaddress.ip_address(to))
        if plain and version == 4:
            return struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(body), 0, 0, 64, number, 0, source, target) + body
        if plain:
            return struct.pack(">IHBB", 0x60000000, len(body), number, 64) + source.to_bytes(16) + target.to_bytes(16) + body
        return (self.ipv4 if version == 4 else self.ipv6)(source, target, number, body)


def generated(out, size):
    maker = Maker(size)
    modes = ["strict-sa", "any-selector", "any-source", "ordered-spd"]
    gateway = "".join(maker.tunnel(number, mode, size) for number, mode in enumerate(modes))
    packets = []
    while len(packets) < PACKETS:
        tunnel, child, one, local = maker.pick(*maker.selectors)
        # On the right SA, on another one of the tunnel, on any.
        own = [sa for sa in maker.sas if sa[5:] == (tunnel, child)]
        beside = [sa for sa in maker.sas if sa[5] == tunnel]
        sa = maker.pick(*(own or beside)) if maker.random.random() < 0.6 else maker.pick(*beside) if maker.random.random() < 0.9 else maker.pick(*maker.sas)
        next_header, opened = maker.packet(one, local)
        wire = maker.wire(sa)
        # A test run takes a packet of one page.
        if max(len(wire), len(opened)) <= 3000:
            packets.append((next_header, "-", wire, opened))
    write(out, f"generated-{size}", gateway, maker.sas, packets)


out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
for name in CAPTURES:
    capture(out, name)
for size in SIZES:
    generated(out, size)
