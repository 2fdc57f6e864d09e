//! `wasi:config/store`: what the operator has configured for the plugin.

use wasmtime::Result;

use super::super::bindings::wasi::config::store::{Error, Host};
use super::HostState;

impl Host for HostState {
    fn get(&mut self, key: String) -> Result<Result<Option<String>, Error>> {
        let value = self.settings.config.get(&key);
        Ok(Ok(value.map(|value| value.text().to_owned())))
    }

    fn get_all(&mut self) -> Result<Result<Vec<(String, String)>, Error>> {
        let all = self.settings.config.iter();
        Ok(Ok(all
            .map(|(key, value)| (key.clone(), value.text().to_owned()))
            .collect()))
    }
}
