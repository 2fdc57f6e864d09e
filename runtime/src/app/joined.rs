//! What becomes of a node that is cut off from the others.

use std::convert::Infallible;
use std::time::Instant;

use tokio::time::{sleep, timeout};

use super::{ROUND_OF_DRAIN, close_in_batches, sockets_of};
use crate::admin::Admin;
use crate::config::{CutOff, Live};
use crate::hub::CloseCode;
use crate::nats::{Link, Nats};

/// Why sockets are closed.
const CUT_OFF: &str = "This server is cut off from the others";

/// Takes note of when this node is cut off, and does what the operator wants done then.
pub(super) async fn look_after(nats: Option<Nats>, config: &Live, admin: &Admin) -> Infallible {
    let Some(nats) = nats else {
        return std::future::pending().await;
    };
    let settings = config.load_full().backplane.clone();
    let mut link = nats.link();
    loop {
        let Link::Down(since) = *link.borrow_and_update() else {
            if link.changed().await.is_err() {
                return std::future::pending().await;
            }
            continue;
        };
        let left = settings.cut_off_after().saturating_sub(since.elapsed());
        let up = |link: &Link| *link == Link::Up;
        if timeout(left, link.wait_for(up)).await.is_ok() {
            continue;
        }
        tracing::error!(
            "cut off from the other nodes for {} ms (backplane.cut-off-ms): {}",
            since.elapsed().as_millis(),
            match settings.cut_off {
                CutOff::Serve => "clients are served without those of other nodes",
                CutOff::Close => "clients are closed, so that they go to other nodes",
            }
        );
        admin.set_cut_off(Some(since));
        tokio::select! {
            _ = link.wait_for(up) => {}
            never = close_all(config, admin), if settings.cut_off == CutOff::Close => match never {},
        }
        admin.set_cut_off(None);
        let length = Instant::now().duration_since(since).as_millis();
        tracing::info!("joined with the other nodes again, after {length} ms");
    }
}

/// Closes all sockets, and those that still come.
async fn close_all(config: &Live, admin: &Admin) -> Infallible {
    loop {
        let over = config.load().timeouts.drain();
        let sockets = sockets_of(&admin.loaded());
        close_in_batches(sockets, CloseCode::ServiceRestart, CUT_OFF, over).await;
        sleep(ROUND_OF_DRAIN).await;
    }
}
