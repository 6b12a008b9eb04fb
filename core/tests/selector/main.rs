//! Traffic selectors against naive models: small universes are counted out, large ones sampled;
//! each MUST has a test with the name of its clause.
#![cfg(feature = "alloc")]

use core::net::IpAddr;
use std::collections::BTreeSet;

use espial::headers::{Endpoints, Family, Fragment, InnerHeaders, NextLayer, protocol};
use espial::selector::payload::{self, PayloadError, TsPayload};
use espial::selector::*;
use espial::verdict::Field;
use proptest::prelude::*;

mod boxes;
mod narrowing;
mod payload_bodies;
mod prefixes;
mod ranges;
mod sides;
mod text;
mod universe;

use universe::*;

fn range(text: &str) -> AddrRange {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn ts(text: &str) -> TrafficSelector {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn ports(text: &str) -> PortRange {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn packet(src: &str, dst: &str, protocol: u8, next_layer: NextLayer) -> InnerHeaders {
    let endpoints = Endpoints::new(addr(src), addr(dst)).unwrap();
    InnerHeaders { endpoints, protocol, next_layer, fragment: Fragment::None }
}

fn pair(local: &str, remote: &str) -> Selector {
    Selector::pair(&ts(local), &ts(remote)).unwrap().unwrap()
}
