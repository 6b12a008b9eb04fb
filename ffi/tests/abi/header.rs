//! include/espial.h is what cbindgen makes of the sources, and documents every function.

use std::fs;

use crate::{compile, ffi, scratch};

/// In the order of the header.
const SOURCES: [&str; 37] = [
    "types/numbers.rs",
    "types/gateway.rs",
    "types/packet.rs",
    "types/policy.rs",
    "types/local_in.rs",
    "types/sessions.rs",
    "types/passthrough.rs",
    "types/reply_path.rs",
    "types/health.rs",
    "types/snapshot.rs",
    "handle/gateway.rs",
    "handle/worker.rs",
    "handle/matcher.rs",
    "handle/spd.rs",
    "handle/local_in.rs",
    "handle/sessions.rs",
    "handle/passthrough.rs",
    "handle/reply_path.rs",
    "text.rs",
    "names.rs",
    "setup.rs",
    "config.rs",
    "image.rs",
    "packet.rs",
    "matcher.rs",
    "spd.rs",
    "local_in.rs",
    "sessions.rs",
    "passthrough.rs",
    "reply_path.rs",
    "health.rs",
    "preset.rs",
    "snapshot.rs",
    "analysis.rs",
    "stream.rs",
    "wire.rs",
    "lib.rs",
];

fn generated() -> String {
    let config = cbindgen::Config::from_file(ffi("cbindgen.toml")).expect("cbindgen.toml");
    let builder = SOURCES
        .iter()
        .filter(|name| **name != "lib.rs")
        .fold(cbindgen::Builder::new(), |builder, name| builder.with_src(ffi("src").join(name)));
    let bindings = builder.with_config(config).generate().expect("cbindgen");
    let mut header = Vec::new();
    bindings.write(&mut header);
    String::from_utf8(header).expect("UTF-8")
}

/// The functions that a header declares, in order.
pub fn functions(header: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in header.lines() {
        if line.starts_with([' ', '/', '*', '#', '}', '{']) || line.starts_with("typedef") {
            continue;
        }
        let Some((head, _)) = line.split_once('(') else { continue };
        let name = head.rsplit([' ', '*']).next().unwrap_or_default();
        if name.starts_with("espial_") {
            names.push(name.to_owned());
        }
    }
    names
}

pub fn committed() -> String {
    fs::read_to_string(ffi("include/espial.h")).expect("include/espial.h: run with UPDATE_HEADER=1")
}

#[test]
fn header_is_up_to_date() {
    let generated = generated();
    let path = ffi("include/espial.h");
    if std::env::var_os("UPDATE_HEADER").is_some() {
        fs::write(&path, &generated).expect("write header");
    }
    assert!(
        committed() == generated,
        "include/espial.h is stale: cargo test -p espial-ffi with UPDATE_HEADER=1"
    );
}

#[test]
fn every_export_is_in_the_header_and_documented() {
    let header = committed();
    let declared = functions(&header);
    let mut exported = Vec::new();
    for name in SOURCES {
        let source = fs::read_to_string(ffi("src").join(name)).expect(name);
        let lines: Vec<&str> = source.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((_, rest)) = line.split_once("extern \"C\" fn ") else { continue };
            let name = rest.split('(').next().unwrap_or_default().to_owned();
            let above: Vec<&&str> = lines[..at]
                .iter()
                .rev()
                .take_while(|line| line.starts_with("///") || line.starts_with("#["))
                .collect();
            assert!(above.iter().any(|line| line.contains("no_mangle")), "{name} is not exported");
            let says = |what: &str| {
                above.iter().any(|line| line.starts_with("///") && line.contains(what))
            };
            assert!(says("Thread: "), "{name} does not state its thread class");
            // Those that return no status have no errors.
            let end = lines[at..].iter().position(|line| line.ends_with('{')).expect("body");
            let status = lines[at + end].ends_with("-> i32 {");
            assert!(!status || says("Errors: "), "{name} does not state its errors");
            exported.push(name);
        }
    }
    let sort = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sort(exported), sort(declared));
}

#[test]
fn header_compiles_as_c99_and_c11_without_a_warning() {
    let source = scratch().join("header.c");
    fs::write(
        &source,
        "#include <espial.h>\n#include <espial.h>\nint main(void) { return ESPIAL_OK; }\n",
    )
    .expect("write");
    for standard in ["c99", "c11"] {
        let object = scratch().join("header.o");
        compile(
            standard,
            &[&ffi("include")],
            &["-c", "-o", object.to_str().unwrap(), source.to_str().unwrap()],
        );
    }
}

/// Every constant of the core has its `#define`, spelled as the core names it.
#[test]
fn every_reason_mode_and_field_has_its_constant() {
    let header = committed();
    let has = |name: &str, value: u32| {
        let line = format!("#define {name} {value}");
        assert!(header.lines().any(|found| found == line), "no line `{line}`");
    };
    for reason in espial::Reason::all() {
        has(&format!("ESPIAL_DROP_{}", reason.name().to_uppercase()), reason.code().into());
    }
    for mode in espial::Mode::ALL {
        let name = mode.name().to_uppercase().replace('-', "_");
        has(&format!("ESPIAL_MODE_{name}"), mode as u32);
    }
}

#[test]
fn every_global_name_carries_the_prefix() {
    let header = fs::read_to_string(ffi("include/espial.h")).unwrap();
    for line in header.lines().filter(|line| line.starts_with("#define ")) {
        assert!(line.starts_with("#define ESPIAL_"), "{line}");
    }
}
