//! Octets that are not what was written.

use super::*;
use crate::gate::session::{Limits, Side};
use crate::sad::Limit;

fn sa() -> SaRecord {
    use crate::headers::{Encap, Ipsec, Spi};
    use crate::sad::{Lifetime, Replay, ReplayStart, SaKey, SaMode};
    let dst = "2001:db8::102:304".parse().unwrap();
    SaRecord {
        key: SaKey::new(Ipsec::Ah, Spi(0x0102_0304), Some(dst), None).unwrap(),
        child: 0x1112_1314_1516_1718,
        mode: SaMode::Transport,
        encap: Encap::Tcp,
        replay: Replay { window: 1024, esn: true, start: ReplayStart::Top(0x2_0000_0005) },
        lifetime: Lifetime {
            soft: Limit { packets: None, octets: Some(9), at_ms: None },
            hard: Limit { packets: Some(7), octets: None, at_ms: Some(0x0a0b) },
        },
        used: [3, 4],
        told: true,
        accepted: [5, 6],
    }
}

/// The layout in the module's text, octet by octet: this is what another version of this crate reads.
#[test]
fn the_layout_is_the_documented_one() {
    let mut octets = [0; RECORD_OCTETS];
    assert_eq!(Writer::new(KEY, 0x2122).sa(&sa(), &mut octets), RECORD_OCTETS);
    let mut expected = vec![0x45, 0x53, 1, 1, 0, 0, 0, 0, 0x22, 0x21, 0, 0, 0, 0, 0, 0];
    // SPI; flags: AH, destination, IPv6, transport, TCP, ESN, seen, told, soft octets, hard packets and time.
    expected.extend([4, 3, 2, 1]);
    let flags: u32 =
        1 | 2 | 8 | 16 | 2 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 11 | 1 << 13 | 1 << 15;
    expected.extend((flags | 1024 << 16).to_le_bytes());
    expected.extend([4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xb8, 0x0d, 1, 0x20]);
    expected.extend([0; 16]);
    let numbers = [0x1112_1314_1516_1718, 0x2_0000_0005, 3, 4, 0, 9, 0, 7, 0, 0x0a0b, 5, 6];
    numbers.into_iter().for_each(|number: u64| expected.extend(number.to_le_bytes()));
    assert_eq!(octets[..152], expected);
    let mut hasher = siphasher::sip::SipHasher24::new_with_keys(KEY[0], KEY[1]);
    core::hash::Hasher::write(&mut hasher, &octets[..152]);
    assert_eq!(octets[152..], core::hash::Hasher::finish(&hasher).to_le_bytes());
}

fn flow_key() -> FlowKey {
    let endpoints = Endpoints::V4 { src: 0x0102_0304, dst: 0x0506_0708 };
    FlowKey { endpoints, protocol: 17, src_port: 500, dst_port: 0x1194 }
}

fn records() -> [Record; 4] {
    use crate::gate::passthrough::{DecidedBy, Origin, RuleId};
    let (key, age_ms, idle_ms) = (flow_key(), 70_000, 500);
    [
        Record::Sa(sa()),
        Record::Session(SessionRecord { key, origin: Side::Remote, age_ms, idle_ms }),
        Record::Pin(PinRecord {
            key,
            interface: 3,
            idle_ms,
            next: 4,
            mark: 5,
            stage: 33,
            closed_for_ms: 0,
        }),
        Record::Flow(FlowRecord {
            key,
            origin: Origin::Decided(DecidedBy::Rule(RuleId(9))),
            age_ms,
            idle_ms,
        }),
    ]
}

fn stream() -> Vec<u8> {
    let mut records = records().into_iter();
    written(|writer, piece| match records.next() {
        Some(record) => (writer.one(&record, piece), false),
        None => (0, true),
    })
}

/// What a reader makes of octets: what it accepts, and whether it takes that for all.
fn read_all(octets: &[u8]) -> (Vec<Record>, bool) {
    let (mut reader, mut rest) = (Reader::new(KEY, ID, 0), octets);
    let read = std::iter::from_fn(|| reader.read(&mut rest)).filter_map(Result::ok).collect();
    (read, reader.is_complete())
}

#[test]
fn every_record_is_read_as_it_was_written() {
    let expected: Vec<_> = records().into_iter().chain([Record::End]).collect();
    assert_eq!(read_all(&stream()), (expected, true));
}

#[test]
fn a_stream_that_is_cut_anywhere_is_not_complete_and_gives_whole_records_only() {
    let (octets, all) = (stream(), read_all(&stream()).0);
    for length in 0..octets.len() {
        let (read, is_complete) = read_all(&octets[..length]);
        assert_eq!((&read[..], is_complete), (&all[..length / RECORD_OCTETS], false));
    }
}

#[test]
fn one_wrong_bit_costs_the_record_that_it_is_in_and_no_other() {
    let (octets, all) = (stream(), read_all(&stream()).0);
    for bit in 0..octets.len() * 8 {
        let mut octets = octets.clone();
        octets[bit / 8] ^= 1 << (bit % 8);
        let (read, is_complete) = read_all(&octets);
        let damaged = bit / 8 / RECORD_OCTETS;
        let expected: Vec<_> =
            (0..all.len()).filter(|&at| at != damaged).map(|at| all[at]).collect();
        assert_eq!((read, is_complete), (expected, false), "bit {bit}");
    }
}

