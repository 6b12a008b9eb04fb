//! The SPI table: `sad_ops` and `sad_create`.
//!
//! Every operation goes through one [`Control`] and one [`Worker`], which is quiescent after each,
//! so that a deleted SA's slot is there for the next one. Batches go in as octets, as bursts do.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use espial::error::SaError;
use espial::headers::{Endpoints, Family, Ipsec, Outer, Spi};
use espial::sad::Scope;
use espial::selector::{AddrRange, TrafficSelector};
use espial::{
    Arrival, Capacity, ChildId, Control, Gateway, Ingress, Mode, Modes, SaId, SaKey, SaParams,
    Worker,
};
use serde_json::{Value, json};

use super::case::{self, Findings, Object, Problem};
use super::packet;

/// The hash of the table is keyed; no expectation depends on the key.
const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
/// SAs of a key type whose capacity a case leaves out, at least.
const AMPLE: u32 = 64;

/// What a packet that found no SA was dropped for, beside an unknown SPI.
type Dropped = &'static str;

/// A key as a case writes it.
struct Key {
    spi: u32,
    dst: Option<IpAddr>,
    src: Option<IpAddr>,
}

impl Key {
    fn read(object: &mut Object<'_>) -> Result<Self, Problem> {
        let spi = object.number("spi")?;
        Ok(Self { spi, dst: object.address_if("dst")?, src: object.address_if("src")? })
    }

    /// The addresses of a packet; what the case leaves out is the unspecified address.
    fn endpoints(&self, absent: Family) -> Result<Endpoints, Problem> {
        let family = match self.dst.or(self.src) {
            Some(IpAddr::V4(_)) => Family::V4,
            Some(IpAddr::V6(_)) => Family::V6,
            None => absent,
        };
        let unspecified: IpAddr = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let (src, dst) = (self.src.unwrap_or(unspecified), self.dst.unwrap_or(unspecified));
        Endpoints::new(src, dst)
            .ok_or_else(|| Problem(format!("{src} and {dst} are of two families")))
    }

    /// The key of an SA, or `None` if it lacks the addresses that its type is made of.
    fn of_type(&self, key_type: &str) -> Result<Option<SaKey>, Problem> {
        let scope = match key_type {
            "spi" => Some(Scope::Spi),
            "spi_dst" => self.dst.map(Scope::Destination),
            "spi_dst_src" => self
                .dst
                .zip(self.src)
                .and_then(|(dst, src)| Endpoints::new(src, dst))
                .map(Scope::DestinationSource),
            other => return Err(Problem(format!("unknown key type `{other}`"))),
        };
        Ok(scope.map(|scope| SaKey { ipsec: Ipsec::Esp, spi: Spi(self.spi), scope }))
    }
}

/// A capacity of each key type, in the order of the names.
const KEY_TYPES: [&str; 3] = ["spi", "spi_dst", "spi_dst_src"];

/// The capacities of a case, or `None` if one does not even fit its field.
fn capacity(
    object: Option<Object<'_>>,
    ample: u32,
    sas: &mut [u32; 3],
) -> Result<Option<Capacity>, Problem> {
    *sas = [ample; 3];
    let mut fits = true;
    if let Some(mut object) = object {
        for (slot, name) in sas.iter_mut().zip(KEY_TYPES) {
            if let Some(value) = object.get(name) {
                let size: u64 = case::number(&object.at(name), value)?;
                match u32::try_from(size) {
                    Ok(size) => *slot = size,
                    Err(_) => fits = false,
                }
            }
        }
        object.close()?;
    }
    let [sas, sas_dst, sas_dst_src] = *sas;
    let capacity = Capacity {
        tunnels: 1,
        children: 1,
        selectors: 1,
        sas,
        sas_dst,
        sas_dst_src,
        sas_allocated: 0,
        replay_window: 0,
        workers: 1,
    };
    Ok(fits.then_some(capacity))
}

/// `sad_create`: capacities that can or cannot be created.
pub(super) fn create(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    for mut one in case.objects("cases")? {
        let what = one.at("expect");
        let wanted = Some(one.object("capacity")?);
        let capacity = capacity(wanted, AMPLE, &mut [0; 3])?;
        let got = match capacity.map(|capacity| Gateway::new(&capacity, SEED)) {
            Some(Ok(_)) => "ok",
            Some(Err(_)) | None => "err",
        };
        findings.compare(what, one.value("expect")?, got);
        one.close()?;
    }
    Ok(())
}

/// A SAD under operations.
struct Run<'r, 'g> {
    control: &'r mut Control<'static>,
    worker: Worker<'g>,
    child: ChildId,
    values: HashMap<SaId, Value>,
    /// Of packets that name no address.
    family: Family,
}

