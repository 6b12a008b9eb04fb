//! Where answers of IKE over TCP leave.

use espial::gate::flow::FlowKey;
use espial::gate::reply_path::{self, Answer, Limits, ReplyPath, TcpFlags};
use espial::headers::{Endpoints, protocol};

use super::reason::GateReason;
use super::row::Row;
use super::tables::{At, NO_INTERFACE};
use super::way::Step;
use crate::capture::tcp::Segment;
use crate::config::GatewayConfig;
use crate::config::reply_path::ReplyPathConfig;

/// Connections of the table.
const CONNECTIONS: u32 = 1 << 14;
const SEED: [u64; 2] = [0x6573_7069_616c, 3];
const EXPIRED_A_SEGMENT: u32 = 8;

/// The connections on the IKE TCP port.
pub(super) struct Reply<'c> {
    gateway: &'c GatewayConfig,
    config: &'c ReplyPathConfig,
    table: ReplyPath<'static, 'c>,
    astray: u64,
}

impl<'c> Reply<'c> {
    pub(super) fn new(
        gateway: &'c GatewayConfig,
        config: &'c ReplyPathConfig,
    ) -> Result<Self, String> {
        let core = config.core(&gateway.addresses);
        let table = ReplyPath::new(core, &Limits::of(CONNECTIONS), SEED);
        let table = table.map_err(|error| error.to_string())?;
        Ok(Self { gateway, config, table, astray: 0 })
    }

    /// SYNs whose answers leave by another interface than they came in on (D2).
    pub(super) fn astray(&self) -> u64 {
        self.astray
    }

    /// A segment to the gateway.
    pub(super) fn received(&mut self, ip: &[u8], row: &mut Row<'c>, at: At) {
        let Some(segment) = segment(ip) else { return };
        self.table.expire(at.now_ms, EXPIRED_A_SEGMENT, |_| ());
        let interface = at.interface.unwrap_or(NO_INTERFACE);
        let answer = self.table.received(&segment, interface, self.config.route, at.now_ms);
        match answer {
            Answer::NoSession => row.drop(GateReason::TcpNoSession.into()),
            Answer::Leave(leave) if leave.syn_ack.is_some() && !leave.completes_handshake() => {
                self.astray += 1;
            }
            _ => {}
        }
        self.tell(answer, row);
    }

    /// A segment of the gateway.
    pub(super) fn sent(&mut self, ip: &[u8], row: &mut Row<'c>, at: At) {
        let Some(segment) = segment(ip) else { return };
        let answer = self.table.sent(&segment, self.config.route, at.now_ms);
        self.tell(answer, row);
    }

    fn tell(&self, answer: Answer, row: &mut Row<'c>) {
        if let Answer::Leave(leave) = answer {
            let interface = self.gateway.gate.interface_at(leave.interface);
            row.reply_interface = interface.map(|interface| interface.name.as_str());
        }
        if answer != Answer::NotOurs {
            row.note(|| Step::Reply(answer));
        }
    }
}

/// What counts of a segment.
fn segment(ip: &[u8]) -> Option<reply_path::Segment> {
    let segment = Segment::parse(ip)?;
    let (src, dst) = (segment.flow.src, segment.flow.dst);
    Some(reply_path::Segment {
        key: FlowKey {
            endpoints: Endpoints::new(src.ip(), dst.ip())?,
            protocol: protocol::TCP,
            src_port: src.port(),
            dst_port: dst.port(),
        },
        flags: TcpFlags(segment.flags),
        seq: segment.sequence,
        ack: segment.acknowledgement,
        payload_octets: u32::try_from(segment.payload.len()).unwrap_or(u32::MAX),
    })
}
