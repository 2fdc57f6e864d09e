//! A service written against the contract itself, with the descriptor that a test writes into its file.

#![allow(unsafe_code, reason = "the bindings that wit-bindgen makes")]
#![cfg(target_family = "wasm")]

use tulpar_test_guests::mould;

wit_bindgen::generate!({ world: "service", path: "../../wit", generate_all });

use exports::tulpar::plugin::service_handler::{Descriptor, Guest, Schedule, Timing};

static BLOB: [u8; mould::LENGTH] = mould::blank();

struct Moulded;

impl Guest for Moulded {
    fn describe() -> Descriptor {
        let moulded = mould::read(&BLOB);
        mould::misbehave(&moulded);
        let schedules = moulded.schedules.into_iter();
        Descriptor {
            name: moulded.name,
            schedules: schedules
                .map(|(name, timing)| Schedule {
                    name,
                    timing: match timing.parse() {
                        Ok(ms) => Timing::EveryMs(ms),
                        Err(_) => Timing::Cron(timing),
                    },
                })
                .collect(),
        }
    }

    fn on_start() -> Result<(), String> {
        Ok(())
    }

    fn on_schedule(_name: String) -> Result<(), String> {
        Ok(())
    }

    fn on_stop() {}
}

export!(Moulded);
