//! Capture files: reading ends, an error is the last thing it says, and no packet is longer than
//! the file.
#![no_main]
#![allow(dead_code, reason = "the command line asks for more of it")]

#[path = "../../bindings/cli/src"]
mod cli {
    pub mod capture;
}

use cli::capture::Capture;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let mut capture = Capture::new(octets);
    let (mut packets, mut octets_held) = (0, 0);
    while let Some(read) = capture.next() {
        let Ok(packet) = read else {
            assert!(capture.next().is_none());
            break;
        };
        packets += 1;
        assert_eq!(packet.number, packets);
        octets_held += packet.ip.map_or(0, |ip| ip.len());
        assert!(octets_held <= octets.len());
    }
    assert!(capture.octets_read() <= octets.len() as u64);
});
