//! `replay_ops`: anti-replay and the guess of the high half (RFC 4303 section 3.4.3 and appendix A).
//!
//! A sequence number in a case is the sender's true one. Packets carry its low 32 bits and take the
//! path of any other: [`Worker::lookup`], then [`Worker::check`] if the ICV is right. A wrong guess
//! of the high half is what a host would see as a wrong ICV (T17).

use espial::headers::{Family, Ipsec, Outer, OuterHeaders, Spi, protocol};
use espial::sad::{Replay, ReplayStart};
use espial::selector::{AddrRange, TrafficSelector};
use espial::verdict::{Decision, Reason};
use espial::{
    Arrival, Capacity, ChildId, Control, Gateway, Ingress, Mode, Modes, Opened, SaId, SaKey,
    SaParams, Worker,
};
use serde_json::{Value, json};

use super::case::{self, Findings, Object, Problem};
use super::packet;

/// Packets that one range of a case may have.
const MAX_RANGE: u64 = 1 << 24;

const ACCEPT: &str = "accept";
const AUTH_FAIL: &str = "auth_fail";

/// The SPIs of two SAs that are sent the same packets. To the second one batches come as bursts: all
/// packets are looked up before the first one is opened.
const SPIS: [u32; 2] = [0x100, 0x101];

/// A gateway with the two SAs.
struct Receiver<'r, 'g> {
    control: &'r mut Control<'static>,
    worker: Worker<'g>,
    child: ChildId,
    sas: Vec<SaId>,
    replay: Replay,
    /// Headers of their packets, but for the sequence number.
    outer: OuterHeaders,
    /// What is in each packet.
    inner: Vec<u8>,
}

/// Whether a packet's ICV is false whatever the guess.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Peer,
    Forger,
}

impl Receiver<'_, '_> {
    /// Puts new SAs in the place of those there are, with windows that are empty but for `top`.
    fn restart(&mut self, top: Option<u64>) -> Result<(), Problem> {
        let start = ReplayStart::High((top.unwrap_or(0) >> 32) as u32);
        let fresh = Replay { start, ..self.replay };
        for (at, spi) in SPIS.into_iter().enumerate() {
            let failed = |error| Problem::step("an SA", error);
            let key = SaKey::new(Ipsec::Esp, Spi(spi), None, None).map_err(failed)?;
            let params = SaParams { replay: fresh, ..SaParams::new(key) };
            match self.sas.get_mut(at) {
                Some(sa) => {
                    let new = self.control.replace_sa(*sa, self.child, &params, 0);
                    *sa = new.map_err(failed)?;
                }
                None => self.sas.push(self.control.add_sa(self.child, &params).map_err(failed)?),
            }
            self.worker.quiescent();
            // No packet has the number 0: it is not seen, but refused as if it were.
            if let Some(top) = top.filter(|top| *top != 0) {
                self.send(spi, top, Sender::Peer);
            }
        }
        Ok(())
    }

    fn headers(&self, spi: u32, seq: u64) -> OuterHeaders {
        OuterHeaders { spi: Spi(spi), sequence: seq as u32, ..self.outer }
    }

    /// What the host does with a packet that was looked up: the ICV, and what follows it.
    fn open(&mut self, seq: u64, sender: Sender, arrival: Arrival) -> &'static str {
        let (sa, outer) = match arrival {
            Arrival::Sa(sa, outer) => (sa, outer),
            Arrival::Drop(refusal) => return refusal.reason.name(),
            Arrival::Pass(_) => return "passed",
        };
        let ingress = Ingress::default();
        if sender == Sender::Forger || self.replay.esn && outer.full_sequence() != seq {
            let _ = self.worker.report(sa, &outer, Reason::AuthFailed, ingress);
            return AUTH_FAIL;
        }
        let (next_header, payload) = (protocol::IPV4, self.inner.as_slice());
        let opened = Opened { sa, outer: &outer, next_header, payload };
        match self.worker.check(&opened, ingress).decision {
            Decision::Accept(_) => ACCEPT,
            Decision::Drop(refusal) => refusal.reason.name(),
        }
    }

    /// A packet on one of the SAs.
    fn send(&mut self, spi: u32, seq: u64, sender: Sender) -> &'static str {
        let arrival = self.worker.lookup(&self.headers(spi, seq), Ingress::default());
        self.open(seq, sender, arrival)
    }

    /// What the first SA says; the second one has seen the packet too.
    fn receive(&mut self, seq: u64, sender: Sender) -> &'static str {
        let [alone, _] = SPIS.map(|spi| self.send(spi, seq, sender));
        alone
    }

    /// What the SAs say of a batch: packet by packet, and as a burst.
    fn receive_batch(&mut self, seqs: &[u64], sender: Sender) -> [Vec<&'static str>; 2] {
        // A guess of the high half is one packet's: the second SA cannot take it for all.
        if self.replay.esn {
            let results: Vec<_> = seqs.iter().map(|seq| self.receive(*seq, sender)).collect();
            return [results.clone(), results];
        }
        let [spi, burst] = SPIS;
        let mut arrivals = vec![Arrival::Pass(Outer::Other); seqs.len()];
        let headers: Vec<_> = seqs.iter().map(|seq| self.headers(burst, *seq)).collect();
        self.worker.lookup_burst(&headers, Ingress::default(), &mut arrivals);
        let together = seqs.iter().zip(arrivals);
        let together = together.map(|(seq, arrival)| self.open(*seq, sender, arrival)).collect();
        let alone = seqs.iter().map(|seq| self.send(spi, *seq, sender));
        [alone.collect(), together]
    }
}

