//! A plugin's file that comes over the network: looked at, and put into the plugins folder as if somebody had copied it
//! there. What becomes of it then is the catalog's matter.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use super::Admin;
use super::answer::{Refused, whole};
use super::listing::Query;
use crate::config::Config;
use crate::plugin::catalog;
use crate::plugin::load::Content;

/// How long a file may take to arrive.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where uploads go.
pub(super) struct Uploads {
    folder: PathBuf,
    limit: u64,
    /// One at a time, each of which is in memory.
    turn: Semaphore,
}

impl Uploads {
    /// None when there are to be none.
    pub(super) fn new(config: &Config) -> Option<Self> {
        config.admin.uploads.then(|| Self {
            folder: config.plugins.clone(),
            limit: config.limits.max_plugin_bytes,
            turn: Semaphore::new(1),
        })
    }
}

/// Takes a file in.
pub(super) async fn take(admin: &Admin, query: &Query, body: Incoming) -> Result<(), Refused> {
    let Some(uploads) = &admin.uploads else {
        let why = "files are taken only with `admin.uploads = true`";
        return Err((StatusCode::FORBIDDEN, why.into()));
    };
    let place = catalog::place(&query.plugin).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    let Ok(_turn) = uploads.turn.try_acquire() else {
        let why = "another file is just arriving; try again in a moment";
        return Err((StatusCode::CONFLICT, why.into()));
    };
    let limit = usize::try_from(uploads.limit).unwrap_or(usize::MAX);
    let bytes = whole(body, limit, PATIENCE).await?;
    let file = uploads.folder.join(&place);
    // Its name begins with a dot, so that the catalog leaves it alone.
    let beside = file.with_file_name(format!(".{}.uploaded", admin.about.node));
    let written = in_background({
        let beside = beside.clone();
        move || write(&beside, &bytes)
    });
    let failed = |error: io::Error| {
        let why = format!("{} cannot be written: {error}", place.display());
        (StatusCode::INTERNAL_SERVER_ERROR, why)
    };
    let made_folder = written.await.map_err(failed)?;
    // What cannot be a plugin is not to take the place of one that can.
    let looked_at = Content::read(&beside, uploads.limit).await;
    let placed = in_background(move || match looked_at {
        Ok(_) => fs::rename(&beside, &file).map_err(failed_to_move),
        Err(refusal) => {
            _ = fs::remove_file(&beside);
            if made_folder {
                // Only when it is as empty as it was made.
                _ = file.parent().map(fs::remove_dir);
            }
            Err((
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("the file {refusal}"),
            ))
        }
    });
    placed.await?;
    tracing::info!(plugin = %place.display(), "the operator puts a file into the plugins folder");
    Ok(())
}

fn failed_to_move(error: io::Error) -> Refused {
    let why = format!("the file cannot be put into the plugins folder: {error}");
    (StatusCode::INTERNAL_SERVER_ERROR, why)
}

/// Does what takes a while, elsewhere than on the threads that serve.
async fn in_background<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Writes a file that is all there afterwards, or not at all. The folder is made when it is missing, which is returned.
fn write(file: &Path, content: &Bytes) -> io::Result<bool> {
    let missing = file.parent().filter(|folder| !folder.exists());
    if let Some(folder) = missing {
        fs::create_dir_all(folder)?;
    }
    let written = fs::File::create(file).and_then(|mut written| {
        written.write_all(content)?;
        written.sync_all()
    });
    if written.is_err() {
        _ = fs::remove_file(file);
    }
    written.map(|()| missing.is_some())
}
