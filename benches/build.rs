//! Compiles the shims for DPDK, if feature `dpdk` asks for it; nothing otherwise.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "dpdk")]
    dpdk::build();
}

#[cfg(feature = "dpdk")]
mod dpdk {
    use std::process::Command;

    const SHIMS: [&str; 4] =
        ["src/peers/dpdk.c", "src/peers/acl.c", "src/peers/gateway.c", "src/peers/dpdk.h"];

    /// What pkg-config says, word by word. It is asked here, not by its crate, which leaves out
    /// `-include rte_config.h` and `-march`: the headers' inline CRC32 wants both.
    fn pkg_config(ask: &str) -> Vec<String> {
        println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");
        let run = Command::new("pkg-config").args([ask, "libdpdk"]).output();
        let said = run.expect("feature dpdk needs pkg-config");
        let errors = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "feature dpdk needs libdpdk (libdpdk-dev): {errors}");
        let words = String::from_utf8(said.stdout).expect("pkg-config writes UTF-8");
        words.split_whitespace().map(str::to_owned).collect()
    }

    pub fn build() {
        let mut shim = cc::Build::new();
        for file in SHIMS {
            println!("cargo::rerun-if-changed={file}");
            if file.ends_with(".c") {
                shim.file(file);
            }
        }
        // Optimised in test builds too: the library is.
        shim.opt_level(3).warnings(true).flag_if_supported("-std=gnu11");
        for flag in pkg_config("--cflags") {
            shim.flag(flag);
        }
        shim.compile("espial_peers_dpdk");
        for folder in pkg_config("--libs-only-L") {
            println!("cargo::rustc-link-search=native={}", folder.trim_start_matches("-L"));
        }
        // pkg-config names every library and driver there is; the shims call four.
        for library in ["rte_ipsec", "rte_hash", "rte_acl", "rte_eal"] {
            println!("cargo::rustc-link-lib=dylib={library}");
        }
    }
}
