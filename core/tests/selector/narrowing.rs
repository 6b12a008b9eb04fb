//! Narrowing (RFC 7296 section 2.9).

use super::*;

fn list(text: &str) -> Vec<Configured> {
    text.split_whitespace().map(|one| one.parse().unwrap()).collect()
}

fn shown(list: &[Configured]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Configured | hosts | supplied, `-` for nothing proposed | selected | the same with every entry
/// cut to the hosts, `=` if equal | whether narrowed.
const NARROWING: &str = "
    dynamic                 |                    | -                         | dynamic                   | =                   | no
    dynamic dynamic         |                    | -                         | dynamic dynamic           | =                   | no
    dynamic 10.7.0.0/16     | 10.7.0.1           | -                         | 10.7.0.0/16               | 10.7.0.1            | no
    10.7.0.1 10.7.0.0/16    |                    | -                         | 10.7.0.0/16               | =                   | no
    # A placeholder without a host matches nothing.
    dynamic                 |                    | 10.7.0.0/16               |                           | =                   | yes
    dynamic                 | 10.7.0.1           | 0.0.0.0/0                 | 10.7.0.1                  | =                   | no
    dynamic                 | 10.7.0.1           | 10.7.0.1                  | 10.7.0.1                  | =                   | no
    dynamic                 | 10.7.0.1 192.0.2.1 | 10.7.0.0/16               | 10.7.0.1                  | =                   | yes
    dynamic                 | 10.7.0.1 192.0.2.1 | 192.0.2.0/24 10.7.0.0/16  | 10.7.0.1 192.0.2.1        | =                   | no
    dynamic[tcp/80]         | 10.7.0.1           | 0.0.0.0/0                 | 10.7.0.1[tcp/80]          | =                   | no
    # The unspecified address is any host of its family.
    dynamic                 | 0.0.0.0            | 10.7.0.0/16               | 10.7.0.0/16               | =                   | yes
    dynamic                 | ::                 | 10.7.0.0/16 ::/0          | ::/0                      | =                   | no
    10.7.0.0/16             | 0.0.0.0            | 0.0.0.0/0                 | 10.7.0.0/16               | =                   | no
    # Forced, fixed entries are cut to the hosts that they include.
    0.0.0.0/0               | 10.7.0.1           | 0.0.0.0/0                 | 0.0.0.0/0                 | 10.7.0.1            | no
    0.0.0.0/0               | 10.7.0.1 192.0.2.1 | -                         | 0.0.0.0/0                 | 10.7.0.1 192.0.2.1  | no
    10.7.0.0/16 10.8.0.0/16 | 10.7.0.1           | 0.0.0.0/0                 | 10.7.0.0/16 10.8.0.0/16   | 10.7.0.1            | no
    10.7.0.0/16             | 192.0.2.1          | 0.0.0.0/0                 | 10.7.0.0/16               |                     | no
    # The order is the configured one, and inside it the proposed one.
    0.0.0.0/0               |                    | 10.8.0.0/16 10.7.0.0/16   | 10.8.0.0/16 10.7.0.0/16   | =                   | yes
    10.8.0.0/16 10.7.0.0/16 |                    | 10.7.0.0/16 10.8.0.0/16   | 10.8.0.0/16 10.7.0.0/16   | =                   | no
    # What lies inside another is left out, wherever it stands.
    10.7.0.0/16 10.8.0.0/16 |                    | 10.7.0.1 10.7.0.0/16      | 10.7.0.0/16               | =                   | yes
    10.7.0.0/16 10.8.0.0/16 |                    | 10.8.0.1 10.7.0.0/16      | 10.7.0.0/16 10.8.0.1      | =                   | yes
    # Two halves are not joined.
    10.7.0.0/16             |                    | 10.7.0.0/17 10.7.128.0/17 | 10.7.0.0/17 10.7.128.0/17 | =                   | yes
    # Protocol and ports narrow as addresses do.
    0.0.0.0/0               |                    | 10.7.0.0/16[tcp]          | 10.7.0.0/16[tcp]          | =                   | yes
    10.7.0.0/16[udp/53]     |                    | 0.0.0.0/0[udp/opaque] 10.0.0.0/8[udp/50-60] | 10.7.0.0/16[udp/53] | =       | no
    10.7.0.0/16[tcp]        |                    | ::/0 10.0.0.0/8[udp]      |                           | =                   | yes
";

/// RFC 7296 section 2.9, and what its words leave open: order and duplicates.
#[test]
fn rfc7296_2_9_narrowing() {
    let cases = NARROWING.lines().filter(|line| line.contains('|'));
    for line in cases {
        let fields: Vec<_> = line.split('|').map(str::trim).collect();
        let &[config, hosts, supplied, selected, forced, narrowed] = &fields[..] else {
            panic!("{line}")
        };
        let config = list(config);
        let hosts: Vec<IpAddr> = hosts.split_whitespace().map(addr).collect();
        let supplied: Option<Vec<_>> =
            (supplied != "-").then(|| supplied.split_whitespace().map(ts).collect());
        let forced = if forced == "=" { selected } else { forced };
        for (rule, expected) in [(HostRule::DynamicOnly, selected), (HostRule::EveryEntry, forced)]
        {
            let (got, flag) = narrow_to_vec(&config, supplied.as_deref(), &hosts, rule);
            assert_eq!(shown(&got), expected, "{line}");
            assert_eq!(flag, narrowed == "yes", "{line} {rule:?}");
            narrow_into_every_room(&config, supplied.as_deref(), &hosts, rule, &got, flag);
        }
    }
}

/// The caller's slice holds the same, or the error names a length that is enough.
fn narrow_into_every_room(
    config: &[Configured],
    supplied: Option<&[TrafficSelector]>,
    hosts: &[IpAddr],
    rule: HostRule,
    expected: &[Configured],
    flag: bool,
) {
    let filler = Configured::Dynamic { protocol: 0, ports: PortRange::ANY };
    for room in 0.. {
        let mut out = vec![filler; room];
        match narrow(config, supplied, hosts, rule, &mut out) {
            Ok(narrowing) => {
                assert_eq!(&out[..narrowing.count], expected);
                assert_eq!(narrowing.narrowed, flag);
                break;
            }
            Err(error) => {
                assert_eq!(error.given, room);
                assert!(room < error.needed);
                let mut enough = vec![filler; error.needed];
                assert!(narrow(config, supplied, hosts, rule, &mut enough).is_ok());
            }
        }
    }
}

#[test]
fn dedupe_keeps_the_widest_in_order() {
    for (text, expected) in [
        ("10.7.0.0/16 10.7.0.0/16", "10.7.0.0/16"),
        ("10.7.0.1 10.7.0.0/16", "10.7.0.0/16"),
        ("10.7.0.0/16 10.7.0.1", "10.7.0.0/16"),
        ("10.8.0.0/16 10.7.0.1 10.7.0.0/16", "10.8.0.0/16 10.7.0.0/16"),
        ("10.7.0.1 10.8.0.0/16 10.7.0.2 0.0.0.0/0 10.7.0.3", "0.0.0.0/0"),
        (
            "10.7.0.0/16[tcp/80] 10.7.0.0/16[tcp] 10.7.0.0/16[udp]",
            "10.7.0.0/16[tcp] 10.7.0.0/16[udp]",
        ),
        ("dynamic dynamic", "dynamic dynamic"),
        ("dynamic 0.0.0.0/0 dynamic[tcp]", "dynamic 0.0.0.0/0 dynamic[tcp]"),
        ("", ""),
    ] {
        assert_eq!(shown(&dedupe_to_vec(&list(text))), expected, "{text}");
    }
}

proptest! {
    /// Duplicates fall out the same whether they are looked for one by one or all with all.
    #[test]
    fn dedupe_agrees_with_the_definition(picks in prop::collection::vec(0usize..110, 0..12)) {
        let pool = small_selectors();
        let entries: Vec<_> = picks.iter().map(|&at| Configured::from(pool[at])).collect();
        let expected: Vec<_> = entries
            .iter()
            .enumerate()
            .filter(|(at, one)| {
                !entries.iter().enumerate().any(|(other_at, other)| {
                    one.is_contained_in(other) && (*one != other || other_at < *at)
                })
            })
            .map(|(_, one)| *one)
            .collect();
        prop_assert_eq!(dedupe_to_vec(&entries), expected);
    }

    /// A point is selected exactly if it is configured and supplied.
    #[test]
    fn narrowing_is_the_intersection_of_the_sets(
        config in prop::collection::vec(0usize..110, 0..6),
        supplied in prop::collection::vec(0usize..110, 0..6),
    ) {
        let pool = small_selectors();
        let config: Vec<_> = config.iter().map(|&at| pool[at]).collect();
        let supplied: Vec<_> = supplied.iter().map(|&at| pool[at]).collect();
        let entries: Vec<_> = config.iter().copied().map(Configured::Fixed).collect();
        let (selected, narrowed) =
            narrow_to_vec(&entries, Some(&supplied), &[], HostRule::DynamicOnly);
        let mut lost = false;
        for point in points() {
            let in_config = config.iter().any(|one| admits(one, &point));
            let in_both = in_config && supplied.iter().any(|one| admits(one, &point));
            let in_selected =
                selected.iter().filter_map(Configured::fixed).any(|one| admits(one, &point));
            prop_assert_eq!(in_selected, in_both);
            lost |= in_config && !in_selected;
        }
        prop_assert!(narrowed || !lost, "what is lost is reported");
    }
}
