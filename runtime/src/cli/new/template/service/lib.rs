//! Counts the minutes since it was first started, also over restarts.

use tulpar::prelude::*;

#[derive(Default)]
struct CrateName;

#[tulpar::service(name = "CrateName")]
impl CrateName {
    fn on_start(&mut self) -> Result<()> {
        log::info("crate-name starts");
        Ok(())
    }

    #[every("1m")]
    fn minute(&mut self) -> Result<()> {
        // The type's fields begin anew with each instance; what is in the store lasts.
        let minutes = kv::open("crate-name")?.increment("minutes", 1)?;
        log::info(format!("minute {minutes}"));
        Ok(())
    }

    fn on_stop(&mut self) {
        log::info("crate-name stops");
    }
}
