//! `espial compile`: a configuration as an image, for firmware and for whoever maps it; and what is in one.
//!
//! Owns the forms of the report and of the C source. What an image is, is the core's ([`espial::image`]).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use espial::Control;
use espial::image::{Image, ImageOptions, Names, Order, flip};
use serde::Serialize;

use crate::check::{CheckError, gateway_for};
use crate::config::GatewayConfig;
use crate::lookup::Format;
use crate::table::{table, with_figures};

/// What is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is written; nowhere: only its sizes are printed.
    pub output: Option<PathBuf>,
    /// C source with an array of this name in place of the octets.
    pub c_array: Option<String>,
    /// C source with the numbers of tunnels and Child SAs by their names.
    pub c_header: Option<PathBuf>,
    /// The byte order of the target.
    pub order: Order,
    /// What becomes of names.
    pub names: Names,
}

/// An image, in words, of either order.
type Words = Vec<u64>;

fn octets(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Compiles a configuration, writes the image and says how large it is. Returns the exit status.
///
/// # Errors
/// [`CheckError::Gateway`]: what does not fit, or the file that cannot be written; those of `out`.
pub fn run(
    config: &GatewayConfig,
    options: &Options,
    format: Format,
    out: &mut dyn Write,
) -> Result<u8, CheckError> {
    let words = image_of(config, options).map_err(CheckError::Gateway)?;
    let write = |path: &Path, content: Vec<u8>| {
        std::fs::write(path, content)
            .map_err(|error| CheckError::Gateway(format!("{}: {error}", path.display())))
    };
    // Before anything is written: it may be refused.
    let header = options.c_header.as_ref().map(|path| Ok((path, header(config, path)?)));
    let header = header.transpose().map_err(CheckError::Gateway)?;
    if let Some(path) = &options.output {
        let content = match &options.c_array {
            Some(name) => source(name, &octets(&words), options).into_bytes(),
            None => octets(&words),
        };
        write(path, content)?;
    }
    if let Some((path, text)) = header {
        write(path, text.into_bytes())?;
    }
    let file = options.output.as_ref().map(|path| path.display().to_string());
    let read = Read::new(words, file).map_err(CheckError::Gateway)?;
    read.write_sizes(format, out)?;
    Ok(0)
}

/// Validates an image and says what is in it. Returns the exit status.
///
/// # Errors
/// [`CheckError::Gateway`]: the file cannot be read, or why it is no image; those of `out`.
pub fn check(path: &Path, format: Format, out: &mut dyn Write) -> Result<u8, CheckError> {
    let file = path.display().to_string();
    let failed = |error: &dyn std::fmt::Display| CheckError::Gateway(format!("{file}: {error}"));
    let octets = std::fs::read(path).map_err(|error| failed(&error))?;
    let (words, rest) = octets.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(failed(&"not an image: its length is no multiple of 8"));
    }
    let words: Words = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    let read = Read::new(words, Some(file.clone())).map_err(|error| failed(&error))?;
    read.write_children(format, out)?;
    read.write_sizes(format, out)?;
    Ok(0)
}

fn image_of(config: &GatewayConfig, options: &Options) -> Result<Words, String> {
    let mut gateway = gateway_for(config)?;
    let (control, _) = gateway.split();
    configure(config, control)?;
    let tunnels: Vec<&str> = config.tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect();
    let children = config.tunnels.iter().flat_map(|tunnel| &tunnel.children);
    let children: Vec<&str> = children.map(|child| child.name.as_str()).collect();
    let Options { order, names, .. } = *options;
    let options = ImageOptions { order, names, tunnels: &tunnels, children: &children };
    let words = control.to_image(&options).map_err(|error| error.to_string())?;
    Ok(words.to_vec())
}

/// Tunnels and Child SAs get the numbers of their places in the file.
fn configure(config: &GatewayConfig, control: &mut Control<'_>) -> Result<(), String> {
    for tunnel in &config.tunnels {
        let shadow = tunnel.shadow.iter().copied().collect();
        let id = control.add_tunnel(tunnel.mode, shadow).map_err(|error| error.to_string())?;
        for child in &tunnel.children {
            control.add_child(id, &child.local, &child.remote).map_err(|error| {
                format!("line {}: child \"{}\": {error}", child.line, child.name)
            })?;
        }
    }
    Ok(())
}

/// C or C++ with the octets of an image. Octets, so that it does not matter what compiles them.
fn source(name: &str, octets: &[u8], options: &Options) -> String {
    let order = order_name(options.order);
    let mut text = format!(
        "/* An image of espial: {order}-endian. Made by `espial compile`; do not edit. */\n\
         #include <stddef.h>\n#include <stdint.h>\n\n\
         #ifdef __cplusplus\n\
         extern \"C\" {{\nextern const uint8_t {name}[{0}];\nextern const size_t {name}_octets;\n}}\n\
         alignas(64)\n\
         #elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L\n_Alignas(64)\n\
         #else\n__attribute__((aligned(64)))\n#endif\n\
         const uint8_t {name}[{0}] = {{\n",
        octets.len()
    );
    for line in octets.chunks(16) {
        text.push_str("   ");
        for octet in line {
            // Writing to a string does not fail.
            let _ = write!(text, " 0x{octet:02x},");
        }
        text.push('\n');
    }
    let _ = write!(text, "}};\nconst size_t {name}_octets = {};\n", octets.len());
    text
}

