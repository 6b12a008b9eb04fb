//! The runner must be able to fail: every expectation of every case is turned round, and every
//! object gets a field that nobody knows.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;

/// Every case under `tests/conformance/` that is run, with its name.
fn cases() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut cases = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        for line in fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let kind = KINDS.iter().find(|(name, _)| case["kind"] == **name);
            if matches!(kind, Some((_, Kind::Runs(_)))) && case["upstream_quirk"] != json!(true) {
                cases.push((case["id"].as_str().unwrap().to_owned(), case));
            }
        }
    }
    assert!(cases.len() > 300, "{} cases", cases.len());
    cases
}

/// The cases that are changed in many places and run for each: not the floods, of which shorter ones
/// with the same fields are among them.
fn short_cases() -> impl Iterator<Item = (String, Value)> {
    let is_flood = |case: &Value| case["packets"].as_u64() > Some(1000);
    let (floods, short): (Vec<_>, Vec<_>) =
        cases().into_iter().partition(|(_, case)| is_flood(case));
    for (id, flood) in floods {
        let names = |case: &Value| {
            let mut found = Vec::new();
            pointers(case, "", &|_, _| true, &mut found);
            found
        };
        assert!(
            short.iter().any(|(_, case)| names(case) == names(&flood)),
            "{id} has no short one"
        );
    }
    short.into_iter()
}

fn passes(case: &Value) -> bool {
    matches!(run_case(case), Ok(Line::Passed))
}

/// JSON pointers to all values of which `choose` says so.
fn pointers(
    value: &Value,
    at: &str,
    choose: &dyn Fn(&str, &Value) -> bool,
    found: &mut Vec<String>,
) {
    if choose(at, value) {
        found.push(at.to_owned());
    }
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                // RFC 6901 section 3.
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(inner, &format!("{at}/{name}"), choose, found);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                pointers(inner, &format!("{at}/{index}"), choose, found);
            }
        }
        _ => {}
    }
}

/// A value that says something else.
fn other(at: &str, value: &Value) -> Option<Value> {
    Some(match value {
        // The one limit that a larger number would not break.
        Value::Number(number) if at.ends_with("/events_max") => {
            json!(number.as_u64()?.checked_sub(1)?)
        }
        Value::Number(number) => match number.as_u64() {
            Some(number) => json!(number.checked_add(1)?),
            None => json!(number.as_f64()? * 2.0 + 1.0),
        },
        Value::Bool(flag) => json!(!flag),
        Value::String(text) => json!(format!("{text}x")),
        Value::Null => json!("x"),
        Value::Array(list) if list.is_empty() => json!(["x"]),
        Value::Array(_) | Value::Object(_) => return None,
    })
}

#[test]
fn every_expectation_is_compared() {
    let expected = |at: &str, _: &Value| {
        let named = |name: &str| at.split('/').any(|part| part == name);
        named("expect") || named("expect_ordered_spd") || named("found")
    };
    for (id, case) in short_cases() {
        assert!(passes(&case), "{id}: {:?}", run_case(&case).map(|_| ()));
        let mut found = Vec::new();
        pointers(&case, "", &expected, &mut found);
        let mut flipped = 0;
        for at in found {
            let mut mutant = case.clone();
            let place = mutant.pointer_mut(&at).unwrap();
            let Some(value) = other(&at, place) else { continue };
            *place = value;
            flipped += 1;
            assert!(!passes(&mutant), "{id} passes with {at} turned round");
        }
        assert!(flipped > 0, "{id} expects nothing");
    }
}

#[test]
fn every_unknown_field_is_found() {
    for (id, case) in short_cases() {
        let mut found = Vec::new();
        pointers(&case, "", &|_, value| value.is_object(), &mut found);
        for at in found {
            let mut mutant = case.clone();
            let object = mutant.pointer_mut(&at).and_then(Value::as_object_mut).unwrap();
            object.insert("surprise".to_owned(), json!(1));
            match run_case(&mutant) {
                Err(Problem(problem)) => {
                    assert!(problem.contains("surprise"), "{id} {at}: {problem}");
                }
                Ok(_) => panic!("{id} runs with an unknown field in {at}"),
            }
        }
    }
}

