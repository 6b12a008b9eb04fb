//! `sa_check` and `sa_check_multi`: a packet on an SA, judged in every mode.
//!
//! Each SA of a case is a Child SA of its own. Every mode is enforced in turn with
//! [`Control::set_mode`], and is asked as a shadow of every other one: both must agree.

use espial::headers::{InnerHeaders, Ipsec, Spi};
use espial::selector::{Selector, TrafficSelector, cross};
use espial::verdict::Decision;
use espial::{
    Arrival, Capacity, ChildId, Control, Gateway, Ingress, Mode, Modes, SaKey, SaParams, TunnelId,
    Worker,
};
use serde_json::{Value, json};

use super::case::{self, Findings, Object, Problem};
use super::{packet, ts};

/// Octets of the packets: only counters add them up.
const OCTETS: usize = 60;

/// An SA of a case.
#[derive(Clone)]
struct Sa<'a> {
    name: &'a str,
    spi: u32,
    selectors: Vec<Selector>,
}

/// A tunnel of a case.
#[derive(Clone)]
struct Tunnel<'a> {
    name: &'a str,
    sas: Vec<Sa<'a>>,
}

fn side(object: &mut Object<'_>, name: &str) -> Result<Vec<TrafficSelector>, Problem> {
    let path = object.at(name);
    let list = ts::configured_list(&path, object.value(name)?)?;
    // A placeholder matches nothing until it has an address.
    Ok(list.iter().filter_map(|ts| ts.fixed().copied()).collect())
}

fn read_sas<'a>(object: &mut Object<'a>) -> Result<Vec<Sa<'a>>, Problem> {
    let mut sas = Vec::new();
    for mut one in object.objects("sas")? {
        let (name, spi) = (one.text("name")?, one.number("spi")?);
        let mut selectors = Vec::new();
        // Each element is a cross product; those of several elements are not mixed (T5).
        for mut product in one.objects("selectors")? {
            let (local, remote) = (side(&mut product, "local")?, side(&mut product, "remote")?);
            let boxes = cross(&local, &remote)
                .map_err(|error| Problem::step(one.at("selectors"), error))?;
            selectors.extend(boxes);
            product.close()?;
        }
        one.close()?;
        sas.push(Sa { name, spi, selectors });
    }
    Ok(sas)
}

/// What the core said.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Answer {
    decision: Decision,
    /// Modes asked as shadows, and those that accept; `None` if no SA was found.
    shadow: Option<(Modes, Modes)>,
}

impl Answer {
    fn accepts(&self) -> bool {
        matches!(self.decision, Decision::Accept(_))
    }
}

/// A gateway with the SAs of a case installed.
struct Scene<'r, 'g, 'a> {
    control: &'r mut Control<'static>,
    worker: Worker<'g>,
    tunnels: Vec<TunnelId>,
    /// Tunnel and SA of each Child SA.
    children: Vec<(ChildId, &'a str, Sa<'a>)>,
    inner: InnerHeaders,
}

