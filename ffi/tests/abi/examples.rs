//! The C programs: compiled at the full warning level, linked with the static library, run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::capture::{cases, expected, pcap};
use crate::{ffi, program, program_as, run, says, scratch};

#[test]
fn quickstart() {
    assert_eq!(
        says(&mut Command::new(program("examples/quickstart.c", &[]))),
        "drop: no_selector, src\n"
    );
}

/// The committed capture and the same packets in Ethernet frames get the verdicts that were written
/// down when they were made.
#[test]
fn dataplane() {
    let dataplane = program("examples/dataplane.c", &[]);
    let cases = cases();
    let framed = scratch().join("null-esp-ethernet.pcap");
    fs::write(&framed, pcap(&cases, 1)).expect("write");
    for capture in [ffi("examples/null-esp.pcap"), framed] {
        let output = Command::new(&dataplane)
            .arg(ffi("examples/null-esp.txt"))
            .arg(&capture)
            .output()
            .expect("dataplane");
        let found = String::from_utf8(output.stdout).expect("UTF-8");
        let expected = expected(&cases);
        for (found, expected) in found.lines().zip(expected.lines()) {
            assert_eq!(found, expected, "{}", capture.display());
        }
        assert_eq!(found.lines().count(), cases.len());
        assert_eq!(output.status.code(), Some(1), "something was dropped");
        let says = String::from_utf8(output.stderr).expect("UTF-8");
        let count = |verdict: &str| expected.matches(&format!("\"verdict\":\"{verdict}\"")).count();
        let counts = format!(
            "{} accepted, {} dropped, {} passed",
            count("accept"),
            count("drop"),
            count("pass")
        );
        assert!(says.contains(&counts), "{says}");
        assert!(says.contains("event: wrong_sa, SPI 0x1000a001"), "{says}");
    }
}

#[test]
fn rekey_beside_two_readers() {
    let output = says(&mut Command::new(program("examples/rekey.c", &["-pthread"])));
    assert!(output.contains("rekeys: "), "{output}");
}

/// All SAs of a gateway that chooses its SPIs, rekeyed beside a reader that misses none of them.
#[test]
fn rekey_storm_beside_a_reader() {
    let output = says(&mut Command::new(program("examples/rekey_storm.c", &["-pthread"])));
    assert!(output.contains("of live SAs missed: 0\n"), "{output}");
    assert!(output.contains("SAs at the end         4000"), "{output}");
}

#[test]
fn misuse_is_answered_with_a_status() {
    for source in ["tests/misuse.c", "tests/misuse_packets.c", "tests/misuse_alone.c"] {
        let output = says(&mut Command::new(program(source, &[])));
        assert!(output.ends_with("claims hold\n"), "{source}: {output}");
    }
}

#[test]
fn every_call_gives_what_it_says() {
    let output = says(&mut Command::new(program("tests/calls.c", &[])));
    assert!(output.ends_with("claims hold\n"), "{output}");
}

/// Images of `espial compile`: checked, used in place, and one in the place of another.
#[test]
fn images() {
    let output = says(&mut Command::new(program("tests/image.c", &[])));
    assert!(output.ends_with("claims hold\n"), "{output}");
}

/// No function of the header is left out of the C tests.
#[test]
fn every_function_is_called() {
    let sources = [
        "calls.c",
        "misuse.c",
        "misuse_packets.c",
        "misuse_alone.c",
        "allocated.c",
        "words.c",
        "image.c",
        "spd.c",
        "configuration.c",
        "local_in.c",
        "sessions.c",
        "passthrough.c",
        "reply_path.c",
        "snapshot.c",
        "../examples/rekey.c",
    ]
    .map(|name| fs::read_to_string(ffi("tests").join(name)).expect(name));
    for name in crate::header::functions(&crate::header::committed()) {
        assert!(
            sources.iter().any(|source| source.contains(&format!("{name}("))),
            "{name} is not tested"
        );
    }
}

/// The shared library runs the same program, and has what the static one has not.
#[test]
fn shared_library() {
    run(&mut Command::new(shared("tests/allocated.c")));
    run(&mut Command::new(shared("tests/configuration.c")));
}

/// Policies for what is addressed to the gateway: compiled, opened, asked, and every misuse of them.
#[test]
fn local_in_policy() {
    run(&mut Command::new(shared("tests/local_in.c")));
}

/// Sessions that end on the gateway: their life, a flood, and every misuse of them.
#[test]
fn sessions() {
    run(&mut Command::new(shared("tests/sessions.c")));
}

/// IPsec of others through a firewall (E2), and every misuse of it.
#[test]
fn passthrough() {
    run(&mut Command::new(shared("tests/passthrough.c")));
}

/// Where answers of IKE over TCP leave, the health of a tunnel's IKE, and every misuse of both.
#[test]
fn reply_path_and_health() {
    run(&mut Command::new(shared("tests/reply_path.c")));
}

