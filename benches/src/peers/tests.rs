//! Every contender finds each key, and no other.

use super::*;
use crate::Rng;

/// So many different SPIs that are in a table, and as many that are not.
fn spis(n: usize) -> (Vec<u32>, Vec<u32>) {
    let mut rng = Rng::new(7, n as u64);
    let mut drawn = std::collections::BTreeSet::new();
    while drawn.len() < 2 * n {
        drawn.insert(rng.next() as u32);
    }
    let mut all: Vec<u32> = drawn.into_iter().collect();
    rng.shuffle(&mut all);
    let others = all.split_off(n);
    (all, others)
}

fn tables(spis: &[u32]) -> Vec<(&'static str, Box<dyn Table>)> {
    let mut tables: Vec<(_, Box<dyn Table>)> =
        vec![("hashbrown", Box::new(Hashbrown::new(spis))), ("std", Box::new(Std::new(spis)))];
    tables.extend(heapless(spis).map(|table| ("heapless", table)));
    #[cfg(feature = "dpdk")]
    tables.extend([
        ("rte_ipsec_sad", Box::new(dpdk::Sad::new(spis)) as Box<dyn Table>),
        ("rte_hash", Box::new(dpdk::Hash::new(spis))),
    ]);
    tables
}

#[test]
fn each_table_finds_each_spi_and_no_other() {
    for n in [1, 2, 1000, 1024, 20_000, 65_536] {
        let (known, unknown) = spis(n);
        for (name, table) in tables(&known) {
            assert!(table.octets() >= 12 * n, "{name}, {n}: {} octets", table.octets());
            let bursts = if n < 10_000 { &[1, 31, 64, 100, n][..] } else { &[32] };
            for &burst in bursts {
                let mut out = vec![Handle { index: 9, generation: 9 }; burst + 1];
                for from in (0..n).step_by(burst) {
                    let part = &known[from..n.min(from + burst)];
                    for ask in [Table::burst, Table::ones] {
                        assert_eq!(ask(&*table, part, &mut out), part.len(), "{name}, {n}");
                        for (at, handle) in out[..part.len()].iter().enumerate() {
                            assert_eq!(*handle, Handle::of(from + at), "{name}, {n}");
                        }
                        let part = &unknown[from..n.min(from + burst)];
                        assert_eq!(ask(&*table, part, &mut out), 0, "{name}, {n}");
                        assert!(out[..part.len()].iter().all(|handle| *handle == Handle::NONE));
                    }
                }
                assert_eq!(out[burst].generation, 9, "{name}: written past the burst");
            }
            // Half known, half not, in one burst.
            let both = [known[0], unknown[0], known[n - 1]];
            let mut out = [Handle::NONE; 3];
            assert_eq!(table.burst(&both, &mut out), 2);
            assert_eq!(out, [Handle::of(0), Handle::NONE, Handle::of(n - 1)], "{name}, {n}");
            assert_eq!(table.one(both[0]), Some(out[0]), "{name}, {n}");
            assert_eq!(table.one(both[1]), None, "{name}, {n}");
        }
    }
}

#[test]
fn heapless_ends_at_65536() {
    assert!(Heapless::<1024>::new(&spis(1025).0).is_none());
    assert!(heapless(&spis(65_537).0).is_none());
}

fn mixed(kinds: &[Kind], keys: Keys<'_>) -> Vec<(&'static str, Box<dyn MixedTable>)> {
    vec![
        ("hashbrown", Box::new(HashbrownMixed::new(kinds, keys))),
        #[cfg(feature = "dpdk")]
        ("rte_ipsec_sad", Box::new(dpdk::SadMixed::new(kinds, keys))),
    ]
}

#[test]
fn the_longest_key_that_fits_counts() {
    let kinds = [Kind::Spi, Kind::SpiDst, Kind::SpiDstSrc, Kind::SpiDst, Kind::SpiDstSrc];
    let keys = Keys::new(&[1, 1, 1, 2, 3], &[0, 10, 10, 10, 10], &[0, 0, 20, 0, 20]);
    let cases = [
        ((1, 10, 20), Some(2)),
        ((1, 10, 21), Some(1)),
        ((1, 11, 20), Some(0)),
        ((2, 10, 99), Some(3)),
        ((2, 11, 99), None),
        ((3, 10, 20), Some(4)),
        ((3, 10, 21), None),
        ((3, 11, 20), None),
        ((4, 10, 20), None),
    ];
    for (name, table) in mixed(&kinds, keys) {
        for ((spi, dst, src), place) in cases {
            let answer = table.one(spi, dst, src);
            assert_eq!(answer, place.map(Handle::of), "{name}: {spi} {dst} {src}");
        }
    }
}