fn sender(op: &mut Object<'_>) -> Result<Sender, Problem> {
    Ok(if op.flag("forged")? { Sender::Forger } else { Sender::Peer })
}

/// Runs the operations of a case on one window.
pub(super) fn ops(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let esn = case.flag("esn")?;
    let window = case.number("window")?;
    let capacity = Capacity {
        tunnels: 1,
        children: 1,
        selectors: 1,
        sas: SPIS.len() as u32,
        sas_dst: 0,
        sas_dst_src: 0,
        sas_allocated: 0,
        replay_window: window,
        workers: 1,
    };
    let mut gateway =
        Gateway::new(&capacity, [5, 6]).map_err(|error| Problem::step("field `window`", error))?;
    let (control, mut workers) = gateway.split();
    let setup = |error| Problem::step("a tunnel", error);
    let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).map_err(setup)?;
    let all = [TrafficSelector::any(AddrRange::all(Family::V4))];
    let child = control.add_child(tunnel, &all, &all).map_err(setup)?;
    control.publish().map_err(|error| Problem::step("publication", error))?;
    let worker = workers.take().ok_or_else(|| Problem("there is no worker".to_owned()))?;
    let mut receiver = Receiver {
        control,
        worker,
        child,
        sas: Vec::new(),
        replay: Replay { window, esn, start: ReplayStart::High(0) },
        outer: packet::esp_headers(packet::OUTER, SPIS[0])?,
        inner: packet::ip(packet::OUTER, protocol::TCP, &[0; 20]).unwrap_or_default(),
    };
    receiver.restart(None)?;
    for mut op in case.objects("ops")? {
        step(&mut receiver, &mut op, findings)?;
        op.close()?;
    }
    Ok(())
}

fn step(
    receiver: &mut Receiver<'_, '_>,
    op: &mut Object<'_>,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let name = op.text("op")?;
    let path = op.at("expect");
    match name {
        "set_top" => receiver.restart(Some(op.number("seq")?))?,
        "recv" => {
            let (seq, repeat) = (op.number("seq")?, op.number_or("repeat", 1)?);
            let all = std::iter::repeat_n(seq, some(&op.at("repeat"), repeat)?);
            let (sender, expected) = (sender(op)?, op.value("expect")?);
            each(receiver, all, sender, (&path, expected), findings);
        }
        "recv_range" => {
            let (from, end): (u64, u64) = (op.number("from")?, op.number("to_exclusive")?);
            some(&op.at("to_exclusive"), end.saturating_sub(from))?;
            let (sender, expected) = (sender(op)?, op.value("expect")?);
            each(receiver, from..end, sender, (&path, expected), findings);
        }
        "recv_batch" => {
            let sender = sender(op)?;
            let mut seqs = Vec::new();
            for seq in op.list("seqs")? {
                seqs.push(case::number(&op.at("seqs"), seq)?);
            }
            batch(receiver, &seqs, sender, (&path, op.value("expect")?), findings);
        }
        other => return Err(Problem(format!("unknown operation `{other}` in `{}`", op.at("op")))),
    }
    Ok(())
}

/// A number of packets that tells something.
fn some(path: &str, count: u64) -> Result<usize, Problem> {
    match usize::try_from(count) {
        Ok(packets @ 1..) if count <= MAX_RANGE => Ok(packets),
        _ => Err(Problem(format!("field `{path}`: {count} packets, expected 1 to {MAX_RANGE}"))),
    }
}

/// Receives packets that all have the same result; the first that has not is told.
fn each(
    receiver: &mut Receiver<'_, '_>,
    seqs: impl Iterator<Item = u64>,
    sender: Sender,
    (path, expected): (&str, &Value),
    findings: &mut Findings,
) {
    let mut wrong = None;
    for (index, seq) in seqs.enumerate() {
        let got = receiver.receive(seq, sender);
        if *expected != json!(got) {
            wrong = wrong.or(Some((index, seq, got)));
        }
    }
    match wrong {
        None => findings.check(path, true, expected, Value::Null),
        Some((index, seq, got)) => {
            findings.check(format!("{path} (packet {index}, seq {seq})"), false, expected, got);
        }
    }
}

/// Receives a batch packet by packet. A host that looks at all of them before it opens the first
/// must end with the same results, since the commit tests again.
fn batch(
    receiver: &mut Receiver<'_, '_>,
    seqs: &[u64],
    sender: Sender,
    (path, expected): (&str, &Value),
    findings: &mut Findings,
) {
    let [alone, together] = receiver.receive_batch(seqs, sender);
    findings.require(
        format!("{path}, looked up together"),
        together == alone,
        json!(alone),
        json!(together),
    );
    findings.compare(path, expected, json!(alone));
}
