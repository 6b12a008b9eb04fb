//! One version everywhere: Cargo.toml, the header, the .pc file, the CMake package, the file names; and
//! one interface version: the header and the SONAME.

use std::fs;
use std::process::Command;

use crate::header::committed;
use crate::{prefix, says};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn defined(name: &str) -> String {
    let prefix = format!("#define {name} ");
    let header = committed();
    header
        .lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("{name}"))
        .to_owned()
}

#[test]
fn versions_agree() {
    let parts = ["MAJOR", "MINOR", "PATCH"].map(|part| defined(&format!("ESPIAL_VERSION_{part}")));
    assert_eq!(parts.join("."), VERSION);
    let read = |path: &str| fs::read_to_string(prefix().join(path)).expect("installed");
    assert!(read("lib/pkgconfig/espial.pc").contains(&format!("\nVersion: {VERSION}\n")));
    let cmake = read("lib/cmake/espial/espialConfigVersion.cmake");
    assert!(cmake.contains(&format!("set(PACKAGE_VERSION \"{VERSION}\")")));
    assert!(!cmake.contains('@') && !read("lib/cmake/espial/espialConfig.cmake").contains('@'));
    assert_eq!(read("include/espial.h"), committed());
}

#[cfg(target_os = "linux")]
#[test]
fn soname_is_the_interface_version() {
    let soname = format!("libespial.so.{}", defined("ESPIAL_ABI_VERSION"));
    let lib = prefix().join("lib");
    let dynamic = says(Command::new("readelf").arg("-d").arg(lib.join("libespial.so")));
    assert!(dynamic.contains(&format!("Library soname: [{soname}]")), "{dynamic}");
    let to =
        |name: &str| fs::read_link(lib.join(name)).expect("a link").to_str().unwrap().to_owned();
    assert_eq!(to("libespial.so"), soname);
    assert_eq!(to(&soname), format!("libespial.so.{VERSION}"));
    assert!(
        fs::read_to_string(lib.join("cmake/espial/espialConfig.cmake"))
            .is_ok_and(|text| text.contains(&soname))
    );
}
