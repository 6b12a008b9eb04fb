//! What the libraries export and import. The static one is one object that clashes with nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::header::{committed, functions};
use crate::{compile, prefix, says, scratch};

fn nm(arguments: &[&str], file: &PathBuf) -> BTreeSet<String> {
    // A missing nm fails here, loudly: without it nothing of this is known.
    let output = says(Command::new("nm").args(["-f", "posix"]).args(arguments).arg(file));
    let names =
        output.lines().filter_map(|line| line.split_once(' ')).map(|(name, _)| name.to_owned());
    names.filter(|name| !name.ends_with(':')).collect()
}

fn declared(allocating: bool) -> BTreeSet<String> {
    let own = |name: &str| ["_new", "_free", "_alloc"].iter().any(|end| name.ends_with(end));
    functions(&committed()).into_iter().filter(|name| allocating || !own(name)).collect()
}

#[test]
fn static_library_exports_the_header_and_imports_memory_functions() {
    let library = prefix().join("lib/libespial.a");
    assert_eq!(nm(&["-g", "--defined-only"], &library), declared(false));
    let allowed = ["memcpy", "memmove", "memset", "memcmp", "bcmp"].map(str::to_owned).into();
    let imported = nm(&["-u"], &library);
    assert!(imported.is_subset(&allowed), "{imported:?}");
    let members = says(Command::new("ar").arg("t").arg(&library));
    assert_eq!(members, "espial.o\n");
}

#[test]
fn static_library_holds_no_panic_and_no_allocator() {
    let library = prefix().join("lib/libespial.a");
    for name in nm(&[], &library) {
        for banned in
            ["panic", "unwrap_failed", "slice_index", "alloc", "unwind", "Formatter", "4core3fmt"]
        {
            // `BTreeSet::contains` is not meant: a part of a mangled name is.
            assert!(!name.contains(banned), "{name} is in libespial.a");
        }
    }
    let octets = fs::read(&library).expect("libespial.a");
    for banned in
        ["panicked", "called `Option", "index out of", "overflow", "rustc/", "/core/src/", ".rs\0"]
    {
        let found = octets.windows(banned.len()).any(|part| part == banned.as_bytes());
        assert!(!found, "`{banned}` is in libespial.a");
    }
}

#[test]
fn shared_library_exports_the_header_and_nothing_else() {
    let library = prefix().join("lib/libespial.so");
    let exported = nm(&["-D", "--defined-only"], &library);
    assert_eq!(exported, declared(true));
}

/// A program without a C library, that brings the four memory functions itself: so there is no
/// allocator, no lock and no system call in the archive.
#[cfg(target_os = "linux")]
#[test]
fn static_library_links_without_a_c_library() {
    let source = scratch().join("bare.c");
    let program = r"
#include <espial.h>
void *memcpy(void *restrict to, const void *restrict from, size_t n) { char *t = to; const char *f = from; while (n--) { *t++ = *f++; } return to; }
void *memmove(void *to, const void *from, size_t n) { char *t = to; const char *f = from; if (t < f) { while (n--) { *t++ = *f++; } } else { while (n--) { t[n] = f[n]; } } return to; }
void *memset(void *to, int c, size_t n) { char *t = to; while (n--) { *t++ = (char)c; } return to; }
int memcmp(const void *a, const void *b, size_t n) { const unsigned char *x = a, *y = b; for (; n--; x++, y++) { if (*x != *y) { return *x - *y; } } return 0; }
void _start(void);
void _start(void) {
    static uint64_t memory[8];
    espial_capacity capacity = {sizeof capacity, .tunnels = 1, .children = 1, .selectors = 1, .sas = 1, .workers = 1};
    espial_gateway *gateway;
    espial_class found;
    (void)espial_gateway_init(memory, sizeof memory, &capacity, 1, 2, &gateway);
    (void)espial_classify((const uint8_t *)memory, 28, &found);
    for (;;) { }
}
";
    fs::write(&source, program).expect("write");
    let out = scratch().join("bare");
    let library = prefix().join("lib/libespial.a");
    let arguments = [
        "-nostdlib",
        "-static",
        "-ffreestanding",
        "-o",
        out.to_str().unwrap(),
        source.to_str().unwrap(),
        library.to_str().unwrap(),
    ];
    compile("c11", &[&prefix().join("include")], &arguments);
}