/// A standby takes over what one node knew, with the shared library; and without an allocator.
#[test]
fn snapshot() {
    let output = says(&mut Command::new(shared("tests/snapshot.c")));
    assert!(output.ends_with("claims hold\n"), "{output}");
    let alone = program_as("tests/snapshot.c", "snapshot_alone", &["-DSTATIC_ONLY"]);
    let output = says(&mut Command::new(alone));
    assert!(output.ends_with("claims hold\n"), "{output}");
}

const LOCAL_IN: &str = "  0 s, from 203.0.113.10: IKE, accepted by default, session 1
  1 s, from 198.51.100.7: IKE, iprope_in_check() check failed on policy 1, drop
  3 s, from 198.51.100.7: IKE, session 2, accepted
 10 s, fine: peer 198.51.100.7 has live SAs, its IKE session lasts 173 s, and no policy admits IKE from 198.51.100.7
170 s, from 198.51.100.7: ESP, to the SPI table
170 s, ALARM: peer 198.51.100.7 has live SAs and live ESP, its IKE session ends in 13 s, and no policy admits IKE \
from 198.51.100.7
190 s, from 198.51.100.7: ESP, to the SPI table
190 s, from 198.51.100.7: IKE, iprope_in_check() check failed on policy 1, drop
190 s, ALARM: peer 198.51.100.7 has live SAs and live ESP, its IKE session is gone, and no policy admits IKE from \
198.51.100.7
190 s, fine: peer 203.0.113.10 has live SAs, and a policy admits its IKE
policy 1: 2 packets, no policy: 1
";

/// C5 and C6 from end to end: policies, sessions and the health of a tunnel.
#[test]
fn local_in_from_end_to_end() {
    // Of another name than the test beside it, which is compiled at the same time.
    assert_eq!(says(&mut Command::new(shared_as("examples/local_in.c", "starved"))), LOCAL_IN);
}

/// A handle of each kind given to the calls of each other kind, where a page follows that may not be read.
/// An SPD worker given to espial_worker_idle() once crashed: each kind had its magic number elsewhere.
#[test]
fn handles_of_a_wrong_kind_are_refused_by_their_first_octets() {
    let output = says(&mut Command::new(shared("tests/kinds.c")));
    assert!(output.ends_with("claims hold\n"), "{output}");
}

/// Compiles a C program of this repository against the installed shared library.
fn shared(source: &str) -> PathBuf {
    let name = Path::new(source).file_stem().and_then(|stem| stem.to_str()).expect("a file name");
    shared_as(source, name)
}

/// The same under another name.
fn shared_as(source: &str, name: &str) -> PathBuf {
    let source = ffi(source);
    let lib = crate::prefix().join("lib");
    let rpath = format!("-Wl,-rpath,{}", lib.display());
    let out = scratch().join(name);
    let (include, search) = (crate::prefix().join("include"), format!("-L{}", lib.display()));
    let arguments =
        ["-o", out.to_str().unwrap(), source.to_str().unwrap(), &search, "-lespial", &rpath];
    crate::compile("c11", &[&include], &arguments);
    out
}

const CLASSIFIED: &str = "\
10.2.0.5 > 10.1.0.9 protocol 6 port 443: selector 0
10.2.0.5 > 10.1.0.9 protocol 6 port 80: selector 1
10.2.0.5 > 10.1.0.9 protocol 17 port 443: none, but selector 0 has its source
10.2.1.5 > 10.1.1.9 protocol 17 port 1999: selector 2
10.2.1.5 > 10.1.1.9 protocol 17 port 2000: none, but selector 2 has its source
10.2.2.5 > 10.1.2.9 protocol 17 port 53: selector 3
10.2.3.5 > 10.1.3.9 protocol 6 port 443: none
10.2.0.5 > 10.1.0.9 protocol 6 port 443: selector 1
covered: 0xab
";

/// A list that a program with an allocator compiled answers in one without.
#[test]
fn matcher_alone() {
    let words = scratch().join("classify.words");
    let output = says(Command::new(shared("examples/classify.c")).arg(&words));
    assert_eq!(output, CLASSIFIED);
    run(Command::new(program("tests/words.c", &[])).arg(&words));
}

const POLICIES: &str = "\
to 192.0.2.1 protocol 17 port 500: bypass, policy 10
to 192.0.2.1 protocol 17 port 53: discard, no policy
to 10.1.0.9 protocol 6 port 23: discard, policy 20
to 10.1.0.9 protocol 6 port 443: protect, policy 30
to 192.0.2.1 protocol 17 port 4500: bypass, policy 10
policy 10: 2 packets
policy 20: 1 packets
policy 30: 1 packets
no policy: 1 packets
4 selectors, 8 disjoint entries
";

/// Policies that a program with an allocator compiled answer in one without.
#[test]
fn policies() {
    let words = scratch().join("policies.words");
    let output = says(Command::new(shared("examples/policies.c")).arg(&words));
    assert_eq!(output, POLICIES);
    run(Command::new(program("tests/spd.c", &[])).arg(&words));
}
