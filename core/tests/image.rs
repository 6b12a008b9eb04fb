//! Images: the same verdicts as what they were made of, the same octets on every host, and no harm from any.

mod bodies;

use proptest::prelude::*;

proptest! {
    #[test]
    fn a_gateway_over_an_image_says_what_its_maker_says(
        octets in proptest::collection::vec(any::<u8>(), 0..4000),
    ) {
        bodies::image::agree(&octets);
    }

    #[test]
    fn images_that_lie_do_no_harm(octets in proptest::collection::vec(any::<u8>(), 0..2500)) {
        bodies::image::lie(&octets);
    }
}

/// Enough of them come through validation, or the test above would say little.
#[test]
fn some_lies_are_believed() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (random >> 56) as u8
    };
    let believed = (0..60).filter(|_| {
        let octets: Vec<u8> = (0..1500).map(|_| next()).collect();
        bodies::image::lie(&octets)
    });
    let believed = believed.count();
    assert!((5..55).contains(&believed), "{believed} of 60");
}

mod fixed {
    //! One configuration with everything: lists, leaves, groups, fans, both families, names.

    use std::hash::Hasher;
    use std::mem::MaybeUninit;

    use espial::image::{Image, ImageError, ImageOptions, Names, Order, flip};
    use espial::selector::{AddrRange, PortRange, Selector};
    use espial::{Capacity, Gateway, Mode, Modes, gateway};

    /// Selectors of each tunnel, in each family.
    const SMALL: [u32; 4] = [1, 2, 3, 7];

    fn image(order: Order, names: Names) -> Vec<u64> {
        image_of([1, 6, 40, 200], order, names)
    }

    fn image_of(counts: [u32; 4], order: Order, names: Names) -> Vec<u64> {
        let capacity = Capacity {
            tunnels: 5,
            children: 9,
            selectors: 2500,
            sas: 1,
            sas_dst: 0,
            sas_dst_src: 0,
            sas_allocated: 0,
            replay_window: 0,
            workers: 1,
        };
        let mut gateway = Gateway::new(&capacity, [1, 2]).unwrap();
        let (control, _) = gateway.split();
        let mut tunnels = Vec::new();
        let mut children = Vec::new();
        for (nth, count) in counts.into_iter().enumerate() {
            let shadow = Modes::NONE.with(Mode::AnySelector);
            let tunnel = control.add_tunnel(Mode::ALL[nth], shadow).unwrap();
            tunnels.push(["hub", "Zürich", "", "large"][nth]);
            for v6 in [false, true] {
                let selectors: Vec<Selector> = (0..count).map(|n| selector(n, v6)).collect();
                control.add_child_selectors(tunnel, &selectors).unwrap();
                children.push(if v6 { "six" } else { "four" });
            }
        }
        let options = ImageOptions { order, names, tunnels: &tunnels, children: &children };
        control.to_image(&options).unwrap().to_vec()
    }

    fn selector(n: u32, v6: bool) -> Selector {
        let spread = n.wrapping_mul(0x9e37_79b1);
        let ports = match n % 4 {
            0 => PortRange::ANY,
            1 => PortRange::OPAQUE,
            _ => PortRange::new(n as u16, n as u16 + 99).unwrap(),
        };
        let range = |at: u32| match v6 {
            false => AddrRange::new(
                [10, 0, 0, 0].into(),
                (0x0a00_0000 + (at >> 12)).to_be_bytes().into(),
            ),
            true => {
                let lo = 0x2001_0db8_u128 << 96 | u128::from(at) << 60;
                AddrRange::new(lo.to_be_bytes().into(), (lo + (1 << 70)).to_be_bytes().into())
            }
        };
        let protocol = if ports == PortRange::ANY { [0, 47][n as usize / 4 % 2] } else { 17 };
        Selector {
            remote: range(spread).unwrap(),
            local: range(spread.rotate_left(7)).unwrap(),
            protocol,
            remote_ports: PortRange::ANY,
            local_ports: ports,
        }
    }

    fn hash(words: &[u64]) -> u64 {
        let mut hasher = siphasher::sip::SipHasher24::new_with_keys(1, 2);
        words.iter().for_each(|word| hasher.write(&word.to_ne_bytes()));
        hasher.finish()
    }

    /// The same octets on every host: word size, byte order and vectors play no part. A new format has other ones.
    #[test]
    fn octets_are_the_same_everywhere() {
        let all = [Order::Little, Order::Big].map(|order| hash(&image(order, Names::Kept)));
        let known = [0x87ec_d6b8_f253_4c49, 0xd5df_02d8_d0e9_82da];
        assert_eq!(all, known, "{all:#x?}");
    }

