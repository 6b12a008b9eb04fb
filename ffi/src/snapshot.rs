//! All that the tables know, as octets: another node takes over. Streamed: pieces of any number of whole records,
//! written to and read from the caller's memory.
//!
//! Everything here is bounded, allocates nothing and takes no lock.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use espial::gate::session::Opened;
use espial::snapshot::{Pass, RECORD_OCTETS, Reader, Record, RecordError, Writer};

use crate::convert;
use crate::handle::{
    Caller, State, espial_gateway, espial_passthrough, espial_passthrough_rules, espial_reply_path,
    espial_sessions,
};
use crate::status::Status;
use crate::types::*;

/// What lies in an `espial_snapshot_writer`.
#[repr(C)]
struct Writing {
    magic: u64,
    writer: Writer,
}

// SAFETY: `repr(C)`, starts with the u64, and a writer needs no drop.
unsafe impl State for Writing {
    const MAGIC: u64 = 0x6573_7069_616c_5357;
    type Room = espial_snapshot_writer;
}
const _: () = assert!(!core::mem::needs_drop::<Writing>());

/// What lies in an `espial_snapshot_reader`.
#[repr(C)]
struct Reading {
    magic: u64,
    reader: Reader,
    /// The record that was read last and not refused.
    last: Option<[u8; RECORD_OCTETS]>,
}

// SAFETY: `repr(C)`, starts with the u64, and a reader needs no drop.
unsafe impl State for Reading {
    const MAGIC: u64 = 0x6573_7069_616c_5352;
    type Room = espial_snapshot_reader;
}
const _: () = assert!(!core::mem::needs_drop::<Reading>());

/// Begins to write a snapshot: records of SAs, sessions, pins and flows of any number of tables, in any order, and
/// an end. Configuration is not in it, both nodes have it from elsewhere; nor are keys of SAs, which this library
/// never sees, nor what was reserved and has no SA yet. key0 and key1 are 128 bits that both nodes know: with a
/// secret key nobody else makes a record, with any other the checksum finds accidents only. Nothing is hidden by
/// it. id is the caller's number of the snapshot; the reader takes records of this one only.
///
/// A record has ESPIAL_RECORD_OCTETS octets, little-endian on every machine, and may be written and read at any
/// address; a node of another size, seed, clock and byte order reads it. espial::snapshot states each octet.
///
/// Thread: any. The writer needs no release.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_writer_init(
    writer: *mut espial_snapshot_writer,
    key0: u64,
    key1: u64,
    id: u64,
) -> i32 {
    call!(|c| {
        let state = Writer::new([key0, key1], id);
        c.state_init(writer, Writing { magic: Writing::MAGIC, writer: state })
    })
}

/// Records of the SAs of a gateway, from the slot on that *pass has come to: whole ones to the front of octets, of
/// which room may be written; *written octets were. It looks at slots slots at most, 0 counts as 1, and moves *pass
/// on. Call it until pass->flags has ESPIAL_SNAPSHOT_DONE; packets and configuration may go on between the calls.
/// What is added behind the pass is not in it: see espial_snapshot_write_sa().
///
/// names[i] is the number by which the other node knows the Child SA of index i; count is at least
/// espial_capacity.children, or 0: then the name is the index.
///
/// What the SA accepts after its record was written can be replayed to the other node, once: espial_snapshot_restore_sa().
///
/// Thread: one writer (of the gateway), owner only (of the snapshot's).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE; ESPIAL_EVALUE: flags that are none; ESPIAL_ERANGE: fewer
/// names than Child SAs there may be; ESPIAL_EROOM: room is below ESPIAL_RECORD_OCTETS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_write_sas(
    writer: *mut espial_snapshot_writer,
    gateway: *mut espial_gateway,
    names: *const u64,
    count: usize,
    pass: *mut espial_snapshot_pass,
    slots: u32,
    now_ms: u64,
    octets: *mut u8,
    room: usize,
    written: *mut usize,
) -> i32 {
    call!(|c| {
        let control = &c.writer(gateway)?.control;
        let names = names_of(&c, names, count, control.child_limit())?;
        write_pass(&c, writer, pass, octets, room, written, |writer, pass, out| {
            let name = |child: espial::ChildId| name_of(names, child);
            writer.sas(control, pass, slots, now_ms, name, out)
        })
    })
}

