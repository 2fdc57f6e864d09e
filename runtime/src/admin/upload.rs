//! A plugin's file that comes over the network: looked at, and put into the plugins folder as if somebody had copied it
//! there. What becomes of it then is the catalog's matter.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use super::Admin;
use super::answer::{Refused, whole};
use super::listing::Query;
use crate::config::Live;
use crate::plugin::{catalog, load};

/// How long a file may take to arrive.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where uploads go.
pub(super) struct Uploads {
    folder: PathBuf,
    config: Live,
    /// One at a time, each of which is in memory.
    turn: Arc<Semaphore>,
}

impl Uploads {
    /// None when there are to be none.
    pub(super) fn new(config: &Live) -> Option<Self> {
        let given = config.load();
        given.admin.uploads.then(|| Self {
            folder: given.plugins.clone(),
            config: config.clone(),
            turn: Arc::new(Semaphore::new(1)),
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
    let Ok(turn) = uploads.turn.clone().try_acquire_owned() else {
        let why = "another file is just arriving; try again in a moment";
        return Err((StatusCode::CONFLICT, why.into()));
    };
    let most = uploads.config.load().limits.max_plugin_bytes;
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    let bytes = whole(body, limit, PATIENCE).await?;
    // What cannot be a plugin is not to take the place of one that can.
    load::look_at(&bytes).map_err(|refusal| {
        let why = format!("the file {refusal}");
        (StatusCode::UNPROCESSABLE_ENTITY, why)
    })?;
    let file = uploads.folder.join(&place);
    // Its name begins with a dot, so that the catalog leaves it alone.
    let beside = file.with_file_name(format!(".{}.uploaded", admin.about.node));
    let written = tokio::task::spawn_blocking(move || {
        // Also when who sends it has left: then it goes on all the same.
        let _turn = turn;
        write(&beside, &bytes)?;
        fs::rename(&beside, &file).inspect_err(|_| _ = fs::remove_file(&beside))
    });
    let written = written.await.map_err(io::Error::other).flatten();
    written.map_err(|error| {
        let why = format!("{} cannot be written: {error}", place.display());
        (StatusCode::INTERNAL_SERVER_ERROR, why)
    })?;
    tracing::info!(plugin = %place.display(), "the operator puts a file into the plugins folder");
    Ok(())
}

/// Writes a file that is all there afterwards, or not at all. The folder is made when it is missing.
fn write(file: &Path, content: &Bytes) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let written = fs::File::create(file).and_then(|mut written| {
        written.write_all(content)?;
        written.sync_all()
    });
    written.inspect_err(|_| _ = fs::remove_file(file))
}
