//! RFC 4301 section 5.2, steps 3b and 4.

use crate::packets::{Packet, at, esp, fields, pcapng, rows, sample, udp};

fn said(config: &str, packets: &[Packet]) -> Vec<String> {
    let rows = rows(config, &pcapng(&["wan", "lan"], packets));
    rows.iter().map(|row| fields(row, &["verdict", "reason", "by", "policy"])).collect()
}

#[test]
fn rfc4301_5_2_step_3b_only_bypass_passes_in_the_clear() {
    let packets = [
        at(1.0, udp("198.51.100.1:500", "192.0.2.1:500")),
        at(1.0, udp("198.51.100.1:53", "192.0.2.1:53")),
        at(1.0, udp("10.2.0.1:1", "10.1.0.1:2")),
        // What the gateway sends, and what comes from the protected side.
        at(1.0, udp("192.0.2.1:500", "198.51.100.1:500")),
        at(1.0, udp("192.0.2.1:53", "198.51.100.1:53")),
        at(1.0, udp("10.1.0.1:1", "10.2.0.1:2")).on(1),
    ];
    let expected = [
        "pass|-|policy|1",
        "drop|spd_discard|default|-",
        "drop|spd_protect|policy|3",
        "pass|-|policy|4",
        "drop|spd_discard|default|-",
        "pass|-|-|-",
    ];
    assert_eq!(said(&sample("policies"), &packets), expected);
}

#[test]
fn rfc4301_5_2_step_4_the_sa_has_to_be_of_the_first_policy_that_covers() {
    let on = |spi, dst: &str| {
        at(1.0, esp(("198.51.100.1", "192.0.2.1"), spi, 1, ("10.2.0.1:1", &format!("{dst}:2"))))
    };
    let packets = [on(0x1001, "10.1.1.1"), on(0x1002, "10.1.2.1"), on(0x1002, "10.1.1.1")];
    let config = sample("policies");
    // The selectors of `net` cover the last one, but policy 2 stands before 3.
    assert_eq!(
        said(&config, &packets),
        ["accept|-|-|-", "accept|-|-|-", "drop|spd_other_policy|policy|2"]
    );
    let unnamed = config.replace("tunnel = \"site\"\nchild = \"net\"\n", "");
    assert_eq!(said(&unnamed, &packets)[2], "accept|-|-|-");
}

#[test]
fn priorities_count_where_an_order_is_given() {
    let packets = [at(1.0, udp("198.51.100.1:500", "192.0.2.1:500"))];
    let discard = "[[policy]]\nid = 9\ndirection = 'inbound'\naction = 'discard'\npriority = 5\n\
                   local = '0.0.0.0/0'\nremote = '0.0.0.0/0'\n"
        .replace("'0.0.0.0/0'", "['0.0.0.0/0']");
    let with = |order: &str| {
        let config = sample("policies")
            .replace("[gateway]\n", &format!("[gateway]\npolicy-order = '{order}'\n"));
        said(&format!("{config}{discard}"), &packets).remove(0)
    };
    assert_eq!(with("highest-first"), "drop|spd_discard|policy|9");
    assert_eq!(with("lowest-first"), "pass|-|policy|1");
    assert_eq!(with("protect-first"), "pass|-|policy|1");
}