#[test]
fn every_unknown_operation_is_found() {
    for (id, case) in cases() {
        let mut found = Vec::new();
        pointers(&case, "", &|at, _| at.ends_with("/op") || at.ends_with("/key_type"), &mut found);
        for at in found {
            let mut mutant = case.clone();
            *mutant.pointer_mut(&at).unwrap() = json!("surprise");
            match run_case(&mutant) {
                Err(Problem(problem)) => {
                    assert!(problem.contains("surprise"), "{id} {at}: {problem}");
                }
                Ok(_) => panic!("{id} runs with an unknown operation in {at}"),
            }
        }
    }
}

#[test]
fn a_case_without_expectations_is_no_pass() {
    for (id, mut case) in short_cases() {
        if let Some(expect) = case.get_mut("expect") {
            *expect = json!({});
            case.as_object_mut().unwrap().remove("expect_ordered_spd");
            assert!(!passes(&case), "{id}");
        }
        for name in ["ops", "cases", "steps"] {
            if let Some(list) = case.get_mut(name) {
                *list = json!([]);
                assert!(!passes(&case), "{id}");
            }
        }
    }
}

/// A case that says less, or something else, is never a panic.
#[test]
fn any_field_may_be_missing_or_of_another_type() {
    let mut shapes = HashSet::new();
    for (_, case) in cases() {
        let mut found = Vec::new();
        pointers(&case, "", &|at, _| !at.is_empty(), &mut found);
        // One case of each shape will do.
        let long = found.len() > 60 || case["packets"].as_u64() > Some(500);
        if long || !shapes.insert((case["kind"].clone(), found.clone())) {
            continue;
        }
        for at in found {
            for value in [json!(null), json!(-1), json!("x"), json!([]), json!({}), json!(1e300)] {
                let mut mutant = case.clone();
                *mutant.pointer_mut(&at).unwrap() = value;
                let _ = run_case(&mutant);
            }
            let (parent, name) = at.rsplit_once('/').unwrap();
            let mut mutant = case.clone();
            if let Some(Value::Object(map)) = mutant.pointer_mut(parent) {
                map.remove(name);
                let _ = run_case(&mutant);
            }
        }
    }
    assert!(shapes.len() > 50, "{} shapes", shapes.len());
}

/// A later packet of a flow that the ALG made may be called by either word, the first one by one only.
#[test]
fn the_first_packet_of_a_flow_that_the_alg_made_is_accept_alg() {
    let cases = cases();
    let (_, case) = cases.iter().find(|(id, _)| id == "own-pass-alg-spi-on-again").unwrap();
    let esp: Vec<_> = (0..).zip(case["packets"].as_array().unwrap()).skip(2).collect();
    let mut seen = HashSet::new();
    for (index, packet) in esp {
        let is_first = seen.insert(packet["spi"].as_u64());
        for (word, may_be) in [("accept_alg", true), ("accept_flow", !is_first), ("accept", false)]
        {
            let mut case = case.clone();
            case["packets"][index as usize]["expect"] = json!(word);
            assert_eq!(passes(&case), may_be, "packet {index} is {word}");
        }
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn steps_of_a_timeline_are_in_order() {
    let cases = cases();
    let (_, case) = cases.iter().find(|(id, _)| id == "own-local-timeline").unwrap();
    let mut case = case.clone();
    case["steps"][3]["t"] = json!(0.1);
    let Err(Problem(problem)) = run_case(&case) else { panic!("time goes back") };
    assert_eq!(problem, "field `steps[3].t`: earlier than the step before");
}

#[test]
fn an_sa_accepts_by_any_of_the_sas_that_cover() {
    let any = json!([{ "from": "10.0.0.0", "to": "10.255.255.255", "proto": 0, "port_from": 0, "port_to": 65535 }]);
    let selectors = json!([{ "local": any, "remote": any }]);
    let case = |expect: Value| {
        json!({
            "id": "x", "kind": "sa_check", "tunnel": "T", "arrived_spi": 400,
            "sas": [
                { "name": "a", "spi": 300, "selectors": selectors },
                { "name": "b", "spi": 400, "selectors": selectors },
            ],
            "packet": { "src": "10.0.0.1", "dst": "10.0.0.2", "proto": 47 },
            "expect": expect,
        })
    };
    let accept = |name: &str| json!({ "verdict": "accept", "matched_sa": name });
    for name in ["a", "b"] {
        assert!(passes(&case(json!({ "any-selector": accept(name), "any-source": accept(name) }))));
    }
    // In strict-sa mode it is the arriving one.
    assert!(passes(&case(json!({ "strict-sa": accept("b") }))));
    assert!(!passes(&case(json!({ "strict-sa": accept("a") }))));
    assert!(!passes(&case(json!({ "loose": accept("a") }))));
}
