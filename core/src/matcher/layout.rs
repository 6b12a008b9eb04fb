//! The records of an image as C sees them: `bindings/bpf/layout.h`, written from the types.
//!
//! Who walks an image without this crate (an eBPF program) includes that header. `UPDATE_LAYOUT=1 cargo test -p espial
//! layout` writes it; without the variable the test compares.

use std::mem::{offset_of, size_of};
use std::path::Path;
use std::string::String;
use std::vec::Vec;
use std::{format, fs};

use super::block::{ADMITS_OPAQUE, Box4, Box6, ChildRecord, FORMAT, Header, MAGIC, Rest};
use super::block::{Section, Span, TunnelRecord, Wide};
use super::fan::{Fan, WIDE};
use super::group::{DIMENSIONS, Frame, Group, LEAF, WIDTH};
use super::rows::PROTOCOLS;
use super::tree::{Grown, LIST, NO_FAN, NO_GROUP};
use crate::image;
use crate::simd::{CUTS, WORDS};

/// A field: where it is, how C declares it, octets of it.
type Field = (usize, &'static str, usize);

/// A struct of C, which must not have a hole: then C puts each field where Rust does.
fn record(name: &str, size: usize, fields: &[Field]) -> String {
    let mut text = format!("struct espial_{name} {{\n");
    let mut end = 0;
    for (offset, field, octets) in fields {
        assert_eq!(*offset, end, "{name}: {field}");
        end += octets;
        text += &format!("    {field};\n");
    }
    assert_eq!(end, size, "{name}");
    text + &format!("}};\n_Static_assert(sizeof(struct espial_{name}) == {size}, \"{name}\");\n\n")
}

/// [`record`] of a type: each field with its declaration in C.
macro_rules! records {
    ($($name:literal = $type:ty { $($field:ident : $of:ty = $c:literal),* $(,)? })*) => {
        [$(record($name, size_of::<$type>(), &[
            $((offset_of!($type, $field), $c, size_of::<$of>())),*
        ])),*].concat()
    };
}

fn header() -> String {
    let mut text = String::from(
        "/* Written by core/src/matcher/layout.rs from the types of the library; do not edit. Numbers are in the\n   \
         image's byte order. What the records mean: core/src/image.rs, core/src/matcher/block.rs. */\n\
         #ifndef ESPIAL_LAYOUT_H\n#define ESPIAL_LAYOUT_H\n\n#include <linux/types.h>\n\n",
    );
    let constants: Vec<(&str, u64)> = [
        ("IMAGE_BLOCK", size_of::<image::Header>() as u64),
        ("BLOCK_MAGIC", MAGIC.into()),
        ("BLOCK_FORMAT", FORMAT.into()),
        ("POLICY_IN_IMAGE", image::POLICY.into()),
        ("ADMITS_OPAQUE", ADMITS_OPAQUE.into()),
        ("LEAF", LEAF.into()),
        ("WIDTH", WIDTH as u64),
        ("DIMENSIONS", DIMENSIONS as u64),
        ("LIST", LIST as u64),
        ("CUTS", CUTS as u64),
        ("WORDS", WORDS as u64),
        ("PROTOCOLS", PROTOCOLS as u64),
        ("WIDE", WIDE.into()),
        ("NO_FAN", NO_FAN.into()),
        ("NO_GROUP", NO_GROUP.into()),
    ]
    .into();
    for (name, value) in constants {
        text += &format!("#define ESPIAL_{name} {value}u\n");
    }
    text += "\n";
    text += &records! {
        "section" = Section { offset: u32 = "__u32 offset", count: u32 = "__u32 count" }
        "block_header" = Header {
            magic: u32 = "__u32 magic", format: u32 = "__u32 format", octets: u32 = "__u32 octets",
            version: u32 = "__u32 version", tunnels: Section = "struct espial_section tunnels",
            children: Section = "struct espial_section children",
            boxes4: Section = "struct espial_section boxes4", boxes6: Section = "struct espial_section boxes6",
            fans: Section = "struct espial_section fans", rows: Section = "struct espial_section rows",
            groups: Section = "struct espial_section groups", owners: u32 = "__u32 owners",
            reserved: [u32; 13] = "__u32 reserved[13]",
        }
        "span" = Span {
            first4: u32 = "__u32 first4", count4: u32 = "__u32 count4",
            first6: u32 = "__u32 first6", count6: u32 = "__u32 count6",
        }
        "grown" = Grown {
            first: u32 = "__u32 first", groups: u32 = "__u32 groups", fan: u32 = "__u32 fan",
            changes: u32 = "__u32 changes", levels: u32 = "__u32 levels", reserved: u32 = "__u32 reserved",
        }
        "tunnel_record" = TunnelRecord {
            span: Span = "struct espial_span span", trees: [Grown; 2] = "struct espial_grown trees[2]",
        }
        "child_record" = ChildRecord {
            generation: u32 = "__u32 generation", tunnel: u32 = "__u32 tunnel", class: u32 = "__u32 class",
            policy: u32 = "__u32 policy", span: Span = "struct espial_span span",
        }
        "wide" = Wide { high: u64 = "__u64 high", low: u64 = "__u64 low" }
        "rest" = Rest {
            remote_port_lo: u16 = "__u16 remote_port_lo", remote_port_hi: u16 = "__u16 remote_port_hi",
            local_port_lo: u16 = "__u16 local_port_lo", local_port_hi: u16 = "__u16 local_port_hi",
            protocol_lo: u8 = "__u8 protocol_lo", protocol_hi: u8 = "__u8 protocol_hi", flags: u8 = "__u8 flags",
            reserved: u8 = "__u8 reserved", child: u32 = "__u32 child",
        }
        "box4" = Box4 {
            remote_lo: u32 = "__u32 remote_lo", remote_hi: u32 = "__u32 remote_hi",
            local_lo: u32 = "__u32 local_lo", local_hi: u32 = "__u32 local_hi",
            rest: Rest = "struct espial_rest rest",
        }
        "box6" = Box6 {
            remote_lo: Wide = "struct espial_wide remote_lo", remote_hi: Wide = "struct espial_wide remote_hi",
            local_lo: Wide = "struct espial_wide local_lo", local_hi: Wide = "struct espial_wide local_hi",
            rest: Rest = "struct espial_rest rest",
        }
        "frame" = Frame {
            prefixes: [[u32; 3]; 2] = "__u32 prefixes[2][3]", shifts: [u8; 2] = "__u8 shifts[2]",
            beside: u16 = "__u16 beside",
        }
        "group" = Group {
            remote_lo: [u32; WIDTH] = "__u32 remote_lo[ESPIAL_WIDTH]",
            remote_hi: [u32; WIDTH] = "__u32 remote_hi[ESPIAL_WIDTH]",
            local_lo: [u32; WIDTH] = "__u32 local_lo[ESPIAL_WIDTH]",
            local_hi: [u32; WIDTH] = "__u32 local_hi[ESPIAL_WIDTH]",
            ports_lo: [[u16; 2]; WIDTH] = "__u16 ports_lo[ESPIAL_WIDTH][2]",
            ports_hi: [[u16; 2]; WIDTH] = "__u16 ports_hi[ESPIAL_WIDTH][2]",
            protocol_lo: [u8; WIDTH] = "__u8 protocol_lo[ESPIAL_WIDTH]",
            protocol_hi: [u8; WIDTH] = "__u8 protocol_hi[ESPIAL_WIDTH]",
            index: [u32; WIDTH + 1] = "__u32 index[ESPIAL_WIDTH + 1]",
            frame: Frame = "struct espial_frame frame",
        }
        "fan" = Fan {
            rows: u32 = "__u32 rows", children: u32 = "__u32 children", words: u16 = "__u16 words",
            addresses: u16 = "__u16 addresses", frame: Frame = "struct espial_frame frame",
        }
    };
    text + "#endif\n"
}

#[test]
fn layout_header_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bindings/bpf/layout.h");
    let text = header();
    if std::env::var_os("UPDATE_LAYOUT").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    assert!(
        fs::read_to_string(&path).unwrap() == text,
        "bindings/bpf/layout.h is stale: cargo test -p espial layout with UPDATE_LAYOUT=1"
    );
}
