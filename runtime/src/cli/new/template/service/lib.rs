//! Counts the minutes since it was first started, also over restarts.

use tulpar::prelude::*;

#[derive(Default)]
struct {{type}};

#[tulpar::service(name = "{{type}}")]
impl {{type}} {
    fn on_start(&mut self) -> Result<()> {
        log::info("{{name}} starts");
        Ok(())
    }

    #[every("1m")]
    fn minute(&mut self) -> Result<()> {
        // The fields of the type are gone when the instance is; what is in the store lasts.
        let minutes = kv::open("{{name}}")?.increment("minutes", 1)?;
        log::info(format!("minute {minutes}"));
        Ok(())
    }

    fn on_stop(&mut self) {
        log::info("{{name}} stops");
    }
}
