//! What benches of many rows start with: short rows, and each only once where nothing is timed.

use std::time::Duration;

use criterion::Criterion;

/// Criterion with `seconds` for each row unless `ESPIAL_BENCH_SECONDS` says otherwise, and whether this is a test.
pub fn start(seconds: f64) -> (Criterion, bool) {
    let seconds = std::env::var("ESPIAL_BENCH_SECONDS").map_or(seconds, |text| {
        text.parse().expect("ESPIAL_BENCH_SECONDS is a number of seconds for each row")
    });
    let criterion = Criterion::default()
        .sample_size(10)
        .nresamples(10_000)
        .without_plots()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs_f64(seconds))
        .configure_from_args();
    // cargo says --bench when it times; otherwise every row runs once, as a test.
    let arguments: Vec<_> = std::env::args().collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    (criterion, has("--test") || !has("--bench"))
}
