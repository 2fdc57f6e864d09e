//! Another configuration, while the server runs.

use super::{Serving, take_over};
use crate::config::{Config, Live};
use crate::plugin::catalog::Catalog;
use crate::plugin::describe::Loaded;
use crate::service::Service;

impl Serving {
    /// Has another configuration hold, as far as that is possible while the server runs. A plugin that gets something else
    /// from it begins anew with that, with its sockets open, and what was refused for a setting is looked at again.
    pub(in super::super) async fn reload(
        &mut self,
        catalog: &mut Catalog,
        config: &Live,
        new: Config,
    ) {
        match config.replace(new) {
            Ok(left) => {
                for setting in left {
                    tracing::warn!("{setting} has changed: needs a restart");
                }
            }
            Err(why) => return tracing::warn!("the configuration stays as it is: {why}"),
        }
        for loaded in catalog.loaded() {
            if loaded.plugin.renew_terms() {
                self.begin_anew(loaded).await;
            }
        }
        catalog.reconsider();
        self.serve(catalog);
        tracing::info!("the configuration has been read again");
    }

    /// Puts a new instance of what a plugin is into the place of the one that is there.
    async fn begin_anew(&mut self, loaded: &Loaded) {
        let (plugin, id) = (&loaded.plugin, loaded.plugin.id());
        let lease = self.hand_over(&id.key()).await;
        match take_over(plugin, plugin.generation()).await {
            Ok(()) => tracing::info!("{id} begins anew with other settings"),
            // It may have lost what it was given, a host perhaps, so that it does not go on as it was.
            Err(error) => {
                tracing::warn!(
                    "{id} begins anew with other settings, without what it had in memory: {error}"
                );
                let plugin = plugin.clone();
                tokio::spawn(async move { plugin.forget().await });
            }
        }
        if let Some(descriptor) = &loaded.service {
            let service = Service::go_on(plugin.clone(), descriptor, &self.leases, lease);
            self.services.insert(id.key(), service);
        }
    }
}