/// C or C++ with the numbers of tunnels and Child SAs in an image, by their names, behind the name of the file.
fn header(config: &GatewayConfig, path: &Path) -> Result<String, String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    // What starts with a digit is no identifier.
    let digit = if stem.starts_with(|first: char| first.is_ascii_digit()) { "_" } else { "" };
    let file = format!("{digit}{}", part(&stem));
    let tunnels = config.tunnels.iter().map(|tunnel| {
        (format!("{file}_tunnel_{}", part(&tunnel.name)), format!("tunnel \"{}\"", tunnel.name))
    });
    let children = config.tunnels.iter().flat_map(|tunnel| {
        let file = &file;
        tunnel.children.iter().map(move |child| {
            let name = format!("{file}_child_{}_{}", part(&tunnel.name), part(&child.name));
            (name, format!("child \"{}\" of tunnel \"{}\"", child.name, tunnel.name))
        })
    });
    let guard = file.to_uppercase();
    let mut text = format!(
        "/* Numbers in an image of espial. Made by `espial compile`; do not edit. */\n\
         #ifndef ESPIAL_{guard}_H\n#define ESPIAL_{guard}_H\n\n"
    );
    enumerate(&mut text, &format!("{file}_tunnels"), tunnels)?;
    enumerate(&mut text, &format!("{file}_children"), children)?;
    text.push_str("#endif\n");
    Ok(text)
}

/// A name as a part of an identifier of C.
fn part(name: &str) -> String {
    name.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '_' }).collect()
}

/// An enum of identifiers and what each stands for, their number last; no two may be the same.
fn enumerate(
    text: &mut String,
    count: &str,
    all: impl Iterator<Item = (String, String)>,
) -> Result<(), String> {
    let mut seen = HashMap::new();
    text.push_str("enum {\n");
    for (name, what) in all {
        let _ = writeln!(text, "    {name},");
        if let Some(other) = seen.insert(name.clone(), what.clone()) {
            return Err(format!("{other} and {what} are both {name} in C"));
        }
    }
    let _ = writeln!(text, "    {count}\n}};\n");
    Ok(())
}

fn order_name(order: Order) -> &'static str {
    match order {
        Order::Little => "little",
        Order::Big => "big",
    }
}

/// A valid image.
struct Read {
    file: Option<String>,
    order: Order,
    /// Of the order of this machine.
    words: Words,
}

#[derive(Serialize)]
struct Sizes<'r> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'r str>,
    octets: usize,
    order: &'static str,
    tunnels: u32,
    children: u32,
    selectors: usize,
    names: bool,
}

#[derive(Serialize)]
struct Child {
    kind: &'static str,
    number: u32,
    generation: String,
    tunnel: String,
    child: String,
    mode: &'static str,
    shadow: Vec<&'static str>,
    selectors: Vec<String>,
}

impl Read {
    fn new(mut words: Words, file: Option<String>) -> Result<Self, String> {
        let order = Order::of(&octets(words.get(..8).unwrap_or(&words)));
        let order = order.ok_or("not an image")?;
        if order != Order::HOST {
            flip::flip(&mut words).map_err(|error| error.to_string())?;
        }
        Image::open(&words).map_err(|error| error.to_string())?;
        Ok(Self { file, order, words })
    }

    /// It was valid before.
    fn image(&self) -> Result<Image<'_>, CheckError> {
        Image::open(&self.words).map_err(|error| CheckError::Gateway(error.to_string()))
    }

    fn write_sizes(&self, format: Format, out: &mut dyn Write) -> Result<(), CheckError> {
        let image = self.image()?;
        let sizes = Sizes {
            kind: "image",
            file: self.file.as_deref(),
            octets: image.octets(),
            order: order_name(self.order),
            tunnels: image.tunnels(),
            children: image.children(),
            selectors: image.selectors(),
            names: image.tunnels() > 0 && image.tunnel_name(0).is_some(),
        };
        if format == Format::Json {
            return json(&sizes, out);
        }
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let rows = vec![
            row("tunnels", sizes.tunnels.to_string()),
            row("Child SAs", sizes.children.to_string()),
            row("selectors", sizes.selectors.to_string()),
            row("octets", sizes.octets.to_string()),
            row("byte order", sizes.order.to_owned()),
            row("names", if sizes.names { "kept" } else { "left out" }.to_owned()),
        ];
        writeln!(out, "{}", table(&["image", sizes.file.unwrap_or("not written")], rows))?;
        Ok(())
    }

    fn write_children(&self, format: Format, out: &mut dyn Write) -> Result<(), CheckError> {
        let image = self.image()?;
        let children = (0..image.children()).filter_map(|number| child(&image, number));
        if format == Format::Json {
            return children.into_iter().try_for_each(|child| json(&child, out));
        }
        let rows = children.map(|child| {
            let selectors = child.selectors.len().to_string();
            vec![
                child.number.to_string(),
                child.tunnel,
                child.child,
                child.mode.to_owned(),
                selectors,
            ]
        });
        let header = ["number", "tunnel", "Child SA", "mode", "selectors"];
        let figures = |column| column == 0 || column == 4;
        writeln!(out, "{}\n", with_figures(&header, rows.collect(), figures))?;
        Ok(())
    }
}

fn child(image: &Image<'_>, number: u32) -> Option<Child> {
    let (tunnel, mode, shadow) = image.child_tunnel(number)?;
    let text = |name: Option<&[u8]>| String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
    Some(Child {
        kind: "child",
        number,
        generation: format!("0x{:08x}", image.child_id(number)?.generation()),
        tunnel: match image.tunnel_name(tunnel.index()) {
            None => tunnel.index().to_string(),
            name => text(name),
        },
        child: text(image.child_name(number)),
        mode: mode.name(),
        shadow: shadow.iter().map(espial::Mode::name).collect(),
        selectors: image.child_selectors(number).map(|one| one.to_string()).collect(),
    })
}

fn json(row: &impl Serialize, out: &mut dyn Write) -> Result<(), CheckError> {
    serde_json::to_writer(&mut *out, row).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
