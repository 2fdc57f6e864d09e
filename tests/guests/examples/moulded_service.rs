//! A service written against the contract itself, with the descriptor that a test writes into its file. It tells the log
//! what it does, and which generation it is; `reload` says whether it starts.

#![allow(unsafe_code, reason = "the bindings that wit-bindgen makes")]
#![cfg(target_family = "wasm")]

use tulpar_test_guests::mould::{self, Reload};

wit_bindgen::generate!({ world: "service", path: "../../wit", generate_all });

use crate::tulpar::plugin::log::{Level, log};
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
        say("starts");
        match mould::read(&BLOB).reload {
            Reload::Ok => Ok(()),
            Reload::Error => Err("told not to start".to_owned()),
            Reload::Trap => panic!("told to trap"),
            Reload::Loop => loop {
                std::hint::spin_loop();
            },
        }
    }

    fn on_schedule(_name: String) -> Result<(), String> {
        say("runs");
        Ok(())
    }

    fn on_stop() {
        say("stops");
    }
}

fn say(what: &str) {
    let generation = mould::read(&BLOB).generation;
    log(Level::Info, &format!("generation {generation} {what}"));
}

export!(Moulded);
