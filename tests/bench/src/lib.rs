//! What measures the server: a load generator, the two bare loops that show the limit of the machine, and what runs
//! them beside the peers and writes down the figures.
//!
//! The same generator drives every server, with the same messages and windows. It takes part in no server's protocol
//! beyond what it needs: it knows the frames that it sends and checks every frame that it gets.

#![deny(missing_docs)]

pub mod bare;
pub mod cores;
pub mod handshake;
pub mod load;
pub mod measure;
pub mod message;
pub mod run;
