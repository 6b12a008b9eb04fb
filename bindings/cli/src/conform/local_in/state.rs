//! `state`: what the ends of the tunnel show, and which SPIs are known.

use espial::SaKey;
use espial::headers::{Ipsec, Spi};
use espial::sad::Scope;
use serde_json::{Value, json};

use super::super::case::{self, Findings, Object, Problem};
use super::Run;

/// Packets of IKE without an answer after which the other end takes its tunnel down (C5).
const PROBES: u32 = 3;

/// SPIs: numbers, or eight digits as the documents print them.
pub(super) fn spis(path: &str, value: &Value) -> Result<Vec<u32>, Problem> {
    let spi = |value: &Value| match value {
        Value::String(digits) => u32::from_str_radix(digits, 16)
            .map_err(|_| Problem::field(path, "an SPI of eight digits", value)),
        number => case::number(path, number),
    };
    case::list(path, value)?.iter().map(spi).collect()
}

/// What one end shows.
struct End {
    is_up: bool,
    spis: Option<Vec<u32>>,
}

/// The names that the ends of the tunnel may have; the contract names them in words only. Site 2 is the one
/// whose policies are judged (C4).
const HERE: [&str; 7] =
    ["tunnel", "tunnel_state", "local", "local_tunnel", "site2", "site2_tunnel", "tunnel_site2"];
const THERE: [&str; 6] = ["peer", "peer_tunnel", "remote", "site1", "site1_tunnel", "tunnel_site1"];

/// Compares the step's `expect`, or the step itself if it has none.
pub(super) fn compare(
    run: &Run<'_, '_>,
    step: &mut Object<'_>,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let known = |spi: u32| {
        let key = |ipsec| SaKey { ipsec, spi: Spi(spi), scope: Scope::Spi };
        [Ipsec::Esp, Ipsec::Ah].into_iter().any(|ipsec| run.control.find_sa(&key(ipsec)).is_some())
    };
    let spis: Vec<u32> = run.spis.iter().copied().filter(|&spi| known(spi)).collect();
    let here = End { is_up: !spis.is_empty(), spis: Some(spis) };
    let there = End { is_up: here.is_up && run.unanswered < PROBES, spis: None };
    match step.get("expect") {
        Some(expect) => {
            let mut expect = Object::new(step.at("expect"), expect)?;
            ends(&mut expect, &here, &there, findings)?;
            expect.close()
        }
        None => ends(step, &here, &there, findings),
    }
}

fn ends(
    expect: &mut Object<'_>,
    here: &End,
    there: &End,
    findings: &mut Findings,
) -> Result<(), Problem> {
    for (names, end) in [(&HERE[..], here), (&THERE[..], there)] {
        for name in names {
            let path = expect.at(name);
            match expect.get(name) {
                None => {}
                Some(value @ Value::Object(_)) => {
                    let mut own = Object::new(path, value)?;
                    for name in ["tunnel", "state"] {
                        if let Some(expected) = own.get(name) {
                            up_or_down(&own.at(name), expected, end, findings);
                        }
                    }
                    known(&mut own, end, findings)?;
                    own.close()?;
                }
                Some(expected) => up_or_down(&path, expected, end, findings),
            }
        }
    }
    known(expect, here, findings)
}

fn up_or_down(path: &str, expected: &Value, end: &End, findings: &mut Findings) {
    let got = match expected {
        Value::Bool(_) => json!(end.is_up),
        _ => json!(if end.is_up { "up" } else { "down" }),
    };
    findings.compare(path, expected, got);
}

/// Compares the SPIs of an end, which are a set.
fn known(object: &mut Object<'_>, end: &End, findings: &mut Findings) -> Result<(), Problem> {
    for name in ["known_spis", "spis"] {
        let path = object.at(name);
        let Some(expected) = object.get(name) else { continue };
        let Some(got) = &end.spis else {
            return Err(Problem(format!("`{path}`: not known of the other end")));
        };
        let (mut wanted, mut got) = (spis(&path, expected)?, got.clone());
        wanted.sort_unstable();
        got.sort_unstable();
        findings.check(path, wanted == got, expected, got);
    }
    Ok(())
}
