//! Whatever happened to a table, a standby of another size, seed and clock answers as it does; and octets
//! of any kind do no harm.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::gate::flow::FlowKey;
use crate::headers::{Endpoints, protocol};

mod damage;
mod flows;
mod sas;

const KEY: [u64; 2] = [0x5ec2e7, 0x6b6579];
const ID: u64 = 77;

/// Goes through tables with `step` until `is_done`, in pieces of two records, and ends.
fn written(mut step: impl FnMut(&mut Writer, &mut [u8]) -> (usize, bool)) -> Vec<u8> {
    let (mut writer, mut octets) = (Writer::new(KEY, ID), Vec::new());
    let mut piece = [0xaa; 2 * RECORD_OCTETS + 7];
    loop {
        let (count, is_done) = step(&mut writer, &mut piece);
        octets.extend_from_slice(&piece[..count]);
        if is_done {
            break;
        }
    }
    let count = writer.end(&mut piece);
    octets.extend_from_slice(&piece[..count]);
    octets
}

fn read(octets: &[u8], elapsed_ms: u64) -> Vec<Record> {
    let (mut reader, mut rest) = (Reader::new(KEY, ID, elapsed_ms), octets);
    let records: Vec<_> =
        std::iter::from_fn(|| reader.read(&mut rest)).map(|record| record.unwrap()).collect();
    assert!(reader.is_complete() && rest.is_empty());
    assert_eq!(records.last(), Some(&Record::End));
    records
}

#[test]
fn a_pass_goes_there_and_back_as_numbers() {
    assert_eq!(Pass::default().to_raw(), [0; 3]);
    let mut pass = Pass::default();
    for (moved, expected) in [(7, [1, 7, 4]), (7, [2, 7, 4]), (8, [3, 7, 7]), (8, [3, 7, 7])] {
        pass = Pass::from_raw(pass.to_raw());
        let place = pass.step(3, moved);
        assert_eq!(place.is_some(), place == Some(pass.at as usize - 1));
        assert_eq!(pass.to_raw(), expected);
        assert_eq!((pass.is_done(), pass.is_exact()), (expected[2] & 1 != 0, expected[2] & 2 == 0));
    }
}