#[test]
fn mixed_tables_find_each_key() {
    let n = 6000;
    let (known, unknown) = spis(n);
    let (dsts, srcs) = spis(n);
    let kinds: Vec<Kind> =
        [Kind::Spi, Kind::SpiDst, Kind::SpiDstSrc].into_iter().cycle().take(n).collect();
    let keys = Keys::new(&known, &dsts, &srcs);
    for (name, table) in mixed(&kinds, keys) {
        assert!(table.octets() >= 12 * n, "{name}");
        let mut out = vec![Handle::NONE; n];
        for burst in [1, 32, 64, n] {
            for from in (0..n).step_by(burst) {
                let part = from..n.min(from + burst);
                assert_eq!(
                    table.burst(keys.part(part.clone()), &mut out[part.clone()]),
                    part.len()
                );
            }
            assert!(out.iter().enumerate().all(|(at, handle)| *handle == Handle::of(at)), "{name}");
        }
        assert_eq!(table.burst(Keys::new(&unknown, &dsts, &srcs), &mut out), 0, "{name}");
        assert!(out.iter().all(|handle| *handle == Handle::NONE), "{name}");
        // The right SPI to another destination: only the keys of SPI alone fit.
        assert_eq!(table.ones(Keys::new(&known, &srcs, &dsts), &mut out), n / 3, "{name}");
    }
}

#[test]
fn the_roofline_reads_the_lines_it_is_asked_for() {
    let lines = Roofline::new(6400);
    assert_eq!((lines.len(), Roofline::new(0).len()), (100, 1));
    assert_eq!((lines.burst(&[0, 99, 1, 99]), lines.ones(&[3, 4])), (199, 7));
}

#[cfg(feature = "dpdk")]
mod acl {
    use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer};
    use espial::selector::{AddrRange, PortRange, Selector};

    use crate::peers::acl::{Acl, AclError, Packets, Recipe};
    use crate::peers::{Algorithm, Question};

    fn selector(remote: (u32, u32), protocol: u8, ports: (u16, u16)) -> Selector {
        Selector {
            remote: AddrRange::V4 { lo: remote.0, hi: remote.1 },
            local: AddrRange::V4 { lo: 0, hi: u32::MAX },
            protocol,
            remote_ports: PortRange::ANY,
            local_ports: PortRange::new(ports.0, ports.1).unwrap(),
        }
    }

    fn packet(src: u32, protocol: u8, port: u16) -> InnerHeaders {
        InnerHeaders {
            endpoints: Endpoints::V4 { src, dst: 9 },
            protocol,
            next_layer: NextLayer::Ports { src: 1, dst: port },
            fragment: Fragment::None,
        }
    }

    #[test]
    fn the_first_rule_counts_at_the_ends_of_masks_and_of_ranges() {
        // As masks, then as ranges: of the second list one range is no prefix.
        for (lo, hi) in [(0x0a00_0000, 0x0a00_00ff), (0x0a00_0003, 0x0a01_0004)] {
            let any = (0, u16::MAX);
            let list = [
                selector((lo, hi), 6, (443, 443)),
                selector((lo, hi), 0, any),
                selector((0, u32::MAX), 17, (1024, u16::MAX)),
            ];
            let asked = [
                (packet(lo, 6, 443), Some(0)),
                (packet(hi, 6, 443), Some(0)),
                (packet(hi, 6, 444), Some(1)),
                (packet(hi, 253, 444), Some(1)),
                (packet(lo - 1, 6, 443), None),
                (packet(hi + 1, 6, 443), None),
                (packet(hi + 1, 17, 1024), Some(2)),
                (packet(hi + 1, 17, 1023), None),
            ];
            let packets = Packets::new(&asked.map(|(packet, _)| packet));
            for question in Question::ALL {
                for max_size in [None, Some(1 << 24)] {
                    let recipe = Recipe { max_size, ..Recipe::new(question) };
                    let acl = Acl::new(&list, &recipe).unwrap();
                    assert!(acl.octets() > 0 && acl.build_ms() > 0.0);
                    assert!(acl.algorithms().contains(&Algorithm::Scalar));
                    let wanted = asked.map(|(_, place)| match question {
                        Question::First => place,
                        Question::Any => place.map(|_| 0),
                    });
                    for algorithm in acl.algorithms() {
                        for burst in [1, 3, 64] {
                            let got = acl.answers(&packets, burst, *algorithm);
                            assert_eq!(got, wanted, "{question:?}, {}", algorithm.name());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_it_cannot_say_is_refused_by_place() {
        let list = [selector((1, 1), 6, (1, 1)), selector((1, 1), 6, (u16::MAX, 0))];
        let refused = |list: &[Selector], question| {
            Acl::new(list, &Recipe::new(question)).map(|_| ()).unwrap_err()
        };
        assert_eq!(refused(&list, Question::First), AclError::Selector(1));
        let six = |lo, hi| AddrRange::V6 { lo, hi };
        let range = Selector { remote: six(1, 2), local: six(0, u128::MAX), ..list[0] };
        assert_eq!(refused(&[range], Question::Any), AclError::Selector(0));
        assert_eq!(refused(&[list[0], range], Question::Any), AclError::Selector(1));
    }
}