/// The record of one live SA, for one that was added while a pass was under way. names as in
/// espial_snapshot_write_sas().
///
/// Thread: one writer (of the gateway), owner only (of the snapshot's).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ERANGE, ESPIAL_EROOM as espial_snapshot_write_sas();
/// ESPIAL_ESTALE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_write_sa(
    writer: *mut espial_snapshot_writer,
    gateway: *mut espial_gateway,
    sa: espial_sa,
    names: *const u64,
    count: usize,
    now_ms: u64,
    octets: *mut u8,
    room: usize,
    written: *mut usize,
) -> i32 {
    call!(|c| {
        c.state::<Writing>(writer)?;
        let control = &c.writer(gateway)?.control;
        let names = names_of(&c, names, count, control.child_limit())?;
        let record = control.sa_record(sa.into(), now_ms, |child| name_of(names, child))?;
        write(&c, writer, octets, room, written, |writer, out| writer.sa(&record, out))
    })
}

/// Records of sessions, as espial_snapshot_write_sas() writes those of SAs.
///
/// Thread: owner only (of both).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_EROOM as
/// espial_snapshot_write_sas().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_write_sessions(
    writer: *mut espial_snapshot_writer,
    sessions: *mut espial_sessions,
    pass: *mut espial_snapshot_pass,
    slots: u32,
    now_ms: u64,
    octets: *mut u8,
    room: usize,
    written: *mut usize,
) -> i32 {
    call!(|c| {
        let sessions = c.sessions(sessions)?;
        write_pass(&c, writer, pass, octets, room, written, |writer, pass, out| {
            writer.sessions(sessions, pass, slots, now_ms, out)
        })
    })
}

/// Records of the connections of a reply path, as espial_snapshot_write_sas() writes those of SAs.
///
/// Thread: owner only (of both).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_EROOM as
/// espial_snapshot_write_sas().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_write_pins(
    writer: *mut espial_snapshot_writer,
    reply_path: *mut espial_reply_path,
    pass: *mut espial_snapshot_pass,
    slots: u32,
    now_ms: u64,
    octets: *mut u8,
    room: usize,
    written: *mut usize,
) -> i32 {
    call!(|c| {
        let pins = c.reply_path(reply_path)?;
        write_pass(&c, writer, pass, octets, room, written, |writer, pass, out| {
            writer.pins(pins, pass, slots, now_ms, out)
        })
    })
}

/// Records of the flows of a firewall, as espial_snapshot_write_sas() writes those of SAs.
///
/// Thread: owner only (of both).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_EROOM as
/// espial_snapshot_write_sas().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_write_flows(
    writer: *mut espial_snapshot_writer,
    passthrough: *mut espial_passthrough,
    pass: *mut espial_snapshot_pass,
    slots: u32,
    now_ms: u64,
    octets: *mut u8,
    room: usize,
    written: *mut usize,
) -> i32 {
    call!(|c| {
        let flows = c.passthrough(passthrough)?;
        write_pass(&c, writer, pass, octets, room, written, |writer, pass, out| {
            writer.flows(flows, pass, slots, now_ms, out)
        })
    })
}

/// The end of a snapshot: one record, without which the reader knows that something is missing.
///
/// Thread: owner only (of the writer).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE; ESPIAL_EROOM: room is below ESPIAL_RECORD_OCTETS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_write_end(
    writer: *mut espial_snapshot_writer,
    octets: *mut u8,
    room: usize,
    written: *mut usize,
) -> i32 {
    call!(|c| { write(&c, writer, octets, room, written, |writer, out| writer.end(out)) })
}

/// Begins to read the snapshot with this number, written with this key elapsed_ms milliseconds ago: so many are
/// added to what is idle and taken from what is left. 0 where octets are read as they are written.
///
/// Thread: any. The reader needs no release.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_reader_init(
    reader: *mut espial_snapshot_reader,
    key0: u64,
    key1: u64,
    id: u64,
    elapsed_ms: u64,
) -> i32 {
    call!(|c| {
        let state = Reader::new([key0, key1], id, elapsed_ms);
        c.state_init(reader, Reading { magic: Reading::MAGIC, reader: state, last: None })
    })
}

