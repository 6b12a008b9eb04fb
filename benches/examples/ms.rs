//! x
const NSA: usize = match option_env!("NSA") {
    Some(_) => 50,
    None => 1000,
};
use espial::headers::*;
use espial::matcher::{Matcher, compile};
use espial::selector::*;
use std::hint::black_box;
use std::time::Instant;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let rounds: usize = a[1].parse().unwrap();
    print!("{:10}", a[0].rsplit('/').next().unwrap());
    for n in a[2..].iter().map(|x| x.parse::<u32>().unwrap()) {
        let mut x = 88172645463325252u64;
        let mut rnd = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u32
        };
        let mut words = vec![];
        let mut packets = vec![];
        for sa in 0..NSA as u32 {
            let sel: Vec<Selector> = (0..n)
                .map(|i| {
                    let r = (10 << 24) | (sa << 12) | (i << 6);
                    let l = (172 << 24) | (i << 8);
                    Selector {
                        remote: AddrRange::V4 { lo: r, hi: r + 63 },
                        local: AddrRange::V4 { lo: l, hi: l + 255 },
                        protocol: 0,
                        remote_ports: PortRange::ANY,
                        local_ports: PortRange::ANY,
                    }
                })
                .collect();
            words.push(compile(&sel).unwrap());
            let i = rnd() % n;
            let _ = sa;
            packets.push(InnerHeaders {
                endpoints: Endpoints::V4 {
                    src: (10 << 24) | (sa << 12) | (i << 6) | rnd() % 64,
                    dst: (172 << 24) | (i << 8) | rnd() % 256,
                },
                protocol: 6,
                next_layer: NextLayer::Ports { src: rnd() as u16, dst: 443 },
                fragment: Fragment::None,
            });
        }
        let ms: Vec<Matcher> = words.iter().map(|w| Matcher::open(w).unwrap()).collect();
        let mut order: Vec<usize> = (0..NSA).collect();
        for i in (1..NSA).rev() {
            order.swap(i, rnd() as usize % (i + 1));
        }
        let asked: Vec<&Matcher> = order.iter().map(|i| &ms[*i]).collect();
        let p: Vec<InnerHeaders> = order.iter().map(|i| packets[*i]).collect();
        let mut best = f64::MAX;
        for _ in 0..rounds {
            let t = Instant::now();
            let c = pass(black_box(&asked), black_box(&p));
            best = best.min(t.elapsed().as_secs_f64() * 1e9 / NSA as f64);
            assert_eq!(c, NSA);
        }
        print!(" {best:6.2}");
    }
    println!();
}
#[inline(never)]
fn pass(asked: &[&Matcher<'_>], p: &[InnerHeaders]) -> usize {
    let mut c = 0;
    for (m, p) in asked.iter().zip(p) {
        c += usize::from(m.any(p));
    }
    c
}
