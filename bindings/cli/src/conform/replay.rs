//! `replay_ops`: the replay window and the guess of the high half (RFC 4303 section 3.4.3 and
//! appendix A).
//!
//! A sequence number in a case is the sender's true one. The window sees its low 32 bits, and a
//! wrong guess of the high half is what a host would see as a wrong ICV (T17).

use espial::sad::replay::{ReplayWindow, Replayed};
use serde_json::{Value, json};

use super::case::{self, Findings, Object, Problem};

/// Packets that one range of a case may have.
const MAX_RANGE: u64 = 1 << 24;

const ACCEPT: &str = "accept";
const REPLAY: &str = "replay";
const AUTH_FAIL: &str = "auth_fail";

/// A receiver.
#[derive(Clone)]
struct Receiver {
    window: ReplayWindow,
    esn: bool,
}

/// Whether a packet's ICV is false whatever the guess.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Peer,
    Forger,
}

impl Receiver {
    /// Before the packet is opened: the number it is opened with.
    fn precheck(&self, seq: u64) -> Result<u64, Replayed> {
        self.window.precheck(seq as u32)
    }

    /// After the precheck: the ICV, and what follows it.
    fn open(&mut self, seq: u64, sender: Sender, checked: Result<u64, Replayed>) -> &'static str {
        let Ok(full) = checked else { return REPLAY };
        let right = sender == Sender::Peer && (!self.esn || full == seq);
        match right.then(|| self.window.commit(full)) {
            None => AUTH_FAIL,
            Some(Ok(())) => ACCEPT,
            Some(Err(Replayed)) => REPLAY,
        }
    }

    fn receive(&mut self, seq: u64, sender: Sender) -> &'static str {
        let checked = self.precheck(seq);
        self.open(seq, sender, checked)
    }
}

fn sender(op: &mut Object<'_>) -> Result<Sender, Problem> {
    Ok(if op.flag("forged")? { Sender::Forger } else { Sender::Peer })
}

/// Runs the operations of a case on one window.
pub(super) fn ops(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let esn = case.flag("esn")?;
    let window = ReplayWindow::new(case.number("window")?, esn)
        .map_err(|error| Problem::step("field `window`", error))?;
    let mut receiver = Receiver { window, esn };
    for mut op in case.objects("ops")? {
        step(&mut receiver, &mut op, findings)?;
        op.close()?;
    }
    Ok(())
}

fn step(
    receiver: &mut Receiver,
    op: &mut Object<'_>,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let name = op.text("op")?;
    let path = op.at("expect");
    match name {
        "set_top" => receiver.window = receiver.window.clone().with_top(op.number("seq")?),
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
    receiver: &mut Receiver,
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

/// Receives a batch packet by packet. Without ESN a host that looks at all of them before it opens
/// the first must end with the same results, since the commit tests again.
fn batch(
    receiver: &mut Receiver,
    seqs: &[u64],
    sender: Sender,
    (path, expected): (&str, &Value),
    findings: &mut Findings,
) {
    let mut host = receiver.clone();
    let results: Vec<_> = seqs.iter().map(|seq| receiver.receive(*seq, sender)).collect();
    if !host.esn {
        let checked: Vec<_> = seqs.iter().map(|seq| host.precheck(*seq)).collect();
        let late = seqs.iter().zip(checked).map(|(seq, checked)| host.open(*seq, sender, checked));
        let late: Vec<_> = late.collect();
        findings.require(
            format!("{path}, prechecked together"),
            late == results,
            json!(results),
            json!(late),
        );
    }
    findings.compare(path, expected, json!(results));
}
