//! Temporary runner.
use espial_cli::conform::{Format, run};
fn main() {
    let mut args: Vec<_> = std::env::args().skip(1).collect();
    let format = if args.first().is_some_and(|a| a == "--json") { args.remove(0); Format::Json } else { Format::Text };
    let files: Vec<_> = args.iter().map(Into::into).collect();
    let outcome = run(&files, format, &mut std::io::stdout()).unwrap();
    for u in &outcome.unusable { eprintln!("{u}"); }
    std::process::exit(outcome.exit_status().into());
}