/// Builds a gateway with these tunnels and hands it over.
fn with_scene<'a, T>(
    tunnels: &[Tunnel<'a>],
    inner: InnerHeaders,
    ask: impl FnOnce(&mut Scene<'_, '_, 'a>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let sas = || tunnels.iter().flat_map(|tunnel| &tunnel.sas);
    let size = |count: usize| u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    let capacity = Capacity {
        tunnels: size(tunnels.len()),
        children: size(sas().count()),
        selectors: size(sas().map(|sa| sa.selectors.len()).sum()),
        sas: size(sas().count()),
        sas_dst: 0,
        sas_dst_src: 0,
        sas_allocated: 0,
        replay_window: 0,
        workers: 1,
    };
    let mut gateway =
        Gateway::new(&capacity, [3, 4]).map_err(|error| Problem::step("a gateway", error))?;
    let (control, mut workers) = gateway.split();
    let mut ids = Vec::new();
    let mut children = Vec::new();
    for tunnel in tunnels {
        let failed = |error| Problem::step(format!("tunnel `{}`", tunnel.name), error);
        let id = control.add_tunnel(Mode::StrictSa, Modes::NONE).map_err(failed)?;
        ids.push(id);
        for sa in &tunnel.sas {
            let failed = |error| Problem::step(format!("SA `{}`", sa.name), error);
            let child = control.add_child_selectors(id, &sa.selectors).map_err(failed)?;
            children.push((child, tunnel.name, sa.clone()));
        }
    }
    control.publish().map_err(|error| Problem::step("publication", error))?;
    for (child, _, sa) in &children {
        let failed = |error| Problem::step(format!("SA `{}`", sa.name), error);
        let key = SaKey::new(Ipsec::Esp, Spi(sa.spi), None, None).map_err(failed)?;
        let params = SaParams::new(key);
        control.add_sa(*child, &params).map_err(failed)?;
    }
    let worker = workers.take().ok_or_else(|| Problem("there is no worker".to_owned()))?;
    ask(&mut Scene { control, worker, tunnels: ids, children, inner })
}

impl<'a> Scene<'_, '_, 'a> {
    /// The packet on this SPI, with `mode` enforced and `shadow` asked beside it.
    fn judge(&mut self, spi: u32, mode: Mode, shadow: Modes) -> Result<Answer, Problem> {
        for tunnel in &self.tunnels {
            let set = self.control.set_mode(*tunnel, mode, shadow);
            set.map_err(|error| Problem::step("switching the mode", error))?;
        }
        let ingress = Ingress::default();
        let outer = packet::esp_headers(packet::OUTER, spi)?;
        match self.worker.lookup(&outer, ingress) {
            Arrival::Sa(sa, outer) => {
                let verdict = self.worker.check_headers(sa, &outer, &self.inner, OCTETS, ingress);
                let shadow = Some((verdict.shadow_asked, verdict.shadow_accepts));
                Ok(Answer { decision: verdict.decision, shadow })
            }
            Arrival::Drop(refusal) => {
                Ok(Answer { decision: Decision::Drop(refusal), shadow: None })
            }
            Arrival::Pass(_) => Err(Problem("the ESP packet was passed by".to_owned())),
        }
    }

    fn sa_of(&self, child: ChildId) -> Option<(&'a str, Sa<'a>)> {
        let found = self.children.iter().find(|(id, ..)| *id == child);
        found.map(|(_, tunnel, sa)| (*tunnel, sa.clone()))
    }

    /// The SAs that a field of a case names, as `name` or `tunnel/name`.
    fn sas_named(&self, path: &str, value: &Value) -> Result<Vec<Sa<'a>>, Problem> {
        let called = |name: &str, tunnel: &str, sa: &str| {
            name == sa
                || name.strip_suffix(sa).and_then(|rest| rest.strip_suffix('/')) == Some(tunnel)
        };
        let named = |name: &str| {
            let found = self.children.iter().find(|(_, tunnel, sa)| called(name, tunnel, sa.name));
            found
                .map(|(_, _, sa)| sa.clone())
                .ok_or_else(|| Problem(format!("field `{path}`: `{name}` is no SA of the case")))
        };
        case::names(path, value)?.into_iter().map(named).collect()
    }

    fn tunnel_of(&self, spi: u32) -> Option<&'a str> {
        self.children.iter().find(|(_, _, sa)| sa.spi == spi).map(|(_, tunnel, _)| *tunnel)
    }

    /// Enforced or as a shadow of any other, a mode says the same.
    fn require_live_switch(&mut self, spi: u32, findings: &mut Findings) -> Result<(), Problem> {
        let all: Modes = Mode::ALL.into_iter().collect();
        let mut enforced = Vec::new();
        for mode in Mode::ALL {
            enforced.push((mode, self.judge(spi, mode, Modes::NONE)?));
        }
        for (mode, alone) in &enforced {
            let beside = self.judge(spi, *mode, all)?;
            let what = format!("{} with shadow modes", mode.name());
            let same = beside.decision == alone.decision;
            findings.require(what, same, alone.accepts(), beside.accepts());
            let Some((asked, accepts)) = beside.shadow else { continue };
            for (shadow, enforced) in &enforced {
                let what = format!("{} as a shadow of {}", shadow.name(), mode.name());
                let got = asked.contains(*shadow).then_some(accepts.contains(*shadow));
                let wanted = enforced.accepts();
                findings.require(what, got == Some(wanted), wanted, json!(got));
            }
        }
        Ok(())
    }
}

