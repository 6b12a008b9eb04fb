//! `espial check` with the tables around the selector check: timelines of the documents, as captures that
//! are made here.

mod explain;
mod faults;
mod lint;
mod local_in;
mod packets;
mod passthrough;
mod policies;
mod reply_path;
