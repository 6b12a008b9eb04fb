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