    fn octets(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn the_other_order_is_refused_and_can_be_converted() {
        let [little, big] = [Order::Little, Order::Big].map(|order| image(order, Names::Kept));
        assert_eq!(Order::of(&octets(&little)), Some(Order::Little));
        assert_eq!(Order::of(&octets(&big)), Some(Order::Big));
        let (own, other) = match Order::HOST {
            Order::Little => (little, big),
            Order::Big => (big, little),
        };
        assert!(Image::open(&own).is_ok());
        assert_eq!(Image::open(&other).err(), Some(ImageError::Order));
        let mut words = own.clone();
        flip::flip(&mut words).unwrap();
        assert!(words == other);
        flip::flip(&mut words).unwrap();
        assert!(words == own);
        let mut damaged = other;
        damaged[100] ^= 1 << 40;
        assert_eq!(flip::flip(&mut damaged), Err(ImageError::Checksum));
        assert_eq!(flip::flip(&mut [0; 100]), Err(ImageError::Magic));
        assert_eq!(flip::flip(&mut []), Err(ImageError::Magic));
    }

    /// Each octet of the header, and each end.
    #[test]
    fn damage_is_found() {
        let words = image_of(SMALL, Order::HOST, Names::LeftOut);
        for at in 0..64 {
            for bit in 0..8 {
                let mut damaged = words.clone();
                let octets: &mut [u8] = bytemuck::cast_slice_mut(&mut damaged);
                octets[at] ^= 1 << bit;
                assert!(Image::open(&damaged).is_err(), "octet {at}, bit {bit}");
            }
        }
        for end in 0..words.len() {
            assert_eq!(Image::open(&words[..end]).err(), Some(ImageError::Short));
        }
        let octets: &[u8] = bytemuck::cast_slice(&words);
        assert!(Image::of_octets(octets).is_ok());
        assert_eq!(Image::of_octets(&octets[1..]).err(), Some(ImageError::Alignment));
        // What follows behind it does not matter.
        let longer = [&words[..], &[7; 9]].concat();
        assert_eq!(Image::open(&longer).unwrap().octets(), 8 * words.len());
    }

    /// Whoever makes an image can sign it: what it must not say is refused all the same.
    #[test]
    fn lies_are_found_behind_a_right_checksum() {
        let honest = image_of(SMALL, Order::HOST, Names::LeftOut);
        let signed = |change: &dyn Fn(&mut [u32])| {
            let mut words = honest.clone();
            change(bytemuck::cast_slice_mut(&mut words));
            let octets: &[u8] = bytemuck::cast_slice(&words);
            let mut hasher = siphasher::sip::SipHasher24::new();
            hasher.write(&octets[..56]);
            hasher.write(&octets[64..]);
            words[7] = hasher.finish();
            Image::open(&words).err()
        };
        assert_eq!(signed(&|_| ()), None);
        assert_eq!(signed(&|words| words[9] = 1), Some(ImageError::Bounds));
        // The second Child SA takes the boxes of the first as well: who looks at all would look at some twice.
        let children = |words: &[u32]| 16 + words[16 + 6] as usize / 4;
        let shared = signed(&|words| {
            let at = children(words);
            words.copy_within(at + 4..at + 6, at + 8 + 4);
        });
        assert!(matches!(shared, Some(ImageError::Block(_))), "{shared:?}");
    }

    #[test]
    fn names_are_there_or_not() {
        let words = image_of(SMALL, Order::HOST, Names::Kept);
        let image_with = Image::open(&words).unwrap();
        assert_eq!((image_with.tunnels(), image_with.children()), (4, 8));
        assert_eq!(image_with.tunnel_name(1), Some("Zürich".as_bytes()));
        assert_eq!(image_with.tunnel_name(2), Some(&[][..]));
        assert_eq!(image_with.tunnel_name(4), None);
        assert_eq!(image_with.child_name(8), None);
        assert_eq!(image_with.child_named(b"large", b"six"), image_with.child_id(7));
        assert_eq!(image_with.child_named(b"large", b"seven"), None);
        assert_eq!(image_with.child_tunnel(7).unwrap().1, Mode::OrderedSpd);
        let words = image_of(SMALL, Order::HOST, Names::LeftOut);
        let without = Image::open(&words).unwrap();
        assert_eq!((without.tunnel_name(1), without.child_name(1)), (None, None));
        // Names or not, they are the same Child SAs.
        for child in 0..9 {
            assert_eq!(without.child_id(child), image_with.child_id(child));
        }
    }

    #[test]
    fn a_capacity_too_small_is_found() {
        let words = image_of(SMALL, Order::HOST, Names::LeftOut);
        let image = Image::open(&words).unwrap();
        let capacity = Capacity {
            tunnels: 4,
            children: 7,
            selectors: 0,
            sas: 1,
            sas_dst: 0,
            sas_dst_src: 0,
            sas_allocated: 0,
            replay_window: 0,
            workers: 1,
        };
        let mut ram = vec![MaybeUninit::uninit(); gateway::octets_over_image(&capacity).unwrap()];
        let refused = Gateway::over_image_in(&mut ram, &capacity, [1, 2], &image).err();
        let wanted = espial::error::SetupError::Image { field: "children", limit: 7 };
        assert_eq!(refused, Some(wanted));

        let capacity = Capacity { children: 8, ..capacity };
        let mut ram = vec![MaybeUninit::uninit(); gateway::octets_over_image(&capacity).unwrap()];
        let mut gateway = Gateway::over_image_in(&mut ram, &capacity, [1, 2], &image).unwrap();
        assert_eq!(gateway.split().0.child_limit(), 8);
    }
}
