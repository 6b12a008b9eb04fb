//! Gives the shared library its SONAME.

/// The number in the SONAME; `ESPIAL_ABI_VERSION` is the same one (tests/abi/version.rs).
const ABI_VERSION: u32 = 0;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // cargo-c sets `capi` and names the library itself; two names would not load.
    let named_elsewhere = std::env::var_os("CARGO_FEATURE_CAPI").is_some();
    if is("CARGO_CFG_TARGET_OS", "linux") && !named_elsewhere {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libespial.so.{ABI_VERSION}");
    }
}