/// What a case expects of one mode.
struct Expected<'a> {
    verdict: Option<&'a Value>,
    reason: Option<&'a Value>,
    belongs_to: Option<&'a Value>,
    field: Option<&'a Value>,
    matched_sa: Option<&'a Value>,
}

impl<'a> Expected<'a> {
    fn read(object: &mut Object<'a>) -> Self {
        Self {
            verdict: object.get("verdict"),
            reason: object.get("reason"),
            belongs_to: object.get("belongs_to"),
            field: object.get("field"),
            matched_sa: object.get("matched_sa"),
        }
    }
}

/// Compares one mode's answer with what the case expects of it.
fn compare(
    scene: &mut Scene<'_, '_, '_>,
    spi: u32,
    mode: Mode,
    expected: &Expected<'_>,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let answer = scene.judge(spi, mode, Modes::NONE)?;
    let (refusal, accepted_by) = match answer.decision {
        Decision::Drop(refusal) => (Some(refusal), None),
        Decision::Accept(child) => (None, Some(child)),
    };
    let what = |field: &str| format!("{}.{field}", mode.name());
    let or_null = |text: Option<&'static str>| text.map_or(Value::Null, |text| json!(text));
    if let Some(expected) = expected.verdict {
        let got = if answer.accepts() { "accept" } else { "drop" };
        findings.compare(what("verdict"), expected, got);
    }
    if let Some(expected) = expected.reason {
        let got = refusal.map(|refusal| refusal.reason.name());
        findings.compare(what("reason"), expected, or_null(got));
    }
    if let Some(expected) = expected.field {
        let got = refusal.and_then(|refusal| refusal.field).map(|field| field.name());
        findings.compare(what("field"), expected, or_null(got));
    }

    // Where several SAs would have accepted the packet, each of them is right; but they must.
    let belongs_to = refusal.and_then(|refusal| refusal.belongs_to);
    let ours = belongs_to.and_then(|child| scene.sa_of(child));
    let got = ours.as_ref().map_or(Value::Null, |(_, sa)| json!(sa.name));
    if let Some((tunnel, sa)) = &ours {
        let accepts = scene.judge(sa.spi, mode, Modes::NONE)?.accepts();
        let same_tunnel = scene.tunnel_of(spi) == Some(*tunnel);
        let met = accepts && same_tunnel;
        findings.require(what("belongs_to"), met, "an SA of the tunnel that accepts", got.clone());
    }
    if let Some(expected) = expected.belongs_to {
        let right = scene.sas_named(&what("belongs_to"), expected)?;
        let mut met = ours.is_none() && right.is_empty();
        for sa in &right {
            let Some((_, ours)) = &ours else { break };
            met |= sa.spi == ours.spi || scene.judge(sa.spi, mode, Modes::NONE)?.accepts();
        }
        findings.check(what("belongs_to"), met, expected, got);
    }

    if let Some(expected) = expected.matched_sa {
        let right = scene.sas_named(&what("matched_sa"), expected)?;
        let ours = accepted_by.and_then(|child| scene.sa_of(child));
        let got = ours.as_ref().map_or(Value::Null, |(_, sa)| json!(sa.name));
        // The one on whose account these modes accept need not be the only one that covers.
        let any = matches!(mode, Mode::AnySelector | Mode::AnySource);
        let covers = |sa: &Sa<'_>| any && accepts_alone(sa, mode, scene.inner);
        let met = match &ours {
            None => right.is_empty(),
            Some((_, ours)) => right.iter().any(|sa| sa.spi == ours.spi || covers(sa)),
        };
        findings.check(what("matched_sa"), met, expected, got);
    }
    Ok(())
}