/// `sad_ops`: additions, deletions and lookups in sequence.
pub(super) fn ops(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let family = match case.present("af") {
        None => Family::V4,
        Some(af) => match (af.as_u64(), af.as_str()) {
            (Some(4), _) | (_, Some("mixed")) => Family::V4,
            (Some(6), _) => Family::V6,
            _ => return Err(Problem::field("af", "4, 6 or \"mixed\"", af)),
        },
    };
    let ops = case.objects("ops")?;
    let limits = match case.present("capacity") {
        Some(value) => Some(Object::new("capacity", value)?),
        None => None,
    };
    let ample = u32::try_from(ops.len()).unwrap_or(AMPLE).max(AMPLE);
    let capacity = capacity(limits, ample, &mut [0; 3])?
        .ok_or_else(|| Problem("field `capacity`: more than 32 bits".to_owned()))?;
    let mut gateway =
        Gateway::new(&capacity, SEED).map_err(|error| Problem::step("creating the SAD", error))?;
    let (control, mut workers) = gateway.split();
    let setup = |error| Problem::step("setting the SAD up", error);
    let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).map_err(setup)?;
    let all = [TrafficSelector::any(AddrRange::all(Family::V4))];
    let child = control.add_child(tunnel, &all, &all).map_err(setup)?;
    control.publish().map_err(|error| Problem::step("setting the SAD up", error))?;
    let worker = workers.take().ok_or_else(|| Problem("there is no worker".to_owned()))?;
    let mut run = Run { control, worker, child, values: HashMap::new(), family };
    for mut op in ops {
        run.step(&mut op, findings)?;
        op.close()?;
        run.worker.quiescent();
    }
    Ok(())
}

impl Run<'_, '_> {
    fn step(&mut self, op: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
        let name = op.text("op")?;
        let what = format!("{} {name}", op.at("expect"));
        match name {
            "add" => {
                let got = self.add(op)?;
                findings.compare(what, op.value("expect")?, got);
            }
            "del" => {
                let got = self.delete(op)?;
                findings.compare(what, op.value("expect")?, got);
            }
            "lookup" => {
                let key = Key::read(op)?;
                let got = self.lookup(&key)?;
                findings.compare(what, op.value("expect")?, got);
            }
            "lookup_batch" => {
                let mut keys = Vec::new();
                for mut object in op.objects("keys")? {
                    keys.push(Key::read(&mut object)?);
                    object.close()?;
                }
                let (got, found) = self.lookup_batch(&keys)?;
                for (index, key) in keys.iter().enumerate() {
                    let alone = self.lookup(key)?;
                    let same = got.get(index) == Some(&alone);
                    let batch = got.get(index).cloned().unwrap_or_default();
                    findings.require(format!("{what} [{index}] alone"), same, batch, alone);
                }
                if let Some(expected) = op.get("found") {
                    findings.compare(op.at("found"), expected, found);
                }
                findings.compare(what, op.value("expect")?, got);
            }
            other => {
                return Err(Problem(format!("unknown operation `{other}` in `{}`", op.at("op"))));
            }
        }
        Ok(())
    }

    fn add(&mut self, op: &mut Object<'_>) -> Result<&'static str, Problem> {
        let key = Key::read(op)?.of_type(op.text("key_type")?)?;
        let value = op.value("value")?;
        let Some(key) = key else { return Ok("err") };
        // A value that is none stands for a Child SA that is none.
        let child = if value.is_null() { ChildId::from_raw(u32::MAX, 0) } else { self.child };
        let params = SaParams::new(key);
        match self.control.add_sa(child, &params) {
            Ok(sa) => {
                self.values.insert(sa, value.clone());
                Ok("ok")
            }
            Err(SaError::Duplicate) => Ok("exists"),
            Err(SaError::Full { .. }) => Ok("full"),
            Err(SaError::Busy) => Ok("busy"),
            Err(_) => Ok("err"),
        }
    }

    fn delete(&mut self, op: &mut Object<'_>) -> Result<&'static str, Problem> {
        let key = Key::read(op)?.of_type(op.text("key_type")?)?;
        let found = key.and_then(|key| self.control.find_sa(&key));
        match found.map(|sa| self.control.delete_sa(sa, 0)) {
            None | Some(Err(SaError::NotFound)) => Ok("not_found"),
            Some(Ok(())) => Ok("ok"),
            Some(Err(_)) => Ok("err"),
        }
    }

    /// The value of the SA that a packet found, or `null`.
    fn value(&self, arrival: Arrival) -> Result<Value, Dropped> {
        match arrival {
            Arrival::Sa(sa, _) => Ok(self.values.get(&sa).cloned().unwrap_or(json!("a stale SA"))),
            Arrival::Drop(refusal) if refusal.spi_class.is_some() => Ok(Value::Null),
            Arrival::Drop(refusal) => Err(refusal.reason.name()),
            Arrival::Pass(_) => Err("passed"),
        }
    }

    fn lookup(&mut self, key: &Key) -> Result<Value, Problem> {
        let outer = packet::esp_headers(key.endpoints(self.family)?, key.spi)?;
        let arrival = self.worker.lookup(&outer, Ingress::default());
        Ok(self.value(arrival).unwrap_or_else(|dropped| json!({ "dropped": dropped })))
    }

    /// The values, and how many there are.
    fn lookup_batch(&mut self, keys: &[Key]) -> Result<(Vec<Value>, usize), Problem> {
        let mut packets = Vec::new();
        for key in keys {
            packets.push(packet::esp_in_ip(key.endpoints(self.family)?, key.spi, 1));
        }
        let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        let mut arrivals = vec![Arrival::Pass(Outer::Other); packets.len()];
        let count = self.worker.arrive_burst(&packets, Ingress::default(), &mut arrivals);
        arrivals.truncate(count);
        let found = arrivals.iter().filter(|arrival| matches!(arrival, Arrival::Sa(..))).count();
        let value =
            |arrival| self.value(arrival).unwrap_or_else(|dropped| json!({ "dropped": dropped }));
        Ok((arrivals.into_iter().map(value).collect(), found))
    }
}