/// The next record of a snapshot whose next octets are *octets, *len of them: what it is about, for the call that
/// restores it. Its octets are taken off their front, also if it is refused: the next one may be right, and
/// espial_snapshot_missed() tells of the loss. ESPIAL_MORE: fewer octets than a record has are left, and nothing is
/// taken. record->size is set by the caller.
///
/// Thread: owner only (of the reader).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ERANGE, ESPIAL_ESIZE: nothing is taken; ESPIAL_EDAMAGED:
/// octets are damaged or of another key; ESPIAL_EVERSION; ESPIAL_ESNAPSHOT; ESPIAL_EVALUE: a field has a value that is
/// never written; ESPIAL_EORDER: it was read before, comes too late or behind the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_read(
    reader: *mut espial_snapshot_reader,
    octets: *mut *const u8,
    len: *mut usize,
    record: *mut espial_record,
) -> i32 {
    call!(|c| {
        let state = c.state::<Reading>(reader)?;
        let all = c.slice(c.read(octets.cast_const())?, c.read(len.cast_const())?)?;
        let (octets, len, record) = (c.out(octets)?, c.out(len)?, c.out(record)?);
        let size = record.size(&c)?;
        let first = *all.first_chunk::<RECORD_OCTETS>().ok_or(Status(ESPIAL_MORE))?;
        let mut rest = all;
        let read = state.reader.read(&mut rest).unwrap_or(Err(RecordError::Damaged));
        octets.set(rest.as_ptr());
        len.set(rest.len());
        state.last = read.is_ok().then_some(first);
        record.set_versioned(size, &convert::record_codes(&read?, size));
        Ok(())
    })
}

/// Adds the SA of the record that was read last to a published Child SA, that of espial_record.child in this node's
/// configuration: with the checks of espial_sa_add(), and what was used of its lifetime is used.
///
/// All sequence numbers up to the highest of the record count as seen (RFC 4303 section 3.4.3). What the other node
/// accepted since can be replayed here, once, unless margin is as many packets as can have arrived since: it is
/// added to the highest number. It costs up to as many of the sender's next packets, and does nothing without a
/// replay window.
///
/// Thread: one writer (of the gateway), owner only (of the reader).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE; ESPIAL_EORDER: the last record is no SA's; those of
/// espial_sa_add(): ESPIAL_EDUPLICATE, ESPIAL_EFULL, ESPIAL_EWINDOW, ESPIAL_ESTALE and so on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_restore_sa(
    reader: *mut espial_snapshot_reader,
    gateway: *mut espial_gateway,
    child: espial_child,
    margin: u64,
    now_ms: u64,
    sa: *mut espial_sa,
) -> i32 {
    call!(|c| {
        let Record::Sa(record) = last(&c, reader)? else { return Err(Status(ESPIAL_EORDER)) };
        let writer = c.writer(gateway)?;
        let sa = c.out(sa)?;
        sa.set(writer.control.restore_sa(child.into(), &record, margin, now_ms)?.into());
        Ok(())
    })
}

/// Puts the session of the record that was read last into a table, with its age and a number of this table. One that
/// is there stays, and the later of the two matches counts. *outcome is ESPIAL_SESSION_NEW or
/// ESPIAL_SESSION_EXISTING; session and ended as in espial_sessions_open(). No policy is asked: who trusts the
/// channel less asks espial_local_in_first() for those of ESPIAL_SIDE_REMOTE before.
///
/// Thread: owner only (of both).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE; ESPIAL_EORDER: the last record is no session's;
/// ESPIAL_EFULL: no room, for what remote hosts start or at all; ESPIAL_EENDED; ESPIAL_EFOREIGN: ESP or AH.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_restore_session(
    reader: *mut espial_snapshot_reader,
    sessions: *mut espial_sessions,
    now_ms: u64,
    outcome: *mut u32,
    session: *mut espial_session,
    ended: *mut espial_session_end,
) -> i32 {
    call!(|c| {
        let Record::Session(record) = last(&c, reader)? else {
            return Err(Status(ESPIAL_EORDER));
        };
        let sessions = c.sessions(sessions)?;
        let (outcome, session, ended) = (c.out(outcome)?, c.out(session)?, c.out(ended)?);
        let opened = sessions.restore(&record, now_ms)?;
        let (what, end) = match &opened {
            Opened::Existing(_) => (ESPIAL_SESSION_EXISTING, None),
            Opened::New { ended, .. } => (ESPIAL_SESSION_NEW, ended.as_ref()),
        };
        outcome.set(what);
        session.set(convert::session_codes(opened.session()));
        ended.set(end.map_or(convert::NO_END, convert::ended_codes));
        Ok(())
    })
}