/// Whether a tunnel of this one SA accepts the packet.
fn accepts_alone(sa: &Sa<'_>, mode: Mode, inner: InnerHeaders) -> bool {
    let tunnel = Tunnel { name: "alone", sas: vec![sa.clone()] };
    let answer = with_scene(&[tunnel], inner, |scene| scene.judge(sa.spi, mode, Modes::NONE));
    answer.is_ok_and(|answer| answer.accepts())
}

/// Runs a case of either kind, whose tunnels have been read.
fn run<'a>(
    case: &mut Object<'a>,
    tunnels: &[Tunnel<'a>],
    findings: &mut Findings,
) -> Result<(), Problem> {
    let spi: u32 = case.number("arrived_spi")?;
    let mut object = case.object("packet")?;
    let inner = packet::inner(&mut object)?;
    object.close()?;
    let mut expect = case.object("expect")?;
    with_scene(tunnels, inner, |scene| {
        scene.require_live_switch(spi, findings)?;
        for mode in Mode::ALL {
            if let Some(value) = expect.get(mode.name()) {
                let mut object = Object::new(expect.at(mode.name()), value)?;
                let expected = Expected::read(&mut object);
                object.close()?;
                compare(scene, spi, mode, &expected, findings)?;
            }
        }
        Ok(())
    })?;
    expect.close()?;
    if let Some(value) = case.present("expect_ordered_spd") {
        let mut object = Object::new("expect_ordered_spd", value)?;
        let order = case::names("expect_ordered_spd.order", object.value("order")?)?;
        let expected = Expected::read(&mut object);
        object.close()?;
        let ordered = in_order(tunnels, &order)?;
        with_scene(&ordered, inner, |scene| {
            scene.require_live_switch(spi, findings)?;
            compare(scene, spi, Mode::OrderedSpd, &expected, findings)
        })?;
    }
    Ok(())
}

/// The tunnels with their SAs in the order of the SPD.
fn in_order<'a>(tunnels: &[Tunnel<'a>], order: &[&str]) -> Result<Vec<Tunnel<'a>>, Problem> {
    let place = |sa: &Sa<'_>| order.iter().position(|name| *name == sa.name);
    let sas = || tunnels.iter().flat_map(|tunnel| &tunnel.sas);
    let known = |name: &&&str| !sas().any(|sa| sa.name == **name);
    if let Some(name) = order.iter().find(known) {
        return Err(Problem(format!("`expect_ordered_spd.order` names `{name}`, which is no SA")));
    }
    if let Some(sa) = sas().find(|sa| place(sa).is_none()) {
        return Err(Problem(format!("`expect_ordered_spd.order` does not name `{}`", sa.name)));
    }
    let mut ordered = tunnels.to_vec();
    for tunnel in &mut ordered {
        tunnel.sas.sort_by_key(place);
    }
    Ok(ordered)
}

/// `sa_check`: one tunnel.
pub(super) fn one_tunnel(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let name = match case.present("tunnel") {
        Some(name) => case::text("tunnel", name)?,
        None => "T",
    };
    let tunnel = Tunnel { name, sas: read_sas(case)? };
    run(case, &[tunnel], findings)
}

/// `sa_check_multi`: several tunnels.
pub(super) fn several_tunnels(
    case: &mut Object<'_>,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let mut tunnels = Vec::new();
    for mut object in case.objects("tunnels")? {
        tunnels.push(Tunnel { name: object.text("name")?, sas: read_sas(&mut object)? });
        object.close()?;
    }
    run(case, &tunnels, findings)
}
