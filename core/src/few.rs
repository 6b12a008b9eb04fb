//! How often a property is tried whose every case holds many packets.

use proptest::test_runner::Config;

/// A quarter of the usual cases, which `PROPTEST_CASES` sets; `.ci/full` runs them in their thousands.
pub fn few() -> Config {
    let usual = Config::default();
    Config { cases: usual.cases.div_ceil(4), ..usual }
}
