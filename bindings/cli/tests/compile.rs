//! `espial compile` as a user runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use espial::image::{Image, Order, flip};
use espial::selector::Selector;
use serde_json::Value;

fn espial(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_espial")).args(arguments).output().unwrap()
}

fn scratch(name: &str) -> String {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name).to_str().unwrap().to_owned()
}

fn sample() -> String {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    samples.join("kernel-03-wrong-sa-native.gateway.toml").to_str().unwrap().to_owned()
}

fn texts(output: &Output) -> (String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// The octets of the sample's image, made with these options.
fn compiled(name: &str, more: &[&str]) -> (String, Vec<u8>) {
    let file = scratch(name);
    let output = espial(&[&["compile", &sample(), "-o", &file], more].concat());
    assert_eq!((output.status.code(), texts(&output).1.as_str()), (Some(0), ""));
    let octets = fs::read(&file).unwrap();
    (file, octets)
}

fn words(octets: &[u8]) -> Vec<u64> {
    octets.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect()
}

fn rows(arguments: &[&str]) -> Vec<Value> {
    let output = espial(arguments);
    assert_eq!((output.status.code(), texts(&output).1.as_str()), (Some(0), ""));
    texts(&output).0.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_image_says_what_the_configuration_says() {
    let (file, octets) = compiled("sample.img", &[]);
    let mut host = words(&octets);
    if Order::HOST == Order::Big {
        flip::flip(&mut host).unwrap();
    }
    let image = Image::open(&host).unwrap();
    let config = espial_cli::config::GatewayConfig::read(Path::new(&sample())).unwrap();
    let mut rows = rows(&["compile", "--check", &file, "--json"]);
    let sizes = rows.pop().unwrap();
    assert_eq!(sizes["octets"], octets.len());
    assert_eq!(sizes["order"], "little");
    let children = config
        .tunnels
        .iter()
        .flat_map(|tunnel| tunnel.children.iter().map(move |child| (tunnel, child)));
    let children: Vec<_> = children.collect();
    assert!(children.len() > 3);
    assert_eq!(
        (sizes["children"].as_u64(), rows.len()),
        (Some(children.len() as u64), children.len())
    );
    for (number, ((tunnel, child), row)) in (0..).zip(children.iter().zip(&rows)) {
        assert_eq!(row["number"], number);
        assert_eq!(
            (&row["tunnel"], &row["child"]),
            (&tunnel.name.as_str().into(), &child.name.as_str().into())
        );
        assert_eq!(row["mode"], tunnel.mode.name());
        let named = image.child_named(tunnel.name.as_bytes(), child.name.as_bytes());
        assert_eq!(named, image.child_id(number));
        let selectors: Vec<String> =
            image.child_selectors(number).map(|one| one.to_string()).collect();
        assert_eq!(row["selectors"], Value::from(selectors.clone()));
        let pairs = child.local.iter().flat_map(|local| {
            child.remote.iter().filter_map(move |remote| Selector::pair(local, remote).unwrap())
        });
        let (mut wanted, mut selectors): (Vec<String>, _) =
            (pairs.map(|one| one.to_string()).collect(), selectors);
        wanted.sort();
        selectors.sort();
        assert_eq!(selectors, wanted);
    }
    // The same file, the same octets.
    assert_eq!(compiled("again.img", &[]).1, octets);
    let (text, _) = texts(&espial(&["compile", "--check", &file]));
    assert!(text.contains("| plain6 ") && text.contains("| byte order "), "{text}");
}

/// No key and no SPI of the configuration.
#[test]
fn no_secret_is_in_an_image() {
    let (_, octets) = compiled("secret.img", &[]);
    let text = fs::read_to_string(sample()).unwrap();
    let value = |line: &str| line.split('"').nth(1).unwrap_or_default().to_owned();
    let keys: Vec<Vec<u8>> = text
        .lines()
        .filter(|line| line.contains("-key ="))
        .map(|line| {
            value(line)
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect()
        })
        .collect();
    assert!(keys.len() > 2);
    for key in keys {
        assert!(!octets.windows(8).any(|window| window == &key[..8]));
    }
}

#[test]
fn the_other_order_says_the_same() {
    let (little, one) = compiled("little.img", &[]);
    let (big, other) = compiled("big.img", &["--order", "big"]);
    assert_ne!(one, other);
    let [mut of_little, mut of_big] =
        [&little, &big].map(|file| rows(&["compile", "--check", file, "--json"]));
    let sizes = [of_little.pop().unwrap(), of_big.pop().unwrap()];
    assert_eq!(sizes.each_ref().map(|row| row["order"].as_str().unwrap()), ["little", "big"]);
    assert_eq!(of_little, of_big);
}

#[test]
fn names_can_be_left_out() {
    let (file, short) = compiled("short.img", &["--no-names"]);
    let (_, long) = compiled("long.img", &[]);
    assert!(short.len() < long.len());
    let rows = rows(&["compile", "--check", &file, "--json"]);
    assert_eq!((&rows[0]["tunnel"], &rows[0]["child"]), (&"0".into(), &"".into()));
    assert_eq!(rows.last().unwrap()["names"], false);
}

/// The array holds the same octets, under the name asked for.
#[test]
fn c_source_holds_the_octets() {
    let (_, octets) = compiled("octets.img", &[]);
    for (option, name) in
        [("--c-array", "espial_image"), ("--c-array=branch_table", "branch_table")]
    {
        let (_, text) = compiled("octets.c", &[option]);
        let text = String::from_utf8(text).unwrap();
        let (_, array) =
            text.split_once(&format!("const uint8_t {name}[{}] = {{", octets.len())).unwrap();
        let (array, behind) = array.split_once("};").unwrap();
        let found: Vec<u8> = array
            .split([',', '\n', ' '])
            .filter(|one| !one.is_empty())
            .map(|one| u8::from_str_radix(one.trim_start_matches("0x"), 16).unwrap())
            .collect();
        assert_eq!(found, octets);
        assert!(behind.contains(&format!("const size_t {name}_octets = {};", octets.len())));
    }
}

/// The images of the C tests are what this command makes of the files beside them. `UPDATE_IMAGES=1` writes them anew.
#[test]
fn images_of_the_c_tests_are_up_to_date() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ffi/tests/images");
    for name in ["first", "second"] {
        let config = images.join(name).with_extension("gateway.toml");
        let kept = images.join(name).with_extension("c");
        let array = format!("--c-array={name}");
        let file = match std::env::var_os("UPDATE_IMAGES") {
            Some(_) => kept.to_str().unwrap().to_owned(),
            None => scratch(&format!("{name}.c")),
        };
        let output = espial(&["compile", config.to_str().unwrap(), "-o", &file, &array]);
        assert_eq!(output.status.code(), Some(0));
        let [kept, made] =
            [kept.to_str().unwrap(), &file].map(|file| fs::read_to_string(file).unwrap());
        assert!(kept == made, "{name}.c: run this test with UPDATE_IMAGES=1");
    }
}

/// Names of the file stand for numbers in C, in its order; two that are the same there are refused.
#[test]
fn c_header_names_the_numbers() {
    let tunnel = |tunnel: &str, child: &str| {
        format!(
            "[[tunnel]]\nname = \"{tunnel}\"\nmode = \"strict-sa\"\n[[tunnel.child]]\nname = \"{child}\"\n\
             local = [\"10.0.0.0/8\"]\nremote = [\"10.1.0.0/16\"]\n"
        )
    };
    let (config, header) = (scratch("names.toml"), scratch("7-names.h"));
    fs::write(&config, tunnel("hub", "office-1") + &tunnel("Köln", "all")).unwrap();
    let output = espial(&["compile", &config, "--c-header", &header]);
    assert_eq!(output.status.code(), Some(0), "{:?}", texts(&output));
    let text = fs::read_to_string(&header).unwrap();
    let enums = "enum {\n    _7_names_tunnel_hub,\n    _7_names_tunnel_K_ln,\n    _7_names_tunnels\n};\n\n\
        enum {\n    _7_names_child_hub_office_1,\n    _7_names_child_K_ln_all,\n    _7_names_children\n};\n";
    assert!(text.contains(enums), "{text}");
    fs::remove_file(&header).unwrap();
    fs::write(&config, tunnel("a", "b-c") + &tunnel("a.b", "c")).unwrap();
    let output = espial(&["compile", &config, "--c-header", &header]);
    assert_eq!(output.status.code(), Some(2));
    let said = "child \"b-c\" of tunnel \"a\" and child \"c\" of tunnel \"a.b\" are both _7_names_child_a_b_c in C";
    assert!(texts(&output).1.contains(said), "{:?}", texts(&output));
    assert!(!Path::new(&header).exists());
}

#[test]
fn what_is_unusable_is_named() {
    let (file, mut octets) = compiled("damaged.img", &[]);
    octets[200] ^= 1;
    fs::write(&file, &octets).unwrap();
    let cases: [(Vec<&str>, &str); 6] = [
        (vec!["compile", "--check", &file], "damaged.img: damaged: the checksum is another one"),
        (vec!["compile", "--check", "/no/such.img"], "/no/such.img: "),
        (vec!["compile", "/no/such.toml", "-o", "x"], "/no/such.toml"),
        (vec!["compile"], "GATEWAY.toml"),
        (vec!["compile", "g.toml", "-o", "x", "--c-array=9"], "not an identifier of C"),
        (vec!["compile", "g.toml", "--c-array"], "--output"),
    ];
    for (arguments, wanted) in cases {
        let output = espial(&arguments);
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(err.contains(wanted), "{arguments:?}: {err}");
    }
    fs::write(&file, &octets[..octets.len() - 64]).unwrap();
    assert!(texts(&espial(&["compile", "--check", &file])).1.contains("shorter than it says"));
    fs::write(&file, "[[tunnel]]\n").unwrap();
    assert!(texts(&espial(&["compile", "--check", &file])).1.contains("not an image"));
}

/// Without -o nothing is written, and sizes are told.
#[test]
fn sizes_alone() {
    let rows = rows(&["compile", &sample(), "--json"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["kind"], "image");
    assert!(rows[0].get("file").is_none());
    let (text, _) = texts(&espial(&["compile", &sample()]));
    assert!(text.contains("not written"), "{text}");
}
