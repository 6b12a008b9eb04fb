//! What is wrong with the sections, by line.

use espial_cli::config::GatewayConfig;

/// The faults of a file, without its name.
fn faults(text: &str) -> String {
    let error = GatewayConfig::parse("FILE", text).err().map(|error| error.to_string());
    error.unwrap_or_default().replace("FILE:", "")
}

const NAMES: &str = "[gateway]\naddresses = ['192.0.2.1']\n[[interface]]\nname = 'wan1'\n[[address]]\nname = 'a'\n\
                     ranges = '10.0.0.0/8'\n";

/// A policy that starts at line 8.
fn policy(lines: &str) -> String {
    let policy = "[[local-in]]\nid = 1\ninterface = 'wan1'\nsource = 'a'\ndestination = 'all'\nservice = 'IKE'\n";
    format!("{NAMES}{policy}{lines}")
}

#[test]
fn a_sound_policy_has_none() {
    assert_eq!(faults(&policy("schedule = 'always'\naction = 'accept'\n")), "");
}

#[test]
fn local_in_policies() {
    for (from, to, fault) in [
        ("id = 1\n", "", "8: id: is missing"),
        ("id = 1", "id = -1", "9: id: must be an integer from 0 to 4294967295"),
        ("'wan1'\nsource", "'wan2'\nsource", "10: interface: no [[interface]] has this name"),
        ("'wan1'\nsource", "[]\nsource", "10: interface: must not be empty"),
        ("source = 'a'", "source = ['a', 'b']", "11: source: no [[address]] has this name"),
        ("service = 'IKE'", "service = 'HTTPS'", "13: service: no [[service]] has this name"),
        ("service = 'IKE'\n", "", "8: service: is missing"),
        ("id = 1", "id = 1\naction = 'drop'", "10: action: must be one of \"accept\", \"deny\""),
    ] {
        let text = policy("");
        assert!(text.contains(from));
        assert_eq!(faults(&text.replacen(from, to, 1)), fault);
    }
    let unknown = faults(&policy("user = 'x'\n"));
    assert!(unknown.starts_with("14: user: unknown key: here stand id, interface"), "{unknown}");
    let twice = format!(
        "{}{}",
        policy(""),
        policy("").split_once("[[local").unwrap().1.replacen("-in", "[[local-in", 1)
    );
    assert_eq!(faults(&twice), "15: id: is the id of the policy at line 8");
    let group = "[[address]]\nname = 'g'\nmember = 'a'\nexclude = 'all'\n";
    let none = policy(group).replace("source = 'a'", "source = 'g'");
    assert_eq!(faults(&none), "8: local-in: no packet can meet policy 1");
    let cycle =
        policy("[[address]]\nname = 'g'\nmember = ['g']\n").replace("source = 'a'", "source = 'g'");
    assert_eq!(faults(&cycle), "14: member: group `g` is part of itself");
}

#[test]
fn names() {
    for (lines, fault) in [
        ("[[address]]\nname = 'a'\nranges = '::1'\n", "9: name: has this name at line 5 already"),
        ("[[address]]\nname = 'b'\n", "8: ranges: is missing: ranges, or member and exclude"),
        ("[[address]]\nname = 'b'\nmember = 'c'\n", "10: member: no [[address]] has this name"),
        ("[[address]]\nname = 'b'\nranges = '10.0.0.1/8'\n", "10: ranges: "),
        ("[[service]]\nname = 'b'\nentries = ['tcp']\n", "10: entries: must be { protocol"),
        (
            "[[service]]\nname = 'b'\nentries = [{ ports = '1' }]\n",
            "10: ports: must be \"any\" while protocol is any",
        ),
        (
            "[[service]]\nname = 'b'\nentries = [{ protocol = 'esp', source-ports = 1 }]\n",
            "10: source-ports: protocol 50 has none",
        ),
        ("[[interface]]\nname = 'wan1'\n", "9: name: is the name of the interface at line 3"),
        (
            "[[interface]]\nname = 'b'\naddress = 'b'\n",
            "10: address: must be an address and its prefix",
        ),
        (
            "[[tunnel]]\nname = 't'\ninterface = 'b'\n",
            "10: interface: no [[interface]] has this name",
        ),
        ("[[tunnel]]\nname = 't'\npeer = 'b'\n", "10: peer: must be one IPv4 or IPv6 address"),
    ] {
        let found = faults(&format!("{NAMES}{lines}"));
        assert!(found.starts_with(fault), "{lines}: {found}");
    }
}

#[test]
fn gateway_keys() {
    for (line, fault) in [
        ("ike-tcp-port = 0", "must be a port from 1 to 65535"),
        ("session-ttl = 0", "must be whole seconds, 1 to 2592000"),
        ("session-ttl = 2592001", "must be whole seconds, 1 to 2592000"),
        ("local-in-default = 'drop'", "must be one of \"accept\", \"deny\""),
    ] {
        let key = line.split_once(' ').unwrap().0;
        let text = format!("[gateway]\naddresses = ['192.0.2.1']\n{line}\n");
        assert_eq!(faults(&text), format!("3: {key}: {fault}"));
    }
}