#[test]
fn records_out_of_order_twice_of_another_snapshot_key_or_version_are_refused() {
    let octets = stream();
    let records: Vec<&[u8]> = octets.chunks(RECORD_OCTETS).collect();
    let errors = |octets: Vec<&[u8]>, mut reader: Reader| -> Vec<RecordError> {
        let octets = octets.concat();
        let mut rest = &octets[..];
        std::iter::from_fn(|| reader.read(&mut rest)).filter_map(Result::err).collect()
    };
    let reader = || Reader::new(KEY, ID, 0);
    let order = |number| vec![RecordError::Order { number }];
    assert_eq!(errors(vec![records[0], records[0]], reader()), order(0));
    assert_eq!(errors(vec![records[2], records[1]], reader()), order(1));
    assert_eq!(errors(vec![records[4], records[4]], reader()), order(4));
    let other = Reader::new(KEY, 78, 0);
    assert_eq!(errors(vec![records[0]], other), [RecordError::OtherSnapshot { id: ID }]);
    let other = Reader::new([0, 0], ID, 0);
    assert_eq!(errors(vec![records[0]], other), [RecordError::Damaged]);
    let mut newer = records[0].to_vec();
    newer[2] = 2;
    let newer = signed(newer.try_into().unwrap());
    assert_eq!(errors(vec![&newer], reader()), [RecordError::Version { version: 2 }]);
    // Behind the end there is nothing, whatever its number.
    let mut behind = records[0].to_vec();
    behind[4] = 9;
    let behind = signed(behind.try_into().unwrap());
    assert_eq!(errors(vec![records[4], &behind], reader()), order(9));
    // What should be 0 is 0: a flag of a session that has no meaning.
    let mut unknown = records[1].to_vec();
    unknown[17] = 2;
    let unknown = signed(unknown.try_into().unwrap());
    assert_eq!(errors(vec![&unknown], reader()), [RecordError::Malformed]);
    // Once more, whatever its place.
    assert_eq!(reader().again(records[4].try_into().unwrap()), Ok(Record::End));
    let again = reader().again(&unknown);
    assert_eq!(again, Err(RecordError::Malformed));
    // What is missing is known once something behind it comes.
    let mut reader = reader();
    let _ = reader.read(&mut &records[0][..]);
    let _ = reader.read(&mut &records[3][..]);
    let _ = reader.read(&mut &records[4][..]);
    assert_eq!((reader.is_complete(), reader.missed()), (false, 2));
}

/// The same octets with the right checksum: those of somebody who has the key.
fn signed(mut octets: [u8; RECORD_OCTETS]) -> [u8; RECORD_OCTETS] {
    let mut hasher = siphasher::sip::SipHasher24::new_with_keys(KEY[0], KEY[1]);
    core::hash::Hasher::write(&mut hasher, &octets[..152]);
    octets[152..].copy_from_slice(&core::hash::Hasher::finish(&hasher).to_le_bytes());
    octets
}

proptest! {
    /// Right checksums over wrong octets: a record that is read has one form, and no table breaks.
    #[test]
    fn hostile_records_are_refused_or_are_what_their_octets_say(
        which in 0..4_usize,
        changes in proptest::collection::vec((16..152_usize, any::<u8>()), 0..6),
        kind in select(&[1_u8, 2, 3, 4, 5, 255]),
        random in any::<bool>(),
        noise in proptest::collection::vec(any::<u8>(), RECORD_OCTETS),
        elapsed_ms in prop_oneof![Just(0), any::<u64>()],
        now_ms in any::<u64>(),
        margin in any::<u64>(),
    ) {
        let octets = stream();
        let mut octets: [u8; RECORD_OCTETS] =
            octets[which * RECORD_OCTETS..][..RECORD_OCTETS].try_into().unwrap();
        octets[3] = kind;
        for (at, octet) in changes {
            octets[at] = octet;
        }
        if random {
            octets[16..].copy_from_slice(&noise[16..]);
        }
        let octets = signed(octets);
        let mut reader = Reader::new(KEY, ID, elapsed_ms);
        let number = u32::from_le_bytes(octets[4..8].try_into().unwrap());
        let Some(Ok(record)) = reader.read(&mut &octets[..]) else { return Ok(()) };
        if elapsed_ms == 0 {
            prop_assert_eq!(Octets::new(KEY, ID).write(&record, number), octets);
        }
        match record {
            Record::Sa(record) => super::sas::restore_hostile(&record, margin, now_ms),
            Record::Session(record) => {
                let mut sessions = Sessions::new(&Limits::of(3), [1, 2]).unwrap();
                let restored = sessions.restore(&record, now_ms);
                prop_assert_eq!(sessions.iter(now_ms).count(), usize::from(restored.is_ok()));
            }
            Record::Pin(record) => super::flows::restore_hostile_pin(&record, now_ms),
            Record::Flow(record) => super::flows::restore_hostile_flow(&record, now_ms),
            Record::End => {}
        }
    }
}
