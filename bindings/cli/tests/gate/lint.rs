//! `espial lint` about the tables around the selector check.

use espial_cli::config::GatewayConfig;
use espial_cli::lint;
use espial_cli::lookup::Format;
use serde_json::Value;

use crate::packets::{fields, sample};

/// Codes of other rules, which these samples with NULL encryption and without replay windows break.
const OTHERS: [&str; 5] =
    ["no_integrity", "replay_off", "child_without_sa", "selector_overlap", "supernet"];

fn found(config: &str) -> Vec<Value> {
    let config = GatewayConfig::parse("g", config).unwrap_or_else(|error| panic!("{error}"));
    let mut out = Vec::new();
    lint::run(&config, "g", &[], Format::Json, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let is_ours =
        |row: &Value| row["kind"] == "finding" && !OTHERS.contains(&row["code"].as_str().unwrap());
    let rows: Vec<Value> = rows.filter(is_ours).collect();
    // The text form stands, whatever is in it.
    let mut out = Vec::new();
    lint::run(&config, "g", &[], Format::Text, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(rows.iter().all(|row| text.contains(row["code"].as_str().unwrap())), "{text}");
    rows
}

fn codes(config: &str) -> Vec<String> {
    found(config).iter().map(|row| fields(row, &["line", "severity", "code"])).collect()
}

/// The line of the first one that holds a text.
fn line_of(config: &str, text: &str) -> usize {
    config.lines().position(|line| line.contains(text)).unwrap() + 1
}

#[test]
fn c6_a_peer_whose_ike_no_policy_admits() {
    let config = sample("seed-002-local-in");
    let rows = found(&config);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let line = line_of(&config, "[[tunnel]]");
    assert_eq!(
        fields(&rows[0], &["line", "code", "tunnel"]),
        format!("{line}|ike_not_admitted|site2")
    );
    assert_eq!(rows[0]["related"][0]["local_in"], 2);
    assert!(
        rows[0]["message"].as_str().unwrap().contains("IKE from 10.56.240.208 to 10.56.240.221")
    );
    // Seed 001's exclusion admits the peer, and so does a policy on another port of IKE.
    assert!(found(&sample("seed-001-local-in")).is_empty());
    let natt = config.replacen(
        "[[local-in]]",
        "[[service]]\nname = 'natt'\nentries = [{ protocol = 'udp', ports = 4500 }]\n[[local-in]]\nid = 9\n\
         interface = 'any'\nsource = 'all'\ndestination = 'all'\nservice = 'natt'\naction = 'accept'\n[[local-in]]",
        1,
    );
    assert!(found(&natt).is_empty());
}

#[test]
fn local_in_policies_that_never_decide() {
    let policy = |id: u32, source: &str, service: &str, action: &str| {
        format!(
            "[[local-in]]\nid = {id}\ninterface = 'any'\nsource = '{source}'\ndestination = 'all'\n\
             service = '{service}'\naction = '{action}'\n"
        )
    };
    let head = "[gateway]\naddresses = ['192.0.2.1']\n[[address]]\nname = 'low'\nranges = '0.0.0.0/1'\n[[address]]\n\
                name = 'high'\nranges = ['128.0.0.0/1', '::/0']\n[[service]]\nname = 'esp'\n\
                entries = [{ protocol = 'esp' }]\n";
    let list = [
        policy(1, "low", "ALL", "deny"),
        policy(2, "low", "IKE", "accept"),
        policy(3, "high", "ALL", "deny"),
        policy(4, "all", "IKE", "deny"),
        policy(5, "all", "esp", "accept"),
    ];
    let rows = found(&format!("{head}{}", list.concat()));
    let said: Vec<_> =
        rows.iter().map(|row| fields(row, &["local_in", "severity", "code"])).collect();
    assert_eq!(
        said,
        [
            "2|warning|local_in_shadowed",
            "4|note|local_in_unreachable",
            "5|warning|local_in_never_judged"
        ]
    );
}

#[test]
fn d2_two_wans_and_answers_that_are_not_pinned() {
    let config = sample("seed-003-reply-path");
    let line = line_of(&config, "[reply-path]");
    assert_eq!(codes(&config), [format!("{line}|warning|reply_unpinned")]);
    assert!(codes(&config.replace("7.4.8", "7.4.9")).is_empty());
    let one_wan = config.replace("gateway = \"198.51.100.1\"\n", "");
    assert!(codes(&one_wan).is_empty());
    // Without the section the version says it.
    let (head, tail) = config.split_once("[reply-path]").unwrap();
    let bare = format!("{head}{}", &tail[tail.find("[[tunnel]]").unwrap()..]);
    assert_eq!(
        codes(&bare),
        [format!("{}|warning|reply_unpinned", line_of(&bare, "[[interface]]"))]
    );
}

#[test]
fn d4_a_workaround_has_to_cover_each_wan() {
    let config = sample("seed-003-reply-path");
    let routes = config.replace("# mode", "mode").replace("# ike", "ike").replace("# [[", "[[");
    let routes = routes.replace("# source", "source").replace("# out", "out");
    assert!(codes(&routes).is_empty());
    assert_eq!(codes(&routes.replace("ike-policy-route = true", "")).len(), 1);
    let rows = found(&routes.replace("out = \"wan2\"", "out = \"wan1\""));
    let messages: Vec<_> = rows.iter().map(|row| row["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["no policy route sends answers from 198.51.100.2 out on wan2"]);
}

#[test]
fn e2_rules_that_are_missing() {
    let config = sample("seed-004-passthrough");
    assert!(codes(&config).is_empty());
    let rules: Vec<_> = config.split("[[passthrough.rule]]").collect();
    let without = |place: usize| {
        let kept = rules.iter().enumerate().filter(|(at, _)| *at != place);
        kept.map(|(_, text)| *text).collect::<Vec<_>>().join("[[passthrough.rule]]")
    };
    let rows = found(&without(2));
    assert_eq!(fields(&rows[0], &["code", "name"]), "rule_missing|velasco");
    let said = "IN_ESP: no rule admits ESP from 2.2.2.2 to 1.1.1.1: the default says reject";
    assert_eq!((rows.len(), rows[0]["message"].as_str().unwrap()), (1, said));
    // Without lookupspi one direction is enough.
    assert!(codes(&without(2).replace("lookupspi = true", "lookupspi = false")).is_empty());
    let alg = config.replace("fastl4\"", "standard\"\nalg = true");
    assert!(codes(&alg).is_empty());
    let rows = found(&alg.replace("lookupspi = true", "lookupspi = false"));
    assert_eq!(fields(&rows[0], &["severity", "code"]), "error|alg_without_lookupspi");
}

#[test]
fn a_rule_behind_a_wider_one_never_matches() {
    let wide = "[[passthrough.rule]]\nname = 'wide'\naction = 'drop'\nsrc = '1.0.0.0/8'\ndst = '0.0.0.0/0'\n";
    let config = sample("seed-004-passthrough").replacen(
        "[[passthrough.rule]]",
        &format!("{wide}[[passthrough.rule]]"),
        1,
    );
    let rows = found(&config);
    let said: Vec<_> = rows.iter().map(|row| fields(row, &["code", "rule", "name"])).collect();
    let expected = [
        "rule_hidden|velascoOUT_ESP|-",
        "rule_hidden|velascoOUT500|-",
        "rule_missing|-|velasco",
        "rule_missing|-|velasco",
    ];
    assert_eq!(said, expected);
    assert_eq!(rows[0]["related"][0]["rule"], "wide");
    assert_eq!(rows[2]["message"], "OUT500: rule wide says drop of IKE from 1.1.1.1 to 2.2.2.2");
    // In another context it stands behind, not before.
    let elsewhere = config.replace("name = 'wide'", "name = 'wide'\ncontext = 'virtual-server'");
    assert!(codes(&elsewhere).is_empty());
}

#[test]
fn security_policies_that_never_decide_or_keep_ike_out() {
    let config = sample("policies");
    assert!(codes(&config).is_empty());
    let wide = config.replace("id = 2\n", "id = 20\n").replace(
        "10.1.1.0/24\"]\nremote = [\"10.2.0.0/16\"]\n[[policy]]",
        "10.1.0.0/16\"]\nremote = [\"10.2.0.0/16\"]\n[[policy]]",
    );
    let rows = found(&wide);
    assert_eq!(fields(&rows[0], &["code", "policy"]), "policy_unreachable|3");
    let closed = config.replacen("action = \"bypass\"", "action = \"discard\"", 1);
    assert_eq!(fields(&found(&closed)[0], &["code", "tunnel"]), "ike_not_bypassed|site");
}