/// Without its own addresses a gateway cannot tell what is for it.
#[test]
fn sections_that_ask_whom_a_packet_is_for_need_addresses() {
    let text = policy("").replace("addresses = ['192.0.2.1']\n", "");
    assert_eq!(
        faults(&text),
        "7: local-in: needs addresses under [gateway] or the address of an [[interface]]: which packets are for \
         the gateway?"
    );
}

const SECTIONS: &str =
    "[gateway]\naddresses = ['192.0.2.1']\nike-tcp-port = 443\n[[interface]]\nname = 'wan1'\n";

#[test]
fn reply_path() {
    let modes = "\"unpinned\", \"pinned\", \"policy-route\"";
    for (lines, fault) in [
        ("[reply-path]\n", format!("6: mode: is missing: write one of {modes}")),
        ("[reply-path]\nmode = 'pin'\n", format!("7: mode: must be one of {modes}")),
        ("[reply-path]\nmode = 'pinned'\nroute = 'wan2'\n", "8: route: no [[interface]] has this name".into()),
        (
            "[reply-path]\nmode = 'pinned'\nike-policy-route = true\n",
            "8: ike-policy-route: only with mode = \"policy-route\"".into(),
        ),
        (
            "[reply-path]\nmode = 'policy-route'\n[[reply-path.policy-route]]\nsource = 'x'\nout = 'wan1'\n",
            "9: source: must be an address and its mask in quotes, such as \"203.0.113.2/255.255.255.252\"".into(),
        ),
    ] {
        assert_eq!(faults(&format!("{SECTIONS}{lines}")), fault);
    }
    let old = SECTIONS.replace("ike-tcp-port = 443", "fortios = '7.2.0'");
    assert_eq!(
        faults(&format!("{old}[reply-path]\n")),
        format!(
            "6: mode: is missing, and what FortiOS 7.2.0 does is not documented: write one of {modes}\n\
             6: reply-path: needs ike-tcp-port under [gateway]"
        )
    );
}

#[test]
fn passthrough() {
    let rule =
        "[[passthrough.rule]]\nname = 'r'\naction = 'accept'\nsrc = '1.1.1.1'\ndst = '2.2.2.2'\n";
    let with = |lines: &str| faults(&format!("{SECTIONS}[passthrough]\n{lines}"));
    assert_eq!(with(rule), "");
    for (lines, fault) in [
        (
            "alg = true\n".to_owned(),
            "7: alg: only with server = \"standard\": a FastL4 one cannot have the IPsec ALG",
        ),
        (
            "default = 'accept-decisively'\n".into(),
            "7: default: must be one of \"reject\", \"drop\", \"accept\"",
        ),
        ("lookup = 1\n".into(), "7: lookup: unknown key: here stand lookupspi"),
        (rule.replace("'2.2.2.2'", "'::2'"), "11: dst: no address family in common with src"),
        (format!("{rule}protocol = 'esp'\nports = 500\n"), "13: ports: protocol 50 has none"),
        (format!("{rule}{rule}"), "13: name: is the name of the one at line 7"),
        (
            "[[passthrough.tunnel]]\nname = 't'\ninside = '1.1.1.1'\n".into(),
            "7: outside: is missing",
        ),
    ] {
        let found = with(&lines);
        assert!(found.starts_with(fault), "{found}");
    }
}

#[test]
fn policies() {
    let policy = "[[policy]]\nid = 1\ndirection = 'inbound'\naction = 'protect'\nlocal = ['10.1.0.0/16']\n\
                  remote = ['10.2.0.0/16']\n";
    let with = |lines: &str| faults(&format!("{SECTIONS}{lines}"));
    assert_eq!(with(policy), "");
    for (lines, fault) in [
        (
            policy.replace("'inbound'", "'in'"),
            "8: direction: must be one of \"inbound\", \"outbound\"",
        ),
        (
            policy.replace("'protect'", "'allow'"),
            "9: action: must be one of \"discard\", \"bypass\", \"protect\"",
        ),
        (format!("{policy}priority = 3\n"), "12: priority: only with policy-order under [gateway]"),
        (format!("{policy}tunnel = 't'\n"), "12: tunnel: no [[tunnel]] has this name"),
        (format!("{policy}child = 't'\n"), "12: child: needs tunnel to name"),
        (format!("{policy}{policy}"), "13: id: is the id of the policy at line 6"),
        (policy.replace("10.2.0.0/16", "::/0"), "11: remote: no packet can match local and remote"),
    ] {
        let found = with(&lines);
        assert!(found.starts_with(fault), "{found}");
    }
}