/// Puts the connection of the record that was read last into a reply path, as far as it was, with interface as the one
/// that its SYN came in on: espial_record.interface in the numbers of this node. Of one that is there the later of
/// the two stays.
///
/// Thread: owner only (of both).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE; ESPIAL_EORDER: the last record is no pin's; ESPIAL_EFULL: no
/// room, for what is half open or at all; ESPIAL_EENDED; ESPIAL_EFOREIGN: no connection is like that, or a handshake
/// is under way and not with the IKE port of this gateway.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_restore_pin(
    reader: *mut espial_snapshot_reader,
    reply_path: *mut espial_reply_path,
    interface: u32,
    now_ms: u64,
) -> i32 {
    call!(|c| {
        let Record::Pin(mut record) = last(&c, reader)? else { return Err(Status(ESPIAL_EORDER)) };
        record.interface = interface;
        Ok(c.reply_path(reply_path)?.restore(&record, now_ms)?)
    })
}

/// Puts the flow of the record that was read last into a firewall, with its age, if these rules admit its first packet
/// now; a flow of the ALG needs the ALG, and rules that admit IKE between its hosts. One that is there stays, and the
/// later of the two packets counts. What is refused is judged anew when its next packet comes.
///
/// Thread: owner only (of reader and firewall).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE; ESPIAL_EORDER: the last record is no flow's; ESPIAL_EADMITTED:
/// the rules do not admit it; ESPIAL_EFULL; ESPIAL_EENDED; ESPIAL_EFOREIGN: a firewall of this configuration never
/// has such a flow, or it has that of the opposite direction.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_restore_flow(
    reader: *mut espial_snapshot_reader,
    passthrough: *mut espial_passthrough,
    rules: *const espial_passthrough_rules,
    now_ms: u64,
) -> i32 {
    call!(|c| {
        let Record::Flow(record) = last(&c, reader)? else { return Err(Status(ESPIAL_EORDER)) };
        let passthrough = c.passthrough(passthrough)?;
        let rules = c.rules(rules)?;
        Ok(passthrough.restore(&rules.rules, &record, now_ms)?)
    })
}

/// *missed is how many records were refused or never came, as far as those behind them tell; *complete is 1 if all
/// were read, the end among them, else 0.
///
/// Thread: owner only (of the reader).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_snapshot_missed(
    reader: *mut espial_snapshot_reader,
    missed: *mut u32,
    complete: *mut u8,
) -> i32 {
    call!(|c| {
        let reader = &c.state::<Reading>(reader)?.reader;
        let (missed, complete) = (c.out(missed)?, c.out(complete)?);
        missed.set(reader.missed());
        complete.set(reader.is_complete().into());
        Ok(())
    })
}

/// The caller's names of Child SAs; none: their indexes.
fn names_of<'c>(
    caller: &Caller<'c>,
    names: *const u64,
    count: usize,
    children: u32,
) -> Result<&'c [u64], Status> {
    let names = caller.slice(names, count)?;
    let suffices = names.is_empty() || names.len() >= children as usize;
    if suffices { Ok(names) } else { Err(Status(ESPIAL_ERANGE)) }
}

fn name_of(names: &[u64], child: espial::ChildId) -> u64 {
    let index = child.index();
    names.get(index as usize).copied().unwrap_or(index.into())
}

/// Writes records to the caller's octets.
fn write(
    caller: &Caller<'_>,
    writer: *mut espial_snapshot_writer,
    octets: *mut u8,
    room: usize,
    written: *mut usize,
    records: impl FnOnce(&mut Writer, &mut [u8]) -> usize,
) -> Result<(), Status> {
    let state = caller.state::<Writing>(writer)?;
    let out = caller.slice_mut(octets, room)?;
    let written = caller.out(written)?;
    if room < RECORD_OCTETS {
        return Err(Status(ESPIAL_EROOM));
    }
    written.set(records(&mut state.writer, out));
    Ok(())
}

/// The same of a table, from where the caller's pass has come to.
fn write_pass(
    caller: &Caller<'_>,
    writer: *mut espial_snapshot_writer,
    pass: *mut espial_snapshot_pass,
    octets: *mut u8,
    room: usize,
    written: *mut usize,
    records: impl FnOnce(&mut Writer, &mut Pass, &mut [u8]) -> usize,
) -> Result<(), Status> {
    let mut moved_on = convert::pass(&caller.read(pass.cast_const())?)?;
    let pass = caller.out(pass)?;
    write(caller, writer, octets, room, written, |writer, out| {
        records(writer, &mut moved_on, out)
    })?;
    pass.set(convert::pass_codes(&moved_on));
    Ok(())
}

/// The record that was read last.
fn last(caller: &Caller<'_>, reader: *mut espial_snapshot_reader) -> Result<Record, Status> {
    let Reading { reader, last, .. } = caller.state::<Reading>(reader)?;
    let octets = last.as_ref().ok_or(Status(ESPIAL_EORDER))?;
    Ok(reader.again(octets)?)
}
