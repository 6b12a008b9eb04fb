use std::net::IpAddr;

use espial::headers::{Encap, Spi};
use espial::sad::SaMode;
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

use super::*;
use crate::config::Key;
use Encryption::{AesCbc, AesGcm16, ChaCha20Poly1305, Null, TripleDesCbc};
use Integrity::{HmacSha1_96, HmacSha2_256_128, HmacSha2_384_192, HmacSha2_512_256};

const NO_INTEGRITY: Integrity = Integrity::None;

fn unhex(digits: &str) -> Vec<u8> {
    let digits: Vec<char> = digits.chars().filter(|digit| !digit.is_whitespace()).collect();
    let octet = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

fn sa(encryption: Option<Encryption>, key: &[u8], integrity: Integrity, mac: &[u8]) -> SaConfig {
    let some = |octets: &[u8]| (!octets.is_empty()).then(|| Key::from(octets));
    SaConfig {
        spi: Spi(0x1000),
        ipsec: if encryption.is_some() { Ipsec::Esp } else { Ipsec::Ah },
        mode: SaMode::Tunnel,
        encap: Encap::None,
        dst: None::<IpAddr>,
        src: None,
        replay_window: 0,
        esn: false,
        sequence_high: 0,
        installed: None,
        deleted: None,
        encryption,
        encryption_key: some(key),
        integrity,
        integrity_key: some(mac),
        line: 1,
    }
}

fn mac_key(integrity: Integrity) -> Vec<u8> {
    let octets = match integrity {
        Integrity::None => 0,
        HmacSha1_96 => 20,
        HmacSha2_256_128 => 32,
        HmacSha2_384_192 => 48,
        HmacSha2_512_256 => 64,
    };
    (0x40..0x40 + octets).collect()
}

/// The packet inside of [`vectors`].
const INNER: &str = "450000140001000040063b510a0000010a000002";

type Vector = (Encryption, u8, Integrity, Option<u32>, &'static str);

/// Made with OpenSSL and Python's hmac: cipher, octets of its key 0, 1, 2..., integrity with the
/// key 40, 41, 42..., high half of the sequence number, and the packet; its IV is 80, 81, 82...
fn vectors() -> [Vector; 11] {
    [
        (
            AesCbc,
            16,
            HmacSha1_96,
            None,
            "0000100000000005808182838485868788898a8b8c8d8e8ffc97d4ed07b5eb26b3a12c07769d2c47\
             29572fb8cb2a070bc3c3af755d04a664b3f7b510a4ba52fb89a20364",
        ),
        (
            AesCbc,
            24,
            HmacSha2_256_128,
            Some(7),
            "0000100000000005808182838485868788898a8b8c8d8e8f5ae974b6584a389c1bb771518d543dde\
             1fde6ad8dc39445f88e5a80076467106580910a52888ba60c8432a529d08c2b4",
        ),
        (
            AesCbc,
            32,
            HmacSha2_384_192,
            None,
            "0000100000000005808182838485868788898a8b8c8d8e8fd9e2c51c3c862971146fdc60352e1ac1\
             bca9a666efc4c468b34d79084bd960fca38a07ef936beb1dfb5b5dfb0413c9a0daf491ea1d7dd54d",
        ),
        (
            AesCbc,
            16,
            NO_INTEGRITY,
            None,
            "0000100000000005808182838485868788898a8b8c8d8e8ffc97d4ed07b5eb26b3a12c07769d2c47\
             29572fb8cb2a070bc3c3af755d04a664",
        ),
        (
            TripleDesCbc,
            24,
            HmacSha2_512_256,
            Some(7),
            "000010000000000580818283848586872db29a36a8d18a93566441f94f0bb33e1c444377ec20fff2\
             6f042d9c1bff069cc8d3671969b7cb54657e2d4908255a8f92ac3f8859927262",
        ),
        (
            Null,
            0,
            HmacSha1_96,
            Some(7),
            "0000100000000005450000140001000040063b510a0000010a000002010202042add3dd1b2020171\
             1a08b7c0",
        ),
        (
            Null,
            0,
            NO_INTEGRITY,
            None,
            "0000100000000005450000140001000040063b510a0000010a00000201020204",
        ),
        (
            AesGcm16,
            20,
            NO_INTEGRITY,
            None,
            "00001000000000058081828384858687f0ecb2fca115a58f2ce078f7ba9f08cb117b32f8351fed48\
             96279c3d91529d42a4b6ca8dde5a03b3",
        ),
        (
            AesGcm16,
            28,
            NO_INTEGRITY,
            Some(7),
            "000010000000000580818283848586878fb48d251ec0464e17f19c6a9f524eb320d34d65dcc847b4\
             cfc5d0f9e3ccdaa78c3e6c58433cd9c1",
        ),
        (
            AesGcm16,
            36,
            NO_INTEGRITY,
            Some(7),
            "00001000000000058081828384858687a73a044199122cd07928fbb9b8e26f461b92e5fdeaabd2d1\
             98490eb063c594471fa81965865c3ab1",
        ),
        (
            ChaCha20Poly1305,
            36,
            NO_INTEGRITY,
            Some(7),
            "000010000000000580818283848586874f0c49815f907801fe95ae8ce22eec70ec1c175bc7d2db05\
             640657f606679aa3db4aa14981225e57",
        ),
    ]
}

fn opener((encryption, key_octets, integrity, high, _): Vector) -> Opener {
    let key: Vec<u8> = (0..key_octets).collect();
    let sa = sa(Some(encryption), &key, integrity, &mac_key(integrity));
    Opener::new(&SaConfig { esn: high.is_some(), ..sa }).unwrap()
}

#[test]
fn every_algorithm_opens() {
    for vector in vectors() {
        let opened = opener(vector).open_esp(&unhex(vector.4), vector.3.unwrap_or(99));
        assert_eq!(opened, Ok(Opened { next_header: 4, payload: unhex(INNER) }), "{vector:?}");
    }
}

/// Each octet flipped, and each truncation: nothing is returned, unless nothing authenticates.
#[test]
fn nothing_else_opens() {
    for vector in vectors() {
        let (opener, packet) = (opener(vector), unhex(vector.4));
        let high = vector.3.unwrap_or(0);
        let authenticated = vector.0.is_aead() || vector.2 != NO_INTEGRITY;
        for at in 0..packet.len() {
            let mut changed = packet.clone();
            changed[at] ^= 1;
            let result = opener.open_esp(&changed, high);
            if authenticated {
                assert_eq!(result, Err(Reason::AuthFailed), "{vector:?} {at}");
            }
            let result = opener.open_esp(&packet[..at], high);
            let malformed = Reason::Malformed(Malformed::Esp);
            if authenticated {
                let expected = [Err(Reason::AuthFailed), Err(malformed)];
                assert!(expected.contains(&result), "{vector:?} {at} {result:?}");
            }
            let least = 8 + if vector.0 == AesCbc { 32 } else { 2 };
            if at < least {
                assert_eq!(result, Err(malformed), "{vector:?} {at}");
            }
        }
        if let Some(high) = vector.3 {
            let result = opener.open_esp(&packet, high + 1);
            assert_eq!(result, Err(Reason::AuthFailed), "{vector:?}: the high half counts");
        }
    }
}

/// RFC 3602 section 4, case 5: a ping in transport mode.
#[test]
fn rfc3602_case_5() {
    let sa = sa(Some(AesCbc), &unhex("90d382b410eeba7ad938c46cec1a82bf"), NO_INTEGRITY, &[]);
    let packet = unhex(
        "0000432100000001e96e8c08ab465763fd098d45dd3ff893f663c25d325c18c6a9453e194e120849\
         a4870b66cc6b9965330013b4898dc856a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c\
         538ab50c551b874aa269add047ad2d5913ac19b7cfbad4a6",
    );
    let opened = Opener::new(&sa).unwrap().open_esp(&packet, 0).unwrap();
    assert_eq!(opened.next_header, 1);
    assert_eq!(opened.payload[..16], unhex("08000ebda70a00008e9c083db95b0700"));
    assert_eq!(opened.payload[16..], (8..0x38).collect::<Vec<u8>>());
}

/// RFC 7634 appendix A: a ping in tunnel mode.
#[test]
fn rfc7634_appendix_a() {
    let key: Vec<u8> = (0x80..0xa4).collect();
    let packet = unhex(
        "0102030400000005101112131415161724039428b97f417e3c13753a4f05087b67c352e6a7fab1b9\
         82d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3\
         cbec163fac469b502773f6fb94e664da9165b82829f641e076aaa8266b7fb0f7b11b369907e1ad43",
    );
    let sa = sa(Some(ChaCha20Poly1305), &key, NO_INTEGRITY, &[]);
    let opened = Opener::new(&sa).unwrap().open_esp(&packet, 0).unwrap();
    assert_eq!((opened.next_header, opened.payload.len()), (4, 84));
    assert_eq!(opened.payload[..20], unhex("45000054a6f200004001e778c6336405c0000205"));
}

/// draft-mcgrew-gcm-test, first case: with ESN the associated data holds both halves in a row.
#[test]
fn aes_gcm_with_esn() {
    let key = unhex("4c80cdefbb5d10da906ac73c3613a6342e443b68");
    let sa = SaConfig { esn: true, ..sa(Some(AesGcm16), &key, NO_INTEGRITY, &[]) };
    let packet = unhex(
        "00004321000000004956ed7e3b244cfefecf537e729d5b07dc30df528dd22b768d1b98736696a6fd\
         348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce\
         61bc17d768fd9732459018148f6cbe722fd04796562dfdb4",
    );
    let opener = Opener::new(&sa).unwrap();
    assert_eq!(opener.open_esp(&packet, 0x8765_4320), Err(Reason::AuthFailed));
    let opened = opener.open_esp(&packet, 0x8765_4321).unwrap();
    assert_eq!((opened.next_header, opened.payload.len()), (1, 68));
    assert_eq!(opened.payload[..20], unhex("45000048699a000080114db7c0a80102c0a80101"));
}

#[test]
fn padding() {
    let open = |trailer: &[u8]| {
        let sa = sa(Some(Null), &[], NO_INTEGRITY, &[]);
        let packet = [&[0; 8], &[0xaa; 3][..], trailer].concat();
        Opener::new(&sa).unwrap().open_esp(&packet, 0)
    };
    let opened = |next_header, payload: &[u8]| Ok(Opened { next_header, payload: payload.into() });
    assert_eq!(open(&[0, 4]), opened(4, &[0xaa; 3]));
    assert_eq!(open(&[1, 1, 41]), opened(41, &[0xaa; 3]));
    assert_eq!(open(&[1, 2, 3, 3, 59]), opened(59, &[0xaa; 3]));
    assert_eq!(open(&[1, 2, 4, 3, 4]), Err(Reason::BadPadding));
    assert_eq!(open(&[0, 1, 2, 3, 4]), Err(Reason::BadPadding));
    assert_eq!(open(&[3, 4]), Err(Reason::BadPadding));
    assert_eq!(open(&[4, 4]), Err(Reason::BadPadding));
    assert_eq!(open(&[255, 4]), Err(Reason::BadPadding));
    let longest: Vec<u8> = (1..=255).chain([255, 4]).collect();
    assert_eq!(open(&longest), opened(4, &[0xaa; 3]));
}

/// A block cipher's text that is not whole blocks, though its ICV is right.
#[test]
fn half_a_block() {
    let sa = sa(Some(AesCbc), &[1; 16], HmacSha2_256_128, &[2; 32]);
    let covered = [0; 8 + 16 + 24];
    let packet = [&covered[..], &hmac(&[2; 32], &[&covered])].concat();
    assert_eq!(Opener::new(&sa).unwrap().open_esp(&packet, 0), Err(Malformed::Esp.into()));
}

#[test]
fn without_key_or_cipher_nothing_is_opened() {
    let esp = sa(Some(AesCbc), &[1; 16], HmacSha2_256_128, &[2; 32]);
    assert!(Opener::new(&esp).is_some());
    assert!(Opener::new(&SaConfig { encryption: None, ..esp.clone() }).is_none());
    assert!(Opener::new(&SaConfig { encryption_key: None, ..esp.clone() }).is_none());
    assert!(Opener::new(&SaConfig { integrity_key: None, ..esp.clone() }).is_none());
    let ah = sa(None, &[], HmacSha2_256_128, &[2; 32]);
    assert!(Opener::new(&ah).is_some());
    assert!(Opener::new(&SaConfig { integrity_key: None, ..ah.clone() }).is_none());
    assert!(Opener::new(&SaConfig { integrity: NO_INTEGRITY, ..ah.clone() }).is_none());
    let (esp, ah) = (Opener::new(&esp).unwrap(), Opener::new(&ah).unwrap());
    assert_eq!(esp.open_ah(&[0x45; 60], 20, 0), Err(Reason::NotOpened));
    assert_eq!(ah.open_esp(&[0; 60], 0), Err(Reason::NotOpened));
}

// AH

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes()[..16].to_vec()
}

fn ah_opener(esn: bool) -> Opener {
    let key = mac_key(HmacSha2_256_128);
    Opener::new(&SaConfig { esn, ..sa(None, &[], HmacSha2_256_128, &key) }).unwrap()
}

/// Made with Python's hmac: IPv4 on the way, with 4 octets of padding behind the ICV and ESN.
#[test]
fn ah_over_ipv4() {
    let packet = unhex(
        "45b80048123440003f33abcdcb00710ac63364140406000000001000000000058e06b66a4d4808d5\
         726253c58cb294e700000000450000140001000040063b510a0000010a000002",
    );
    let opener = ah_opener(true);
    let opened = opener.open_ah(&packet, 20, 7);
    assert_eq!(opened, Ok(Opened { next_header: 4, payload: unhex(INNER) }));
    assert_eq!(opener.open_ah(&packet, 20, 8), Err(Reason::AuthFailed));
    let padded = [&packet[..], &[0; 6]].concat();
    assert_eq!(opener.open_ah(&padded, 20, 7), opened, "link padding");
    for octets in 0..packet.len() {
        let result = opener.open_ah(&packet[..octets], 20, 7);
        assert_eq!(result, Err(Malformed::Ah.into()), "{octets}");
    }
    for at in 0..packet.len() {
        let mut changed = packet.clone();
        changed[at] ^= 0x10;
        let result = opener.open_ah(&changed, 20, 7);
        match at {
            // TOS; flags, fragment offset, TTL; checksum.
            1 | 6 | 7 | 8 | 10 | 11 => assert_eq!(result, opened, "{at}"),
            // Version and lengths.
            0 | 2 | 3 | 21 => assert!(result.is_err(), "{at}"),
            _ => assert_eq!(result, Err(Reason::AuthFailed), "{at}"),
        }
    }
}

/// The packet with the ICV of its `sent` headers, which are those that the ICV covers, behind
/// `received` ones, which are what the way made of them.
fn ah_packet(sent: &[u8], received: &[u8]) -> Vec<u8> {
    let ah = unhex("11050000 00001000 00000005");
    let payload = [0xab; 8];
    let icv_field = [0; 16];
    let icv = hmac(&mac_key(HmacSha2_256_128), &[sent, &ah, &icv_field, &payload]);
    let ah = unhex("11050000 00001000 00000005");
    [received, &ah, &icv, &payload].concat()
}

fn ah_result(sent: &str, received: &str) -> Result<u8, Reason> {
    let (sent, received) = (unhex(sent), unhex(received));
    let packet = ah_packet(&sent, &received);
    ah_opener(false).open_ah(&packet, received.len(), 0).map(|opened| opened.next_header)
}

/// RFC 4302 section 3.3.3.1.1.2 and appendix A1.
#[test]
fn ah_ipv4_options() {
    let fixed = "4900 0048 1234 0000 0033 0000 0a000001 0a000002";
    let with = |options: &str| format!("{fixed} {options}");
    let zeros = "00000000 00000000";
    for (sent, received, good) in [
        // Router alert stays, record route is zeroed whole, no operation and end of list stay.
        ("94040000 01 00000000000000 00 000000", "94040000 01 07070801020304 00 000000", true),
        ("94040000 01 00000000000000 00 000000", "94040001 01 07070801020304 00 000000", false),
        ("94040000 01 00000000000000 00 000000", "94040000 00 07070801020304 00 000000", false),
        // What follows the end of the list stays.
        ("00000000 00000000 00000000 00000000", "00000001 00000000 00000000 00000000", false),
        // Source routes, time stamps and options that nobody knows are zeroed.
        ("00000000 00000000 00000000 00000000", "83080401 02030400 44080500 00000000", true),
        ("00000000 00000000 00000000 00000000", "89080401 02030400 9a080500 00000000", true),
    ] {
        let result = ah_result(&with(sent), &with(received));
        assert_eq!(result, if good { Ok(17) } else { Err(Reason::AuthFailed) }, "{received}");
    }
    // A length of 1, an option past the end, and a type without a length.
    for broken in ["83010000 00000000", "01010101 83050000", "01010101 01010183"] {
        let result = ah_result(
            &with(&format!("{zeros}{zeros}")),
            &with(&format!("01010101 01010101 {broken}")),
        );
        assert_eq!(result, Err(Malformed::Ah.into()), "{broken}");
    }
}

/// RFC 4302 section 3.3.3.1.2.
#[test]
fn ah_over_ipv6() {
    let (a, b) = ("20010db8000000000000000000000001", "20010db8000000000000000000000002");
    let (c, d) = ("20010db8000000000000000000000003", "20010db8000000000000000000000004");
    let result = |sent: &str, received: &str| ah_result(sent, received);
    let plain = |first: &str, hop: &str| format!("{first} 0024 33 {hop} {a} {b}");
    assert_eq!(result(&plain("60000000", "00"), &plain("6babcdef", "3e")), Ok(17));
    assert_eq!(
        result(&plain("60000000", "00"), &plain("60000000", "00").replace("0002", "0009")),
        Err(Reason::AuthFailed)
    );

    // Hop-by-hop: an option that stays, one that may change, PadN, Pad1.
    let options = |kept: &str, data: &str| {
        format!("60000000 0034 00 00 {a} {b} 33 01 0502{kept} 3e03{data} 0102 0000 00")
    };
    let sent = options("0000", "000000");
    assert_eq!(result(&sent, &options("0000", "123456")), Ok(17));
    assert_eq!(result(&sent, &options("0001", "123456")), Err(Reason::AuthFailed));
    assert_eq!(result(&sent, &sent.replace("3e03", "3e0d")), Err(Malformed::Ah.into()));
    assert_eq!(result(&sent, &sent.replace("3e03", "1e03")), Err(Reason::AuthFailed));
    // The same as destination options.
    let sent = sent.replacen("0034 00 00", "0034 3c 00", 1);
    assert_eq!(result(&sent, &sent.replace("3e03000000", "3e03ffffff")), Ok(17));

    // A route of two hops at its end, and seen after each hop before.
    let route = |left: &str, dst: &str, hops: [&str; 2]| {
        format!("60000000 004c 2b 00 {a} {dst} 33 04 00 {left} 00000000 {} {}", hops[0], hops[1])
    };
    let sent = route("00", d, [b, c]);
    assert_eq!(result(&sent, &sent), Ok(17));
    assert_eq!(result(&sent, &route("01", c, [b, d])), Ok(17));
    assert_eq!(result(&sent, &route("02", b, [c, d])), Ok(17));
    assert_eq!(result(&sent, &route("00", b, [d, c])), Err(Reason::AuthFailed));
    assert_eq!(result(&sent, &route("03", b, [c, d])), Err(Malformed::Ah.into()));
    // Mobile IPv6 too; of other types nothing is known, so they stay as they are.
    let of_type = |text: &str, kind: &str| text.replacen("33 04 00", &format!("33 04 {kind}"), 1);
    assert_eq!(result(&of_type(&sent, "02"), &of_type(&route("01", c, [b, d]), "02")), Ok(17));
    let result = result(&of_type(&sent, "03"), &of_type(&route("01", c, [b, d]), "03"));
    assert_eq!(result, Err(Reason::AuthFailed));
}

/// The offset of the AH must be where the headers end.
#[test]
fn ah_at_a_wrong_place() {
    let headers = unhex(
        "60000000 0024 33 00 00000000000000000000000000000001 00000000000000000000000000000002",
    );
    let packet = ah_packet(&headers, &headers);
    let opener = ah_opener(false);
    assert!(opener.open_ah(&packet, 40, 0).is_ok());
    for offset in (0..=packet.len() + 1).filter(|offset| *offset != 40) {
        assert!(opener.open_ah(&packet, offset, 0).is_err(), "{offset}");
    }
    let mut other = packet.clone();
    other[6] = 17;
    assert_eq!(opener.open_ah(&other, 40, 0), Err(Malformed::Ah.into()));
    assert_eq!(opener.open_ah(&[], 0, 0), Err(Malformed::Ah.into()));
}
