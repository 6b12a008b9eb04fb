//! Lists of traffic selectors: narrowing, duplicates, prefixes and supernets.

use std::net::IpAddr;

use espial::selector::{
    AddrRange, Configured, HostRule, Prefix, TrafficSelector, coalesce, covering_prefix_of_copies,
    dedupe, dedupe_to_vec, narrow, narrow_to_vec,
};
use serde_json::{Value, json};

use super::case::{self, Findings, Object, Problem};
use super::ts;

fn texts(list: &[Configured]) -> Value {
    list.iter().map(|one| json!(one.to_string())).collect()
}

fn compare_list(
    findings: &mut Findings,
    name: &str,
    expected: &Value,
    got: &[Configured],
) -> Result<(), Problem> {
    let wanted = ts::configured_list(&format!("expect.{name}"), expected)?;
    findings.check(name, wanted == got, expected, texts(got));
    Ok(())
}

/// `ts_list_select`: narrowing (RFC 7296 section 2.9).
pub(super) fn select(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let config = ts::configured_list("config", case.value("config")?)?;
    let supplied: Option<Vec<TrafficSelector>> = match case.present("supplied") {
        // A placeholder in a proposal matches nothing.
        Some(list) => Some(
            ts::configured_list("supplied", list)?
                .iter()
                .filter_map(|ts| ts.fixed().copied())
                .collect(),
        ),
        None => None,
    };
    let hosts: Vec<IpAddr> = match case.present("hosts") {
        Some(hosts) => case::list("hosts", hosts)?
            .iter()
            .map(|host| case::address("hosts", host))
            .collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let mut expect = case.object("expect")?;
    let rules =
        [("selected", HostRule::DynamicOnly), ("selected_force_dynamic", HostRule::EveryEntry)];
    for (name, rule) in rules {
        let (selected, narrowed) = narrow_to_vec(&config, supplied.as_deref(), &hosts, rule);
        if let Some(expected) = expect.get(name) {
            compare_list(findings, name, expected, &selected)?;
        }
        if rule == HostRule::DynamicOnly
            && let Some(expected) = expect.get("narrowed")
        {
            findings.compare("narrowed", expected, narrowed);
        }
        // The form without an allocator is the same narrowing.
        let proposed = supplied.as_ref().map_or(1, Vec::len);
        let room = config.len() * hosts.len().max(1) * proposed;
        let mut out =
            vec![Configured::Fixed(TrafficSelector::any(AddrRange::V4 { lo: 0, hi: 0 })); room];
        match narrow(&config, supplied.as_deref(), &hosts, rule, &mut out) {
            Ok(narrowing) => {
                let same = out.get(..narrowing.count) == Some(selected.as_slice());
                let same = same && narrowing.narrowed == narrowed;
                let got = texts(out.get(..narrowing.count).unwrap_or(&[]));
                findings.require(format!("{name}, in place"), same, texts(&selected), got);
            }
            Err(error) => return Err(Problem::step("narrowing in place", error)),
        }
    }
    expect.close()
}

/// `ts_list_dedupe`: entries inside others fall out.
pub(super) fn without_duplicates(
    case: &mut Object<'_>,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let mut config = ts::configured_list("config", case.value("config")?)?;
    let list = dedupe_to_vec(&config);
    let mut expect = case.object("expect")?;
    if let Some(expected) = expect.get("list") {
        compare_list(findings, "list", expected, &list)?;
    }
    let count = dedupe(&mut config);
    let in_place = config.get(..count).unwrap_or(&[]);
    findings.require("list, in place", in_place == list, texts(&list), texts(in_place));
    expect.close()
}

/// The network that a text names, in whatever spelling of its address.
fn network(path: &str, value: &Value) -> Result<Prefix, Problem> {
    let wrong = || Problem::field(path, "a network, address/length", value);
    let range: AddrRange = case::text(path, value)?.parse().map_err(|_| wrong())?;
    range.to_prefix().ok_or_else(wrong)
}

/// `ts_to_prefix`: one prefix around a range, or the prefixes that are the range.
pub(super) fn to_prefix(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let range = ts::range(case)?;
    let covering = range.covering_prefix();
    let mut expect = case.object("expect")?;
    if let Some(expected) = expect.get("net") {
        let wanted = case::address("expect.net", expected)?;
        let got = covering.prefix.addr();
        findings.check("net", wanted == got, expected, got.to_string());
    }
    if let Some(expected) = expect.get("len") {
        findings.compare("len", expected, covering.prefix.len());
    }
    if let Some(expected) = expect.get("exact") {
        findings.compare("exact", expected, covering.extra == 0);
        let exact = range.to_prefix() == Some(covering.prefix);
        let agreed = exact == (covering.extra == 0);
        findings.require("exact, as the range says", agreed, covering.extra == 0, exact);
    }
    if let Some(expected) = expect.get("exact_cover") {
        let mut wanted = Vec::new();
        for (index, value) in case::list("expect.exact_cover", expected)?.iter().enumerate() {
            wanted.push(network(&format!("expect.exact_cover[{index}]"), value)?);
        }
        let cover: Vec<Prefix> = range.prefixes().collect();
        let got: Value = cover.iter().map(|prefix| json!(prefix.to_string())).collect();
        findings.check("exact_cover", wanted == cover, expected, got);
    }
    expect.close()
}

/// True if a number of addresses is the one of the case. JSON readers hold numbers of 2^64 and
/// more as floats, which are exact for the powers of two that prefixes leave.
fn same_count(expected: &Value, got: u128) -> bool {
    match expected {
        Value::String(digits) => digits.parse() == Ok(got),
        other => match other.as_u64() {
            Some(number) => u128::from(number) == got,
            None => other.as_f64().is_some_and(|float| {
                float.fract() == 0.0
                    && float >= 0.0
                    && float < 2f64.powi(128)
                    && float as u128 == got
            }),
        },
    }
}

/// `consolidate`: one prefix for several (spec A8).
pub(super) fn consolidate(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let mut inputs = Vec::new();
    for (index, value) in case.list("inputs")?.iter().enumerate() {
        let path = format!("inputs[{index}]");
        let range: Result<AddrRange, _> = case::text(&path, value)?.parse();
        inputs.push(range.map_err(|error| Problem::step(format!("field `{path}`"), error))?);
    }
    let covering = covering_prefix_of_copies(&inputs);
    let prefix = covering.map(|covering| covering.prefix);
    // Without a prefix, because the inputs are of two families, all of these are null.
    let shown = |text: Result<String, _>| text.map_or(Value::Null, |text| json!(text));
    let mut expect = case.object("expect")?;
    if let Some(expected) = expect.get("smallest_single_prefix") {
        let met = match expected {
            Value::Null => prefix.is_err(),
            expected => prefix == Ok(network("expect.smallest_single_prefix", expected)?),
        };
        findings.check(
            "smallest_single_prefix",
            met,
            expected,
            shown(prefix.map(|one| one.to_string())),
        );
    }
    if let Some(expected) = expect.get("mask") {
        findings.compare("mask", expected, shown(prefix.map(|one| one.mask().to_string())));
    }
    let hosts = prefix.map(|one| one.hosts());
    let first = hosts.map(|hosts| hosts.lo().to_string());
    let last = hosts.map(|hosts| hosts.hi().to_string());
    // The contract names these two in words only.
    for name in ["first_host", "host_first", "hosts_from"] {
        if let Some(expected) = expect.get(name) {
            findings.compare(name, expected, shown(first.clone()));
        }
    }
    for name in ["last_host", "host_last", "hosts_to"] {
        if let Some(expected) = expect.get(name) {
            findings.compare(name, expected, shown(last.clone()));
        }
    }
    for name in ["hosts", "host_range"] {
        if let Some(expected) = expect.get(name) {
            findings.compare(name, expected, json!([shown(first.clone()), shown(last.clone())]));
        }
    }
    if let Some(expected) = expect.get("extra_addresses") {
        let extra = covering.map(|covering| covering.extra);
        let met = extra.map_or(expected.is_null(), |extra| same_count(expected, extra));
        findings.check(
            "extra_addresses",
            met,
            expected,
            shown(extra.map(|extra| extra.to_string())),
        );
    }
    for (name, wanted) in [("covered_by", true), ("not_covered_by", false)] {
        let Some(expected) = expect.get(name) else { continue };
        let path = format!("expect.{name}");
        let list = match expected {
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in list {
            let network = network(&path, value)?.range();
            let covered = inputs.iter().all(|input| network.includes(input));
            let what = format!("{name} {network}: all inputs inside");
            findings.compare(what, &json!(wanted), covered);
        }
    }
    if let Some(expected) = expect.get("as_range") {
        let mut ranges = inputs.clone();
        let count = coalesce(&mut ranges);
        let pair = |range: &AddrRange| json!([range.lo().to_string(), range.hi().to_string()]);
        let got = match ranges.get(..count) {
            Some([one]) => pair(one),
            several => {
                json!({ "ranges": several.unwrap_or(&[]).iter().map(pair).collect::<Value>() })
            }
        };
        let met = if expected.is_null() { got.is_object() } else { *expected == got };
        findings.check("as_range", met, expected, got);
    }
    expect.close()
}
