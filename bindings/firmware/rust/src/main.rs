//! espial in Rust firmware: the selectors are an image in flash, the worker belongs to the SysTick handler, the control to
//! the main loop, which rekeys an SA while the handler judges packets on it.
#![no_std]
#![no_main]

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::{debug, hprintln};
use espial::error::SaError;
use espial::event::NoEvents;
use espial::inbound::{Arrival, Ingress, Opened};
use espial::{
    Capacity, ChildId, Control, Gateway, Image, Ipsec, Reason, SaKey, SaParams, Spi, Worker,
};

/// Octets at a cache line, as images lie best.
#[repr(align(64))]
struct Aligned<T: ?Sized>(T);

/// `../GATEWAY.toml` as `espial compile` wrote it.
static IMAGE: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("FIRMWARE_IMAGES"), "/strict.img")));

/// An ESP packet from 203.0.113.1 to 198.51.100.1; its SPI is written into octets 20 to 23.
const ESP: [u8; 40] = {
    let mut packet = [0; 40];
    let header = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 50, 0, 0, 203, 0, 113, 1, 198, 51, 100, 1];
    let mut at = 0;
    while at < header.len() {
        packet[at] = header[at];
        at += 1;
    }
    packet[27] = 1;
    packet
};

/// What it opens to: UDP from 10.155.0.5 to 10.190.9.5 as of the Child SA net-b, and from 10.3.0.5, which no selector covers.
const WELCOME: [u8; 28] = [
    0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 155, 0, 5, 10, 190, 9, 5, 0x13, 0x88, 0, 53, 0,
    8, 0, 0,
];
const STRANGER: [u8; 28] = [
    0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 3, 0, 5, 10, 190, 9, 5, 0x13, 0x88, 0, 53, 0, 8,
    0, 0,
];

const NOW: Ingress = Ingress { now_ms: 0, interface: 0 };

/// The worker, which the handler has from the time that SysTick is enabled.
struct OfHandler(UnsafeCell<Option<Worker<'static, NoEvents>>>);

// SAFETY: `main` writes it before SysTick is enabled, and only the handler, which does not interrupt itself, reads it
// from then on.
unsafe impl Sync for OfHandler {}

static WORKER: OfHandler = OfHandler(UnsafeCell::new(None));
static LIVE_SPI: AtomicU32 = AtomicU32::new(0);
static JUDGED: AtomicU32 = AtomicU32::new(0);
static WRONG: AtomicU32 = AtomicU32::new(0);

/// The verdicts on both packets, on the SA that is in force.
fn is_right(worker: &mut Worker<'_, NoEvents>) -> bool {
    let mut packet = ESP;
    packet[20..24].copy_from_slice(&LIVE_SPI.load(Ordering::Relaxed).to_be_bytes());
    let Arrival::Sa(sa, outer) = worker.arrive(&packet, NOW) else { return false };
    let mut judge =
        |payload| worker.check(&Opened { sa, outer: &outer, next_header: 4, payload }, NOW);
    judge(&WELCOME).is_accept() && judge(&STRANGER).reason() == Some(Reason::NoSelector)
}

#[exception]
fn SysTick() {
    // SAFETY: see `OfHandler`.
    let Some(worker) = (unsafe { &mut *WORKER.0.get() }) else { return };
    if !is_right(worker) {
        WRONG.store(WRONG.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    worker.quiescent();
    JUDGED.store(JUDGED.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Adds an SA; if the room of an old one is not free yet, once the handler was quiescent.
fn add(control: &mut Control<'_>, child: ChildId, spi: u32) -> Option<espial::SaId> {
    let key = SaKey::new(Ipsec::Esp, Spi(spi), None, None).ok()?;
    loop {
        match control.add_sa(child, &SaParams::new(key)) {
            Ok(sa) => return Some(sa),
            Err(SaError::Busy) => {}
            Err(_) => return None,
        }
    }
}

fn run() -> Option<u32> {
    static mut REGION: [MaybeUninit<u8>; 12 * 1024] = [MaybeUninit::uninit(); 12 * 1024];
    static mut GATEWAY: MaybeUninit<Gateway<'static>> = MaybeUninit::uninit();
    let image = Image::of_octets(&IMAGE.0).ok()?;
    let capacity = Capacity {
        tunnels: image.tunnels(),
        children: image.children(),
        selectors: 0,
        sas: 4,
        sas_dst: 0,
        sas_dst_src: 0,
        sas_allocated: 0,
        replay_window: 0,
        workers: 1,
    };
    // SAFETY: `run` is called once, so nobody else has the two.
    let (region, place) = unsafe { (&mut *addr_of_mut!(REGION), &mut *addr_of_mut!(GATEWAY)) };
    // The seed must be one that peers cannot know: see README.md.
    let gateway =
        place.write(Gateway::over_image_in(region, &capacity, [0x5eed, 0x5eed], &image).ok()?);
    let (control, mut workers) = gateway.split();
    let child = image.child_named(b"plain4", b"net-b")?;

    let mut old = add(control, child, 0x1000)?;
    LIVE_SPI.store(0x1000, Ordering::Relaxed);
    let mut worker = workers.take_quiet()?;
    if !is_right(&mut worker) {
        return None;
    }
    // SAFETY: SysTick is not enabled yet.
    unsafe { *WORKER.0.get() = Some(worker) };

    let mut systick = cortex_m::Peripherals::take()?.SYST;
    systick.set_clock_source(SystClkSource::Core);
    systick.set_reload(500);
    systick.clear_current();
    systick.enable_interrupt();
    systick.enable_counter();
    for round in 1..=200 {
        let new = add(control, child, 0x1000 + round)?;
        LIVE_SPI.store(0x1000 + round, Ordering::Relaxed);
        control.delete_sa(old, 0).ok()?;
        old = new;
    }
    systick.disable_interrupt();
    let (judged, wrong) = (JUDGED.load(Ordering::Relaxed), WRONG.load(Ordering::Relaxed));
    hprintln!("rekeyed 200\ninterrupts {}\nmisjudged {}", judged, wrong);
    (judged > 20 && wrong == 0).then_some(judged)
}

#[entry]
fn main() -> ! {
    let passed = run().is_some();
    hprintln!("{}", if passed { "RESULT PASS" } else { "RESULT FAIL" });
    debug::exit(if passed { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {}
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    debug::exit(debug::EXIT_FAILURE);
    loop {}
}
