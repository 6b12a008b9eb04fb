//! All rule sets and traces of a directory, if `ESPIAL_CLASSBENCH` names one: NAME.rules[.xz] with
//! NAME.WHAT.trace[.xz]. No answer may differ from the trace.

use std::path::{Path, PathBuf};

use espial::matcher::Backend;
use espial_cli::classify::{Options, run};
use espial_cli::lookup::Format;
use espial_cli::lookup::measure::Effort;

fn with_end(directory: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory of rules and traces");
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.trim_end_matches(".xz").ends_with(end)
    });
    paths.sort();
    paths
}

#[test]
fn no_answer_differs_from_a_trace() {
    let Some(directory) = std::env::var_os("ESPIAL_CLASSBENCH").map(PathBuf::from) else {
        println!("ESPIAL_CLASSBENCH is not set: nothing was compared");
        return;
    };
    let mut compared = 0;
    for rules in with_end(&directory, ".rules") {
        let stem = |path: &Path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.split('.').next().unwrap().to_owned()
        };
        for trace in with_end(&directory, ".trace") {
            if stem(&trace) != stem(&rules) {
                continue;
            }
            let questions = [(false, false), (true, false), (true, true)];
            let ways =
                Backend::all().flat_map(|one| questions.map(|(any, merge)| (any, merge, one)));
            for (any, merge, backend) in ways {
                let (rules, trace) = (rules.clone(), trace.clone());
                let burst = 32.try_into().unwrap();
                let effort = Effort::LEAST;
                let options = Options { rules, trace, any, merge, burst, backend, effort };
                let mut out = Vec::new();
                let status = run(&options, Format::Text, &mut out).expect("files that can be read");
                let said = String::from_utf8(out).unwrap();
                assert_eq!(status, 0, "{}: {said}", options.trace.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "{}: no rules with a trace", directory.display());
}
